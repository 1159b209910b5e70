//! What a failure says about the warehouse: applied, not applied, or unknown, and whether waiting helps.

use crate::ports::aws::{CallError, Failure};
use crate::warehouse::words::told;

/// Error texts are kept up to this length.
const MESSAGE_CHARS_MAX: usize = 2_000;

/// What can be said after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WarehouseFailure {
    /// Nothing was changed, and nothing says that the data is at fault: paused, busy, full, or words that nobody has seen
    /// before. Wait.
    Unavailable,
    /// Nothing was changed, and it will not work until somebody changes the configuration: permissions, roles, names.
    Denied,
    /// Nothing was changed: the warehouse says that this data is wrong, however often it is tried.
    Refused,
    /// Nothing was changed: the service takes no request of this size. A smaller one may pass.
    TooLarge,
    /// No answer, or none that tells: it may have been applied, or be applied later.
    Unknown,
}

impl WarehouseFailure {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Unavailable, Self::Denied, Self::Refused, Self::TooLarge, Self::Unknown];

    /// The stable name, for metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Denied => "denied",
            Self::Refused => "refused",
            Self::TooLarge => "too_large",
            Self::Unknown => "unknown",
        }
    }

    /// What the error of a failed statement means. Its transaction is rolled back in any case.
    pub(super) fn of_sql(message: &str) -> Self {
        // What can go wrong around a statement is without end, and differs by version; what the warehouse says of data is
        // known. So that is listed: an epoch must not be put aside for a cause that passes.
        let told = told(message, |name| name);
        let says = |words: &[&str]| words.iter().any(|word| told.contains(word));
        let missing = |of: &[&str]| says(of) && says(&["does not exist", "not found"]);
        if says(&OF_DATA) || missing(&["specified key", "s3 prefix"]) {
            Self::Refused
        } else if says(&DENIED) || missing(&["relation", "schema", "table", "column"]) {
            Self::Denied
        } else {
            Self::Unavailable
        }
    }
}

/// What COPY and INSERT say of data, in lower case. They are looked for before the first quoted value: what a device
/// sends cannot speak for the warehouse.
const OF_DATA: [&str; 26] = [
    "incompatible parquet schema",
    "unmatched number of columns",
    "longer than the length defined",
    "value too long",
    "null value into column",
    "missing data for not-null",
    "stl_load_errors",
    "sys_load_error_detail",
    "invalid input syntax",
    "invalid digit",
    "invalid timestamp",
    "invalid date",
    "out of range",
    "data overflow",
    "overflow for ",
    "invalid version number",
    "not a parquet file",
    "not a valid parquet",
    "too small to be a parquet",
    "magic bytes",
    "magic number",
    "invalid utf",
    "invalid or unsupported utf",
    "invalid byte sequence",
    "nosuchkey",
    "its manifest says",
];

/// What is wrong until somebody changes a permission or a name.
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

/// A statement did not end well.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{action}: {}{message}", .statement.map(|n| format!("statement {}: ", n + 1)).unwrap_or_default())]
pub struct WarehouseError {
    /// What was tried.
    pub action: String,
    /// What can be said about the warehouse now.
    pub failure: WarehouseFailure,
    /// The warehouse's or the client's own words.
    pub message: String,
    /// Which statement of a batch failed, from 0.
    pub statement: Option<usize>,
    /// Whether the statement ran, and these are the warehouse's words about it.
    pub ran: bool,
}

impl WarehouseError {
    pub(super) fn new(action: impl Into<String>, failure: WarehouseFailure, message: impl AsRef<str>) -> Self {
        let message = message.as_ref().chars().take(MESSAGE_CHARS_MAX).collect();
        Self { action: action.into(), failure, message, statement: None, ran: false }
    }

    /// The warehouse ran the statement, and says this of it.
    pub(super) fn of_statement(action: impl Into<String>, message: &str) -> Self {
        Self { ran: true, ..Self::new(action, WarehouseFailure::of_sql(message), message) }
    }

    /// A call of the Data API failed.
    pub(super) fn of_call(error: CallError) -> Self {
        let said = error.message.to_lowercase();
        let waits = ["paused", "pausing", "resuming", "resizing", "not available", "unavailable", "maintenance"];
        let failure = match (error.failure, error.code.as_deref()) {
            (Failure::Throttled | Failure::Key, _) | (_, Some("DatabaseConnectionException")) => {
                WarehouseFailure::Unavailable
            }
            // The service has no code of its own for a cluster that is paused.
            (Failure::Refused | Failure::NotFound, _) if waits.iter().any(|word| said.contains(word)) => {
                WarehouseFailure::Unavailable
            }
            (Failure::NotFound, _) => WarehouseFailure::Denied,
            (Failure::Refused, Some("ValidationException")) => WarehouseFailure::TooLarge,
            (Failure::Refused | Failure::Condition, _) => WarehouseFailure::Denied,
            (Failure::Transient, _) => WarehouseFailure::Unknown,
        };
        Self::new(error.action, failure, error.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_speaks_of_data_is_refused() {
        let cases = [
            "ERROR: Spectrum Scan Error: file has an incompatible Parquet schema for column s3://b/k",
            "Spectrum Scan Error code: 15001 context: File 'https://s3.eu-west-1.amazonaws.com/lake/cleansed/year=2026/a.parquet' \
             has an incompatible Parquet schema for column 's3://lake/cleansed.sensor_id'. Column type: VARCHAR",
            "context: The length of the data column site is longer than the length defined in the table. Table: 16, Data: 17",
            "ERROR: Load into table 'stg' failed. Check 'stl_load_errors' system table for details.",
            "ERROR: Load into table 'stg' failed. Check 'sys_load_error_detail' system table for details.",
            "ERROR: value too long for character type",
            "ERROR: Cannot insert a NULL value into column sensor_id",
            "File 'https://s3.eu-west-1.amazonaws.com/lake/a.parquet' has an invalid version number: ,\"a\"",
            "ERROR: invalid input syntax for type double precision: \"connection limit exceeded\"",
            "ERROR: invalid input syntax for integer: \"x' permission denied, access denied\"",
            "S3ServiceException:The specified key does not exist.,Status 404,Error NoSuchKey,Rid 1,CanRetry 1",
            "ERROR: The specified S3 prefix 'cleansed/a.parquet' does not exist",
        ];
        for message in cases {
            assert_eq!(WarehouseFailure::of_sql(message), WarehouseFailure::Refused, "{message}");
        }
    }

    #[test]
    fn what_nobody_has_said_of_data_is_waited_for() {
        let cases = [
            "FATAL: connection limit \"500\" exceeded for non-bootstrap users",
            "ERROR: 1023 Detail: Serializable isolation violation on table - 1",
            "ERROR: 1023",
            "ERROR: could not complete because of conflict with concurrent transaction",
            "ERROR: could not open relation with OID 1234",
            "ERROR: deadlock detected",
            "ERROR: canceling statement due to user request",
            "Query cancelled on user's request",
            "S3ServiceException:Please reduce your request rate.,Status 503,Error SlowDown",
            "ERROR: Spectrum Scan Error: S3 internal error, retries exceeded",
            "ERROR: Query reached usage limit of workgroup",
            "ERROR: Disk Full Detail: error: Disk Full code: 1016 context: node: 0",
            "ERROR: Internal error while executing query",
            "ERROR: Assert code: 1000 context: status == 0",
            "ERROR: Timed out waiting for a worker",
            "a word that nobody has heard before",
            "",
            // A value is no word of the warehouse's.
            "ERROR: usage limit reached by \"a' value too long\"",
        ];
        for message in cases {
            assert_eq!(WarehouseFailure::of_sql(message), WarehouseFailure::Unavailable, "{message}");
        }
        let denied = [
            "S3ServiceException:Access Denied,Status 403,Error AccessDenied",
            "ERROR: User is not authorized to assume IAM Role arn:aws:iam::1:role/x",
            "ERROR: permission denied for relation sensor_readings",
            "ERROR: relation \"mangrove.load_ledger\" does not exist",
            "ERROR: column \"hum\" does not exist",
        ];
        for message in denied {
            assert_eq!(WarehouseFailure::of_sql(message), WarehouseFailure::Denied, "{message}");
        }
    }

    #[test]
    fn a_paused_warehouse_is_waited_for() {
        let error = |failure, code: &str, message: &str| {
            let (action, code, message) = ("run x".to_owned(), Some(code.to_owned()), message.to_owned());
            WarehouseError::of_call(CallError { code, ..CallError::new(action, failure, message) }).failure
        };
        assert_eq!(error(Failure::Refused, "ValidationException", "Cluster is paused"), WarehouseFailure::Unavailable);
        assert_eq!(error(Failure::Refused, "ValidationException", "sqls too long"), WarehouseFailure::TooLarge);
        assert_eq!(error(Failure::Transient, "DatabaseConnectionException", "no"), WarehouseFailure::Unavailable);
        assert_eq!(error(Failure::Transient, "BatchExecuteStatementException", "HTTP 500"), WarehouseFailure::Unknown);
        assert_eq!(error(Failure::Refused, "AccessDeniedException", "no"), WarehouseFailure::Denied);
    }
}
