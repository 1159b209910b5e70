//! The credential scope of a signature: `Credential=<key>/<date>/<region>/<service>/aws4_request`.

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;

/// What a client's signature says about itself. Never verified, only read.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Scope<'a> {
    region: Option<&'a str>,
    service: Option<&'a str>,
}

impl<'a> Scope<'a> {
    /// Reads the scope; an absent or strange header has an empty one.
    pub(crate) fn of(headers: &'a HeaderMap) -> Scope<'a> {
        let credential = headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once("Credential="))
            .and_then(|(_, rest)| rest.split(',').next());
        let Some(credential) = credential else { return Scope::default() };
        // From the right, because an access key may hold a slash.
        let mut fields = credential.trim().rsplit('/').skip(1);
        Scope { service: fields.next(), region: fields.next() }
    }

    /// The service the request was signed for.
    pub(crate) fn service(&self) -> Option<&'a str> {
        self.service
    }

    /// The region, if it looks like one: it becomes a file name.
    pub(crate) fn region(&self) -> &'a str {
        self.region.filter(|region| is_region(region)).unwrap_or("us-east-1")
    }
}

fn is_region(region: &str) -> bool {
    (1..=32).contains(&region.len())
        && region.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}
