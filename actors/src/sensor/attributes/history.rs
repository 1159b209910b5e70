//! What a sensor remembers of its attributes: stretches of event time in which readings said the same.
//!
//! **Owns** the stretches, in order of time, and which of them a version speaks of already.
//!
//! **Promises**
//! - The versions written give, at every reading that is remembered, what it said.
//! - Bounded: between readings that say the same, the longest silences are remembered (half of `sensors.history_max`),
//!   because a late reading may fall into one; beyond that, stretches become one. When the attributes alone changed
//!   more often than `sensors.history_max`, the oldest stretch is forgotten.
//! - A reading that contradicts a stretch from within holds at its own moment only: in between, others said otherwise.
//!
//! **Not here**: numbers of versions (`attributes.rs`).

use std::collections::BTreeMap;

use messages::schema::Value;
use serde::{Deserialize, Serialize};

use super::ReadAttributes;

/// How many stretches are kept.
#[derive(Clone, Copy, Debug)]
pub(in crate::sensor) struct Kept {
    /// Most rows that say nothing new are fewer than this.
    alike: usize,
    /// In any case.
    all: usize,
}

/// A version: what it says anew, and all that holds from then on as far as it is known.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::sensor) struct Row {
    pub(in crate::sensor) from_us: i64,
    pub(in crate::sensor) values: Vec<Option<Value>>,
    /// Places among the tracked attributes.
    pub(in crate::sensor) changed: Vec<usize>,
}

/// What a stretch says of an attribute, as a number that is short when it is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Mark(u16);

/// Readings in a row that said the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Stretch {
    from_us: i64,
    lasts_us: i64,
    /// Versions that begin here: none, one, or several, for which 2 stands.
    versions: u8,
}

/// The stretches that are remembered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct History {
    /// Attributes.
    width: usize,
    /// Whether there was anything before the first stretch.
    forgotten: bool,
    /// Whether versions speak of that. Else the first version of all begins later, and speaks of it as well.
    versions_forgotten: bool,
    /// What marks stand for.
    values: Vec<Value>,
    stretches: Vec<Stretch>,
    /// One for each stretch and attribute.
    marks: Vec<Mark>,
    /// The shortest silence between stretches that could be one, if there are as many as may be. Follows from the rest.
    #[serde(skip)]
    least_gap_us: Option<i64>,
}

/// What is in force of each attribute: places among the values.
type InForcePlaces = Vec<Option<usize>>;

impl Kept {
    pub(super) fn of(history_max: usize) -> Self {
        let all = history_max.max(2);
        Self { alike: (all / 2).max(1), all }
    }
}

impl Mark {
    const UNSAID: Self = Self(0);

    fn said(value: usize) -> Self {
        // Far fewer values than that are remembered.
        Self(((value as u16) + 1) << 1)
    }

    fn value(self) -> Option<usize> {
        (self.0 >> 1).checked_sub(1).map(usize::from)
    }

    /// Whether the version that begins with the stretch says it.
    fn is_stated(self) -> bool {
        self.0 & 1 == 1
    }

    fn stated(self) -> Self {
        Self(self.0 | 1)
    }

    fn unstated(self) -> Self {
        Self(self.0 & !1)
    }
}

impl Stretch {
    fn at(time_us: i64) -> Self {
        Self { from_us: time_us, lasts_us: 0, versions: 0 }
    }

    fn to_us(&self) -> i64 {
        self.from_us.saturating_add(self.lasts_us)
    }

    fn end_at(&mut self, time_us: i64) {
        self.lasts_us = time_us.saturating_sub(self.from_us).max(0);
    }
}

impl History {
    pub(super) fn none(width: usize) -> Self {
        Self { width, ..Self::default() }
    }

    /// One stretch that a version speaks of, and something before it.
    pub(super) fn of_one(from_us: i64, until_us: i64, said: Vec<Option<Value>>) -> Self {
        let mut history = Self { forgotten: true, versions_forgotten: true, ..Self::none(said.len()) };
        let mut stretch = Stretch { versions: 1, ..Stretch::at(from_us) };
        stretch.end_at(until_us.max(from_us));
        history.stretches.push(stretch);
        for value in said {
            let mark = value.map_or(Mark::UNSAID, |value| Mark::said(history.number(value)).stated());
            history.marks.push(mark);
        }
        history
    }

    /// Whether the reading says nothing beyond the last stretch, and lies in it or so close behind it that it is one
    /// with it. Then it is taken over.
    pub(super) fn repeats_last(&mut self, told: &ReadAttributes<'_>, time_us: i64) -> bool {
        let Some(last) = self.stretches.last() else { return false };
        let gap_us = time_us.saturating_sub(last.to_us());
        if time_us < last.from_us || (gap_us > 0 && self.least_gap_us.is_none_or(|least_us| gap_us > least_us)) {
            return false;
        }
        let marks = &self.marks[self.marks.len() - self.width..];
        let repeated = |(attribute, mark): (usize, &Mark)| match mark.value() {
            Some(value) => told.agrees(attribute, &self.values[value]),
            None => !told.says(attribute),
        };
        let repeats = marks.iter().enumerate().all(repeated);
        if repeats && gap_us > 0 {
            self.stretches.last_mut().expect("there is one").end_at(time_us);
        }
        repeats
    }

    /// Remembers what a reading says; the versions that this makes necessary, in order of time.
    pub(super) fn place(&mut self, told: &ReadAttributes<'_>, time_us: i64, kept: Kept) -> Vec<Row> {
        let rows = match self.stretches.partition_point(|stretch| stretch.from_us <= time_us) {
            0 if self.forgotten => self.stray(told, time_us),
            next => self.insert(told, time_us, next),
        };
        self.shorten(kept);
        rows
    }

    /// A reading from before all that is remembered: it speaks for itself, and the first stretch for itself again.
    fn stray(&mut self, told: &ReadAttributes<'_>, time_us: i64) -> Vec<Row> {
        // Where no version was before, this one is the first of all now, and nothing else holds behind it.
        let known = if std::mem::replace(&mut self.versions_forgotten, true) { 1 } else { 0 };
        let mut in_force = self.in_force(known);
        let said = (0..self.width).map(|attribute| told.value(attribute)).collect::<Vec<_>>();
        for (attribute, value) in said.iter().enumerate() {
            if let Some(value) = value {
                in_force[attribute] = Some(self.number(value.clone()));
            }
        }
        let changed = (0..self.width).filter(|attribute| said[*attribute].is_some()).collect();
        let mut rows = vec![Row { from_us: time_us, values: said, changed }];
        rows.extend(self.state(Some(&in_force), BTreeMap::new()));
        rows
    }

    /// `next` is the first stretch that begins behind the reading.
    fn insert(&mut self, told: &ReadAttributes<'_>, time_us: i64, next: usize) -> Vec<Row> {
        let before = self.in_force(next);
        let marks: Vec<Mark> = (0..self.width).map(|attribute| self.mark(told, attribute, &before, next)).collect();
        let is_news = |(mark, known): (&Mark, &Option<usize>)| mark.value().is_some() && mark.value() != *known;
        let news: Vec<bool> = marks.iter().zip(&before).map(is_news).collect();
        let Some(last) = next.checked_sub(1) else {
            return self.insert_new(0, Stretch::at(time_us), &marks);
        };
        let (from_us, to_us) = (self.stretches[last].from_us, self.stretches[last].to_us());
        if time_us > to_us {
            return self.insert_new(next, Stretch::at(time_us), &marks);
        }
        if !news.contains(&true) {
            self.confirm(last, &marks);
            return Vec::new();
        }
        if time_us < to_us {
            // Nobody knows how soon after it the others spoke again.
            let mut rest = Stretch::at(time_us.saturating_add(1));
            rest.end_at(to_us);
            let marks: Vec<Mark> = self.of(last).iter().map(|mark| mark.unstated()).collect();
            self.add(next, rest, &marks);
        }
        if from_us < time_us {
            self.stretches[last].end_at(time_us.saturating_sub(1));
            return self.insert_new(next, Stretch::at(time_us), &marks);
        }
        // Two readings of one time: the later one holds. What a version says already must be said against.
        self.stretches[last].end_at(time_us);
        let written = self.written_before();
        let mut due: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for attribute in (0..self.width).filter(|attribute| news[*attribute]) {
            let mark = &mut self.marks[last * self.width + attribute];
            let contradicts = mark.is_stated();
            *mark = marks[attribute];
            if contradicts {
                *mark = mark.stated();
                due.entry(last).or_default().push(attribute);
            }
        }
        self.confirm(last, &marks);
        // If nothing is known of the time before this stretch, what it said so far is what versions say.
        self.state(Some(&written).filter(|_| self.versions_forgotten), due)
    }

    fn insert_new(&mut self, at: usize, stretch: Stretch, marks: &[Mark]) -> Vec<Row> {
        let (is_first, from_us) = (self.stretches.is_empty(), stretch.from_us);
        self.add(at, stretch, marks);
        let mut rows = self.state(None, BTreeMap::new());
        if is_first && rows.is_empty() {
            // It says that the sensor exists.
            self.stretches[at].versions = 1;
            rows.push(Row { from_us, values: vec![None; self.width], changed: Vec::new() });
        }
        rows
    }

    fn add(&mut self, at: usize, stretch: Stretch, marks: &[Mark]) {
        self.stretches.insert(at, stretch);
        let place = at * self.width;
        self.marks.splice(place..place, marks.iter().copied());
    }

    /// Also this was said in the stretch, where it held already.
    fn confirm(&mut self, stretch: usize, marks: &[Mark]) {
        let own = &mut self.marks[stretch * self.width..][..self.width];
        for (own, mark) in own.iter_mut().zip(marks).filter(|(own, _)| **own == Mark::UNSAID) {
            *own = mark.unstated();
        }
    }

    /// What the reading says of an attribute: a value that is near enough to what holds is that.
    fn mark(&mut self, told: &ReadAttributes<'_>, attribute: usize, before: &InForcePlaces, next: usize) -> Mark {
        let Some(value) = told.value(attribute) else { return Mark::UNSAID };
        let agrees = |known: &usize| told.agrees(attribute, &self.values[*known]);
        let held = match before[attribute] {
            Some(known) => Some(known).filter(agrees),
            None => {
                let later = (next..self.stretches.len()).find_map(|n| self.of(n)[attribute].value());
                later.filter(agrees)
            }
        };
        Mark::said(held.unwrap_or_else(|| self.number(value)))
    }

    fn number(&mut self, value: Value) -> usize {
        self.values.iter().position(|known| *known == value).unwrap_or_else(|| {
            self.values.push(value);
            self.values.len() - 1
        })
    }

    /// Walks over all stretches and writes a version wherever what is written gives something else than was said. `due`
    /// are those that are decided already.
    fn state(&mut self, before: Option<&InForcePlaces>, mut due: BTreeMap<usize, Vec<usize>>) -> Vec<Row> {
        let was: Vec<u8> = self.stretches.iter().map(|stretch| stretch.versions).collect();
        loop {
            for stretch in due.keys() {
                self.stretches[*stretch].versions = (was[*stretch] + 1).min(2);
            }
            let mut written = before.cloned().unwrap_or_else(|| self.written_before());
            let mut is_done = true;
            for at in 0..self.marks.len() {
                let (stretch, attribute) = (at / self.width, at % self.width);
                let mark = self.marks[at];
                if mark == Mark::UNSAID {
                    continue;
                }
                if !mark.is_stated() && written[attribute] != mark.value() {
                    self.marks[at] = mark.stated();
                    due.entry(stretch).or_default().push(attribute);
                    is_done = false;
                }
                written[attribute] = mark.value();
            }
            // A version before all others takes the place of what was written before them.
            if is_done {
                break;
            }
        }
        due.into_iter().map(|(stretch, changed)| self.row(stretch, changed)).collect()
    }

    fn row(&self, stretch: usize, mut changed: Vec<usize>) -> Row {
        changed.sort_unstable();
        let in_force = self.in_force(stretch + 1);
        let values = in_force.into_iter().map(|value| value.map(|value| self.values[value].clone())).collect();
        Row { from_us: self.stretches[stretch].from_us, values, changed }
    }

    /// What versions say of the time before the first stretch. The first version of all holds from the beginning of time.
    fn written_before(&self) -> InForcePlaces {
        if self.versions_forgotten {
            return self.in_force(1);
        }
        let first = self.stretches.iter().position(|stretch| stretch.versions > 0);
        // Of several at one time, the first holds there, and which that was is not remembered.
        let Some(first) = first.filter(|first| self.stretches[*first].versions == 1) else {
            return vec![None; self.width];
        };
        self.of(first).iter().map(|mark| mark.value().filter(|_| mark.is_stated())).collect()
    }

    fn of(&self, stretch: usize) -> &[Mark] {
        &self.marks[stretch * self.width..][..self.width]
    }

    /// What the first so many stretches leave in force.
    fn in_force(&self, stretches: usize) -> InForcePlaces {
        let mut in_force = vec![None; self.width];
        for stretch in 0..stretches.min(self.stretches.len()) {
            for (known, mark) in in_force.iter_mut().zip(self.of(stretch)) {
                *known = mark.value().or(*known);
            }
        }
        in_force
    }

    pub(super) fn latest(&self) -> Vec<Option<&Value>> {
        self.in_force(self.stretches.len()).into_iter().map(|value| value.map(|value| &self.values[value])).collect()
    }

    /// Makes one of what says the same, where the silence is shortest; then forgets the oldest.
    pub(super) fn shorten(&mut self, kept: Kept) {
        let mut joints = self.joints();
        while joints.len() >= kept.alike || self.stretches.len() > kept.all {
            // Of equal silences the latest, so that a stretch that is repeated regularly just grows.
            match joints.iter().min_by_key(|(at, gap_us)| (*gap_us, std::cmp::Reverse(*at))) {
                Some((at, _)) => self.join(*at),
                None => self.forget_oldest(),
            }
            joints = self.joints();
        }
        // One more would have to be joined at once.
        let is_full = joints.len() + 1 >= kept.alike || self.stretches.len() >= kept.all;
        let least = || joints.iter().map(|(_, gap_us)| *gap_us).min().unwrap_or(i64::MAX);
        self.least_gap_us = is_full.then(least);
        self.forget_values();
    }

    /// Stretches that say nothing but what held before them: their places, and the silence before them.
    fn joints(&self) -> Vec<(usize, i64)> {
        let mut joints = Vec::new();
        let mut in_force = vec![None; self.width];
        // What is told of the time before the first version hangs on where that one begins.
        let mut has_version = self.versions_forgotten;
        for (at, stretch) in self.stretches.iter().enumerate() {
            let repeats = |(mark, known): (&Mark, &Option<usize>)| *mark == Mark::UNSAID || mark.value() == *known;
            let is_repeated = self.of(at).iter().zip(&in_force).all(repeats);
            if at > 0 && is_repeated && (has_version || stretch.versions == 0) {
                joints.push((at, stretch.from_us.saturating_sub(self.stretches[at - 1].to_us())));
            }
            has_version |= stretch.versions > 0;
            for (known, mark) in in_force.iter_mut().zip(self.of(at)) {
                *known = mark.value().or(*known);
            }
        }
        joints
    }

    /// Makes a stretch one with the one before it.
    fn join(&mut self, at: usize) {
        let marks = self.of(at).to_vec();
        self.confirm(at - 1, &marks);
        let to_us = self.stretches[at].to_us();
        self.stretches[at - 1].end_at(to_us);
        self.stretches.remove(at);
        self.marks.drain(at * self.width..(at + 1) * self.width);
    }

    fn forget_oldest(&mut self) {
        let marks = self.of(0).to_vec();
        self.confirm(1, &marks);
        let oldest = self.stretches.remove(0);
        self.marks.drain(..self.width);
        self.forgotten = true;
        self.versions_forgotten |= oldest.versions > 0;
    }

    /// Forgets values that no stretch has.
    fn forget_values(&mut self) {
        let mut places: Vec<Option<usize>> = vec![None; self.values.len()];
        for value in self.marks.iter().filter_map(|mark| mark.value()) {
            places[value] = Some(value);
        }
        if places.iter().all(Option::is_some) {
            return;
        }
        let mut kept = Vec::new();
        for (value, place) in std::mem::take(&mut self.values).into_iter().zip(&mut places) {
            if place.is_some() {
                *place = Some(kept.len());
                kept.push(value);
            }
        }
        self.values = kept;
        for mark in &mut self.marks {
            if let Some(place) = mark.value().and_then(|value| places[value]) {
                let moved = Mark::said(place);
                *mark = if mark.is_stated() { moved.stated() } else { moved };
            }
        }
    }

    #[cfg(test)]
    pub(super) fn has_forgotten(&self) -> bool {
        self.forgotten
    }

    pub(super) fn is_sound(&self, width: usize) -> bool {
        self.width == width
            && self.marks.len() == self.stretches.len() * width
            && self.marks.iter().all(|mark| mark.value().is_none_or(|value| value < self.values.len()))
            && self.stretches.iter().all(|stretch| stretch.lasts_us >= 0)
            && self.stretches.windows(2).all(|pair| pair[0].from_us < pair[1].from_us)
    }

    /// Forgets values of which `fits` says no.
    pub(super) fn keep(&mut self, fits: impl Fn(usize, &Value) -> bool) {
        let width = self.width;
        for (at, mark) in self.marks.iter_mut().enumerate() {
            if mark.value().is_some_and(|value| !fits(at % width, &self.values[value])) {
                *mark = Mark::UNSAID;
            }
        }
    }
}
