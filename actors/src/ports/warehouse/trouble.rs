//! What a failure says about the warehouse: applied, not applied, or unknown, and whether waiting helps.

use crate::ports::aws::{CallError, Failure};

/// Error texts are kept up to this length.
const MESSAGE_CHARS_MAX: usize = 2_000;

/// What can be said after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing was changed, and it is not the statement's fault: paused, busy, restarting, cancelled. Wait.
    Unavailable,
    /// Nothing was changed, and it will not work until somebody changes the configuration: permissions, roles, names.
    Denied,
    /// Nothing was changed: the warehouse refuses this statement or this data, however often it is tried.
    Refused,
    /// No answer, or none that tells: it may have been applied, or be applied later.
    Unknown,
}

impl Trouble {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Unavailable, Self::Denied, Self::Refused, Self::Unknown];

    /// The stable name, for metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Denied => "denied",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
        }
    }

    /// What the error of a failed statement means. Its transaction is rolled back in any case.
    pub(super) fn of_sql(message: &str) -> Self {
        // Refusals by data are many and differ by version; the others are known. So these are the ones that are listed:
        // an epoch must not be put aside because a role lacks a permission.
        const UNAVAILABLE: [&str; 22] = [
            "serializable isolation violation",
            "could not serialize",
            "deadlock",
            "write-write conflict",
            "lock timeout",
            "canceling statement",
            "cancelled",
            "canceled",
            "terminating connection",
            "connection reset",
            "connection refused",
            "starting up",
            "shutting down",
            "restarting",
            "paused",
            "resuming",
            "resizing",
            "disk full",
            "out of memory",
            "slowdown",
            "serviceunavailable",
            "internalerror",
        ];
        const DENIED: [&str; 9] = [
            "permission denied",
            "access denied",
            "accessdenied",
            "not authorized",
            "unauthorized",
            "must be owner",
            "assume",
            "authentication failed",
            "no such bucket",
        ];
        let message = message.to_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
        let no_table = message.contains("does not exist")
            && ["relation", "schema", "table"].iter().any(|word| message.contains(word));
        if says(&UNAVAILABLE) {
            Self::Unavailable
        } else if says(&DENIED) || no_table {
            Self::Denied
        } else {
            Self::Refused
        }
    }
}

/// A statement did not end well.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{action}: {}{message}", .statement.map(|n| format!("statement {}: ", n + 1)).unwrap_or_default())]
pub struct WarehouseError {
    /// What was tried.
    pub action: String,
    /// What can be said about the warehouse now.
    pub trouble: Trouble,
    /// The warehouse's or the client's own words.
    pub message: String,
    /// Which statement of a batch failed, from 0.
    pub statement: Option<usize>,
}

impl WarehouseError {
    pub(super) fn new(action: impl Into<String>, trouble: Trouble, message: impl AsRef<str>) -> Self {
        let message = message.as_ref().chars().take(MESSAGE_CHARS_MAX).collect();
        Self { action: action.into(), trouble, message, statement: None }
    }

    /// A call of the Data API failed.
    pub(super) fn of_call(error: CallError) -> Self {
        let said = error.message.to_lowercase();
        let waits = ["paused", "pausing", "resuming", "resizing", "not available", "unavailable", "maintenance"];
        let trouble = match (error.failure, error.code.as_deref()) {
            (Failure::Throttled, _) | (_, Some("DatabaseConnectionException")) => Trouble::Unavailable,
            // The service has no code of its own for a cluster that is paused.
            (Failure::Refused | Failure::NotFound, _) if waits.iter().any(|word| said.contains(word)) => {
                Trouble::Unavailable
            }
            (Failure::NotFound, _) => Trouble::Denied,
            (Failure::Refused, Some("ValidationException")) => Trouble::Refused,
            (Failure::Refused | Failure::Condition, _) => Trouble::Denied,
            (Failure::Transient, _) => Trouble::Unknown,
        };
        Self::new(error.action, trouble, error.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_refused_and_nothing_else_is() {
        let cases = [
            (
                "ERROR: Spectrum Scan Error: file has an incompatible Parquet schema for column s3://b/k",
                Trouble::Refused,
            ),
            (
                "ERROR: Load into table 'stg' failed. Check 'stl_load_errors' system table for details.",
                Trouble::Refused,
            ),
            ("ERROR: value too long for character type", Trouble::Refused),
            ("ERROR: 1023 Detail: Serializable isolation violation on table - 1", Trouble::Unavailable),
            ("ERROR: deadlock detected", Trouble::Unavailable),
            ("ERROR: canceling statement due to user request", Trouble::Unavailable),
            ("S3ServiceException:Please reduce your request rate.,Status 503,Error SlowDown", Trouble::Unavailable),
            ("S3ServiceException:Access Denied,Status 403,Error AccessDenied", Trouble::Denied),
            ("ERROR: User is not authorized to assume IAM Role arn:aws:iam::1:role/x", Trouble::Denied),
            ("ERROR: relation \"mangrove.load_ledger\" does not exist", Trouble::Denied),
        ];
        for (message, trouble) in cases {
            assert_eq!(Trouble::of_sql(message), trouble, "{message}");
        }
    }

    #[test]
    fn a_paused_warehouse_is_waited_for() {
        let error = |failure, code: &str, message: &str| {
            let (action, code, message) = ("run x".to_owned(), Some(code.to_owned()), message.to_owned());
            WarehouseError::of_call(CallError { action, failure, code, message }).trouble
        };
        assert_eq!(error(Failure::Refused, "ValidationException", "Cluster is paused"), Trouble::Unavailable);
        assert_eq!(error(Failure::Refused, "ValidationException", "sqls too long"), Trouble::Refused);
        assert_eq!(error(Failure::Transient, "DatabaseConnectionException", "no"), Trouble::Unavailable);
        assert_eq!(error(Failure::Transient, "BatchExecuteStatementException", "HTTP 500"), Trouble::Unknown);
        assert_eq!(error(Failure::Refused, "AccessDeniedException", "no"), Trouble::Denied);
    }
}
