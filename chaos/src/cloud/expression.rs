//! DynamoDB's expressions, as far as leases use them: conditions, and updates with SET, REMOVE and, for sets of
//! strings, ADD.
//!
//! **Promises** what is outside the grammar, undefined, unused or contradictory is refused, as by the real service;
//! nothing is silently true.
//! **Not here**: paths into nested attributes, arithmetic, ADD of numbers, DELETE, and the functions other than existence.

use std::cell::RefCell;
use std::collections::BTreeSet;

use local_engine::Refusal;
use serde_json::{Map, Value, json};

use super::table::Item;

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

/// The names and values that a request defines for its expressions.
pub(super) struct Definitions<'a> {
    names: Option<&'a Map<String, Value>>,
    values: Option<&'a Map<String, Value>>,
    used: RefCell<BTreeSet<String>>,
}

/// An update of one attribute; no value removes it.
pub(super) type Change = (String, Option<Value>);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Token<'a> {
    Word(&'a str),
    Name(&'a str),
    Value(&'a str),
    Mark(&'a str),
}

struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    at: usize,
    definitions: &'a Definitions<'a>,
}

impl<'a> Definitions<'a> {
    pub(super) fn of(input: &'a Value) -> Self {
        let map = |name: &str| input[name].as_object();
        let (names, values) = (map("ExpressionAttributeNames"), map("ExpressionAttributeValues"));
        Self { names, values, used: RefCell::default() }
    }

    /// Whether the condition holds for a row, or for none.
    pub(super) fn holds(&self, condition: &str, row: Option<&Item>) -> Result<bool, Refusal> {
        let mut parser = Parser::new(condition, self)?;
        let holds = parser.any(row)?;
        parser.end().map(|()| holds)
    }

    /// The changes of an update expression of this row.
    pub(super) fn changes(&self, update: &str, row: &Item) -> Result<Vec<Change>, Refusal> {
        let mut parser = Parser::new(update, self)?;
        let mut changes: Vec<Change> = Vec::new();
        let mut seen = BTreeSet::new();
        while let Some(token) = parser.next() {
            let section = match token {
                Token::Word(word) if seen.insert(word.to_ascii_uppercase()) => word.to_ascii_uppercase(),
                other => return Err(syntax(other)),
            };
            loop {
                let change = match section.as_str() {
                    "SET" => parser.assignment()?,
                    "REMOVE" => (parser.attribute()?, None),
                    "ADD" => parser.addition(row)?,
                    _ => return Err(syntax(token)),
                };
                if changes.iter().any(|(name, _)| *name == change.0) {
                    return Err(Refusal::validation(format!("two document paths overlap: {}", change.0)));
                }
                changes.push(change);
                if !parser.take(Token::Mark(",")) {
                    break;
                }
            }
        }
        Ok(changes)
    }

    /// To be called when every expression of the request has been read.
    pub(super) fn all_used(&self) -> Result<(), Refusal> {
        let used = self.used.borrow();
        let defined = [self.names, self.values].into_iter().flatten().flat_map(Map::keys);
        match defined.into_iter().find(|name| !used.contains(*name)) {
            Some(unused) => Err(Refusal::validation(format!("{unused} is defined and not used in expressions"))),
            None => Ok(()),
        }
    }

    fn defined(&self, map: Option<&'a Map<String, Value>>, name: &str) -> Result<&'a Value, Refusal> {
        self.used.borrow_mut().insert(name.to_owned());
        map.and_then(|map| map.get(name)).ok_or_else(|| Refusal::validation(format!("{name} is not defined")))
    }
}

impl<'a> Parser<'a> {
    fn new(text: &'a str, definitions: &'a Definitions<'a>) -> Result<Self, Refusal> {
        Ok(Self { tokens: tokens(text)?, at: 0, definitions })
    }

    fn any(&mut self, row: Option<&Item>) -> Result<bool, Refusal> {
        let mut holds = self.all(row)?;
        while self.take_word("OR") {
            // Both sides are read, whatever the first one says.
            holds |= self.all(row)?;
        }
        Ok(holds)
    }

    fn all(&mut self, row: Option<&Item>) -> Result<bool, Refusal> {
        let mut holds = self.one(row)?;
        while self.take_word("AND") {
            holds &= self.one(row)?;
        }
        Ok(holds)
    }

    fn one(&mut self, row: Option<&Item>) -> Result<bool, Refusal> {
        if self.take(Token::Mark("(")) {
            let holds = self.any(row)?;
            return self.expect(")").map(|()| holds);
        }
        for (function, wanted) in [("attribute_exists", true), ("attribute_not_exists", false)] {
            if self.take(Token::Word(function)) {
                self.expect("(")?;
                let name = self.attribute()?;
                self.expect(")")?;
                return Ok(row.is_some_and(|row| row.contains_key(&name)) == wanted);
            }
        }
        let name = self.attribute()?;
        let found = row.and_then(|row| row.get(&name));
        let operator = self.next();
        let value = self.value()?;
        let same = found.is_some_and(|found| equal(found, value));
        match operator {
            Some(Token::Mark("=")) => Ok(same),
            // A missing attribute differs from every value.
            Some(Token::Mark("<>")) => Ok(!same),
            Some(Token::Mark("<")) => Ok(found.and_then(number).zip(number(value)).is_some_and(|(a, b)| a < b)),
            other => Err(other.map_or_else(|| Refusal::validation("the condition ends too early"), syntax)),
        }
    }

    fn assignment(&mut self) -> Result<Change, Refusal> {
        let name = self.attribute()?;
        self.expect("=")?;
        let value = self.value()?;
        Ok((name, Some(value.clone())))
    }

    fn addition(&mut self, row: &Item) -> Result<Change, Refusal> {
        let name = self.attribute()?;
        let members = |value: &Value| value["SS"].as_array().cloned();
        let added = members(self.value()?);
        let there = row.get(&name).map_or(Some(Vec::new()), members);
        let (Some(added), Some(mut all)) = (added, there) else {
            return Err(Refusal::validation(format!("{name} is no set of strings to add to")));
        };
        all.extend(added.into_iter().filter(|member| !all.contains(member)).collect::<Vec<_>>());
        Ok((name, Some(json!({ "SS": all }))))
    }

    fn attribute(&mut self) -> Result<String, Refusal> {
        match self.next() {
            Some(Token::Word(word)) if RESERVED.contains(&word.to_ascii_uppercase().as_str()) => {
                Err(Refusal::validation(format!("attribute name is a reserved keyword: {word}")))
            }
            Some(Token::Word(word)) => Ok(word.to_owned()),
            Some(Token::Name(name)) => {
                let defined = self.definitions.defined(self.definitions.names, name)?.as_str();
                defined.map(str::to_owned).ok_or_else(|| Refusal::validation(format!("{name} is not a name")))
            }
            Some(other) => Err(syntax(other)),
            None => Err(Refusal::validation("an attribute is missing at the end")),
        }
    }

    fn value(&mut self) -> Result<&'a Value, Refusal> {
        match self.next() {
            Some(Token::Value(name)) => self.definitions.defined(self.definitions.values, name),
            Some(other) => Err(syntax(other)),
            None => Err(Refusal::validation("a value is missing at the end")),
        }
    }

    fn next(&mut self) -> Option<Token<'a>> {
        let token = self.tokens.get(self.at).copied();
        self.at += 1;
        token
    }

    fn take(&mut self, wanted: Token<'_>) -> bool {
        let found = self.tokens.get(self.at) == Some(&wanted);
        self.at += usize::from(found);
        found
    }

    fn take_word(&mut self, wanted: &str) -> bool {
        let found = matches!(self.tokens.get(self.at), Some(Token::Word(word)) if word.eq_ignore_ascii_case(wanted));
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, mark: &'static str) -> Result<(), Refusal> {
        if self.take(Token::Mark(mark)) { Ok(()) } else { Err(Refusal::validation(format!("expected {mark:?}"))) }
    }

    fn end(&mut self) -> Result<(), Refusal> {
        self.next().map_or(Ok(()), |token| Err(syntax(token)))
    }
}

fn syntax(token: Token<'_>) -> Refusal {
    Refusal::validation(format!("syntax error in an expression, at {token:?}"))
}

fn tokens(text: &str) -> Result<Vec<Token<'_>>, Refusal> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let word = |text: &str| text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
        let (token, length) = match first {
            '#' | ':' => {
                let length = 1 + word(&rest[1..]);
                (if first == '#' { Token::Name(&rest[..length]) } else { Token::Value(&rest[..length]) }, length)
            }
            c if c.is_ascii_alphabetic() || c == '_' => (Token::Word(&rest[..word(rest)]), word(rest)),
            '<' if rest.starts_with("<>") => (Token::Mark("<>"), 2),
            '<' if !rest.starts_with("<=") => (Token::Mark("<"), 1),
            '=' | '(' | ')' | ',' => (Token::Mark(&rest[..1]), 1),
            other => return Err(Refusal::validation(format!("syntax error in an expression, at {other:?}"))),
        };
        tokens.push(token);
        rest = rest[length..].trim_start();
    }
    if tokens.is_empty() { Err(Refusal::validation("the expression is empty")) } else { Ok(tokens) }
}

fn number(value: &Value) -> Option<i128> {
    value["N"].as_str().and_then(|digits| digits.parse().ok())
}

/// Attributes are equal as DynamoDB sees it: numbers by value, sets without order.
fn equal(a: &Value, b: &Value) -> bool {
    let set = |value: &Value| {
        let members = ["SS", "NS", "BS"].iter().find_map(|kind| value[*kind].as_array())?;
        Some(members.iter().map(Value::to_string).collect::<BTreeSet<_>>())
    };
    a == b || (number(a).is_some() && number(a) == number(b)) || (set(a).is_some() && set(a) == set(b))
}
