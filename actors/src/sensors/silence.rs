//! Sensors that say nothing any more: an alert leaves for each, and each stands in the lake.
//!
//! **Owns** which silences have not been reported yet.
//!
//! **Promises**
//! - A silence is stored with the epoch in which the shard's own records have passed it: which ones, depends on the states
//!   before and after that epoch alone. Its alert counts as sent with that epoch, as any other (ALERT).
//! - It is reported as soon as the shard has been read that far, whether an epoch ends or not; it counts as reported when
//!   the alerts actor has taken it. At most [`OFFER_MAX`] leave at a time, those of sensors that came more than once first.
//! - Looking for silences costs what was touched, not what is known (BOUNDED).
//!
//! **Not here**: sensors that have never had a valid reading. Nobody misses them.

use std::collections::BTreeMap;

use messages::{Alert, AlertsMsg, Receipt, Receipts, SensorId, SensorsMsg};
use ractor::rpc::CallResult;

use super::idle::{Idle, IdleFound};
use super::roster::SensorSlots;
use super::slot::Slot;
use super::{Hand, SensorsError, SensorsState};
use crate::sensor::{heartbeat_alert, silence_alert};

/// Silences that are reported at a time.
pub(super) const OFFER_MAX: usize = 1_000;
/// Silences that one epoch stores one by one; how many more there are, one alert says.
const STORED_MAX: usize = 10_000;

/// The sensor that is silent, and since when. Those of sensors that came more than once are first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    came_once: bool,
    since_ms: i64,
    sensor: SensorId,
}

/// What the router keeps about silences.
#[derive(Debug)]
pub(super) struct Silence {
    /// The latest arrival in the states as of the last cut that is complete.
    passed_ms: i64,
    /// The same as of the cut under way, as far as it is known.
    passing_ms: i64,
    /// Known sensors by their last arrival in their state as of the last cut.
    by_cut: Idle<i64>,
    /// Known sensors by their last arrival.
    by_touch: Idle<i64>,
    /// What has to be reported. With a receipt it is stored, and is reported even if the sensor came back.
    pending: BTreeMap<Key, Option<Receipt>>,
    /// What the alerts actor is being asked to take.
    under_way: Vec<Key>,
    /// Whether it was said that there are many.
    told: bool,
}

impl Default for Silence {
    fn default() -> Self {
        Self {
            passed_ms: i64::MIN,
            passing_ms: i64::MIN,
            by_cut: Idle::default(),
            by_touch: Idle::default(),
            pending: BTreeMap::new(),
            under_way: Vec::new(),
            told: false,
        }
    }
}

impl Silence {
    /// A sensor whose state says that it has had a valid reading: as of a cut, or at the start.
    pub(super) fn watch<A>(&mut self, sensor: &SensorId, slot: &mut Slot<A>) {
        self.passing_ms = self.passing_ms.max(slot.cut_ms);
        if !std::mem::replace(&mut slot.watched_by_cut, true) {
            self.by_cut.add(sensor.clone(), slot.cut_ms);
        }
        self.touched(sensor, slot);
    }

    /// A known sensor has sent something.
    pub(super) fn touched<A>(&mut self, sensor: &SensorId, slot: &mut Slot<A>) {
        if !std::mem::replace(&mut slot.watched_by_touch, true) {
            self.by_touch.add(sensor.clone(), slot.touched_ms);
        }
    }

    /// The states that were recovered are those of a complete cut.
    pub(super) fn recovered(&mut self) {
        self.passed_ms = self.passing_ms;
    }
}

impl SensorsState {
    /// The silences that the epoch ends with whose cut is complete. Where sensors are on other shards too, their silence
    /// here is none: it is passed over for good.
    pub(super) fn silences(&mut self, receipts: &Receipts, spread: bool) -> Result<Vec<Alert>, SensorsError> {
        let Some(timeout) = self.context.schema.heartbeat else { return Ok(Vec::new()) };
        let timeout_ms = i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX);
        let (slots, silence) = (&mut self.roster.slots, &mut self.roster.silence);
        let (before_ms, now_ms) = (silence.passed_ms, silence.passing_ms);
        silence.passed_ms = now_ms;
        let until = now_ms.saturating_sub(timeout_ms).saturating_add(1);
        let look = |slots: &SensorSlots<Hand>, sensor: &SensorId| {
            slots.get(sensor).map_or(IdleFound::Gone, |slot| IdleFound::Touched(slot.cut_ms))
        };
        let (mut alerts, mut first_more, mut more) = (Vec::new(), None, 0);
        while let Some(sensor) = silence.by_cut.next(Some(until), |sensor| look(slots, sensor)) {
            let slot = slots.get_mut(&sensor).expect("it was looked at just now");
            slot.watched_by_cut = false;
            if spread || slot.cut_ms.saturating_add(timeout_ms) <= before_ms {
                // An earlier epoch has ended with it.
                continue;
            }
            if alerts.len() == STORED_MAX {
                first_more.get_or_insert((sensor, slot.cut_ms));
                more += 1;
                continue;
            }
            let shard = &self.context.shard;
            alerts.push(heartbeat_alert(&sensor, shard, None, slot.cut_ms, now_ms - slot.cut_ms, timeout));
            if !(slot.silent && slot.touched_ms == slot.cut_ms) {
                let key = Key { came_once: !slot.came_again, since_ms: slot.cut_ms, sensor };
                silence.pending.insert(key, Some(receipts.issue()));
            }
        }
        if let Some((sensor, since_ms)) = first_more {
            let alert = silence_alert(&sensor, &self.context.shard, more, since_ms);
            let receipt = Some(receipts.issue());
            self.alerts.send(AlertsMsg::Send { alert: alert.clone(), receipt, trace: None })?;
            alerts.push(alert);
        }
        Ok(alerts)
    }

    /// Looks for sensors that have become silent, and has them reported.
    pub(super) fn report_silent(&mut self) {
        let (Some(timeout), Some(stream_ms)) = (self.context.schema.heartbeat, self.stream_ms) else { return };
        let timeout_ms = i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX);
        let until = stream_ms.saturating_sub(timeout_ms).saturating_add(1);
        let tells = self.context.keys.silence_tells();
        let (slots, silence) = (&mut self.roster.slots, &mut self.roster.silence);
        let look = |slots: &SensorSlots<Hand>, sensor: &SensorId| {
            slots.get(sensor).map_or(IdleFound::Gone, |slot| IdleFound::Touched(slot.touched_ms))
        };
        while let Some(sensor) = silence.by_touch.next(Some(until), |sensor| look(slots, sensor)) {
            let slot = slots.get_mut(&sensor).expect("it was looked at just now");
            slot.watched_by_touch = false;
            if !tells {
                // Passed over until it speaks here again.
                slot.silent = true;
            } else if !slot.silent {
                let key = Key { came_once: !slot.came_again, since_ms: slot.touched_ms, sensor };
                silence.pending.entry(key).or_insert(None);
            }
        }
        self.offer(stream_ms);
        self.context.figures.set_silences(self.roster.silence.pending.len());
    }

    /// Asks the alerts actor to take the first silences that are not reported. What it has no room for stays here.
    fn offer(&mut self, stream_ms: i64) {
        let Some(timeout) = self.context.schema.heartbeat else { return };
        let (slots, silence) = (&self.roster.slots, &mut self.roster.silence);
        if !silence.under_way.is_empty() || silence.pending.is_empty() {
            silence.told &= !silence.pending.is_empty();
            return;
        }
        let shard = &self.context.shard;
        let mut offered = Vec::new();
        while offered.len() < OFFER_MAX
            && let Some((key, receipt)) = silence.pending.pop_first()
        {
            let is_silent = slots.get(&key.sensor).is_some_and(|slot| slot.touched_ms == key.since_ms && !slot.silent);
            if is_silent || receipt.is_some() {
                let silent_ms = stream_ms.saturating_sub(key.since_ms);
                let alert = heartbeat_alert(&key.sensor, shard, None, key.since_ms, silent_ms, timeout);
                offered.push((alert, receipt));
                silence.under_way.push(key);
            }
        }
        if let Some((Key { sensor, since_ms, .. }, _)) = silence.pending.first_key_value()
            && !std::mem::replace(&mut silence.told, true)
        {
            let alert = silence_alert(sensor, shard, silence.pending.len(), *since_ms);
            let many = AlertsMsg::Send { alert, receipt: None, trace: None };
            // If the actor has ended, so will this one.
            let _ = self.alerts.send(many);
        }
        if offered.is_empty() {
            return;
        }
        let (alerts, myself) = (self.alerts.clone(), self.myself.clone());
        // Asked in a task: an actor that is busy must not hold up the data.
        tokio::spawn(async move {
            let answer = alerts.actor().call(|reply| AlertsMsg::Offer { alerts: offered, reply }, None).await;
            let left = match answer {
                Ok(CallResult::Success(left)) => Some(left),
                Ok(CallResult::Timeout | CallResult::SenderError) | Err(_) => None,
            };
            let _ = myself.send(SensorsMsg::Offered(left));
        });
    }

    /// The alerts actor has taken what it had room for; none if it has ended, and whatever it had.
    pub(super) fn on_offered(&mut self, left: Option<Vec<(Alert, Option<Receipt>)>>) {
        let keys = std::mem::take(&mut self.roster.silence.under_way);
        let taken = left.as_ref().map_or(0, |left| keys.len() - left.len());
        let receipts = left.into_iter().flatten().map(|(_, receipt)| receipt).chain(std::iter::repeat_with(|| None));
        let mut keys = keys.into_iter();
        for key in keys.by_ref().take(taken) {
            if let Some(slot) = self.roster.slots.get_mut(&key.sensor).filter(|slot| slot.touched_ms == key.since_ms) {
                slot.silent = true;
            }
        }
        for (key, receipt) in keys.zip(receipts) {
            let waiting = self.roster.silence.pending.entry(key).or_insert(None);
            if waiting.is_none() {
                *waiting = receipt;
            } else if let Some(receipt) = receipt {
                // One of both is sent for both.
                receipt.settle();
            }
        }
    }
}
