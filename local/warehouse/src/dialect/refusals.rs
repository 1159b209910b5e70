//! What Redshift refuses and DuckDB would take: a statement that is only wrong there must not pass here.
//!
//! ```text
//! tree as it was parsed -> walk -> Rule -> words of the refusal, with the page that says so
//! ```
//!
//! **Owns** the table of such rules; what belongs to one function, clause or option is refused where that is read.
//! **Promises** that a refusal names the page of Redshift's documentation. What cannot be known without the catalog, like
//! the table of a column that is named without one, has the benefit of the doubt.
//! **Fails** with the server's own words where they are known.
//! **Not here**: what DuckDB would take as something else (`judge`).

mod aggregates;
mod columns;
mod correlated;
mod equality;
mod words;

#[cfg(test)]
mod tests;

use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident,
    ObjectNamePart, OrderBy, Select, Statement, TableFactor, UnaryOperator, Value, Visit, Visitor,
};
use sqlparser::tokenizer::Location;

use crate::error::SqlError;

use aggregates::Aggregate;
pub(super) use columns::{default, encoding};

/// A text's bytes.
const TEXT_BYTES_MAX: u64 = 65_535;

/// Why a statement is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// A sort-based aggregate beside a DISTINCT one.
    SortedBesideDistinct,
    /// Sort-based aggregates of two orders.
    TwoOrders,
    /// A window function with an order and without a frame.
    Frame,
    /// DISTINCT in a window function.
    DistinctWindow,
    /// UPDATE .. FROM or DELETE .. USING that joins nothing with its target.
    NoEquality,
    /// A subquery in ON of an outer join that looks outside.
    CorrelatedJoin,
    /// A subquery that looks further out than into the query around it.
    SkippedBlock,
    /// A column of GROUP BY that is such a subquery.
    CorrelatedGroup,
    /// A table from a subquery, without a name.
    NamelessTable,
    /// A reserved word as a name.
    Reserved,
    /// A number that is no INTEGER, as the interval of DATEADD.
    LongInterval,
    /// A text longer than any column.
    LongText,
    /// A way to compress a column that its type does not have.
    Encoding,
    /// A default of another type than its column's.
    DefaultType,
    /// A function of the leader node, asked of a table.
    LeaderOnly,
    /// A row that is too long for the Data API.
    LongRow,
    /// A NUL in a text of a Parquet file.
    Nul,
}

impl Rule {
    /// The page under `docs.aws.amazon.com/redshift/latest/`, and the words of the refusal; `{}` is what it is about.
    const fn row(self) -> (&'static str, &'static str) {
        match self {
            Rule::SortedBesideDistinct => (
                "dg/r_MEDIAN",
                "Using LISTAGG/PERCENTILE_CONT/MEDIAN aggregate functions with other distinct aggregate function not supported",
            ),
            Rule::TwoOrders => {
                ("dg/r_MEDIAN", "within group ORDER BY clauses for aggregate functions must be the same")
            }
            Rule::Frame => (
                "dg/c_Window_functions",
                "Aggregate window functions with an ORDER BY clause require a frame clause: {}",
            ),
            Rule::DistinctWindow => ("dg/r_WF_COUNT", "DISTINCT is not supported in the window function {}"),
            Rule::NoEquality => ("dg/r_UPDATE", "Target table must be part of an equijoin predicate: {}"),
            Rule::CorrelatedJoin => (
                "dg/r_correlated_subqueries",
                "This type of correlated subquery pattern is not supported: in ON of an outer join",
            ),
            Rule::SkippedBlock => (
                "dg/r_correlated_subqueries",
                "This type of correlated subquery pattern is not supported: \"{}\" is not of the query around it",
            ),
            Rule::CorrelatedGroup => (
                "dg/r_correlated_subqueries",
                "This type of correlated subquery pattern is not supported: as a column of GROUP BY",
            ),
            // The page has it both ways: what has an alias is right by either.
            Rule::NamelessTable => ("dg/r_FROM_clause30", "subquery in FROM must have an alias"),
            Rule::Reserved => {
                ("dg/r_pg_keywords", "syntax error at or near \"{}\": a reserved word needs double quotes")
            }
            Rule::LongInterval => {
                ("dg/r_DATEADD_function", "the interval of {} must be an INTEGER, and this is a BIGINT")
            }
            Rule::LongText => {
                ("dg/r_Character_types", "value too long for character type: {} makes more than 65535 bytes")
            }
            Rule::Encoding => ("dg/c_Compression_encodings", "invalid encoding type specified for column {}"),
            Rule::DefaultType => {
                ("dg/r_CREATE_TABLE_NEW", "column {}: the type of the default must match the type of the column")
            }
            Rule::LeaderOnly => (
                "dg/r_VERSION",
                "Specified types or functions (one per INFO message) not supported on Redshift tables: {}",
            ),
            Rule::LongRow => (
                "mgmt/data-api-troubleshooting",
                "Packet for query is too large: a row of the result has more than {} bytes",
            ),
            // No page says what becomes of it: COPY of text takes it for the end of a record.
            Rule::Nul => {
                ("dg/copy-parameters-data-conversion", "invalid byte sequence for encoding \"UTF8\": 0x00 in column {}")
            }
        }
    }

    /// The refusal.
    pub(crate) fn refuses(self, what: &str) -> SqlError {
        let (page, words) = self.row();
        SqlError(format!("{} (Redshift: {page})", words.replace("{}", what)))
    }
}

type Verdict = ControlFlow<SqlError>;

/// Goes on, or refuses.
fn unless(broken: bool, rule: Rule, what: impl FnOnce() -> String) -> Verdict {
    if broken { ControlFlow::Break(rule.refuses(&what())) } else { ControlFlow::Continue(()) }
}

/// Refuses what Redshift would. Calls at these places are approximate ones, which are not made by sorting.
pub(super) fn judge(statement: &Statement, approximate: &[Location]) -> Result<(), SqlError> {
    let mut walk = Walk { approximate, blocks: Vec::new(), is_function: false, orders: 0 };
    match statement.visit(&mut walk) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

/// Refuses a reserved word as a name, in statements that are read by hand.
pub(super) fn name(ident: &Ident) -> Result<(), SqlError> {
    match words::is_reserved(ident) {
        true => Err(Rule::Reserved.refuses(&ident.value)),
        false => Ok(()),
    }
}

/// A query block: what its FROM names, and what it adds up.
#[derive(Default)]
struct Block {
    names: Vec<String>,
    aggregates: Vec<Aggregate>,
}

struct Walk<'a> {
    approximate: &'a [Location],
    blocks: Vec<Block>,
    /// The next name is a function's.
    is_function: bool,
    /// Inside so many ORDER BY of queries, which are of no block.
    orders: usize,
}

impl Visitor for Walk<'_> {
    type Break = SqlError;

    fn pre_visit_statement(&mut self, statement: &Statement) -> Verdict {
        let (names, is_joined) = match statement {
            Statement::Update(update) => equality::of_update(update),
            Statement::Delete(delete) => equality::of_delete(delete),
            _ => return ControlFlow::Continue(()),
        };
        unless(!is_joined, Rule::NoEquality, || names.join(", "))?;
        self.blocks.push(Block { names, ..Block::default() });
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> Verdict {
        let names = correlated::names(&select.from);
        unless(correlated::in_outer_join(select, &names), Rule::CorrelatedJoin, String::new)?;
        unless(correlated::in_group(select, &names), Rule::CorrelatedGroup, String::new)?;
        self.blocks.push(Block { names, ..Block::default() });
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, _: &Select) -> Verdict {
        let block = self.blocks.pop().unwrap_or_default();
        unless(aggregates::sorted_beside_distinct(&block.aggregates), Rule::SortedBesideDistinct, String::new)?;
        unless(aggregates::of_two_orders(&block.aggregates), Rule::TwoOrders, String::new)
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> Verdict {
        unless(matches!(factor, TableFactor::Derived { alias: None, .. }), Rule::NamelessTable, String::new)
    }

    fn pre_visit_order_by(&mut self, _: &OrderBy) -> Verdict {
        self.orders += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_order_by(&mut self, _: &OrderBy) -> Verdict {
        self.orders -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_ident(&mut self, ident: &Ident) -> Verdict {
        let is_function = std::mem::take(&mut self.is_function);
        unless(!is_function && words::is_reserved(ident), Rule::Reserved, || ident.value.clone())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> Verdict {
        match expr {
            Expr::Identifier(ident) => self.is_function = words::is_call(ident),
            Expr::CompoundIdentifier(parts) => return self.outside(parts),
            Expr::Function(function) => {
                self.is_function = true;
                return self.function(function);
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

impl Walk<'_> {
    /// A name that stands further out than in the block around this one.
    fn outside(&self, parts: &[Ident]) -> Verdict {
        let Some(of) = correlated::qualifier(parts) else { return ControlFlow::Continue(()) };
        let at = self.blocks.iter().rposition(|block| block.names.contains(&of));
        unless(at.is_some_and(|at| at + 2 < self.blocks.len()), Rule::SkippedBlock, || of)
    }

    fn function(&mut self, function: &Function) -> Verdict {
        let (name, args) = (called(function), arguments(function));
        if let Some(over) = &function.over {
            unless(aggregates::is_distinct(function) && name != "listagg", Rule::DistinctWindow, || name.clone())?;
            unless(aggregates::lacks_frame(&name, over), Rule::Frame, || name.clone())?;
        } else if self.orders == 0
            && let Some(block) = self.blocks.last_mut()
        {
            block.aggregates.extend(Aggregate::of(&name, function, self.approximate));
        }
        let asks_a_table = self.blocks.iter().flat_map(|block| &block.names).any(|name| !name.starts_with("pg_"));
        match (name.as_str(), args.as_slice()) {
            ("version", []) => unless(asks_a_table, Rule::LeaderOnly, || name),
            ("dateadd" | "date_add", [_, amount, _]) => unless(is_long(amount), Rule::LongInterval, || name),
            ("repeat", [text, times]) => unless(repeats_beyond(text, times), Rule::LongText, || name),
            _ => ControlFlow::Continue(()),
        }
    }
}

/// The name of a function, in lower case.
fn called(function: &Function) -> String {
    match function.name.0.as_slice() {
        [ObjectNamePart::Identifier(name)] => name.value.to_lowercase(),
        _ => String::new(),
    }
}

fn arguments(function: &Function) -> Vec<&Expr> {
    let FunctionArguments::List(list) = &function.args else { return Vec::new() };
    let exprs = list.args.iter().filter_map(|arg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    });
    exprs.collect()
}

/// Whether a number is a BIGINT by what is written: of a column that is the catalog's to say.
fn is_long(expr: &Expr) -> bool {
    match expr {
        Expr::Nested(inner) => is_long(inner),
        Expr::UnaryOp { op: UnaryOperator::Minus | UnaryOperator::Plus, expr } => is_long(expr),
        Expr::BinaryOp {
            left,
            op:
                BinaryOperator::Plus
                | BinaryOperator::Minus
                | BinaryOperator::Multiply
                | BinaryOperator::Divide
                | BinaryOperator::Modulo,
            right,
        } => is_long(left) || is_long(right),
        Expr::Cast { kind: CastKind::Cast | CastKind::DoubleColon, data_type, .. } => {
            matches!(data_type, DataType::BigInt(_) | DataType::Int8(_))
        }
        _ => whole(expr).is_some_and(|n| n > i32::MAX as u64),
    }
}

fn repeats_beyond(text: &Expr, times: &Expr) -> bool {
    let n_bytes = match text {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => text.len() as u64,
            _ => 0,
        },
        _ => 0,
    };
    whole(times).is_some_and(|times| n_bytes.saturating_mul(times) > TEXT_BYTES_MAX)
}

fn whole(expr: &Expr) -> Option<u64> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => digits.parse().ok(),
            _ => None,
        },
        _ => None,
    }
}
