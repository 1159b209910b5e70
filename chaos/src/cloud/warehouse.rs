//! The warehouse: the embedded one, in memory, whose statements run one at a time by the simulated clock.
//!
//! **Owns** when a statement runs. A batch has a speed of its own, so that some are overtaken by others.
//! **Promises** transactions meet as they would, statement by statement; the bucket is read when COPY runs. Whoever has
//! no warehouse pays for none: it is opened by the first request.
//! **Fails** as the Data API does.
//! **Not here**: SQL (the crate `local-warehouse`).

mod files;
mod mutants;

use std::collections::BTreeMap;
use std::sync::Arc;

use duckdb::Connection;
use local_engine::Reply;
use local_warehouse::{Answer, Step, Stepped};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use tempfile::TempDir;

pub(super) use self::files::Files;
pub use self::mutants::LoadMutant;
use super::state::Context;
use super::wire::Call;

/// How long a statement takes, from and to.
const QUICK_MS: (u64, u64) = (1, 4);
/// The same in one of these batches.
const SLOW_MS: (u64, u64) = (50, 300);
const SLOW_ONE_IN: u32 = 5;
/// Where another batch holds the lock, how long until it is asked for again.
const LOCKED_MS: u64 = 10;
const SUBMIT: &str = "BatchExecuteStatement";

pub(super) struct Warehouse {
    open: Option<Open>,
    files: Files,
    dice: StdRng,
    /// The next statements, by when they run.
    due: BTreeMap<(i64, u64), UnderWay>,
    n_due: u64,
    /// Transactions that have ended.
    pub(super) n_ended: u64,
    mutant: Option<LoadMutant>,
}

struct Open {
    stepped: Stepped,
    /// Objects, and links to them; it goes after whoever reads them.
    _folder: TempDir,
}

/// A batch that runs.
struct UnderWay {
    id: String,
    statement_ms: u64,
    /// After so many statements it is ended from outside.
    aborted_after: Option<u64>,
    /// What a mutant submits when it has ended well.
    then: Option<Call>,
    context: Context,
}

impl Warehouse {
    pub(super) fn new(seed: u64, files: Files) -> Self {
        let dice = StdRng::seed_from_u64(seed ^ 0x7761_7265);
        Self { open: None, files, dice, due: BTreeMap::new(), n_due: 0, n_ended: 0, mutant: None }
    }

    /// From now on every load lacks this.
    pub(super) fn lacks(&mut self, mutant: LoadMutant) {
        self.mutant = Some(mutant);
    }

    /// Answers a request. `aborted_after` has a batch ended from outside after so many statements.
    pub(super) fn serve(&mut self, context: Context, call: &Call) -> Reply {
        match self.mutant.filter(|_| call.operation == SUBMIT).and_then(|mutant| mutant.of(call)) {
            Some((first, then)) => self.submit(context, &first, then),
            None => self.submit(context, call, None),
        }
    }

    /// The request was lost before it came here.
    pub(super) fn lost(&mut self, context: Context, call: &Call) {
        if let Some(believed) =
            self.mutant.filter(|_| call.operation == SUBMIT).and_then(|mutant| mutant.believed(call))
        {
            self.submit(context, &believed, None);
        }
    }

    fn submit(&mut self, context: Context, call: &Call, mut then: Option<Call>) -> Reply {
        let answer = self.open().handle(&call.operation, &call.body);
        while let Some(id) = self.open().begin() {
            let slow = call.operation == SUBMIT && self.dice.random_ratio(1, SLOW_ONE_IN);
            let (from, to) = if slow { SLOW_MS } else { QUICK_MS };
            let statement_ms = self.dice.random_range(from..=to);
            let (aborted_after, then) = (context.aborted_after, then.take());
            self.later(context.now_ms, UnderWay { id, statement_ms, aborted_after, then, context });
        }
        reply(answer)
    }

    fn later(&mut self, now_ms: i64, batch: UnderWay) {
        self.n_due += 1;
        self.due.insert((now_ms.saturating_add_unsigned(batch.statement_ms), self.n_due), batch);
    }

    /// When the next statement runs.
    pub(super) fn due_ms(&self) -> Option<i64> {
        self.due.first_key_value().map(|((due_ms, _), _)| *due_ms)
    }

    /// Runs the next statement; tells of a transaction that has ended with it, and of what a mutant does next.
    pub(super) fn step(&mut self) -> Option<Ended> {
        let ((now_ms, _), mut batch) = self.due.pop_first()?;
        if batch.aborted_after == Some(0) {
            let id = serde_json::json!({ "Id": batch.id }).to_string();
            self.open().handle("CancelStatement", id.as_bytes());
        }
        match self.open().step(&batch.id) {
            Step::Ran => {
                batch.aborted_after = batch.aborted_after.map(|left| left.saturating_sub(1));
                self.later(now_ms, batch);
                None
            }
            Step::Waits => {
                self.n_due += 1;
                self.due.insert((now_ms.saturating_add_unsigned(LOCKED_MS), self.n_due), batch);
                None
            }
            Step::Ended(status) => {
                self.n_ended += 1;
                let UnderWay { id, then, context, .. } = batch;
                let then = then.filter(|_| status == "FINISHED");
                Some(Ended { now_ms, id, status, then, context })
            }
        }
    }

    /// Somebody who judges what is stored; none if nobody has asked for a warehouse.
    pub(super) fn connection(&self) -> Option<Connection> {
        self.open.as_ref()?.stepped.connection()
    }

    fn open(&mut self) -> &mut Stepped {
        let open = || {
            let folder = tempfile::tempdir().expect("a simulation has a folder for temporary files");
            let objects = Arc::new(self.files.clone().within(folder.path()));
            let stepped = Stepped::open(folder.path(), objects).expect("a database in memory opens");
            Open { stepped, _folder: folder }
        };
        &mut self.open.get_or_insert_with(open).stepped
    }
}

/// The end of a transaction.
pub(super) struct Ended {
    pub(super) now_ms: i64,
    pub(super) id: String,
    pub(super) status: &'static str,
    pub(super) then: Option<Call>,
    pub(super) context: Context,
}

/// What the request is about: a statement by its id, or by its name.
pub(super) fn key(input: &Value) -> Option<String> {
    Some(input["Id"].as_str().or_else(|| input["StatementName"].as_str())?.to_owned())
}

fn reply(answer: Answer) -> Reply {
    let outcome = answer.error.unwrap_or("ok");
    let reply = Reply { status: answer.status, headers: Vec::new(), body: answer.body.into(), outcome };
    match answer.error {
        Some(code) => reply.with("x-amzn-errortype", code),
        None => reply,
    }
}
