//! Loads that lack a safety mechanism: their statements are changed on the way to the warehouse, so that no deliberate
//! bug stands in the product.
//!
//! **Promises** a statement keeps its place: the loader finds the results that it asks for.

use serde_json::Value;

use super::super::wire::{Call, Input};

const NOTHING: &str = "SELECT 1";
const OPEN_GUARD: &str = "CREATE TEMP TABLE \"load_guard\" AS SELECT 1 AS \"ok\"";
const LOADS: &str = "mangrove: load";
/// The lock and the guard.
const OPENING: usize = 2;

/// What a load lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadMutant {
    /// Nothing asks the ledger within the transaction.
    Guard,
    /// The ledger is asked, but not locked before.
    Lock,
    /// The ledger's rows are written in a transaction of their own, afterwards.
    LedgerInside,
    /// The ledger's rows are written in a transaction of their own, before.
    LedgerNotBefore,
    /// What has no answer counts as applied, and is noted.
    Question,
}

impl LoadMutant {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Guard, Self::Lock, Self::LedgerInside, Self::LedgerNotBefore, Self::Question];

    /// The name of the mutant.
    pub fn name(self) -> &'static str {
        match self {
            Self::Guard => "load-without-guard",
            Self::Lock => "load-without-lock",
            Self::LedgerInside => "ledger-after-the-load",
            Self::LedgerNotBefore => "ledger-before-the-load",
            Self::Question => "unanswered-load-believed",
        }
    }

    /// The mutant of this name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mutant| mutant.name() == name)
    }

    /// What a load is without it: a transaction, and maybe one that follows; none if this is no load, or lacks nothing.
    pub(in crate::cloud) fn of(self, call: &Call) -> Option<(Call, Option<Call>)> {
        let sqls = statements(call)?;
        let mut first = sqls.clone();
        let mut then = None;
        match self {
            Self::Guard => first[1] = OPEN_GUARD.to_owned(),
            Self::Lock => first[0] = NOTHING.to_owned(),
            Self::LedgerInside => {
                first = kept(&sqls, |sql| !is_ledger(sql));
                then = Some(rest(call, &kept(&sqls, is_ledger)));
            }
            Self::LedgerNotBefore => {
                first = kept(&sqls, is_ledger);
                let mut others = kept(&sqls, |sql| !is_ledger(sql));
                others[1] = OPEN_GUARD.to_owned();
                then = Some(rest(call, &others));
            }
            Self::Question => return None,
        }
        Some((with(call, &first), then))
    }

    /// What a loader notes that believes in a load without an answer.
    pub(in crate::cloud) fn believed(self, call: &Call) -> Option<Call> {
        let sqls = statements(call).filter(|_| self == Self::Question)?;
        Some(with(call, &kept(&sqls, is_ledger)))
    }
}

/// The statements of a load.
fn statements(call: &Call) -> Option<Vec<String>> {
    let Input::Json(input) = &call.input else { return None };
    let is_load = input["StatementName"].as_str().is_some_and(|name| name.starts_with(LOADS));
    let sqls: Vec<String> =
        input["Sqls"].as_array()?.iter().filter_map(|sql| sql.as_str().map(str::to_owned)).collect();
    let opens = sqls.len() > OPENING && sqls[0].starts_with("LOCK ") && sqls[1].contains("\"load_guard\"");
    (is_load && opens).then_some(sqls)
}

fn is_ledger(sql: &str) -> bool {
    sql.contains("\"load_epochs\"") || sql.contains("\"fresh\"")
}

/// The lock, the guard, and these; nothing in the place of the others.
fn kept(sqls: &[String], keeps: impl Fn(&str) -> bool) -> Vec<String> {
    let keep = |(n, sql): (usize, &String)| if n < OPENING || keeps(sql) { sql.clone() } else { NOTHING.to_owned() };
    sqls.iter().enumerate().map(keep).collect()
}

/// What follows a load that was cut in two. By its name it is none, or it would be cut again, and so on for ever.
fn rest(call: &Call, sqls: &[String]) -> Call {
    let mut rest = with(call, sqls);
    if let Input::Json(json) = &mut rest.input {
        json["StatementName"] = "the rest of a load".into();
        rest.body = json.to_string().into();
    }
    rest
}

/// The same request with other statements.
fn with(call: &Call, sqls: &[String]) -> Call {
    let mut json = match &call.input {
        Input::Json(json) => json.clone(),
        _ => Value::Null,
    };
    json["Sqls"] = sqls.into();
    // A request of its own.
    json["ClientToken"] = Value::Null;
    let body = json.to_string().into();
    Call {
        service: call.service,
        operation: call.operation.clone(),
        key: call.key.clone(),
        input: Input::Json(json),
        body,
    }
}
