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

    /// Stands in line, unless it does already.
    fn join(&mut self, session: u64, table: &TableName) -> Result<(), SqlError> {
        if self.waits.get(&session) == Some(table) {
            return Ok(());
        }
        if self.lines.get(table).into_iter().flatten().any(|other| self.waits_for(*other, session)) {
            return Err(SqlError(format!("deadlock detected on {}", table.shown())));
        }
        self.lines.entry(table.clone()).or_default().push_back(session);
        self.waits.insert(session, table.clone());
        Ok(())
    }

    fn is_first(&self, session: u64, table: &TableName) -> bool {
        self.lines.get(table).and_then(|line| line.front()) == Some(&session)
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
        state.join(self.session, &table)?;
        while !state.is_first(self.session, &table) && !cancelled.load(Ordering::Relaxed) {
            state = self.locks.moved.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.waits.remove(&self.session);
        if state.is_first(self.session, &table) {
            drop(state);
            self.tables.push(table);
            return Ok(());
        }
        state.leave(self.session, &table);
        self.locks.moved.notify_all();
        Err(SqlError::new("Query cancelled on user's request"))
    }

    /// Stands in line for the table's lock, and does not wait; true if it is held now.
    pub(crate) fn ask(&mut self, table: &TableName) -> Result<bool, SqlError> {
        if self.tables.contains(table) {
            return Ok(true);
        }
        let mut state = self.locks.state();
        state.join(self.session, table)?;
        let first = state.is_first(self.session, table);
        if first {
            state.waits.remove(&self.session);
            self.tables.push(table.clone());
        }
        Ok(first)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.locks.state();
        let asked = state.waits.remove(&self.session);
        for table in self.tables.iter().chain(&asked) {
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
    fn who_asks_without_waiting_keeps_its_place() {
        let locks = Arc::new(Locks::default());
        let (mut one, mut other, mut third) = (locks.session(), locks.session(), locks.session());
        assert!(one.ask(&table("a")).unwrap() && other.ask(&table("b")).unwrap());
        assert!(!other.ask(&table("a")).unwrap() && !third.ask(&table("a")).unwrap());
        assert!(!other.ask(&table("a")).unwrap() && one.ask(&table("b")).is_err());
        drop(other);
        assert!(!third.ask(&table("a")).unwrap());
        drop(one);
        assert!(third.ask(&table("a")).unwrap());
        drop(third);
        let state = locks.state();
        assert!(state.lines.is_empty() && state.waits.is_empty());
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
