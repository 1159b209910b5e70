//! What can befall a request, in one vocabulary for both clouds.
//!
//! Two ways pick the requests: rules that a user writes (`rules`), and the weather of a simulated run (`weather`).
//!
//! **Owns** the names of faults.
//! **Promises** a fault means the same in both clouds: whether the request is applied, and what its client hears.
//! **Not here**: carrying one out, which takes a connection or a paused clock.

mod chance;
mod plan;
mod rules;
mod weather;

use crate::Service;

pub use plan::{Plan, PlanError, RULES_MAX};
pub use rules::{Hit, Rules};
pub use weather::{Fate, OpMatcher, ServiceFaults, Weather, WeatherState};

/// What can befall a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// The service's own throttling error; not applied.
    Throttle,
    /// The service's own internal error; not applied.
    Error,
    /// The service's own refusal for want of a permission; not applied.
    Deny,
    /// The service's own refusal of a signature by a clock that differs from its own; not applied.
    Skew,
    /// The end of the connection, at once; not applied.
    Reset,
    /// Never applied and never answered: the client runs into its own timeout, or the connection ends late.
    HangBefore,
    /// Applied and never answered.
    HangAfter,
    /// Applied, then the end of the connection instead of the answer.
    LoseReply,
    /// Applied, and answered late.
    Delay,
    /// Applied late, even when the client has given up by then: the write of a zombie.
    Late,
    /// S3 only: 409, another conditional write of the key is under way; not applied.
    Conflict,
    /// Redshift only: submitted, and the transaction is ended from outside.
    Abort,
    /// Kinesis only: an empty page, although there is more.
    EmptyPage,
}

impl Fault {
    /// Those that a rule can ask for: what a server can do to a client whose patience it does not know.
    pub const OF_RULES: [Fault; 8] = [
        Self::Throttle,
        Self::Error,
        Self::Deny,
        Self::Skew,
        Self::HangBefore,
        Self::LoseReply,
        Self::Delay,
        Self::Reset,
    ];

    /// The name, in plans and in counts.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Throttle => "throttle",
            Self::Error => "error",
            Self::Deny => "deny",
            Self::Skew => "skew",
            Self::Reset => "reset",
            Self::HangBefore => "timeout_before",
            Self::HangAfter => "timeout_after",
            Self::LoseReply => "lose_reply",
            Self::Delay => "delay",
            Self::Late => "late",
            Self::Conflict => "conflict",
            Self::Abort => "abort",
            Self::EmptyPage => "empty_page",
        }
    }
}

/// A request, as far as a plan can ask.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// For which service.
    pub service: Service,
    /// By the name in the service's API; empty when it cannot be told.
    pub operation: &'a str,
    /// What it is about: a shard, a row, an object, a topic. Empty where nobody tells.
    pub key: &'a str,
    /// What else can be looked into: the body, or what it means.
    pub subject: &'a [u8],
}

impl Asked<'_> {
    /// Whether the key or the subject contains this text.
    pub fn mentions(&self, text: &str) -> bool {
        self.key.contains(text) || self.subject.windows(text.len()).any(|window| window == text.as_bytes())
    }
}
