//! Reads the sections of what stands around the actors: the process, the services, the ops endpoint, the log.
//!
//! **Not here**: relations between values (`relations`).

use std::net::SocketAddr;
use std::time::Duration;

use actors::ports::aws::AwsSettings;
use actors::ports::objects::Encryption;

use super::section::{Found, GIB, MIB, Section, millis, seconds};
use super::{LogConfig, LogFormat, addresses, names};
use crate::ops::OpsConfig;

/// Names by which the ops endpoint may be asked.
const HOSTS_MAX: usize = 64;
/// Half of what a person notices; a page is told of failures at once anyway.
const PICTURE_EVERY: Duration = millis(250);

/// The worker's name on leases: the host's name unless it is set.
pub(super) fn worker_id(s: &mut Section<'_>, host_name: Option<&str>) -> String {
    match host_name {
        Some(host_name) if s.is_unset("id") => s.derive("id", host_name, "the host name"),
        None if s.is_unset("id") => s.missing("id", "the host has no name to use instead"),
        _ => {}
    }
    s.text("id", |id| if id.is_empty() { Ok(()) } else { names::worker(id) })
}

/// What the process may use; none if nobody knows.
pub(super) fn memory_limit(s: &mut Section<'_>, found: Option<(u64, &'static str)>) -> Option<u64> {
    match found {
        Some((bytes, from)) if s.is_unset("memory_limit") => {
            s.derive("memory_limit", i64::try_from(bytes).unwrap_or(i64::MAX), from);
        }
        None if s.is_unset("memory_limit") => return None,
        _ => {}
    }
    Some(s.read("memory_limit", |found| match found.value.as_str() {
        Some("") => Ok(u64::MAX),
        _ => found.bytes(MIB..=u64::MAX >> 1, "512MiB"),
    }))
}

pub(super) fn memory_budget(s: &mut Section<'_>) -> u64 {
    // One full answer of the stream is 10 MiB, and is held more than once.
    s.bytes("memory_budget", 32 * MIB..=1024 * GIB)
}

pub(super) fn drain_timeout(s: &mut Section<'_>) -> Duration {
    s.duration("drain_timeout", millis(100)..=seconds(3_600))
}

/// Threads of the runtime; none is one for each core.
pub(super) fn threads(s: &mut Section<'_>) -> Option<usize> {
    Some(s.count("threads", 0..=1_024)).filter(|threads| *threads > 0)
}

/// The stream's name, and its ARN if it is named by that.
pub(super) fn stream(s: &mut Section<'_>) -> (String, Option<String>) {
    let named = name(s, "there is no default stream", names::stream);
    match named.split_once(":stream/") {
        Some((_, name)) => (name.to_owned(), Some(named.clone())),
        None => (named, None),
    }
}

pub(super) fn aws(s: &mut Section<'_>, stream_arn: Option<&str>) -> AwsSettings {
    if let Some(region) = stream_arn.and_then(|arn| arn.split(':').nth(3)) {
        if s.is_unset("region") {
            s.derive("region", region, "the region in stream.name");
        } else if s.text("region", names::region) != region {
            s.problem("region", format!("must be {region:?}, where the stream in stream.name is, or \"\""));
        }
    }
    AwsSettings {
        region: optional(s.text("region", |text| if text.is_empty() { Ok(()) } else { names::region(text) })),
        endpoint_url: optional(
            s.text("endpoint_url", |text| if text.is_empty() { Ok(()) } else { addresses::endpoint(text) }),
        ),
        attempt_timeout: s.duration("attempt_timeout", millis(100)..=seconds(300)),
    }
}

fn optional(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// A name that must be set.
pub(super) fn name(s: &mut Section<'_>, what: &str, check: fn(&str) -> Result<(), String>) -> String {
    if s.is_unset("name") {
        s.missing("name", what);
        return String::new();
    }
    s.text("name", |name| if name.is_empty() { Ok(()) } else { check(name) })
}

/// The lease table: named after the stream unless it is set.
pub(super) fn leases_table(s: &mut Section<'_>, stream_name: &str) -> String {
    if s.is_unset("table") && !stream_name.is_empty() {
        s.derive("table", format!("mangrove-{stream_name}"), "after the stream");
    }
    s.text("table", |table| if table.is_empty() { Ok(()) } else { names::table(table) })
}

/// Where the ops endpoint listens.
pub(super) fn ops_bind(s: &mut Section<'_>) -> SocketAddr {
    let bind = s.read("bind", |found: Found<'_>| match found.value.as_str().map(str::parse::<SocketAddr>) {
        Some(Ok(bind)) => Ok(bind),
        _ => found.wrong("an address and a port, such as \"127.0.0.1:8080\""),
    });
    // It shows live sensor state and asks for no password.
    if !s.flag("allow_remote") && !bind.ip().is_loopback() {
        s.problem(
            "bind",
            format!(
                "{bind} can be reached from other machines, and the ops endpoint asks for no password: \
             bind a loopback address, or set ops.allow_remote = true"
            ),
        );
    }
    bind
}

/// The base URL by which other workers ask this one.
pub(super) fn advertise(s: &mut Section<'_>) -> Option<String> {
    optional(s.text("advertise", |text| if text.is_empty() { Ok(()) } else { addresses::advertised(text) }))
}

/// The ops endpoint; it calls hanging what the watchdog calls hanging.
pub(super) fn ops(s: &mut Section<'_>, hang_timeout: Duration) -> OpsConfig {
    OpsConfig {
        connections_max: s.count("connections_max", 1..=10_000),
        requests_max: s.count("requests_max", 1..=1_000),
        snapshot_every: PICTURE_EVERY,
        request_timeout: s.duration("request_timeout", millis(100)..=seconds(300)),
        hosts: s.texts("hosts", HOSTS_MAX, addresses::host),
        event_listeners_max: s.count("event_listeners_max", 1..=1_000),
        hang_timeout,
    }
}

pub(super) fn log(s: &mut Section<'_>) -> LogConfig {
    LogConfig {
        level: s.text("level", names::log_level),
        format: s.choice("format", &[("text", LogFormat::Text), ("json", LogFormat::Json)]),
        lines_max: s.count("lines_max", 1..=1_000_000),
    }
}

/// What objects are encrypted with.
pub(super) fn encryption(s: &mut Section<'_>) -> Encryption {
    let kms = ("aws:kms", Some(true));
    let algorithm = s.choice("encryption", &[("none", None), ("AES256", Some(false)), kms]);
    let key = s.text("kms_key", |text| if text.is_empty() { Ok(()) } else { names::kms_key(text) });
    let bucket_key = s.flag("kms_bucket_key");
    if algorithm != Some(true) && !key.is_empty() {
        s.problem("kms_key", "is for bucket.encryption = \"aws:kms\": set that as well, or empty this");
    }
    if algorithm != Some(true) && bucket_key {
        s.problem("kms_bucket_key", "is for bucket.encryption = \"aws:kms\": set that as well, or false here");
    }
    match algorithm {
        None => Encryption::Default,
        Some(false) => Encryption::Aes256,
        Some(true) => Encryption::Kms { key: (!key.is_empty()).then_some(key), bucket_key },
    }
}
