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

/// A receiver that has something to take and has answered nothing for so long is stuck: the others do not wait for it.
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
    /// When it last answered, or got something to take.
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
    pub(super) fn push(&mut self, lanes: &[usize], item: &Arc<T>, now: Duration) {
        for lane in lanes {
            let lane = &mut self.lanes[*lane];
            if lane.left() == 0 {
                lane.moved_at = now;
            }
            lane.queue.push_back(item.clone());
        }
    }

    /// What is to be handed over now, and to which receiver; none if nothing waits, or no slot is free.
    pub(super) fn next(&mut self) -> Option<(usize, Arc<T>)> {
        let free = |lane: &&mut Lane<T>| lane.under_way < self.in_flight_max && !lane.queue.is_empty();
        let (number, lane) = self.lanes.iter_mut().enumerate().find(|(_, lane)| free(lane))?;
        let item = lane.queue.pop_front()?;
        lane.under_way += 1;
        Some((number, item))
    }

    /// A hand-over to this receiver has ended, however; whether the receiver has answered to it.
    pub(super) fn ended(&mut self, lane: usize, answered: bool, now: Duration) {
        let lane = &mut self.lanes[lane];
        lane.under_way = lane.under_way.saturating_sub(1);
        if answered {
            lane.moved_at = now;
        }
    }

    /// How many wait where most do, of the receivers that are not stuck; of all, if all are.
    pub(super) fn waiting(&self, now: Duration) -> usize {
        let moves = |lane: &&Lane<T>| lane.left() == 0 || now.saturating_sub(lane.moved_at) < STUCK_AFTER;
        let moving = self.lanes.iter().filter(moves).map(|lane| lane.queue.len()).max();
        moving.or_else(|| self.lanes.iter().map(|lane| lane.queue.len()).max()).unwrap_or(0)
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

    fn begun(lanes: &mut Lanes<u32>) -> Vec<(usize, u32)> {
        std::iter::from_fn(|| lanes.next()).map(|(lane, item)| (lane, *item)).collect()
    }

    #[test]
    fn a_receiver_that_hangs_takes_nothing_from_the_others() {
        let mut lanes = Lanes::new(2, 1);
        for item in 0..3 {
            lanes.push(&lanes.with_room(2), &Arc::new(item), S);
        }
        assert_eq!(lanes.left().collect::<Vec<_>>(), [2, 2], "a third finds no room");
        assert_eq!(begun(&mut lanes), [(0, 0), (1, 0)]);
        lanes.ended(1, true, S);
        assert_eq!(begun(&mut lanes), [(1, 1)]);
        lanes.ended(1, true, S * 2);
        assert_eq!((lanes.waiting(S * 2), lanes.waiting(S * 6)), (1, 0), "the first one is stuck by then");
        lanes.push(&lanes.with_room(1), &Arc::new(9), S * 6);
        assert_eq!(begun(&mut lanes), [(1, 9)]);
        assert_eq!(lanes.left().collect::<Vec<_>>(), [2, 1]);
        lanes.ended(0, false, S * 7);
        assert_eq!(begun(&mut lanes), [(0, 1)]);
        lanes.push(&lanes.with_room(1), &Arc::new(10), S * 7);
        assert_eq!((lanes.waiting(S * 8), lanes.waiting(S * 99)), (1, 1), "with both stuck somebody has to wait");
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
                    lanes.ended(lane, n % 2 == 0, S * n as u32);
                } else {
                    let room = lanes.with_room(4);
                    lanes.push(&room, &Arc::new(n as u32), S * n as u32);
                    room.iter().for_each(|lane| given[*lane].push(n as u32));
                }
                for (lane, item) in begun(&mut lanes) {
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
