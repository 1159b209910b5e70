//! Why a run could not begin or go on. What happens to single records is data, not an error.

use std::io;
use std::path::PathBuf;

/// One variant per decision of the caller.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// An option makes no sense; nothing was sent.
    #[error("option `{name}`: {problem}")]
    Option {
        /// The field of the options.
        name: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A replay mapping does not parse or contradicts itself.
    #[error("replay mapping: {problem}")]
    Mapping {
        /// What is wrong with it.
        problem: String,
    },
    /// The pattern of a replay is malformed.
    #[error("pattern `{pattern}`: {problem}")]
    Pattern {
        /// As given.
        pattern: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The pattern of a replay matches no file.
    #[error("no file matches `{pattern}`")]
    NoMatch {
        /// As given.
        pattern: String,
    },
    /// A recorded file lacks a column that the mapping names.
    #[error("{path} has no column `{column}`{hint}")]
    MissingColumn {
        /// The file.
        path: PathBuf,
        /// The column the mapping asks for.
        column: String,
        /// What the file has instead, or what may be wrong.
        hint: String,
    },
    /// A recorded file cannot be read to its end.
    #[error("read {path}")]
    Source {
        /// The file.
        path: PathBuf,
        /// What reading it said.
        #[source]
        source: io::Error,
    },
    /// The ledger cannot be opened, read or written. The run stops: an unrecorded send would be a lie.
    #[error("{doing} ledger {path}")]
    Ledger {
        /// The ledger.
        path: PathBuf,
        /// The verb.
        doing: &'static str,
        /// What the file system said.
        #[source]
        source: io::Error,
    },
    /// A whole line of the ledger makes no sense.
    #[error("ledger {path}, line {line}: {problem}")]
    LedgerLine {
        /// The ledger.
        path: PathBuf,
        /// From 1.
        line: u64,
        /// What is wrong with it.
        problem: String,
    },
    /// A simulated fleet always starts from its first event, so it never continues a ledger.
    #[error("ledger {path} already holds a run; give another path or remove it")]
    LedgerInUse {
        /// The ledger.
        path: PathBuf,
    },
    /// A resumed replay meets a row that is not what was acknowledged under its number.
    #[error("ledger {path} was written from other data or another mapping: row {n} of `{sensor}` differs")]
    LedgerMismatch {
        /// The ledger.
        path: PathBuf,
        /// The sensor of the row.
        sensor: String,
        /// Which row of this sensor, from 0.
        n: u64,
    },
    /// The stream will not take anything from us: it does not exist, or we may not write to it.
    #[error("stream `{stream}` refuses to be written: {code}: {message}")]
    Refused {
        /// The stream.
        stream: String,
        /// The service's error code.
        code: String,
        /// The service's words.
        message: String,
    },
    /// A task of the fleet panicked: a bug here.
    #[error("a task of the fleet panicked")]
    Panicked,
}
