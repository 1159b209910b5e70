//! The heartbeat rows: one per worker, in the same table, skipped by KCL because of their entity type.
//!
//! **Promises** at most one process beats under a worker's name: a beat is on condition that the row is still this
//! process's own, so whoever claims the name later ends the one before. A row of another process that does not beat
//! (a table put back as it was) ends nobody: it is watched, and written over.
//! **Not here**: judging who is alive. The row holds no time; observers watch the beat move, each by its own clock.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use tokio::time::Instant;

use super::row::{Item, number_of, text_of};
use super::write::{Write, Written, number, text};
use super::{LeaseError, LeaseTable};
use crate::ports::aws::{CallError, Failure, classify};

/// What tells these rows from leases.
pub(super) const ENTITY_TYPE: &str = "MANGROVE_WORKER";
const KEY_PREFIX: &str = "mangrove-worker:";
/// A table that is put back moves a row once, even forward, and may be put back again. Whoever moves it this often beats.
pub const MOVES_OF_THE_LIVING: u32 = 3;
/// A beat that fails is followed by the next one: trying longer would only make it late.
const ATTEMPTS_MAX: u32 = 2;

const STANDING: &str = "mangroveStanding";

/// What a worker may be given, as it says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// It has committed: whatever there is. Builds that say nothing count as such.
    #[default]
    Proven,
    /// It has reached all that it needs, and is to show on one shard that it can commit.
    OnTrial,
    /// It cannot reach what it needs, or has failed on its first shard: nothing.
    Unfit,
    /// It has committed, but nothing that it has works any more: nothing that others read.
    Unwell,
}

impl Standing {
    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Proven => "proven",
            Self::OnTrial => "on trial",
            Self::Unfit => "unfit",
            Self::Unwell => "unwell",
        }
    }

    /// As the row says it, which says nothing of those that are as they should be.
    fn text(self) -> Option<&'static str> {
        (self != Self::Proven).then_some(self.name())
    }

    fn parse(text: Option<&str>) -> Self {
        let named = [Self::OnTrial, Self::Unfit, Self::Unwell];
        named.into_iter().find(|standing| text.is_some() && standing.text() == text).unwrap_or_default()
    }
}

/// A worker as its heartbeat row shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerRow {
    /// Its name on leases.
    pub id: String,
    /// Random text of the process.
    pub incarnation: String,
    /// Moves with every beat.
    pub beat: u64,
    /// Where its ops endpoint listens.
    pub address: String,
    /// It gives its shards up and takes none.
    pub leaving: bool,
    /// What it may be given.
    pub standing: Standing,
}

/// This process's own heartbeat row.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    table: LeaseTable,
    row: WorkerRow,
    /// The highest beat that was tried: one of which no answer came may be written, or arrive yet.
    attempted: u64,
    rival: Option<Rival>,
}

/// Another process's row in the place of this one's.
#[derive(Clone, Debug)]
struct Rival {
    row: WorkerRow,
    /// Since when it has been seen not to move.
    since: Instant,
    moves: u32,
}

/// The key of a worker's heartbeat row.
pub(super) fn key_of(id: &str) -> String {
    format!("{KEY_PREFIX}{id}")
}

impl WorkerRow {
    pub(super) fn read(item: &Item) -> Option<Self> {
        let key = text_of(item, "leaseKey")?;
        Some(Self {
            id: key.strip_prefix(KEY_PREFIX)?.to_owned(),
            incarnation: text_of(item, "mangroveIncarnation")?,
            beat: number_of(item, "mangroveBeat")?,
            address: text_of(item, "mangroveAddress").unwrap_or_default(),
            leaving: item.get("mangroveLeaving") == Some(&AttributeValue::Bool(true)),
            standing: Standing::parse(text_of(item, STANDING).as_deref()),
        })
    }
}

impl WorkerRow {
    /// All of it.
    fn write(&self) -> Write {
        let mut write = Write::default();
        write.set("entityType", text(ENTITY_TYPE)).set("mangroveIncarnation", text(&self.incarnation));
        write.set("mangroveBeat", number(self.beat));
        match self.leaving {
            true => write.set("mangroveLeaving", AttributeValue::Bool(true)),
            false => write.remove("mangroveLeaving"),
        };
        note(&mut write, self.standing);
        if !self.address.is_empty() {
            // Neither DynamoDB nor an operator has a use for an empty text.
            write.set("mangroveAddress", text(&self.address));
        }
        write
    }
}

impl LeaseTable {
    /// The heartbeat row of a worker, read consistently.
    pub async fn worker(&self, id: &str) -> Result<Option<WorkerRow>, CallError> {
        Ok(self.item(&key_of(id)).await?.as_ref().and_then(WorkerRow::read))
    }

    /// Begins to beat under a name, on condition that its row is still as it was seen.
    pub async fn claim(&self, id: &str, address: &str, seen: Option<&WorkerRow>) -> Result<Heartbeat, LeaseError> {
        let row = WorkerRow {
            id: id.to_owned(),
            incarnation: self.chance.nonce(),
            beat: seen.map_or(1, |seen| seen.beat + 1),
            address: address.to_owned(),
            leaving: false,
            standing: Standing::Unfit,
        };
        let mut write = row.write();
        match seen {
            Some(seen) => write.only_if("mangroveIncarnation", text(&seen.incarnation)),
            None => write.only_if_absent("leaseKey"),
        };
        if let Some(seen) = seen {
            write.only_if("mangroveBeat", number(seen.beat));
        }
        match self.write(&key_of(id), write, super::ATTEMPTS_MAX).await? {
            Written::Applied => Ok(Heartbeat { table: self.clone(), attempted: row.beat, row, rival: None }),
            Written::ConditionFailed | Written::Gone => Err(LeaseError::NameDisputed(id.to_owned())),
        }
    }

    /// Forgets a worker that has not beaten since it was seen.
    pub async fn forget(&self, seen: &WorkerRow) -> Result<(), CallError> {
        let key = key_of(&seen.id);
        let request = self.client.delete_item().table_name(&self.table).key("leaseKey", text(&key));
        let request = request
            .condition_expression("mangroveIncarnation = :incarnation AND mangroveBeat = :beat")
            .expression_attribute_values(":incarnation", text(&seen.incarnation))
            .expression_attribute_values(":beat", number(seen.beat));
        match request.send().await.map_err(|e| classify(format!("forget worker {:?}", seen.id), e)) {
            // It lives, or another worker was faster.
            Err(error) if error.failure != Failure::Condition => Err(error),
            _ => Ok(()),
        }
    }
}

impl Heartbeat {
    /// The row as last written.
    pub fn row(&self) -> &WorkerRow {
        &self.row
    }

    /// Counts an attempt whose outcome is not known: the next beat is above it.
    pub fn gave_up(&mut self) {
        self.attempted += 1;
    }

    /// Says that this worker lives, whether it is leaving, and what it may be given. Where another process's row is
    /// found, that one is to beat within `watch_for`, or its row is written over: it is one that was put back.
    pub async fn beat(&mut self, leaving: bool, standing: Standing, watch_for: Duration) -> Result<(), LeaseError> {
        let mut row = WorkerRow { beat: self.attempted + 1, leaving, standing, ..self.row.clone() };
        let key = key_of(&row.id);
        let mut write = Write::default();
        write.set("mangroveBeat", number(row.beat));
        if leaving {
            write.set("mangroveLeaving", AttributeValue::Bool(true));
        }
        if standing != self.row.standing {
            note(&mut write, standing);
        }
        // On the beat too: an earlier one that arrives late would set it back, and others see it stand still.
        write.only_if("mangroveIncarnation", text(&row.incarnation)).only_below("mangroveBeat", row.beat);
        self.attempted = row.beat;
        let mut written = self.table.write(&key, write, ATTEMPTS_MAX).await?;
        if written != Written::Applied {
            // A beat of which no answer came was written; or the table is another one by now, made anew or restored:
            // nobody has the name there, or one of the past.
            let found = self.table.worker(&row.id).await?;
            row.beat = found.as_ref().map_or(row.beat, |found| found.beat + 1);
            let mut anew = row.write();
            match &found {
                None => anew.only_if_absent("leaseKey"),
                Some(found) => {
                    if found.incarnation != row.incarnation {
                        self.watch(found, watch_for)?;
                    }
                    anew.only_if("mangroveIncarnation", text(&found.incarnation));
                    anew.only_if("mangroveBeat", number(found.beat))
                }
            };
            written = self.table.write(&key, anew, ATTEMPTS_MAX).await?;
        }
        match written {
            Written::Applied => {
                self.attempted = self.attempted.max(row.beat);
                (self.row, self.rival) = (row, None);
                Ok(())
            }
            Written::ConditionFailed | Written::Gone => Err(LeaseError::NameDisputed(self.row.id.clone())),
        }
    }

    /// Passes once this row of another process has stood still for long enough.
    fn watch(&mut self, found: &WorkerRow, watch_for: Duration) -> Result<(), LeaseError> {
        let now = Instant::now();
        let rival = self.rival.get_or_insert_with(|| Rival { row: found.clone(), since: now, moves: 0 });
        if rival.row != *found {
            *rival = Rival { row: found.clone(), since: now, moves: rival.moves + 1 };
        }
        if rival.moves >= MOVES_OF_THE_LIVING {
            return Err(LeaseError::NameInUse(self.row.id.clone()));
        }
        let stands = now.duration_since(rival.since) >= watch_for;
        if stands { Ok(()) } else { Err(LeaseError::NameDisputed(self.row.id.clone())) }
    }

    /// Says goodbye: nobody waits for this worker any more.
    pub async fn end(self) -> Result<(), CallError> {
        self.table.forget(&self.row).await
    }
}

fn note(write: &mut Write, standing: Standing) {
    match standing.text() {
        Some(standing) => write.set(STANDING, text(standing)),
        None => write.remove(STANDING),
    };
}
