//! The home of the leases in a table: of which stream, in which incarnation of it, with epochs in which bucket.
//!
//! **Promises** a table belongs to one home. Who comes first says so by one conditional write; a row that is another's
//! is never taken for one's own. KCL skips the table's own row because of its entity type.
//! **Not here**: what follows when they differ (`supervisor/src/worker/home.rs`, `agreement.rs`).

use std::fmt;

use aws_sdk_dynamodb::types::AttributeValue;
use messages::{ShardId, StreamId};

use super::row::{Item, text_of};
use super::write::{Write, Written, text};
use super::{ATTEMPTS_MAX, LeaseTable};
use crate::ports::aws::CallError;

const KEY: &str = "mangrove-table";
const ENTITY_TYPE: &str = "MANGROVE_TABLE";
const STREAM: &str = "mangroveStream";
const CREATED: &str = "mangroveStreamCreated";
const BUCKET: &str = "mangroveBucket";

/// Where a shard's records come from, and where its epochs go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    /// The stream.
    pub stream: StreamId,
    /// The bucket.
    pub bucket: String,
}

impl fmt::Display for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stream {} with bucket {:?}", self.stream, self.bucket)
    }
}

/// In what two homes differ, and the way on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OtherHome {
    /// They are of two streams.
    #[error(
        "{what} is of stream {theirs}, and this worker reads stream {ours}. Each stream needs a lease table of its own: \
         name another one (leases.table), or the right stream (stream.name)"
    )]
    Stream {
        /// The table or row.
        what: String,
        /// The stream that it belongs to.
        theirs: String,
        /// The stream that this worker reads.
        ours: String,
    },
    /// The stream was deleted and made again.
    #[error(
        "{what} is of stream {theirs}, and the stream of that name is now {ours}: it was deleted and made again, and none \
         of its records are those that the checkpoints speak of. Begin with a new lease table (leases.table) and a new \
         bucket (bucket.name); what is in the old ones stays as it is"
    )]
    Incarnation {
        /// The table or row.
        what: String,
        /// The stream that it belongs to.
        theirs: String,
        /// The stream that this worker reads.
        ours: String,
    },
    /// The epochs are in another bucket.
    #[error(
        "{what} says that the epochs are in bucket {theirs:?}, and this worker writes to bucket {ours:?}. Name that bucket \
         (bucket.name), or another lease table (leases.table); if all objects were moved, let mangrove leases rebuild \
         make the rows anew from the manifests in the bucket"
    )]
    Bucket {
        /// The table or row.
        what: String,
        /// What it says.
        theirs: String,
        /// Where this worker writes to.
        ours: String,
    },
}

impl Home {
    /// That what belongs to `theirs` belongs here.
    pub fn is_of(&self, what: &str, theirs: &Self) -> Result<(), OtherHome> {
        self.reads(what, &theirs.stream)?;
        if self.bucket != theirs.bucket {
            let (theirs, ours) = (theirs.bucket.clone(), self.bucket.clone());
            return Err(OtherHome::Bucket { what: what.to_owned(), theirs, ours });
        }
        Ok(())
    }

    /// That what was made of `theirs` is of the stream that is read here.
    pub fn reads(&self, what: &str, theirs: &StreamId) -> Result<(), OtherHome> {
        let (what, ours) = (what.to_owned(), self.stream.to_string());
        match self.stream == *theirs {
            true => Ok(()),
            false if self.stream.arn == theirs.arn => {
                Err(OtherHome::Incarnation { what, theirs: theirs.to_string(), ours })
            }
            false => Err(OtherHome::Stream { what, theirs: theirs.to_string(), ours }),
        }
    }

    /// What a row says of itself; none in rows of a KCL application, and of workers before this was written.
    pub(super) fn read(item: &Item) -> Option<Self> {
        let created_ms = match item.get(CREATED) {
            Some(AttributeValue::N(ms)) => ms.parse().ok()?,
            _ => return None,
        };
        Some(Self { stream: StreamId { arn: text_of(item, STREAM)?, created_ms }, bucket: text_of(item, BUCKET)? })
    }

    pub(super) fn write(&self, write: &mut Write) {
        write.set(STREAM, text(&self.stream.arn)).set(CREATED, self.created()).set(BUCKET, text(&self.bucket));
    }

    pub(super) fn attributes(&self) -> [(String, AttributeValue); 3] {
        let pairs = [(STREAM, text(&self.stream.arn)), (CREATED, self.created()), (BUCKET, text(&self.bucket))];
        pairs.map(|(name, value)| (name.to_owned(), value))
    }

    fn created(&self) -> AttributeValue {
        AttributeValue::N(self.stream.created_ms.to_string())
    }
}

impl LeaseTable {
    /// The home of the leases in the table, read consistently; none if it has none yet.
    pub async fn home(&self) -> Result<Option<Home>, CallError> {
        Ok(self.item(KEY).await?.as_ref().and_then(Home::read))
    }

    /// Says whose leases the table holds, if nobody has. Answers whose they are.
    pub async fn settle(&self, home: &Home) -> Result<Home, CallError> {
        if let Some(settled) = self.home().await? {
            return Ok(settled);
        }
        self.set_home(home, None).await?;
        // Whoever was faster is right.
        Ok(self.home().await?.unwrap_or_else(|| home.clone()))
    }

    /// Says anew whose leases the table holds, on condition that it still says what was seen. False if it does not.
    pub async fn set_home(&self, home: &Home, seen: Option<&Home>) -> Result<bool, CallError> {
        let mut write = Write::default();
        write.set("entityType", text(ENTITY_TYPE));
        home.write(&mut write);
        match seen {
            Some(seen) => {
                for (name, value) in seen.attributes() {
                    write.only_if(&name, value);
                }
            }
            None => {
                write.only_if_absent(STREAM);
            }
        }
        Ok(self.write(KEY, write, ATTEMPTS_MAX).await? == Written::Applied)
    }
}

/// How a row is called where two of them are held against each other.
pub fn row_of(shard: &ShardId) -> String {
    format!("the lease row of {shard}")
}
