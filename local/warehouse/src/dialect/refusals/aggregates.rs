//! Aggregates that are made by sorting, and window functions.

use sqlparser::ast::{DuplicateTreatment, Function, FunctionArguments, ObjectNamePart, WindowType};
use sqlparser::tokenizer::Location;

const SORTED: [&str; 4] = ["listagg", "median", "percentile_cont", "percentile_disc"];

/// Window functions that take no frame: ranks, and what looks at another row or sorts by itself.
const FRAMELESS: [&str; 13] = [
    "cume_dist",
    "dense_rank",
    "lag",
    "lead",
    "listagg",
    "median",
    "ntile",
    "percent_rank",
    "percentile_cont",
    "percentile_disc",
    "rank",
    "ratio_to_report",
    "row_number",
];

/// An aggregate of a block that has a part in these rules.
#[derive(PartialEq)]
pub(super) struct Aggregate {
    text: String,
    is_distinct: bool,
    is_sorted: bool,
    /// What it sorts by, if it says so.
    order: Option<String>,
}

impl Aggregate {
    pub(super) fn of(name: &str, function: &Function, approximate: &[Location]) -> Option<Aggregate> {
        let place = match function.name.0.last() {
            Some(ObjectNamePart::Identifier(name)) => name.span.start,
            _ => return None,
        };
        let is_exact = !approximate.contains(&place);
        let (is_sorted, is_distinct) = (is_exact && SORTED.contains(&name), is_exact && is_distinct(function));
        let order = is_sorted.then(|| order(name, function)).flatten();
        (is_sorted || is_distinct).then(|| Aggregate { text: plain(function), is_distinct, is_sorted, order })
    }
}

pub(super) fn is_distinct(function: &Function) -> bool {
    matches!(&function.args, FunctionArguments::List(list)
        if list.duplicate_treatment == Some(DuplicateTreatment::Distinct))
}

/// What it sorts by; MEDIAN sorts by what it is of.
fn order(name: &str, function: &Function) -> Option<String> {
    if name == "median" {
        return super::arguments(function).first().map(plain);
    }
    let parts: Vec<String> = function.within_group.iter().map(plain).collect();
    (!parts.is_empty()).then(|| parts.join(","))
}

/// A piece of SQL in one spelling.
fn plain(part: impl ToString) -> String {
    let text = part.to_string().replace('"', "").to_lowercase();
    text.strip_suffix(" asc").map(str::to_owned).unwrap_or(text)
}

pub(super) fn sorted_beside_distinct(aggregates: &[Aggregate]) -> bool {
    let sorted = aggregates.iter().filter(|aggregate| aggregate.is_sorted);
    sorted.into_iter().any(|one| aggregates.iter().any(|other| other.is_distinct && other.text != one.text))
}

pub(super) fn of_two_orders(aggregates: &[Aggregate]) -> bool {
    let mut orders = aggregates.iter().filter_map(|aggregate| aggregate.order.as_ref());
    let first = orders.next();
    orders.any(|other| Some(other) != first)
}

/// "If an ORDER BY clause is used for an aggregate function, an explicit frame clause is required."
pub(super) fn lacks_frame(name: &str, over: &WindowType) -> bool {
    let WindowType::WindowSpec(spec) = over else { return false };
    !spec.order_by.is_empty() && spec.window_frame.is_none() && !FRAMELESS.contains(&name)
}
