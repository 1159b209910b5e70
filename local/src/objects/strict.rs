//! What the local S3 understands: each kind of request with the parameters and headers that it heeds.
//!
//! Whatever else a client asks for (versions, tags, access lists, keys of the client's own, locks, ...) would be left out
//! and answered with 200. So it is refused with 501 NotImplemented, and what nobody has thought of too.
//!
//! **Promises** a parameter is heeded, or changes nothing that a client can see, or is refused.
//! **Not here**: operations that `service` does not have; s3s answers 501 for those.

use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode};

use crate::ACCOUNT;
use crate::reply::Refusal;

/// What a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Service,
    Bucket,
    Object,
}

/// Method, kind, and parameters of the query. SDKs add `x-id` to all.
const QUERIES: &[(&str, Kind, &[&str])] = &[
    ("GET", Kind::Service, &["max-buckets", "prefix", "continuation-token"]),
    (
        "GET",
        Kind::Bucket,
        &[
            "location",
            "list-type",
            "prefix",
            "delimiter",
            "marker",
            "start-after",
            "continuation-token",
            "max-keys",
            "encoding-type",
            "fetch-owner",
        ],
    ),
    ("POST", Kind::Bucket, &["delete"]),
    (
        "GET",
        Kind::Object,
        &[
            "uploadId",
            "response-cache-control",
            "response-content-disposition",
            "response-content-encoding",
            "response-content-language",
            "response-content-type",
            "response-expires",
        ],
    ),
    ("PUT", Kind::Object, &["partNumber", "uploadId"]),
    ("POST", Kind::Object, &["uploads", "uploadId"]),
    ("DELETE", Kind::Object, &["uploadId"]),
];

/// Headers of any request that say nothing about what is to be done, or are checked by s3s or `service`.
const HEADERS: &[&str] = &[
    "x-amz-date",
    "x-amz-content-sha256",
    "x-amz-user-agent",
    "x-amz-security-token",
    "x-amz-decoded-content-length",
    "x-amz-trailer",
    "x-amz-sdk-checksum-algorithm",
    "x-amz-checksum-algorithm",
    "x-amz-checksum-mode",
    "x-amz-checksum-type",
    "x-amz-mp-object-size",
    "x-amz-copy-source",
    "x-amz-metadata-directive",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-bucket-key-enabled",
];

/// Headers that are heeded with one of these values only: what is so anyway.
const FIXED: &[(&str, &[&str])] = &[
    ("x-amz-acl", &["private", "bucket-owner-full-control"]),
    ("x-amz-storage-class", &["STANDARD"]),
    ("x-amz-object-ownership", &["BucketOwnerEnforced"]),
    ("x-amz-bucket-object-lock-enabled", &["false"]),
    ("x-amz-request-payer", &["requester"]),
];

const OWNERS: [&str; 2] = ["x-amz-expected-bucket-owner", "x-amz-source-expected-bucket-owner"];

const NOT_IMPLEMENTED: Refusal = Refusal {
    status: StatusCode::NOT_IMPLEMENTED,
    code: "NotImplemented",
    message: "the local cloud does not have what a parameter or a header of this request asks for",
};
const NOT_THE_OWNER: Refusal = Refusal {
    status: StatusCode::FORBIDDEN,
    code: "AccessDenied",
    message: "the bucket belongs to another account than the request expects",
};

/// Why the request is not passed on, if it is not.
pub(super) fn refusal(parts: &Parts) -> Option<Refusal> {
    let kind = kind(parts.uri.path());
    let query = parts.uri.query().unwrap_or("");
    let heeded = QUERIES.iter().find(|(method, of, _)| *of == kind && *method == parts.method.as_str());
    let heeded = heeded.map_or(&[][..], |(_, _, names)| names);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let known = name == "x-id" || heeded.contains(&name);
        if !known || (name == "fetch-owner" && value == "true") || (name == "encoding-type" && value != "url") {
            tracing::debug!(name, "not implemented");
            return Some(NOT_IMPLEMENTED);
        }
    }
    header_refusal(parts, kind)
}

fn header_refusal(parts: &Parts, kind: Kind) -> Option<Refusal> {
    for (name, value) in &parts.headers {
        let (name, value) = (name.as_str(), value.to_str().unwrap_or(""));
        if OWNERS.contains(&name) {
            if value != ACCOUNT {
                return Some(NOT_THE_OWNER);
            }
            continue;
        }
        let fixed = FIXED.iter().find(|(fixed, _)| *fixed == name);
        let heeded = match fixed {
            Some((_, values)) => values.contains(&value),
            None if name.starts_with("x-amz-meta-") || name.starts_with("x-amz-checksum-") => true,
            None if name.starts_with("x-amz-") => HEADERS.contains(&name),
            None => !is_condition(name) || kind != Kind::Object || heeds_condition(&parts.method, &parts.headers, name),
        };
        if !heeded {
            tracing::debug!(name, "not implemented");
            return Some(NOT_IMPLEMENTED);
        }
    }
    None
}

fn is_condition(name: &str) -> bool {
    name.starts_with("if-") || matches!(name, "range" | "expires")
}

fn heeds_condition(method: &Method, headers: &HeaderMap, name: &str) -> bool {
    match *method {
        Method::GET => name != "if-range" && name != "expires",
        Method::HEAD => !["if-range", "range", "expires"].contains(&name),
        // One that copies has conditions of its own.
        Method::PUT | Method::POST => {
            ["if-match", "if-none-match"].contains(&name) && !headers.contains_key("x-amz-copy-source")
        }
        _ => false,
    }
}

fn kind(path: &str) -> Kind {
    match path.trim_start_matches('/').split_once('/') {
        None if path.len() <= 1 => Kind::Service,
        None | Some((_, "")) => Kind::Bucket,
        Some(_) => Kind::Object,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn code(method: &str, uri: &str, headers: &[(&str, &str)]) -> Option<&'static str> {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        refusal(&request.body(()).unwrap().into_parts().0).map(|refusal| refusal.code)
    }

    #[test]
    fn what_is_heeded_passes() {
        for (method, uri, headers) in [
            ("GET", "/?x-id=ListBuckets", &[][..]),
            ("GET", "/b?list-type=2&prefix=a%2F&delimiter=%2F&encoding-type=url&max-keys=5&fetch-owner=false", &[]),
            ("GET", "/b/k?x-id=GetObject&response-content-type=a", &[("range", "bytes=0-1"), ("if-match", "\"a\"")]),
            ("PUT", "/b/k?partNumber=1&uploadId=x", &[("x-amz-checksum-crc32", "AAAAAA==")]),
            ("PUT", "/b/k", &[("if-none-match", "*"), ("x-amz-meta-a", "b"), ("x-amz-storage-class", "STANDARD")]),
            ("PUT", "/b", &[("x-amz-acl", "private")]),
            ("GET", "/b/k", &[("x-amz-expected-bucket-owner", "123456789012")]),
        ] {
            assert_eq!(code(method, uri, headers), None, "{method} {uri} {headers:?}");
        }
    }

    #[test]
    fn what_would_be_left_out_is_not_implemented() {
        let resources = "acl tagging versioning versions lifecycle policy cors encryption website logging notification \
                         replication object-lock uploads versionId=1 partNumber=1 retention legal-hold torrent select \
                         publicAccessBlock ownershipControls accelerate requestPayment inventory nothing";
        for resource in resources.split_whitespace() {
            for uri in [format!("/b?{resource}"), format!("/b/k?{resource}")] {
                for method in ["GET", "HEAD", "PUT", "DELETE"] {
                    // A part of an upload is one: s3s asks for its upload.
                    let expected = (method != "PUT" || uri != "/b/k?partNumber=1").then_some("NotImplemented");
                    assert_eq!(code(method, &uri, &[]), expected, "{method} {uri}");
                }
            }
        }
        for (name, value) in [
            ("x-amz-tagging", "a=b"),
            ("x-amz-acl", "public-read"),
            ("x-amz-storage-class", "GLACIER"),
            ("x-amz-server-side-encryption-customer-key", "x"),
            ("x-amz-object-lock-mode", "GOVERNANCE"),
            ("x-amz-website-redirect-location", "/"),
            ("x-amz-grant-read", "id=1"),
            ("x-amz-write-offset-bytes", "1"),
            ("x-amz-something-new", "1"),
            ("if-modified-since", "x"),
            ("expires", "x"),
        ] {
            assert_eq!(code("PUT", "/b/k", &[(name, value)]), Some("NotImplemented"), "{name}");
        }
        assert_eq!(code("DELETE", "/b/k", &[("if-match", "\"a\"")]), Some("NotImplemented"));
        let copied = [("x-amz-copy-source", "b/a"), ("if-none-match", "*")];
        assert_eq!(code("PUT", "/b/k", &copied), Some("NotImplemented"));
        assert_eq!(code("GET", "/b/k", &[("x-amz-expected-bucket-owner", "210987654321")]), Some("AccessDenied"));
    }
}
