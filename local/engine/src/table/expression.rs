//! DynamoDB's expressions, read: conditions, filters and key conditions; updates; projections.
//!
//! **Promises** what is outside the grammar, undefined, unused or contradictory is refused, as by the real service;
//! nothing is silently true.
//! **Not here**: what an expression means for a row (`condition`, `update`, `path`).

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::path::{Path, Step};
use super::tokens::{Token, tokens};
use super::value::checked;
use crate::Refusal;

/// Those of the 573 words that DynamoDB reserves that a lease's attribute could be called.
const RESERVED: [&str; 16] = [
    "ACTION",
    "COMMENT",
    "COUNTER",
    "DATA",
    "DATE",
    "HASH",
    "KEY",
    "NAME",
    "OWNER",
    "POSITION",
    "RANGE",
    "STATE",
    "STATUS",
    "TIMESTAMP",
    "TTL",
    "VALUE",
];
pub(super) const EXPRESSIONS: [&str; 5] =
    ["ConditionExpression", "UpdateExpression", "KeyConditionExpression", "FilterExpression", "ProjectionExpression"];
const NAMES: &str = "ExpressionAttributeNames";
const VALUES: &str = "ExpressionAttributeValues";

/// What a condition asks of a row.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Condition {
    Any(Vec<Condition>),
    All(Vec<Condition>),
    Not(Box<Condition>),
    Compare(Operand, Comparison, Operand),
    Between(Operand, Operand, Operand),
    In(Operand, Vec<Operand>),
    Exists(Path),
    NotExists(Path),
    OfType(Path, Operand),
    BeginsWith(Operand, Operand),
    Contains(Operand, Operand),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Operand {
    Path(Path),
    Value(Value),
    Size(Path),
}

/// A change of a row.
#[derive(Clone, Debug)]
pub(super) enum Action {
    Set(Path, Term),
    Remove(Path),
    Add(Path, Value),
    Delete(Path, Value),
}

/// What an attribute is set to.
#[derive(Clone, Debug)]
pub(super) enum Term {
    Path(Path),
    Value(Value),
    IfNotExists(Path, Box<Term>),
    Append(Box<Term>, Box<Term>),
    Plus(Box<Term>, Box<Term>),
    Minus(Box<Term>, Box<Term>),
}

/// The names and values that a request defines for its expressions.
pub(super) struct Definitions<'a> {
    request: &'a Map<String, Value>,
    used: RefCell<BTreeSet<String>>,
}

impl<'a> Definitions<'a> {
    pub(super) fn of(request: &'a Map<String, Value>) -> Self {
        Self { request, used: RefCell::default() }
    }

    /// The condition of a parameter, if it is there.
    pub(super) fn condition(&self, parameter: &str) -> Result<Option<Condition>, Refusal> {
        self.read(parameter, |parser| parser.any())
    }

    /// The changes of the request's `UpdateExpression`.
    pub(super) fn update(&self) -> Result<Vec<Action>, Refusal> {
        Ok(self.read("UpdateExpression", |parser| parser.update())?.unwrap_or_default())
    }

    /// The paths of the request's `ProjectionExpression`.
    pub(super) fn projection(&self) -> Result<Option<Vec<Path>>, Refusal> {
        let paths = self.read("ProjectionExpression", |parser| parser.list(Parser::path))?;
        overlapping(paths.iter().flatten())?;
        Ok(paths)
    }

    /// To be called when every expression of the request has been read.
    pub(super) fn all_used(&self) -> Result<(), Refusal> {
        let given = |name: &&str| self.request.get(*name).is_some_and(|value| !value.is_null());
        for parameter in [NAMES, VALUES].into_iter().filter(given) {
            if !EXPRESSIONS.iter().any(given) {
                return Err(Refusal::validation(format!("{parameter} can only be specified when using expressions")));
            }
            let used = self.used.borrow();
            let defined = self.request[parameter].as_object().into_iter().flat_map(Map::keys);
            let unused: Vec<&str> = defined.map(String::as_str).filter(|name| !used.contains(*name)).collect();
            if !unused.is_empty() {
                let unused = unused.join(", ");
                let message = format!("Value provided in {parameter} unused in expressions: keys: {{{unused}}}");
                return Err(Refusal::validation(message));
            }
        }
        Ok(())
    }

    fn read<T>(
        &self,
        parameter: &str,
        read: impl FnOnce(&mut Parser<'_>) -> Result<T, Refusal>,
    ) -> Result<Option<T>, Refusal> {
        let Some(text) = self.request.get(parameter).filter(|text| !text.is_null()) else { return Ok(None) };
        let text = text.as_str().ok_or_else(|| Refusal::validation(format!("{parameter} must be a text")))?;
        let told = |refusal: Refusal| Refusal::validation(format!("Invalid {parameter}: {}", refusal.message));
        let mut parser = Parser { tokens: tokens(text).map_err(told)?, at: 0, depth: 0, definitions: self };
        let found = read(&mut parser).and_then(|found| parser.end().map(|()| found)).map_err(told)?;
        Ok(Some(found))
    }

    fn defined(&self, parameter: &str, name: &str) -> Result<&'a Value, Refusal> {
        self.used.borrow_mut().insert(name.to_owned());
        let defined = self.request.get(parameter).and_then(|defined| defined.get(name));
        defined.ok_or_else(|| {
            Refusal::validation(format!("An expression attribute is used in an expression and not defined: {name}"))
        })
    }
}

/// Parentheses and negations in each other.
const DEPTH_MAX: u8 = 64;

struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    at: usize,
    depth: u8,
    definitions: &'a Definitions<'a>,
}

impl<'a> Parser<'a> {
    fn any(&mut self) -> Result<Condition, Refusal> {
        let mut all = vec![self.all()?];
        while self.take_word("OR") {
            all.push(self.all()?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Condition::Any(all) })
    }

    fn all(&mut self) -> Result<Condition, Refusal> {
        let mut all = vec![self.one()?];
        while self.take_word("AND") {
            all.push(self.one()?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Condition::All(all) })
    }

    fn one(&mut self) -> Result<Condition, Refusal> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(Refusal::validation("The expression is nested too deeply"));
        }
        let condition = if self.take_word("NOT") {
            Condition::Not(Box::new(self.one()?))
        } else if self.take("(") {
            let inner = self.any()?;
            self.expect(")")?;
            inner
        } else {
            match self.function_name() {
                Some(name) if name != "size" => self.function(name)?,
                _ => self.comparison()?,
            }
        };
        self.depth -= 1;
        Ok(condition)
    }

    fn function(&mut self, name: &str) -> Result<Condition, Refusal> {
        self.at += 2;
        let condition = match name {
            "attribute_exists" => Condition::Exists(self.path()?),
            "attribute_not_exists" => Condition::NotExists(self.path()?),
            "attribute_type" => Condition::OfType(self.path()?, self.second()?),
            "begins_with" => Condition::BeginsWith(self.operand()?, self.second()?),
            "contains" => Condition::Contains(self.operand()?, self.second()?),
            other => return Err(Refusal::validation(format!("Invalid function name; function: {other}"))),
        };
        self.expect(")")?;
        Ok(condition)
    }

    fn second(&mut self) -> Result<Operand, Refusal> {
        self.expect(",")?;
        self.operand()
    }

    fn comparison(&mut self) -> Result<Condition, Refusal> {
        let left = self.operand()?;
        if self.take_word("BETWEEN") {
            let low = self.operand()?;
            if !self.take_word("AND") {
                return Err(Refusal::validation("BETWEEN needs AND"));
            }
            return Ok(Condition::Between(left, low, self.operand()?));
        }
        if self.take_word("IN") {
            self.expect("(")?;
            let among = self.list(Self::operand)?;
            self.expect(")")?;
            return Ok(Condition::In(left, among));
        }
        let comparison = match self.next().map(Token::text) {
            Some("=") => Comparison::Equal,
            Some("<>") => Comparison::NotEqual,
            Some("<") => Comparison::Less,
            Some("<=") => Comparison::LessOrEqual,
            Some(">") => Comparison::Greater,
            Some(">=") => Comparison::GreaterOrEqual,
            other => return Err(syntax(other)),
        };
        let right = self.operand()?;
        if left == right {
            return Err(Refusal::validation("The first operand must be distinct from the remaining operands"));
        }
        Ok(Condition::Compare(left, comparison, right))
    }

    fn operand(&mut self) -> Result<Operand, Refusal> {
        if self.function_name() == Some("size") {
            self.at += 2;
            let path = self.path()?;
            self.expect(")")?;
            return Ok(Operand::Size(path));
        }
        Ok(if self.is_value() { Operand::Value(self.value()?) } else { Operand::Path(self.path()?) })
    }

    fn update(&mut self) -> Result<Vec<Action>, Refusal> {
        let mut actions: Vec<Action> = Vec::new();
        let mut seen = BTreeSet::new();
        while let Some(token) = self.next() {
            let section = token.text().to_ascii_uppercase();
            if !matches!(token, Token::Word(_)) || !seen.insert(section.clone()) {
                return Err(syntax(Some(token.text())));
            }
            actions.extend(match section.as_str() {
                "SET" => self.list(Self::assignment)?,
                "REMOVE" => self.list(|parser| Ok(Action::Remove(parser.path()?)))?,
                "ADD" => self.list(|parser| Ok(Action::Add(parser.path()?, parser.value()?)))?,
                "DELETE" => self.list(|parser| Ok(Action::Delete(parser.path()?, parser.value()?)))?,
                _ => return Err(syntax(Some(token.text()))),
            });
        }
        overlapping(actions.iter().map(Action::path))?;
        Ok(actions)
    }

    fn assignment(&mut self) -> Result<Action, Refusal> {
        let path = self.path()?;
        self.expect("=")?;
        let left = self.term()?;
        let term = if self.take("+") {
            Term::Plus(Box::new(left), Box::new(self.term()?))
        } else if self.take("-") {
            Term::Minus(Box::new(left), Box::new(self.term()?))
        } else {
            left
        };
        Ok(Action::Set(path, term))
    }

    fn term(&mut self) -> Result<Term, Refusal> {
        self.depth += 1;
        let term = match self.function_name() {
            _ if self.depth > DEPTH_MAX => return Err(Refusal::validation("The expression is nested too deeply")),
            Some("if_not_exists") => {
                self.at += 2;
                let path = self.path()?;
                self.expect(",")?;
                Term::IfNotExists(path, Box::new(self.term()?))
            }
            Some("list_append") => {
                self.at += 2;
                let first = self.term()?;
                self.expect(",")?;
                Term::Append(Box::new(first), Box::new(self.term()?))
            }
            Some(other) => return Err(Refusal::validation(format!("Invalid function name; function: {other}"))),
            None if self.is_value() => return self.value().map(|value| (self.depth -= 1, Term::Value(value)).1),
            None => return self.path().map(|path| (self.depth -= 1, Term::Path(path)).1),
        };
        self.expect(")")?;
        self.depth -= 1;
        Ok(term)
    }

    fn path(&mut self) -> Result<Path, Refusal> {
        let attribute = self.name()?;
        let mut rest = Vec::new();
        loop {
            if self.take(".") {
                rest.push(Step::Name(self.name()?));
            } else if self.take("[") {
                let index = self.next().and_then(|token| token.text().parse().ok());
                rest.push(Step::Index(index.ok_or_else(|| syntax(Some("[")))?));
                self.expect("]")?;
            } else {
                return Ok(Path { attribute, rest });
            }
        }
    }

    fn name(&mut self) -> Result<String, Refusal> {
        match self.next() {
            Some(Token::Word(word)) if RESERVED.contains(&word.to_ascii_uppercase().as_str()) => {
                let message = format!("Attribute name is a reserved keyword; reserved keyword: {word}");
                Err(Refusal::validation(message))
            }
            Some(Token::Word(word)) => Ok(word.to_owned()),
            Some(Token::Name(name)) => {
                let defined = self.definitions.defined(NAMES, name)?.as_str();
                defined.map(str::to_owned).ok_or_else(|| Refusal::validation(format!("{name} is not a name")))
            }
            other => Err(syntax(other.map(Token::text))),
        }
    }

    fn value(&mut self) -> Result<Value, Refusal> {
        match self.next() {
            Some(Token::Value(name)) => checked(self.definitions.defined(VALUES, name)?),
            other => Err(syntax(other.map(Token::text))),
        }
    }

    fn list<T>(&mut self, mut one: impl FnMut(&mut Self) -> Result<T, Refusal>) -> Result<Vec<T>, Refusal> {
        let mut list = vec![one(self)?];
        while self.take(",") {
            list.push(one(self)?);
        }
        Ok(list)
    }

    fn is_value(&self) -> bool {
        matches!(self.tokens.get(self.at), Some(Token::Value(_)))
    }

    /// The name of the function that is called here.
    fn function_name(&self) -> Option<&'a str> {
        match self.tokens.get(self.at..self.at + 2)? {
            [Token::Word(name), Token::Mark("(")] => Some(name),
            _ => None,
        }
    }

    fn next(&mut self) -> Option<Token<'a>> {
        let token = self.tokens.get(self.at).copied();
        self.at += 1;
        token
    }

    fn take(&mut self, mark: &'static str) -> bool {
        let found = self.tokens.get(self.at) == Some(&Token::Mark(mark));
        self.at += usize::from(found);
        found
    }

    fn take_word(&mut self, wanted: &str) -> bool {
        let found = matches!(self.tokens.get(self.at), Some(Token::Word(word)) if word.eq_ignore_ascii_case(wanted));
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, mark: &'static str) -> Result<(), Refusal> {
        if self.take(mark) { Ok(()) } else { Err(syntax(self.next().map(Token::text))) }
    }

    fn end(&mut self) -> Result<(), Refusal> {
        self.next().map_or(Ok(()), |token| Err(syntax(Some(token.text()))))
    }
}

impl Action {
    pub(super) fn path(&self) -> &Path {
        let (Self::Set(path, _) | Self::Remove(path) | Self::Add(path, _) | Self::Delete(path, _)) = self;
        path
    }
}

fn overlapping<'a>(paths: impl Iterator<Item = &'a Path>) -> Result<(), Refusal> {
    let paths: Vec<&Path> = paths.collect();
    for (n, path) in paths.iter().enumerate() {
        if paths[..n].iter().any(|other| path.overlaps(other)) {
            let message = format!("Two document paths overlap with each other; attribute: {}", path.attribute);
            return Err(Refusal::validation(message));
        }
    }
    Ok(())
}

fn syntax(at: Option<&str>) -> Refusal {
    Refusal::validation(match at {
        Some(token) => format!("Syntax error; token: {token:?}"),
        None => "Syntax error; the expression ends too early".to_owned(),
    })
}
