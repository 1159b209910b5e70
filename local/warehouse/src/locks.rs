//! LOCK: who holds which table, and who waits.
//!
//! **Owns** a line of sessions per table; the first holds the lock.
//! **Promises** that a lock is given in the order it was asked for, and that a circle of waiters is told at once.
//! **Fails** with "deadlock detected", or when the waiting session was cancelled.
//! **Not here**: locks of reads and writes. Redshift's LOCK keeps readers out too; here only other LOCKs wait for it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::dialect::TableName;
use crate::error::SqlError;

/// All locks of the warehouse.
#[derive(Default)]
pub(crate) struct Locks {
    state: Mutex<State>,
    moved: Condvar,
}

#[derive(Default)]
struct State {
    lines: BTreeMap<TableName, VecDeque<u64>>,
    /// What a session stands in line for.
    waits: HashMap<u64, TableName>,
    n_sessions: u64,
}

impl State {
    /// Whether `session` waits, through others, for `whom`.
    fn waits_for(&self, session: u64, whom: u64) -> bool {
        let mut to_see = vec![session];
        let mut seen = Vec::new();
        while let Some(session) = to_see.pop() {
            if session == whom {
                return true;
            }
            if seen.contains(&session) {
                continue;
            }
            seen.push(session);
            let Some(line) = self.waits.get(&session).and_then(|table| self.lines.get(table)) else { continue };
            to_see.extend(line.iter().take_while(|other| **other != session));
        }
        false
    }

    fn leave(&mut self, session: u64, table: &TableName) {
        if let Some(line) = self.lines.get_mut(table) {
            line.retain(|other| *other != session);
            if line.is_empty() {
                self.lines.remove(table);
            }
        }
    }
}

impl Locks {
    /// A session without locks.
    pub(crate) fn session(self: &Arc<Locks>) -> Held {
        let mut state = self.state();
        state.n_sessions += 1;
        Held { locks: Arc::clone(self), session: state.n_sessions, tables: Vec::new() }
    }

    /// Lets waiters look again: one of them was cancelled.
    pub(crate) fn wake(&self) {
        let _state = self.state();
        self.moved.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here is left half changed by a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one session holds; dropping it gives everything back.
pub(crate) struct Held {
    locks: Arc<Locks>,
    session: u64,
    tables: Vec<TableName>,
}

impl Held {
    /// Waits for the table's lock.
    pub(crate) fn take(&mut self, table: TableName, cancelled: &AtomicBool) -> Result<(), SqlError> {
        if self.tables.contains(&table) {
            return Ok(());
        }
        let mut state = self.locks.state();
        let ahead: Vec<u64> = state.lines.get(&table).into_iter().flatten().copied().collect();
        if ahead.iter().any(|other| state.waits_for(*other, self.session)) {
            return Err(SqlError(format!("deadlock detected on {}", table.shown())));
        }
        state.lines.entry(table.clone()).or_default().push_back(self.session);
        state.waits.insert(self.session, table.clone());
        let first = |state: &State| state.lines.get(&table).and_then(|line| line.front()) == Some(&self.session);
        while !first(&state) && !cancelled.load(Ordering::Relaxed) {
            state = self.locks.moved.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.waits.remove(&self.session);
        if first(&state) {
            drop(state);
            self.tables.push(table);
            return Ok(());
        }
        state.leave(self.session, &table);
        self.locks.moved.notify_all();
        Err(SqlError::new("Query cancelled on user's request"))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.locks.state();
        for table in &self.tables {
            state.leave(self.session, table);
        }
        self.locks.moved.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str) -> TableName {
        TableName { schema: None, name: name.to_owned() }
    }

    #[test]
    fn a_circle_of_waiters_is_told() {
        let locks = Arc::new(Locks::default());
        let never = AtomicBool::new(false);
        let (mut one, mut other) = (locks.session(), locks.session());
        one.take(table("a"), &never).unwrap();
        one.take(table("a"), &never).unwrap();
        other.take(table("b"), &never).unwrap();
        let waiter = std::thread::spawn(move || one.take(table("b"), &AtomicBool::new(false)).map(|()| drop(one)));
        while !locks.state().waits.values().any(|waited| *waited == table("b")) {
            std::thread::yield_now();
        }
        assert!(other.take(table("a"), &never).unwrap_err().0.contains("deadlock"));
        drop(other);
        waiter.join().unwrap().unwrap();
        assert!(locks.state().lines.is_empty());
    }

    #[test]
    fn a_cancelled_waiter_leaves_the_line() {
        let locks = Arc::new(Locks::default());
        let (mut one, mut other) = (locks.session(), locks.session());
        one.take(table("a"), &AtomicBool::new(false)).unwrap();
        assert!(other.take(table("a"), &AtomicBool::new(true)).unwrap_err().0.contains("cancelled"));
        drop(one);
        other.take(table("a"), &AtomicBool::new(false)).unwrap();
    }
}
