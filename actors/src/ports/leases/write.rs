//! One conditional write whose outcome is known in the end: applied, or not.
//!
//! **Promises** every write carries a nonce. An answer can be lost after the write was applied; its repetition then
//! fails the condition, and our own nonce on the row tells that from a lost race.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;

use super::LeaseTable;
use crate::ports::aws::{CallError, Failure, classify};
use crate::ports::backoff::Backoff;

const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_millis(400);

pub(super) const NONCE: &str = "mangroveNonce";

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Written {
    /// The row is as it was to be.
    Applied,
    /// Somebody else has written the row; nothing was changed.
    ConditionFailed,
    /// There is no such row; nothing was changed.
    Gone,
}

/// An update of one row.
#[derive(Debug, Default)]
pub(super) struct Write {
    sets: Vec<String>,
    removes: Vec<&'static str>,
    conditions: Vec<String>,
    values: HashMap<String, AttributeValue>,
}

impl Write {
    /// Sets an attribute.
    pub(super) fn set(&mut self, attribute: &str, value: AttributeValue) -> &mut Self {
        let name = self.value(value);
        self.sets.push(format!("{attribute} = {name}"));
        self
    }

    pub(super) fn remove(&mut self, attribute: &'static str) -> &mut Self {
        self.removes.push(attribute);
        self
    }

    /// Only if the attribute has this value.
    pub(super) fn only_if(&mut self, attribute: &str, value: AttributeValue) -> &mut Self {
        let name = self.value(value);
        self.conditions.push(format!("{attribute} = {name}"));
        self
    }

    /// Only if the attribute is a number below this one.
    pub(super) fn only_below(&mut self, attribute: &str, n: u64) -> &mut Self {
        let name = self.value(number(n));
        self.conditions.push(format!("{attribute} < {name}"));
        self
    }

    /// Only if the row has no such attribute.
    pub(super) fn only_if_absent(&mut self, attribute: &str) -> &mut Self {
        self.conditions.push(format!("attribute_not_exists({attribute})"));
        self
    }

    /// Whatever the row has, as long as there is one.
    pub(super) fn forget_conditions(&mut self) {
        self.conditions = vec!["attribute_exists(leaseKey)".to_owned()];
        self.values.retain(|name, _| self.sets.iter().any(|set| set.ends_with(&format!("= {name}"))));
    }

    /// All conditions, as one expression.
    pub(super) fn condition(&self) -> Option<String> {
        (!self.conditions.is_empty()).then(|| self.conditions.join(" AND "))
    }

    /// What the expressions name.
    pub(super) fn values(&self) -> &HashMap<String, AttributeValue> {
        &self.values
    }

    fn value(&mut self, value: AttributeValue) -> String {
        let name = format!(":v{}", self.values.len());
        self.values.insert(name.clone(), value);
        name
    }

    /// What is set and removed, as one expression.
    pub(super) fn update(&self) -> String {
        let mut update = format!("SET {}", self.sets.join(", "));
        if !self.removes.is_empty() {
            update.push_str(&format!(" REMOVE {}", self.removes.join(", ")));
        }
        update
    }
}

impl LeaseTable {
    /// Writes, up to `attempts_max` times while the service or the network fails. An error means that the outcome is
    /// known to be "not applied" (throttled, refused) or unknown ([`CallError::outcome`]).
    pub(super) async fn write(&self, key: &str, write: Write, attempts_max: u32) -> Result<Written, CallError> {
        self.write_as(self.chance.nonce(), key, write, attempts_max).await
    }

    /// The same under a nonce that the caller remembers.
    pub(super) async fn write_as(
        &self,
        nonce: String,
        key: &str,
        write: Write,
        attempts_max: u32,
    ) -> Result<Written, CallError> {
        let write = self.guard.sealed(write, &nonce);
        let mut backoff = Backoff::new(&self.chance, BACKOFF_MIN, BACKOFF_MAX);
        for attempt in 1.. {
            let request = self.client.update_item().table_name(&self.table);
            let request = request
                .key("leaseKey", AttributeValue::S(key.to_owned()))
                .update_expression(write.update())
                .set_condition_expression(write.condition())
                .set_expression_attribute_values(Some(write.values().clone()));
            let error = match request.send().await {
                Ok(_) => {
                    self.retries.earn();
                    return Ok(Written::Applied);
                }
                Err(error) => classify(format!("write the row of {key}"), error),
            };
            match error.failure {
                Failure::Condition => return Ok(self.guard.refused(self.item(key).await?.as_ref(), &nonce)),
                _ if error.may_pass() && attempt < attempts_max && self.retries.take() => {
                    // A heartbeat, and the commit of an epoch, wait for this.
                    tokio::time::sleep(backoff.pause()).await;
                }
                _ => return Err(error),
            }
        }
        unreachable!("the loop returns")
    }
}

pub(super) fn number(n: u64) -> AttributeValue {
    AttributeValue::N(n.to_string())
}

pub(super) fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}
