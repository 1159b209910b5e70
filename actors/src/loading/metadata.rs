//! Metadata of sensors and places: looks whether objects have changed, and puts what they say in force.
//!
//! **Owns** nothing that lasts: what is in force stands in the warehouse, and lies in the bucket for ever.
//!
//! **Promises**
//! - Whatever is in the objects, loading goes on: what cannot be used is refused cell by cell and row by row. An object
//!   that cannot be read, or is cut off, keeps its last good content; what is too much as a whole leaves all that was
//!   known in force.
//! - At most `metadata.bytes_max` of objects and `metadata.rows_max` rows are held (BOUNDED).
//! - While the objects stay as they are, the warehouse is not asked: one that sleeps goes on sleeping.
//!
//! **Not here**: what a row must be (`warehouse/metadata.rs`), the SQL (`warehouse/describe.rs`).

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use messages::EventSchema;
use tokio::time::Instant;
use tracing::{info, warn};

use super::{LoadError, Loading};
use crate::metrics;
use crate::panics::Panicked;
use crate::ports::aws::Failure;
use crate::ports::backoff::doubled;
use crate::ports::objects::{Put, Tagged};
use crate::ports::warehouse::WarehouseFailure;
use crate::warehouse::describe::{self, Describe, InForce};
use crate::warehouse::metadata::{
    Content, ContentSources, LastGood, Limits, MetadataColumns, MetadataRows, Object, ObjectRows, Subject,
};

/// After a look that failed, the next one comes no later,
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);
/// but for a content that the warehouse refuses, or takes too long over: later every time, up to this. Each try costs.
const TRY_AGAIN_MAX: Duration = Duration::from_secs(3_600);

/// The list of sources, at least: some hundred bytes for each object.
const SOURCES_BYTES_MAX: usize = 16 << 20;
/// Objects that a look tells of in the log.
const TOLD_MAX: usize = 20;

/// Where metadata is, and how it is read.
#[derive(Clone, Debug)]
pub struct MetadataConfig {
    /// The prefix of the objects about sensors; empty for none.
    pub sensors: String,
    /// The prefix of the objects about places; empty for none.
    pub locations: String,
    /// From one look to the next.
    pub refresh: Duration,
    /// How much there may be.
    pub limits: Limits,
    /// The columns that only metadata has.
    pub columns: MetadataColumns,
}

/// What was seen at the last look. A process that has none looks again, and finds nothing to do.
#[derive(Clone, Debug, Default)]
pub struct MetadataWatch {
    seen: Option<Vec<(Subject, Tagged)>>,
    next: Option<Instant>,
    not_taken: Option<NotTaken>,
}

/// Objects whose content the warehouse did not take.
#[derive(Clone, Debug)]
struct NotTaken {
    objects: Vec<(Subject, Tagged)>,
    tries: u32,
    until: Instant,
}

impl MetadataWatch {
    fn waits(&self, objects: &[(Subject, Tagged)]) -> bool {
        self.not_taken.as_ref().is_some_and(|last| last.objects == objects && Instant::now() < last.until)
    }

    fn not_taken(&mut self, objects: Vec<(Subject, Tagged)>, refresh: Duration) {
        let tries = self.not_taken.as_ref().filter(|last| last.objects == objects).map_or(0, |last| last.tries) + 1;
        let pause = doubled(tries, refresh.min(RETRY_AFTER_MAX), TRY_AGAIN_MAX);
        self.not_taken = Some(NotTaken { objects, tries, until: Instant::now() + pause });
    }
}

impl MetadataConfig {
    /// There is none.
    pub fn none() -> Self {
        Self {
            sensors: String::new(),
            locations: String::new(),
            refresh: Duration::from_secs(60),
            limits: Limits { objects_max: 0, bytes_max: 0, rows_max: 0 },
            columns: MetadataColumns::default(),
        }
    }

    fn prefixes(&self) -> impl Iterator<Item = (Subject, &str)> {
        let prefixes = [(Subject::Sensors, self.sensors.as_str()), (Subject::Locations, self.locations.as_str())];
        prefixes.into_iter().filter(|(_, prefix)| !prefix.is_empty())
    }
}

impl Loading {
    /// Puts in force what the objects say, if it is time to look and they say something else than before. Failures are
    /// told and counted here: no load fails by them.
    pub async fn refresh(&self, watch: &mut MetadataWatch) {
        let config = &self.config.metadata;
        if config.prefixes().next().is_none() || watch.next.is_some_and(|next| Instant::now() < next) {
            return;
        }
        match self.look(watch).await {
            Ok(()) => watch.next = Some(Instant::now() + config.refresh),
            Err(error) => {
                metrics::warehouse_metadata_failed();
                self.ports.figures.metadata_failed(&error.to_string(), self.ports.clock.now_ms());
                watch.next = Some(Instant::now() + config.refresh.min(RETRY_AFTER_MAX));
                warn!(%error, "metadata is not taken over, what was known stays in force");
            }
        }
    }

    async fn look(&self, watch: &mut MetadataWatch) -> Result<(), LoadError> {
        let objects = self.metadata_objects().await?;
        if watch.seen.as_ref() == Some(&objects) || watch.waits(&objects) {
            return Ok(());
        }
        // What is sent from here on may come into force whatever becomes of the answer.
        watch.seen = None;
        // First what is in force, then the objects: who finds a content in force has seen objects no older than it, and
        // never puts an older content behind a newer one.
        let before = self.metadata_in_force().await?;
        let objects = self.metadata_objects().await?;
        let sources = self.sources(&before).await?;
        let (content, bodies) = self.read_metadata(&objects, &sources).await?;
        let foreign = before.number > 0 && before.stream != self.stream;
        // An empty folder says nothing that would have to be put in force.
        let says_nothing = (before.number == 0 || foreign) && content.is_empty();
        if foreign && before.rows > 0 && content.digest != before.digest && !says_nothing {
            return Err(LoadError::Lake {
                key: "metadata".to_owned(),
                problem: format!(
                    "the stream {:?} has other metadata in force in this schema: let both read the same objects, or load \
                     into another schema (warehouse.schema)",
                    before.stream
                ),
            });
        }
        let stands = if content.digest == before.digest || says_nothing {
            true
        } else {
            match self.put_in_force(&content, &bodies, &before).await {
                Err(error)
                    if matches!(
                        error.failure(),
                        WarehouseFailure::Refused | WarehouseFailure::TooLarge | WarehouseFailure::Unknown
                    ) =>
                {
                    watch.not_taken(objects, self.config.metadata.refresh);
                    return Err(error);
                }
                outcome => outcome?,
            }
        };
        if stands {
            self.tell(&content, &sources);
        }
        // If somebody else was faster, the next look reads again.
        watch.seen = stands.then_some(objects);
        Ok(())
    }

    /// Which metadata is in force.
    pub async fn metadata_in_force(&self) -> Result<InForce, LoadError> {
        let query = describe::in_force_query(&self.star)?;
        let rows = self.ports.warehouse.query(&query, "mangrove: metadata in force", 1).await?;
        Ok(describe::in_force(&rows)?)
    }

    /// The objects that there are, with what tells their contents apart.
    async fn metadata_objects(&self) -> Result<Vec<(Subject, Tagged)>, LoadError> {
        let (config, limits) = (&self.config.metadata, &self.config.metadata.limits);
        let mut objects = Vec::new();
        for (subject, prefix) in config.prefixes() {
            let too_much = |problem: String| LoadError::Lake { key: prefix.to_owned(), problem };
            // One more than allowed tells that there are too many.
            let listed = self.ports.objects.list_tagged(prefix, limits.objects_max + 1).await?;
            objects.extend(listed.into_iter().map(|tagged| (subject, tagged)));
            if objects.len() > limits.objects_max {
                let problem = format!("more than {} objects of metadata (metadata.objects_max)", limits.objects_max);
                return Err(too_much(problem));
            }
            let bytes = objects.iter().map(|(_, tagged)| tagged.bytes).fold(0, u64::saturating_add);
            if bytes > limits.bytes_max as u64 {
                let problem = format!("metadata of {bytes} bytes, more than {} (metadata.bytes_max)", limits.bytes_max);
                return Err(too_much(problem));
            }
        }
        Ok(objects)
    }

    /// What the content in force was made of; none if that is not known, as of contents of older builds.
    async fn sources(&self, before: &InForce) -> Result<Option<ContentSources>, LoadError> {
        if before.rows == 0 || before.stream != self.stream {
            // There is nothing to lose.
            return Ok(Some(ContentSources::default()));
        }
        let key = ContentSources::key(&before.digest);
        match self.ports.objects.get(&key, self.config.metadata.limits.bytes_max.max(SOURCES_BYTES_MAX)).await {
            Ok(body) => ContentSources::parse(&body).map(Some).map_err(|problem| LoadError::Lake { key, problem }),
            Err(error) if error.failure == Failure::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// What the objects say, and the bodies that are new. An object that cannot be read says what it said last.
    async fn read_metadata(
        &self,
        objects: &[(Subject, Tagged)],
        sources: &Option<ContentSources>,
    ) -> Result<(Content, Vec<(LastGood, Bytes)>), LoadError> {
        let limits = self.config.metadata.limits;
        let (mut rows, mut bodies) = (MetadataRows::default(), Vec::new());
        for (subject, Tagged { key, .. }) in objects {
            let body = self.ports.objects.get(key, limits.bytes_max).await?;
            let object = Object { subject: *subject, key: key.clone(), body };
            let (object, part) = self.metadata_part(object).await?;
            let last = sources.as_ref().and_then(|sources| sources.find(*subject, key));
            match self.doubt(&object, &part, last).await? {
                None => {
                    let source = LastGood::of(&part, &object.body);
                    rows.take(part, source.clone());
                    if last.is_none_or(|last| last.body != source.body) {
                        bodies.push((source, object.body));
                    }
                }
                Some(reason) => {
                    let Some(sources) = sources else {
                        let problem = format!("{reason}; what it said before is not known apart from the rest");
                        return Err(LoadError::Lake { key: key.clone(), problem });
                    };
                    let last = sources.find(*subject, key);
                    rows.hold(key, &reason, last.is_some());
                    if let Some(last) = last {
                        rows.take(self.last_good(last).await?, last.clone());
                    }
                }
            }
            if rows.is_full(&limits) {
                let problem = format!("more than {} rows of metadata (metadata.rows_max)", limits.rows_max);
                return Err(LoadError::Lake { key: key.clone(), problem });
            }
        }
        Ok((self.aside(move |schema, columns| rows.into_content(schema, columns)).await?, bodies))
    }

    async fn metadata_part(&self, object: Object) -> Result<(Object, ObjectRows), LoadError> {
        let limits = self.config.metadata.limits;
        self.aside(move |schema, columns| {
            // A reader's bug must not end the loader: it costs this object.
            let read = AssertUnwindSafe(|| ObjectRows::read(&object, schema, columns, &limits));
            let part = std::panic::catch_unwind(read).unwrap_or_else(|panic| {
                ObjectRows::failed(&object, format!("cannot be read: {}", Panicked::with(panic.as_ref())))
            });
            (object, part)
        })
        .await
    }

    /// Why an object is not used, if it is not.
    async fn doubt(
        &self,
        object: &Object,
        part: &ObjectRows,
        last: Option<&LastGood>,
    ) -> Result<Option<String>, LoadError> {
        if part.unreadable.is_some() {
            return Ok(part.unreadable.clone());
        }
        let Some(last) = last.filter(|last| last.bytes > 0) else { return Ok(None) };
        let is_shorter = !part.ends_line && (object.body.len() as u64) < last.bytes;
        let shortened = is_shorter && self.body(last).await?.starts_with(&object.body);
        Ok(last.doubt(part, shortened))
    }

    async fn last_good(&self, source: &LastGood) -> Result<ObjectRows, LoadError> {
        let object = Object { subject: source.subject, key: source.key.clone(), body: self.body(source).await? };
        let (object, part) = self.metadata_part(object).await?;
        match part.unreadable {
            // An older build could read it.
            Some(problem) => {
                Err(LoadError::Lake { key: object.key, problem: format!("its last good content {problem}") })
            }
            None => Ok(part),
        }
    }

    async fn body(&self, source: &LastGood) -> Result<Bytes, LoadError> {
        Ok(self.ports.objects.get(&source.body_key(), self.config.metadata.limits.bytes_max).await?)
    }

    /// What a person should know of the content that is in force now, once for each look at changed objects.
    fn tell(&self, content: &Content, before: &Option<ContentSources>) {
        for held in content.unreadable.iter().take(TOLD_MAX) {
            warn!(object = held.object, reason = held.reason, "an object of the metadata cannot be read");
        }
        for note in content.notes.iter().take(TOLD_MAX) {
            info!(object = note.object, reason = note.reason, "about the metadata");
        }
        let gone = before.iter().flat_map(|before| &before.objects);
        let gone = gone.filter(|source| content.sources.find(source.subject, &source.key).is_none());
        for source in gone.take(TOLD_MAX) {
            warn!(
                object = source.key,
                rows = source.rows,
                "an object of the metadata is gone, and what it said with it"
            );
        }
        let first = content.unreadable.first().map(|held| (held.object.as_str(), held.reason.as_str()));
        self.ports.figures.metadata_looked(content.unreadable.len(), first, self.ports.clock.now_ms());
    }

    /// Work that takes longer than an actor may hold a thread of the runtime.
    async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce(&EventSchema, &MetadataColumns) -> T + Send + 'static,
    ) -> Result<T, LoadError> {
        let (schema, star) = (Arc::clone(&self.schema), Arc::clone(&self.star));
        let done = tokio::task::spawn_blocking(move || work(&schema, star.declared())).await;
        done.map_err(|error| LoadError::Lake { key: "metadata".to_owned(), problem: error.to_string() })
    }

    /// Says whether the content is in force then: not if somebody else was faster.
    async fn put_in_force(
        &self,
        content: &Content,
        bodies: &[(LastGood, Bytes)],
        before: &InForce,
    ) -> Result<bool, LoadError> {
        let began = Instant::now();
        let describe = Describe {
            star: &self.star,
            stream: &self.stream,
            content,
            before,
            bucket: self.ports.objects.bucket(),
            iam_role: &self.config.iam_role,
        };
        // The bodies first: a content that is in force finds those it was made of.
        for (source, body) in bodies {
            self.put_once(source.body_key(), body.clone(), &source.body, source.rows as u64).await?;
        }
        for object in describe.objects() {
            self.put_once(object.key, object.body.into(), &object.digest, object.rows).await?;
        }
        let statements = describe.statements()?;
        self.ports.faults.reach("loader.describing", "").await;
        let done = self.ports.warehouse.batch(&statements, &format!("mangrove: metadata {}", content.digest)).await?;
        self.ports.faults.reach("loader.described", "").await;
        if self.metadata_in_force().await?.digest != content.digest {
            return Ok(false);
        }
        let (sensors, locations, refused) = (content.sensors.rows, content.locations.rows, content.refusals);
        metrics::warehouse_metadata_refused(refused);
        let took = began.elapsed();
        info!(
            digest = content.digest,
            sensors,
            locations,
            refused,
            statements = done.parts.len(),
            ?took,
            "metadata put in force"
        );
        if let Some(first) = &content.first_refusal {
            let (object, line, reason) = (&first.object, first.line, &first.reason);
            warn!(refused, object, line, reason, "cells or rows of the metadata are not used: see metadata_refused");
        }
        Ok(true)
    }

    async fn put_once(&self, key: String, body: Bytes, digest: &str, rows: u64) -> Result<(), LoadError> {
        match self.ports.objects.put_new(&key, body, digest, rows).await? {
            Put::Different => {
                let problem = "exists with other content: a broken promise, look before going on".to_owned();
                Err(LoadError::Lake { key, problem })
            }
            _ => Ok(()),
        }
    }
}
