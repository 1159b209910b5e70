//! The worker's byte budget: taken for what is held, given back when nobody holds it any more.
//!
//! **Promises** what is counted is what things take in memory until their epoch is committed, however few bytes they
//! came as: an event of two bytes costs what its row costs (BOUNDED).

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use messages::Credit;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// A record's bytes are held twice at once: as they came, and encoded.
const TIMES_HELD: u64 = 2;
/// A record beside its bytes: its sequence number, its key, its line in the raw zone.
const RECORD_BYTES: u64 = 256;
/// What could not be decoded: the reject, its row in the epoch, its place in the quarantine's columns. Beside its detail.
const REJECT_BYTES: u64 = 192;
/// A reading: its place, its verdict, its row in the epoch, the columns that every zone has.
const ROW_BYTES: u64 = 224;
/// A value of it.
const FIELD_BYTES: u64 = 24;
/// The rows of a sensor in a batch: the message, its outcome, and its state at the cut.
const GROUP_BYTES: u64 = 768;

/// Much longer than one shard's windows take to encode.
const TURN_MAX: Duration = Duration::from_secs(5);
/// The wait behind any number of shards, each of which goes on. Well below what a drain may take.
const TURN_WAIT_MAX: Duration = Duration::from_secs(15);

/// What is held of records on their way, in bytes. Measured, and rounded up.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    bytes: u64,
    row_bytes: u64,
}

impl Held {
    /// Nothing yet, of a schema with so many fields.
    pub fn of_fields(fields: usize) -> Self {
        Self { bytes: 0, row_bytes: ROW_BYTES + FIELD_BYTES * fields as u64 }
    }

    /// One more record of this length.
    pub fn record(&mut self, bytes: usize) {
        self.bytes += bytes as u64 * TIMES_HELD + RECORD_BYTES;
    }

    /// One more event that is none, for a reason of this length.
    pub fn reject(&mut self, detail: usize) {
        self.bytes += REJECT_BYTES + detail as u64;
    }

    /// One more reading.
    pub fn row(&mut self) {
        self.bytes += self.row_bytes;
    }

    /// One more sensor.
    pub fn group(&mut self) {
        self.bytes += GROUP_BYTES;
    }

    /// All of it.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// The least that an event takes: a budget of so many of them holds no more, whatever is in them.
pub const EVENT_BYTES_MIN: u64 = REJECT_BYTES;

/// Bytes that may be in flight in the worker. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Budget(Arc<BudgetState>);

#[derive(Debug)]
struct BudgetState {
    bytes_max: u64,
    taken: AtomicU64,
    /// Shards that want to be alone.
    solitary: AtomicUsize,
    /// Whether one of them is.
    alone: AtomicBool,
    /// One shard at a time writes all its open windows.
    turns: Arc<Semaphore>,
    /// How many of them are over.
    turns_over: AtomicU64,
}

/// The wish of one shard to have nothing in flight beside its own: then a death of the process says who caused it.
/// While it lasts nobody else has room. Dropped, it is withdrawn.
#[derive(Debug)]
pub struct Solitude(Budget);

impl Drop for Solitude {
    fn drop(&mut self) {
        self.0.0.solitary.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Solitude {
    /// The credit of what is then alone in flight; none as long as something else is. One gets it at a time.
    pub fn granted(&self) -> Option<Credit> {
        let inner = self.0.0.clone();
        let free = self.0.taken() == 0 && !inner.alone.swap(true, Ordering::AcqRel);
        free.then(|| Credit::new(move || inner.alone.store(false, Ordering::Release)))
    }
}

impl Budget {
    /// A budget of this many bytes.
    pub fn new(bytes_max: u64) -> Self {
        Self(Arc::new(BudgetState {
            bytes_max,
            taken: AtomicU64::new(0),
            solitary: AtomicUsize::new(0),
            alone: AtomicBool::new(false),
            turns: Arc::new(Semaphore::new(1)),
            turns_over: AtomicU64::new(0),
        }))
    }

    /// A shard that is given up writes every window that is open: rows of all its sensors at once, which no record has
    /// paid for. Held until they are encoded, so that a worker which gives up all its shards holds those of one. None
    /// if none of those before comes to an end for long: nobody waits for another shard's trouble.
    pub async fn turn(&self) -> Option<Credit> {
        timeout(TURN_WAIT_MAX, self.turn_while_they_end()).await.ok()?
    }

    async fn turn_while_they_end(&self) -> Option<Credit> {
        let mut acquired = pin!(self.0.turns.clone().acquire_owned());
        loop {
            let over = self.0.turns_over.load(Ordering::Acquire);
            match timeout(TURN_MAX, &mut acquired).await {
                Ok(permit) => {
                    let (permit, inner) = (permit.ok()?, self.0.clone());
                    return Some(Credit::new(move || {
                        inner.turns_over.fetch_add(1, Ordering::AcqRel);
                        drop(permit);
                    }));
                }
                Err(_) if self.0.turns_over.load(Ordering::Acquire) > over => {}
                Err(_) => return None,
            }
        }
    }

    /// Whether more may be taken now. What a batch will hold is not known before it is decoded, so a budget can be
    /// overdrawn by one batch per shard; nobody decodes or fetches while it is.
    pub fn has_room(&self) -> bool {
        let somebody_is_alone = self.0.solitary.load(Ordering::Acquire) > 0 || self.0.alone.load(Ordering::Acquire);
        self.taken() < self.0.bytes_max && !somebody_is_alone
    }

    /// Asks to be alone. Nobody else has room from now on, until what is returned is dropped.
    pub fn solitude(&self) -> Solitude {
        self.0.solitary.fetch_add(1, Ordering::AcqRel);
        Solitude(self.clone())
    }

    /// Takes what a batch holds, until the credit is dropped. What is found out of it later comes on top.
    pub fn take(&self, bytes: u64) -> Credit {
        let (inner, of_credit) = (self.0.clone(), Arc::new(AtomicU64::new(bytes)));
        inner.taken.fetch_add(bytes, Ordering::AcqRel);
        let grow = {
            let (inner, of_credit) = (inner.clone(), of_credit.clone());
            move |bytes| {
                of_credit.fetch_add(bytes, Ordering::AcqRel);
                inner.taken.fetch_add(bytes, Ordering::AcqRel);
            }
        };
        let give_back = move || {
            inner.taken.fetch_sub(of_credit.load(Ordering::Acquire), Ordering::AcqRel);
        };
        Credit::growing(give_back, grow)
    }

    /// Bytes taken now.
    pub fn taken(&self) -> u64 {
        self.0.taken.load(Ordering::Acquire)
    }

    /// The limit, in bytes.
    pub fn bytes_max(&self) -> u64 {
        self.0.bytes_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_when_the_credit_is_dropped() {
        let budget = Budget::new(10);
        let credit = budget.take(6);
        assert!(budget.has_room());
        credit.grow(4);
        assert!(!budget.has_room());
        drop(Credit::both(Credit::none(), credit));
        assert!(budget.has_room());
        assert_eq!(budget.taken(), 0);
    }

    #[test]
    fn whoever_wants_to_be_alone_waits_for_the_others_and_keeps_them_out() {
        let budget = Budget::new(100);
        let others = budget.take(1);
        let (first, second) = (budget.solitude(), budget.solitude());
        assert!(!budget.has_room() && first.granted().is_none());
        drop(others);
        let alone = first.granted().unwrap();
        assert!(second.granted().is_none());
        drop((first, alone));
        drop(second.granted().unwrap());
        assert!(!budget.has_room());
        let alone = second.granted().unwrap();
        drop(second);
        assert!(!budget.has_room());
        drop(alone);
        assert!(budget.has_room());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_behind_shards_that_go_on_has_patience_and_behind_one_that_hangs_little() {
        let budget = Budget::new(100);
        let first = budget.turn().await.unwrap();
        // As if each of them takes most of what one may.
        let (second, third) = (tokio::spawn(turn_of(&budget)), tokio::spawn(turn_of(&budget)));
        tokio::time::sleep(Duration::from_secs(4)).await;
        drop(first);
        let second = second.await.unwrap().unwrap();
        tokio::time::sleep(Duration::from_secs(4)).await;
        drop(second);
        let third = third.await.unwrap().unwrap();
        let began = tokio::time::Instant::now();
        assert!(budget.turn().await.is_none());
        assert_eq!(began.elapsed(), TURN_MAX);
        drop(third);
        assert!(budget.turn().await.is_some());
    }

    fn turn_of(budget: &Budget) -> impl Future<Output = Option<Credit>> + Send + 'static {
        let budget = budget.clone();
        async move { budget.turn().await }
    }
}
