//! A queue and slots for each receiver, so that none waits for another.
//!
//! **Owns** what each receiver has not been handed yet, and how much it is being handed.
//! **Promises** at most so many items wait for a receiver, and so many are under way to it (BOUNDED); a receiver begins
//! with what came first; one that hangs takes no room and no time from the others (ALERT).
//!
//! **Not here**: handing over. Times are since any fixed moment.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// A receiver whose slots are all taken, and in none of which anything has ended for so long, is stuck: the others do not
/// wait for it.
const STUCK_AFTER: Duration = Duration::from_secs(5);

/// The receivers' lanes, in their order.
#[derive(Debug)]
pub(super) struct Lanes<T> {
    lanes: Vec<Lane<T>>,
    in_flight_max: usize,
}

#[derive(Debug)]
struct Lane<T> {
    queue: VecDeque<Arc<T>>,
    under_way: usize,
    /// When the last hand-over began or ended.
    moved_at: Duration,
}

impl<T> Lane<T> {
    fn left(&self) -> usize {
        self.queue.len() + self.under_way
    }
}

impl<T> Lanes<T> {
    pub(super) fn new(receivers: usize, in_flight_max: usize) -> Self {
        let lane = |_| Lane { queue: VecDeque::new(), under_way: 0, moved_at: Duration::ZERO };
        Self { lanes: (0..receivers).map(lane).collect(), in_flight_max }
    }

    /// The lanes in which fewer than so many wait.
    pub(super) fn with_room(&self, room: usize) -> Vec<usize> {
        (0..self.lanes.len()).filter(|lane| self.lanes[*lane].queue.len() < room).collect()
    }

    /// Puts an item at the end of these lanes.
    pub(super) fn push(&mut self, lanes: &[usize], item: &Arc<T>) {
        for lane in lanes {
            self.lanes[*lane].queue.push_back(item.clone());
        }
    }

    /// What is to be handed over now, and to which receiver; none if nothing waits, or no slot is free.
    pub(super) fn next(&mut self, now: Duration) -> Option<(usize, Arc<T>)> {
        let free = |lane: &&mut Lane<T>| lane.under_way < self.in_flight_max && !lane.queue.is_empty();
        let (number, lane) = self.lanes.iter_mut().enumerate().find(|(_, lane)| free(&lane))?;
        let item = lane.queue.pop_front()?;
        lane.under_way += 1;
        lane.moved_at = now;
        Some((number, item))
    }

    /// A hand-over to this receiver has ended, however.
    pub(super) fn ended(&mut self, lane: usize, now: Duration) {
        let lane = &mut self.lanes[lane];
        lane.under_way = lane.under_way.saturating_sub(1);
        lane.moved_at = now;
    }

    /// How many wait where most do, of the receivers that are not stuck.
    pub(super) fn waiting(&self, now: Duration) -> usize {
        let stuck =
            |lane: &Lane<T>| lane.under_way >= self.in_flight_max && now.saturating_sub(lane.moved_at) >= STUCK_AFTER;
        self.lanes.iter().filter(|lane| !stuck(lane)).map(|lane| lane.queue.len()).max().unwrap_or(0)
    }

    /// How many each receiver has not taken.
    pub(super) fn left(&self) -> impl Iterator<Item = usize> {
        self.lanes.iter().map(Lane::left)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn begun(lanes: &mut Lanes<u32>, now: Duration) -> Vec<(usize, u32)> {
        std::iter::from_fn(|| lanes.next(now)).map(|(lane, item)| (lane, *item)).collect()
    }

    #[test]
    fn a_receiver_that_hangs_takes_nothing_from_the_others() {
        let mut lanes = Lanes::new(2, 1);
        for item in 0..3 {
            lanes.push(&lanes.with_room(2), &Arc::new(item));
        }
        assert_eq!(lanes.left().collect::<Vec<_>>(), [2, 2], "a third finds no room");
        assert_eq!(begun(&mut lanes, S), [(0, 0), (1, 0)]);
        lanes.ended(1, S);
        assert_eq!(begun(&mut lanes, S), [(1, 1)]);
        lanes.ended(1, S * 2);
        assert_eq!((lanes.waiting(S * 2), lanes.waiting(S * 6)), (1, 0), "the first one is stuck by then");
        lanes.push(&lanes.with_room(1), &Arc::new(9));
        assert_eq!(begun(&mut lanes, S * 6), [(1, 9)]);
        assert_eq!(lanes.left().collect::<Vec<_>>(), [2, 1]);
    }

    proptest! {
        /// Whatever ends when, every receiver gets what it had room for, in order, and never more at once than it may.
        #[test]
        fn every_receiver_gets_its_own_in_order(steps in prop::collection::vec((0..3_usize, any::<bool>()), 0..200)) {
            let (mut lanes, mut given, mut got) = (Lanes::new(3, 2), vec![Vec::new(); 3], vec![Vec::new(); 3]);
            let mut under_way = [0_usize; 3];
            for (n, (lane, ends)) in steps.into_iter().enumerate() {
                if ends && under_way[lane] > 0 {
                    under_way[lane] -= 1;
                    lanes.ended(lane, S * n as u32);
                } else {
                    let room = lanes.with_room(4);
                    lanes.push(&room, &Arc::new(n as u32));
                    room.iter().for_each(|lane| given[*lane].push(n as u32));
                }
                for (lane, item) in begun(&mut lanes, S * n as u32) {
                    got[lane].push(item);
                    under_way[lane] += 1;
                }
                prop_assert!(under_way.iter().all(|n| *n <= 2));
                prop_assert!(lanes.with_room(5).len() == 3, "no more than four wait");
            }
            for (given, got) in given.iter().zip(&got) {
                prop_assert!(given.starts_with(got));
            }
        }
    }
}
