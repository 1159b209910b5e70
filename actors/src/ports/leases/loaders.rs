//! The rows of warehouses: which worker loads one, in the same table, skipped by KCL because of their entity type.
//!
//! **Promises** at most one worker is the row's owner; every write is on condition that nobody wrote since.
//! **Not here**: that only the owner loads. A worker that hung may still do so; the ledger keeps that without effect.

use aws_sdk_dynamodb::types::AttributeValue;

use super::row::{Item, number_of, text_of};
use super::write::{Write, Written, number, text};
use super::{LeaseError, LeaseTable};
use crate::ports::aws::CallError;

/// What tells these rows from leases.
const ENTITY_TYPE: &str = "MANGROVE_LOADER";
const KEY_PREFIX: &str = "mangrove-loader:";
/// A beat that fails is followed by the next one.
const ATTEMPTS_MAX: u32 = 2;

/// The row of the worker that loads a warehouse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoaderRow {
    /// The worker's name.
    pub owner: String,
    /// Random text of the owner's incarnation.
    pub incarnation: String,
    /// Moves with every beat.
    pub beat: u64,
    /// True if no worker loads: the owner has gone in good order.
    pub released: bool,
}

/// The right to load a warehouse, as long as it is renewed.
#[derive(Clone, Debug)]
pub struct LoaderLease {
    table: LeaseTable,
    key: String,
    row: LoaderRow,
}

impl LoaderRow {
    fn read(item: &Item) -> Option<Self> {
        Some(Self {
            owner: text_of(item, "mangroveLoader")?,
            incarnation: text_of(item, "mangroveIncarnation")?,
            beat: number_of(item, "mangroveBeat")?,
            released: item.get("mangroveReleased") == Some(&AttributeValue::Bool(true)),
        })
    }
}

impl LeaseTable {
    /// The row of the worker that loads this warehouse, read consistently; none if no worker ever did.
    pub async fn loader(&self, warehouse: &str) -> Result<Option<LoaderRow>, CallError> {
        Ok(self.item(&format!("{KEY_PREFIX}{warehouse}")).await?.as_ref().and_then(LoaderRow::read))
    }

    /// Takes the warehouse over, on condition that its row is still as it was seen; none if somebody was faster.
    pub async fn take_loader(
        &self,
        warehouse: &str,
        owner: &str,
        seen: Option<&LoaderRow>,
    ) -> Result<Option<LoaderLease>, CallError> {
        let row = LoaderRow {
            owner: owner.to_owned(),
            incarnation: self.chance.nonce(),
            beat: seen.map_or(1, |seen| seen.beat + 1),
            released: false,
        };
        let mut write = Write::default();
        write.set("entityType", text(ENTITY_TYPE)).set("mangroveLoader", text(owner));
        write.set("mangroveIncarnation", text(&row.incarnation)).set("mangroveBeat", number(row.beat));
        write.remove("mangroveReleased");
        match seen {
            Some(seen) => {
                write.only_if("mangroveIncarnation", text(&seen.incarnation));
                write.only_if("mangroveBeat", number(seen.beat));
            }
            None => {
                write.only_if_absent("leaseKey");
            }
        }
        let key = format!("{KEY_PREFIX}{warehouse}");
        match self.write(&key, write, super::ATTEMPTS_MAX).await? {
            Written::Applied => Ok(Some(LoaderLease { table: self.clone(), key, row })),
            Written::ConditionFailed | Written::Gone => Ok(None),
        }
    }
}

impl LoaderLease {
    /// The row as last written.
    pub fn row(&self) -> &LoaderRow {
        &self.row
    }

    /// Says that the loader lives.
    pub async fn beat(&mut self) -> Result<(), LeaseError> {
        self.renew(false).await
    }

    /// Gives the warehouse up: another may load it at once.
    pub async fn release(mut self) -> Result<(), LeaseError> {
        self.renew(true).await
    }

    async fn renew(&mut self, released: bool) -> Result<(), LeaseError> {
        // Counted before it is tried: one of which no answer came may be written, or arrive yet.
        self.row.beat += 1;
        let mut write = Write::default();
        write.set("mangroveBeat", number(self.row.beat));
        if released {
            write.set("mangroveReleased", AttributeValue::Bool(true));
        }
        // On the beat too: an earlier one that arrives late would set it back, and others see it stand still.
        write.only_if("mangroveIncarnation", text(&self.row.incarnation)).only_below("mangroveBeat", self.row.beat);
        if self.table.write(&self.key, write, ATTEMPTS_MAX).await? == Written::Applied {
            self.row.released = released;
            return Ok(());
        }
        Err(LeaseError::NotLoading(self.key.trim_start_matches(KEY_PREFIX).to_owned()))
    }
}
