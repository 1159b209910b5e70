//! Everything the cloud holds, and the way of one request through it.
//!
//! **Promises** a request is applied as a whole at one moment, or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use local_engine::faults::{Fate, Fault, WeatherState};
use local_engine::form::Form;
use local_engine::topics::Topics;
use local_engine::{ClientId, Place, Refusal, Reply, Service};

use super::bucket::Bucket;
use super::stream::Streams;
use super::table::LeaseTable;
use super::trace::Trace;
use super::warehouse::{Ended, Files, Warehouse};
use super::wire::{Call, Input};

/// How long a mutant rests between two transactions that should be one.
const MUTANTS_REST_MS: u64 = 500;
/// Where everything is.
pub(super) const HERE: Place<'static> = Place { region: "us-east-1", account: "000000000000" };
/// More than a load has.
const STATEMENTS_MAX: u64 = 40;

pub(super) struct State {
    pub(super) faults: WeatherState,
    pub(super) stream: Streams,
    pub(super) table: LeaseTable,
    pub(super) bucket: Bucket,
    pub(super) topics: Topics,
    /// The messages, in order.
    pub(super) published: Vec<String>,
    pub(super) warehouse: Warehouse,
    pub(super) trace: Trace,
    cut_off: BTreeSet<ClientId>,
    /// Requests that the network holds, by when they arrive.
    delayed: BTreeMap<(i64, u64), Delayed>,
    n_delayed: u64,
}

/// Where the reply of a delayed request will be.
pub(super) type Slot = Arc<Mutex<Option<Reply>>>;

struct Delayed {
    client: ClientId,
    call: Call,
    coin: bool,
    /// Gone when the client has given up.
    slot: Weak<Mutex<Option<Reply>>>,
}

/// The client that asks, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context {
    pub(super) now_ms: i64,
    pub(super) client: ClientId,
    pub(super) coin: bool,
    pub(super) empty_page: bool,
    /// After how many statements a transaction is ended from outside.
    pub(super) aborted_after: Option<u64>,
}

/// What the client will see.
pub(super) enum Answer {
    Reply(Reply),
    /// The connection is reset.
    Broken,
    Never,
    Later {
        delay: Duration,
        due_ms: i64,
        slot: Slot,
    },
}

impl State {
    pub(super) fn new(seed: u64) -> Self {
        let files = Files::default();
        Self {
            faults: WeatherState::new(seed),
            stream: Streams::new(seed),
            table: LeaseTable::default(),
            bucket: Bucket::new(files.clone()),
            topics: Topics::default(),
            published: Vec::new(),
            warehouse: Warehouse::new(seed, files),
            trace: Trace::new(),
            cut_off: BTreeSet::new(),
            delayed: BTreeMap::new(),
            n_delayed: 0,
        }
    }

    pub(super) fn cut_off(&mut self, client: ClientId) {
        self.cut_off.insert(client);
        self.delayed.retain(|_, delayed| delayed.client != client);
    }

    pub(super) fn is_cut_off(&self, client: ClientId) -> bool {
        self.cut_off.contains(&client)
    }

    /// What the request will meet; nothing if its client is gone.
    pub(super) fn fate(&mut self, client: ClientId, call: &Call) -> Option<Fate> {
        (!self.is_cut_off(client)).then(|| self.faults.fate(client, &call.asked()))
    }

    /// The request arrives.
    pub(super) fn serve(&mut self, now_ms: i64, client: ClientId, call: Call, fate: Fate) -> Answer {
        self.settle(now_ms);
        if self.is_cut_off(client) {
            return Answer::Never;
        }
        let empty_page = fate.fault == Some(Fault::EmptyPage);
        let aborted_after = (fate.fault == Some(Fault::Abort)).then_some(fate.delay_ms % STATEMENTS_MAX);
        let context = Context { now_ms, client, coin: fate.coin, empty_page, aborted_after };
        let Some(fault) = fate.fault else { return Answer::Reply(self.apply(context, &call)) };
        self.trace.fault(fault);
        if call.service == Service::Redshift && matches!(fault, Fault::Error | Fault::Reset | Fault::HangBefore) {
            self.warehouse.lost(context, &call);
        }
        match fault {
            Fault::EmptyPage | Fault::Abort => Answer::Reply(self.apply(context, &call)),
            Fault::Throttle => Answer::Reply(self.refuse(context, &call, Refusal::throttled(call.service))),
            Fault::Error => Answer::Reply(self.refuse(context, &call, Refusal::internal(call.service))),
            Fault::Deny => Answer::Reply(self.refuse(context, &call, Refusal::denied(call.service))),
            Fault::Skew => Answer::Reply(self.refuse(context, &call, Refusal::skewed(call.service))),
            Fault::Reset => self.drop_it(context, &call, "reset", Answer::Broken),
            Fault::Conflict => {
                let message = "a conditional request for this key is under way";
                let refusal = Refusal::new(409, "ConditionalRequestConflict", message);
                self.bucket.conflict(context, &call.key);
                Answer::Reply(self.refuse(context, &call, refusal))
            }
            Fault::HangBefore => self.drop_it(context, &call, "hang", Answer::Never),
            Fault::LoseReply => {
                self.apply(context, &call);
                Answer::Broken
            }
            Fault::HangAfter => {
                self.apply(context, &call);
                Answer::Never
            }
            Fault::Delay => {
                let (slot, delay_ms) = (Slot::new(Mutex::new(Some(self.apply(context, &call)))), fate.delay_ms);
                let due_ms = now_ms.saturating_add_unsigned(delay_ms);
                Answer::Later { delay: Duration::from_millis(delay_ms), due_ms, slot }
            }
            Fault::Late => self.delay(context, call, fate.delay_ms),
        }
    }

    fn drop_it(&mut self, context: Context, call: &Call, outcome: &str, answer: Answer) -> Answer {
        self.trace.call(context.now_ms, context.client, call, outcome);
        answer
    }

    fn refuse(&mut self, context: Context, call: &Call, refusal: Refusal) -> Reply {
        self.trace.call(context.now_ms, context.client, call, refusal.code);
        refusal.reply(call.service, call.operation.starts_with("Head"))
    }

    fn delay(&mut self, context: Context, call: Call, delay_ms: u64) -> Answer {
        let due_ms = context.now_ms.saturating_add_unsigned(delay_ms);
        let writes = call.service == Service::DynamoDb && ["UpdateItem", "PutItem"].contains(&call.operation.as_str());
        self.trace.counts.late_writes += u64::from(writes);
        let slot = Slot::default();
        let Context { client, coin, .. } = context;
        self.n_delayed += 1;
        self.delayed.insert((due_ms, self.n_delayed), Delayed { client, call, coin, slot: Arc::downgrade(&slot) });
        Answer::Later { delay: Duration::from_millis(delay_ms), due_ms, slot }
    }

    /// The reply of a delayed request, at the time at which it was due; none if its client was cut off.
    pub(super) fn collect(&mut self, due_ms: i64, slot: &Slot) -> Option<Reply> {
        self.settle(due_ms);
        slot.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Applies what the network was to deliver by now, and has the warehouse run what is due. Nobody can look at the
    /// services in between, so that it is as if each had been applied at its own time.
    pub(super) fn settle(&mut self, now_ms: i64) {
        while self.warehouse.due_ms().is_some_and(|due_ms| due_ms <= now_ms) {
            self.deliver(self.warehouse.due_ms().unwrap_or(now_ms));
            if let Some(ended) = self.warehouse.step() {
                self.on_ended(ended);
            }
        }
        self.deliver(now_ms);
    }

    /// Applies what the network was to deliver by now.
    fn deliver(&mut self, now_ms: i64) {
        while let Some(entry) = self.delayed.first_entry() {
            if entry.key().0 > now_ms {
                break;
            }
            let ((due_ms, _), Delayed { client, call, coin, slot }) = entry.remove_entry();
            let context = Context { now_ms: due_ms, client, coin, empty_page: false, aborted_after: None };
            let reply = self.apply(context, &call);
            if let Some(slot) = slot.upgrade() {
                *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(reply);
            }
        }
    }

    /// A transaction has ended. What a mutant does then, it does if it lives.
    fn on_ended(&mut self, ended: Ended) {
        let Ended { now_ms, id, status, then, context } = ended;
        self.trace.feed(format_args!("{now_ms} redshift {id} {status}"));
        if let Some(call) = then.filter(|_| !self.is_cut_off(context.client)) {
            self.delay(Context { now_ms, ..context }, call, MUTANTS_REST_MS);
        }
    }

    /// Whether something is on its way to the warehouse, or runs in it.
    pub(super) fn is_loading(&self) -> bool {
        let on_its_way = self.delayed.values().any(|delayed| delayed.call.service == Service::Redshift);
        on_its_way || self.warehouse.due_ms().is_some()
    }

    /// Whatever the topics are asked; messages that they take are kept.
    fn publish(&mut self, context: Context, form: &Form) -> Result<Reply, Refusal> {
        let reply = self.topics.serve(HERE, context.now_ms, form)?;
        let is_message = form.get("Action").is_some_and(|action| action == "Publish");
        self.published.extend(form.get("Message").filter(|_| is_message).cloned());
        Ok(reply)
    }

    /// Has the service answer, and notes it.
    fn apply(&mut self, context: Context, call: &Call) -> Reply {
        let done = match (call.service, &call.input) {
            (Service::Kinesis, Input::Json(input)) => self.stream.serve(context, &call.operation, input),
            (Service::DynamoDb, Input::Json(input)) => self.table.serve(context, &call.operation, input),
            (Service::S3, Input::Rest(input)) => self.bucket.serve(context, call, input),
            (Service::Sns, Input::Form(input)) => self.publish(context, input),
            (Service::Redshift, Input::Json(_)) => Ok(self.warehouse.serve(context, call)),
            (service, _) => Err(Refusal::unknown(service, &call.operation)),
        };
        match done {
            Ok(reply) => {
                self.trace.call(context.now_ms, context.client, call, reply.outcome);
                reply
            }
            Err(refusal) => self.refuse(context, call, refusal),
        }
    }
}
