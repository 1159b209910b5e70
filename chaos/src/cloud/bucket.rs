//! The bucket: S3's operations, as far as the workers and their readers use them.
//!
//! **Promises** `If-None-Match: *` never replaces; without it a PUT replaces, as in S3, and the history shows it.
//! **Not here**: deletion, multipart uploads, versions: a request for them is refused.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::Bound;

use bytes::Bytes;
use chrono::DateTime;
use local_engine::{ClientId, Refusal, Reply, Service, escaped};
use xxhash_rust::xxh3::xxh3_128;

use super::state::Context;
use super::warehouse::Files;
use super::wire::{Call, Rest};

/// S3 gives 1,000: small pages make listings use their tokens.
const KEYS_PER_PAGE_MAX: usize = 50;
const KEY_BYTES_MAX: usize = 1_024;

/// An object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredObject {
    /// Its content.
    pub bytes: Bytes,
    /// The user's metadata, without `x-amz-meta-`.
    pub metadata: BTreeMap<String, String>,
    /// When it was written.
    pub created_ms: i64,
    /// By whom.
    pub client: ClientId,
}

/// What became of a PUT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutOutcome {
    /// The object is new.
    Created,
    /// It took the place of another: the PUT was unconditional.
    Replaced,
    /// 412: it was there, and stayed as it was.
    Refused,
    /// 409: nothing was changed, and the client was asked to try again.
    Conflict,
}

/// A PUT that reached the bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectWrite {
    /// When.
    pub at_ms: i64,
    /// The client.
    pub client: ClientId,
    /// The object.
    pub key: String,
    /// What became of it.
    pub outcome: PutOutcome,
}

pub(super) struct Bucket {
    pub(super) name: Option<String>,
    pub(super) objects: BTreeMap<String, StoredObject>,
    pub(super) history: Vec<ObjectWrite>,
    files: Files,
}

impl Bucket {
    pub(super) fn new(files: Files) -> Self {
        Self { name: None, objects: BTreeMap::new(), history: Vec::new(), files }
    }

    /// A conditional PUT met another one under way.
    pub(super) fn conflict(&mut self, context: Context, key: &str) {
        self.wrote(context, key, PutOutcome::Conflict);
    }

    pub(super) fn serve(&mut self, context: Context, call: &Call, rest: &Rest) -> Result<Reply, Refusal> {
        if call.operation == "CreateBucket" {
            return self.on_create(rest);
        }
        if self.name.as_ref() != Some(&rest.bucket) {
            return Err(Refusal::new(404, "NoSuchBucket", "the bucket does not exist"));
        }
        match call.operation.as_str() {
            "PutObject" => self.on_put(context, call, rest),
            "GetObject" => self.found(&call.key).map(|object| describe(object, object.bytes.clone())),
            "HeadObject" => self.found(&call.key).map(|object| describe(object, Bytes::new())),
            "HeadBucket" => Ok(Reply::text("")),
            "ListObjectsV2" => self.on_list(rest),
            other => Err(Refusal::unknown(Service::S3, other)),
        }
    }

    fn on_create(&mut self, rest: &Rest) -> Result<Reply, Refusal> {
        match &self.name {
            None => self.name = Some(rest.bucket.clone()),
            Some(name) if *name == rest.bucket => {
                return Err(Refusal::new(409, "BucketAlreadyOwnedByYou", "the bucket exists"));
            }
            Some(_) => return Err(Refusal::new(400, "TooManyBuckets", "this cloud has one bucket")),
        }
        Ok(Reply::text("").with("location", format!("/{}", rest.bucket)))
    }

    fn on_put(&mut self, context: Context, call: &Call, rest: &Rest) -> Result<Reply, Refusal> {
        if call.key.len() > KEY_BYTES_MAX {
            return Err(Refusal::new(400, "KeyTooLongError", "the key is too long"));
        }
        let there = self.objects.contains_key(&call.key);
        let outcome = match (there, rest.conditions.get("if-none-match").map(String::as_str)) {
            (_, Some(other)) if other != "*" => return Err(Refusal::unknown(Service::S3, "If-None-Match with a tag")),
            (true, Some(_)) => PutOutcome::Refused,
            (true, None) => PutOutcome::Replaced,
            (false, _) => PutOutcome::Created,
        };
        self.wrote(context, &call.key, outcome);
        if outcome == PutOutcome::Refused {
            return Err(Refusal::new(412, "PreconditionFailed", "at least one condition did not hold"));
        }
        let (bytes, metadata) = (call.body.clone(), rest.metadata.clone());
        let object = StoredObject { bytes, metadata, created_ms: context.now_ms, client: context.client };
        let reply = Reply::text("").with("etag", etag(&object.bytes));
        self.files.stored(&rest.bucket, &call.key, object.bytes.clone());
        self.objects.insert(call.key.clone(), object);
        Ok(reply)
    }

    fn on_list(&self, rest: &Rest) -> Result<Reply, Refusal> {
        let text = |name: &str| rest.query.get(name).map_or("", String::as_str);
        // A token goes on from a page that began behind `start-after`.
        let (prefix, after) = (text("prefix"), text("continuation-token").max(text("start-after")));
        let most = text("max-keys").parse().unwrap_or(KEYS_PER_PAGE_MAX).clamp(1, KEYS_PER_PAGE_MAX);
        let from = self.objects.range::<str, _>((Bound::Included(prefix.max(after)), Bound::Unbounded));
        let listed = from.take_while(|(key, _)| key.starts_with(prefix)).filter(|(key, _)| key.as_str() > after);
        let listed = listed.map(|(key, object)| (folder(key, prefix, text("delimiter")), key, object));
        // A page that ended with a folder was about all that lies in it.
        let listed = listed.filter(|(folder, ..)| folder.is_none_or(|folder| folder != after));
        let mut page: Vec<(Option<&str>, &String, &StoredObject)> = Vec::new();
        for entry in listed {
            let again = entry.0.is_some() && page.last().is_some_and(|last| last.0 == entry.0);
            if !again {
                page.push(entry);
            }
            if page.len() > most {
                break;
            }
        }
        let more = page.len() > most;
        page.truncate(most);
        let mut xml = format!("<ListBucketResult><Name>{}</Name><KeyCount>{}</KeyCount>", rest.bucket, page.len());
        for (folder, key, object) in &page {
            let (key, size) = (escaped(key), object.bytes.len());
            let entry = match folder {
                Some(folder) => format!("<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>", escaped(folder)),
                None => format!("<Contents><Key>{key}</Key><Size>{size}</Size></Contents>"),
            };
            xml.push_str(&entry);
        }
        write!(xml, "<IsTruncated>{more}</IsTruncated>").expect("a String takes everything");
        if let (true, Some((folder, key, _))) = (more, page.last()) {
            let last = escaped(folder.unwrap_or(key));
            write!(xml, "<NextContinuationToken>{last}</NextContinuationToken>").expect("a String takes everything");
        }
        xml.push_str("</ListBucketResult>");
        Ok(Reply::text(xml))
    }

    fn found(&self, key: &str) -> Result<&StoredObject, Refusal> {
        self.objects.get(key).ok_or_else(|| Refusal::new(404, "NoSuchKey", "the key does not exist"))
    }

    fn wrote(&mut self, context: Context, key: &str, outcome: PutOutcome) {
        let Context { now_ms: at_ms, client, .. } = context;
        self.history.push(ObjectWrite { at_ms, client, key: key.to_owned(), outcome });
    }
}

/// What a listing shows in the place of all keys that begin so.
fn folder<'k>(key: &'k str, prefix: &str, delimiter: &str) -> Option<&'k str> {
    let at = key.get(prefix.len()..)?.find(delimiter).filter(|_| !delimiter.is_empty())?;
    key.get(..prefix.len() + at + delimiter.len())
}

fn etag(bytes: &[u8]) -> String {
    format!("\"{:032x}\"", xxh3_128(bytes))
}

/// The headers are those of the object, also when the body is left out.
fn describe(object: &StoredObject, body: Bytes) -> Reply {
    let length = object.bytes.len().to_string();
    let reply = Reply::text(body).with("etag", etag(&object.bytes)).with("content-length", length);
    let stored = DateTime::from_timestamp_millis(object.created_ms).unwrap_or_default();
    let reply = reply.with("last-modified", stored.format("%a, %d %b %Y %H:%M:%S GMT").to_string());
    object.metadata.iter().fold(reply, |reply, (name, value)| reply.with(&format!("x-amz-meta-{name}"), value))
}
