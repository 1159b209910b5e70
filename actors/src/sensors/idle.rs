//! Which sensors have gone longest without a reading.
//!
//! **Owns** an order of all sensors that may give their actor back, by when each was last touched.
//! **Promises** a touch costs nothing here: a sensor keeps the place of an earlier touch and moves when it is found out
//! of place, once per touch at most. So whoever is next costs what was touched, never what is live.
//! **Not here**: retiring them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use messages::SensorId;

/// The order. `T` is a time.
#[derive(Debug)]
pub(super) struct Idle<T> {
    order: BinaryHeap<Reverse<(T, SensorId)>>,
    /// Entries looked at so far: what this costs.
    steps: u64,
}

impl<T: Ord> Default for Idle<T> {
    fn default() -> Self {
        Self { order: BinaryHeap::new(), steps: 0 }
    }
}

/// What is found of a sensor that stands in the order.
pub(super) enum IdleFound<T> {
    /// It has no actor to give back.
    Gone,
    /// It was last touched then.
    Touched(T),
}

impl<T: Ord + Copy> Idle<T> {
    /// A sensor that is not in the order yet.
    pub(super) fn add(&mut self, sensor: SensorId, touched: T) {
        self.order.push(Reverse((touched, sensor)));
    }

    /// Takes the longest untouched sensor out, if it was touched before `until` (or at all, without one). `look` tells
    /// what has become of a sensor; who is gone is out of the order from then on.
    pub(super) fn next(
        &mut self,
        until: Option<T>,
        mut look: impl FnMut(&SensorId) -> IdleFound<T>,
    ) -> Option<SensorId> {
        loop {
            let mut oldest = self.order.peek_mut()?;
            self.steps += 1;
            let Reverse((noted, sensor)) = &mut *oldest;
            match look(sensor) {
                IdleFound::Gone => drop(PeekMut::pop(oldest)),
                IdleFound::Touched(touched) if touched > *noted => *noted = touched,
                IdleFound::Touched(touched) if until.is_some_and(|until| touched >= until) => return None,
                IdleFound::Touched(_) => return Some(PeekMut::pop(oldest).0.1),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn id(n: u64) -> SensorId {
        SensorId::new(&format!("s{n}"))
    }

    #[test]
    fn the_longest_untouched_comes_first_and_whoever_is_gone_is_forgotten() {
        let mut idle = Idle::default();
        let mut touched: HashMap<SensorId, u64> = (0..10).map(|n| (id(n), n)).collect();
        touched.iter().for_each(|(sensor, at)| idle.add(sensor.clone(), *at));
        touched.insert(id(0), 20);
        touched.remove(&id(1));
        let mut next = |until| {
            idle.next(until, |sensor| touched.get(sensor).map_or(IdleFound::Gone, |at| IdleFound::Touched(*at)))
        };
        assert_eq!(next(Some(2)), None, "touched at 2 is not before 2");
        assert_eq!(next(Some(3)), Some(id(2)));
        assert_eq!(next(None), Some(id(3)));
        for n in 4..10 {
            assert_eq!(next(None), Some(id(n)));
        }
        assert_eq!((next(None), next(None)), (Some(id(0)), None));
        assert!(idle.order.is_empty());
    }

    /// BOUNDED: twenty times as many sensors as may live pass through one epoch. What that costs is counted, not timed.
    #[test]
    fn a_flood_of_sensors_costs_what_is_retired() {
        const LIVE_MAX: u64 = 1_000;
        const SENSORS: u64 = 20 * LIVE_MAX;
        let (mut idle, mut touched, mut retired) = (Idle::default(), HashMap::new(), 0);
        for n in 0..SENSORS {
            if n >= LIVE_MAX {
                let next =
                    idle.next(None, |sensor| touched.get(sensor).map_or(IdleFound::Gone, |at| IdleFound::Touched(*at)));
                touched.remove(&next.unwrap());
                retired += 1;
            }
            touched.insert(id(n), n);
            idle.add(id(n), n);
            // The busiest ones are touched all the time.
            for busy in (0..3).map(|k| id(n.saturating_sub(k))) {
                touched.entry(busy).and_modify(|at| *at = n);
            }
        }
        assert_eq!(retired, SENSORS - LIVE_MAX);
        // One for each retirement, and one for each touch that moved somebody.
        assert!(idle.steps <= 5 * SENSORS, "{} steps for {SENSORS} sensors, {LIVE_MAX} live", idle.steps);
    }
}
