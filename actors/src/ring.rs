//! The last few of something, for people to look back at.
//!
//! **Owns** at most `max` items. **Promises** memory is bounded, and a push costs the same however many came before.
//! **Not here**: anything that must not be lost. What falls out is gone; the lake and the log have it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The last few of something.
#[derive(Debug)]
pub struct Ring<T> {
    max: usize,
    items: Mutex<VecDeque<T>>,
}

impl<T: Clone> Ring<T> {
    /// Room for this many, at least one.
    pub fn new(max: usize) -> Self {
        Self { max: max.max(1), items: Mutex::default() }
    }

    /// Adds an item; the oldest leaves if there is no more room.
    pub fn push(&self, item: T) {
        let mut items = self.items();
        if items.len() >= self.max {
            items.pop_front();
        }
        items.push_back(item);
    }

    /// Changes the newest item of which this holds. False if there is none.
    pub fn change(&self, is_it: impl Fn(&T) -> bool, change: impl FnOnce(&mut T)) -> bool {
        let mut items = self.items();
        let found = items.iter_mut().rev().find(|item| is_it(item));
        found.map(change).is_some()
    }

    /// All of them, newest first.
    pub fn all(&self) -> Vec<T> {
        self.items().iter().rev().cloned().collect()
    }

    // Single insertions and changes: a panic elsewhere cannot leave it half changed.
    fn items(&self) -> MutexGuard<'_, VecDeque<T>> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_leaves() {
        let ring = Ring::new(2);
        (1..=3).for_each(|n| ring.push(n));
        assert_eq!(ring.all(), [3, 2]);
        assert!(ring.change(|n| *n == 2, |n| *n = 20) && !ring.change(|n| *n == 1, |_| ()));
        assert_eq!(ring.all(), [3, 20]);
    }
}
