//! Judges what a run has left: everything that was stored in the stream against everything that a consumer finds.
//!
//! **Owns** the checks, one file for each promise of `SEMANTICS.md`. Beyond those it names: MANIFEST (a manifest and its
//! objects say the same), WRITE-ONCE (no object was ever replaced, none was written before its epoch was prepared),
//! AGGREGATE and DIMENSION (windows and versions follow from the cleansed rows), IDEMPOTENT (a restart without input
//! writes nothing), and WAREHOUSE, INTERVAL and LEDGER (the tables follow from the lake).
//!
//! **Promises**
//! - It reads as a consumer would: Parquet row by row, lines as lines. It takes no word of the product's but the
//!   manifests, which it holds against the objects, and the sensors' states, which it holds against its own replay.
//! - What could not be checked is not in [`Verdict::checked`]: a verdict without violations says what it covers.
//! - Work is that of sorting the rows; rows are kept in a compact form, and violations are counted but not all kept.
//!
//! **Fails** never: what cannot be read is a violation.
//!
//! **Not here**: causing faults, and waiting until a run has come to rest.

mod evidence;
mod verdict;

mod content;
mod lake;
mod place;
mod rows;
mod shards;
mod table;

mod aggregates;
mod checkpoint;
mod clean;
mod dimensions;
mod lineage;
mod manifests;
mod order;
mod owner;
mod raw;
mod replay;
mod restart;
mod state;
mod warehouse;
mod windows;

mod load;

pub use self::evidence::{Evidence, LeaseWrite, Limits, ObjectWrite, Places, Record, Row, ShardNode};
pub use self::load::{LedgerFacts, LoadError, collect, ledger};
pub use self::replay::reference_states;
pub use self::restart::nothing_new;
pub use self::verdict::{Verdict, Violation};
pub use self::warehouse::{
    Described, Fact, Figures, Identity, Interval, Load, Reported, Tables, Window, tables, tables_of,
};

use messages::EventSchema;

use self::lake::Lake;
use self::verdict::Findings;

/// Holds the evidence to every promise that it allows to check.
pub fn judge(evidence: &Evidence, schema: &EventSchema) -> Verdict {
    let mut findings = Findings::default();
    let mut lake = Lake::open(evidence, schema, &mut findings);
    raw::check(&mut lake, &mut findings);
    rows::load(&mut lake, &mut findings);
    manifests::check(&lake, &mut findings);
    clean::check(&lake, &mut findings);
    order::check(&lake, &mut findings);
    dimensions::check(&lake, &mut findings);
    aggregates::check(&lake, &mut findings);
    state::check(&lake, &mut findings);
    checkpoint::check(&lake, &mut findings);
    owner::check(&lake, &mut findings);
    lineage::check(&lake, &mut findings);
    warehouse::check(&lake, &mut findings);
    findings.into_verdict(&lake)
}
