//! Reads the section of traces, and the variables that OpenTelemetry has for what says who sends.
//!
//! **Promises** headers, which hold tokens, come from the environment only.

use actors::ports::collector::CollectorAddress;
use actors::traces::{ExportConfig, IdFormat, TracesConfig};

use super::addresses;
use super::section::{Section, millis, seconds};
use super::sources::Sources;

/// Where OTLP over HTTP takes spans, unless the address has a path of its own.
const PATH: &str = "/v1/traces";
/// Attributes of the resource, and headers: what is beyond is a mistake.
const PAIRS_MAX: usize = 64;
const VALUE_CHARS_MAX: usize = 1_024;

/// What is traced, and who takes it.
#[derive(Clone, Debug)]
pub struct TracesSettings {
    /// What is traced.
    pub traces: TracesConfig,
    /// The collector that takes it.
    pub export: ExportConfig,
}

/// None if nothing is traced.
pub(super) fn read(s: &mut Section<'_>, sources: &Sources, worker_id: &str) -> Option<TracesSettings> {
    let endpoint = s.text("endpoint", |text| if text.is_empty() { Ok(()) } else { addresses::collector(text) });
    let traces = TracesConfig {
        sample_ratio: s.share("sample_ratio"),
        ids: s.choice("ids", &[("w3c", IdFormat::W3c), ("xray", IdFormat::Xray)]),
        details_max: s.count("details_max", 0..=10_000),
    };
    let (resource, headers) = match endpoint.is_empty() {
        true => (Vec::new(), Vec::new()),
        false => (resource(s, sources, worker_id), headers(s, sources)),
    };
    let timeout = s.duration("timeout", millis(10)..=seconds(60));
    let export = ExportConfig {
        collector: CollectorAddress { endpoint: with_path(&endpoint), headers, timeout },
        resource,
        queue_max: s.count("queue_max", 1..=1_000_000),
        batch_max: s.count("batch_max", 1..=10_000),
        interval: s.duration("interval", millis(10)..=seconds(60)),
        flush_timeout: s.duration("flush_timeout", millis(0)..=seconds(60)),
    };
    (!endpoint.is_empty() && traces.sample_ratio > 0.0).then_some(TracesSettings { traces, export })
}

fn with_path(endpoint: &str) -> String {
    match endpoint.split_once("://") {
        Some((_, rest)) if !rest.trim_end_matches('/').contains('/') => {
            format!("{}{PATH}", endpoint.trim_end_matches('/'))
        }
        _ => endpoint.to_owned(),
    }
}

/// The resource that sends: what the environment says, over what is known anyway.
fn resource(s: &mut Section<'_>, sources: &Sources, worker_id: &str) -> Vec<(String, String)> {
    let mut resource = vec![
        ("service.name".to_owned(), "mangrove".to_owned()),
        ("service.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ("service.instance.id".to_owned(), worker_id.to_owned()),
    ];
    resource.extend(sources.host_name.iter().map(|host| ("host.name".to_owned(), host.clone())));
    let mut said = pairs(s, sources, "OTEL_RESOURCE_ATTRIBUTES");
    said.extend(sources.variable("OTEL_SERVICE_NAME").map(|name| ("service.name".to_owned(), name.to_owned())));
    for (key, value) in said {
        resource.retain(|(known, _)| *known != key);
        resource.push((key, value));
    }
    resource
}

fn headers(s: &mut Section<'_>, sources: &Sources) -> Vec<(String, String)> {
    const OF_TRACES: &str = "OTEL_EXPORTER_OTLP_TRACES_HEADERS";
    let name = sources.variable(OF_TRACES).map_or("OTEL_EXPORTER_OTLP_HEADERS", |_| OF_TRACES);
    pairs(s, sources, name)
}

/// `key=value,key=value`, percent-encoded. Values are never quoted in a problem: they can be tokens.
fn pairs(s: &mut Section<'_>, sources: &Sources, variable: &'static str) -> Vec<(String, String)> {
    let text = sources.variable(variable).unwrap_or_default();
    let items: Vec<&str> = text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect();
    let pair = |item: &str| {
        let (key, value) = item.split_once('=')?;
        let (key, value) = (decoded(key.trim())?, decoded(value.trim())?);
        let fits = !key.is_empty() && value.chars().count() <= VALUE_CHARS_MAX;
        fits.then_some((key, value))
    };
    let read: Option<Vec<_>> = items.iter().copied().map(pair).collect();
    match read {
        Some(pairs) if pairs.len() <= PAIRS_MAX => pairs,
        _ => {
            let what = format!(
                "must be at most {PAIRS_MAX} pairs such as \"key=value,other=value\", percent-encoded, \
                 of at most {VALUE_CHARS_MAX} characters each"
            );
            s.problems.add_at(variable, "", what);
            Vec::new()
        }
    }
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first == b'%' {
            let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &rest[2..];
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_path_gets_the_protocols_own() {
        for (endpoint, full) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("http://collector:4318/", "http://collector:4318/v1/traces"),
            ("https://host/api/otlp/v1/traces", "https://host/api/otlp/v1/traces"),
        ] {
            assert_eq!(with_path(endpoint), full);
        }
    }

    #[test]
    fn pairs_are_percent_encoded() {
        assert_eq!(decoded("a%3Db%2Cc").as_deref(), Some("a=b,c"));
        assert_eq!((decoded("%zz"), decoded("%4"), decoded("%ff")), (None, None, None));
    }
}
