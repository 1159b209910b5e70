//! How a command fails.
//!
//! **Promises** one message for people and one exit code for scripts.

use std::fmt;
use std::process::ExitCode;

use actors::ports::aws::CallError;
use fleet::FleetError;

use crate::config::ConfigProblems;
use crate::inert::inert_lines;

/// Why a command failed, as its exit code tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitKind {
    /// A bug, or something that should have been survived.
    Internal = 1,
    /// Wrong flags or a wrong configuration: the same call will fail again.
    Usage = 2,
    /// Something outside is missing, taken or does not answer.
    Environment = 3,
}

/// A command failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CliError {
    /// What the exit code says.
    pub kind: ExitKind,
    /// What is wrong and what to do about it.
    pub message: String,
}

impl CliError {
    /// A bug, or something that should have been survived.
    pub fn internal(message: impl fmt::Display) -> Self {
        Self { kind: ExitKind::Internal, message: message.to_string() }
    }

    /// Wrong flags or a wrong configuration.
    pub fn configuration(message: impl fmt::Display) -> Self {
        Self { kind: ExitKind::Usage, message: message.to_string() }
    }

    /// Something outside is missing, taken or does not answer.
    pub fn environment(message: impl fmt::Display) -> Self {
        Self { kind: ExitKind::Environment, message: message.to_string() }
    }

    /// Says on stderr what is wrong, and gives the exit code.
    pub fn report(&self) -> ExitCode {
        // It may quote a service, a file or a worker.
        eprintln!("error: {}", inert_lines(&self.message));
        self.exit_code()
    }

    /// The exit code.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.kind as u8)
    }
}

impl From<ConfigProblems> for CliError {
    fn from(problems: ConfigProblems) -> Self {
        Self::configuration(problems)
    }
}

/// A call that fails while a command starts: whatever the service's reason, it stands outside.
impl From<CallError> for CliError {
    fn from(error: CallError) -> Self {
        Self::environment(error)
    }
}

#[cfg(feature = "local")]
impl From<local::LocalError> for CliError {
    fn from(error: local::LocalError) -> Self {
        Self::environment(with_causes(&error))
    }
}

impl From<FleetError> for CliError {
    fn from(error: FleetError) -> Self {
        let message = with_causes(&error);
        match error {
            FleetError::Panicked => Self::internal(message),
            FleetError::Option { .. }
            | FleetError::Mapping { .. }
            | FleetError::Pattern { .. }
            | FleetError::NoMatch { .. }
            | FleetError::MissingColumn { .. }
            | FleetError::LedgerLine { .. }
            | FleetError::LedgerInUse { .. }
            | FleetError::LedgerMismatch { .. } => Self::configuration(message),
            FleetError::Source { .. } | FleetError::Ledger { .. } | FleetError::Refused { .. } => {
                Self::environment(message)
            }
        }
    }
}

/// The error and what caused it, on one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
