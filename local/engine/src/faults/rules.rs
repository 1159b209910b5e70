//! The rules in force and what they did.
//!
//! **Owns** each rule's random numbers and the counts.
//! **Promises** the first rule that hits decides; a rule's hits depend on its place, the seed and the requests it matches
//! in their order, and on no other rule's requests unless they hit first.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::chance::Chance;
use super::plan::{Plan, Rule};
use super::{Asked, Fault};

/// What a rule does to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hit {
    /// The fault.
    pub fault: Fault,
    /// How long it takes.
    pub delay: Duration,
}

/// The rules in force. At first there are none.
#[derive(Default)]
pub struct Rules {
    seed: u64,
    rules: Vec<Armed>,
    injected: BTreeMap<&'static str, BTreeMap<&'static str, u64>>,
}

/// A rule with its own random numbers, so that what one rule sees does not move another one's hits.
struct Armed {
    rule: Rule,
    chance: Chance,
    n_hits: u64,
}

impl Rules {
    /// Puts a plan in the place of what was, and counts from zero.
    pub fn set(&mut self, plan: Plan) {
        let arm = |(place, rule)| Armed { rule, chance: Chance::new(plan.seed, place), n_hits: 0 };
        self.rules = (0..).zip(plan.rules).map(arm).collect();
        self.seed = plan.seed;
        self.injected.clear();
    }

    /// No more faults; the counts stay.
    pub fn clear(&mut self) {
        self.rules.clear();
    }

    /// What to do to this request, if anything.
    pub fn draw(&mut self, asked: &Asked<'_>) -> Option<Hit> {
        let rule = self.rules.iter_mut().find_map(|armed| armed.hits(asked))?;
        let hit = Hit { fault: rule.fault, delay: rule.delay };
        *self.injected.entry(asked.service.as_str()).or_default().entry(hit.fault.as_str()).or_default() += 1;
        Some(hit)
    }

    /// The rules with their hits, and what was injected, by service and kind.
    pub fn report(&self) -> Value {
        let rules: Vec<Value> = self.rules.iter().map(|armed| armed.rule.to_json(armed.n_hits)).collect();
        json!({ "seed": self.seed, "rules": rules, "injected": self.injected })
    }
}

impl Armed {
    fn hits(&mut self, asked: &Asked<'_>) -> Option<&Rule> {
        let spent = self.rule.n_hits_max.is_some_and(|n_hits_max| self.n_hits >= n_hits_max);
        if spent || !self.rule.matches(asked) || !self.chance.comes_up(self.rule.probability) {
            return None;
        }
        self.n_hits += 1;
        Some(&self.rule)
    }
}
