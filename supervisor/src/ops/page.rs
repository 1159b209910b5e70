//! The operator's page: files that are part of the binary, so that there is nothing to install and nobody to ask.
//!
//! **Promises** INERT: no script and no style but these files run, text from outside is never parsed as anything else
//! (the policy forbids it, and the browser enforces it), and no other host is spoken to.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

use super::reply::Refusal;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
                      trusted-types 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

/// Name, type and text.
const FILES: [(&str, &str, &str); 8] = [
    ("index.html", HTML, include_str!("page/index.html")),
    ("style.css", CSS, include_str!("page/style.css")),
    ("app.js", JS, include_str!("page/app.js")),
    ("dom.js", JS, include_str!("page/dom.js")),
    ("store.js", JS, include_str!("page/store.js")),
    ("views.js", JS, include_str!("page/views.js")),
    ("sensors.js", JS, include_str!("page/sensors.js")),
    ("admin.js", JS, include_str!("page/admin.js")),
];

macro_rules! runbooks {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../../../docs/runbooks/", $name, ".md")))),*]
    };
}

/// What to do about every finding and every alert, by name: whoever is called at night has it on the page.
pub(super) const RUNBOOKS: [(&str, &str); 23] = runbooks![
    "MangroveActorGivenUp",
    "MangroveActorRestarting",
    "MangroveAlertsFailing",
    "MangroveBudgetExhausted",
    "MangroveFenced",
    "MangroveKeyRefused",
    "MangroveLeaseDisagrees",
    "MangroveLeaseTableUnreachable",
    "MangroveLoadStopped",
    "MangroveMetadataUnreadable",
    "MangroveQuarantineRate",
    "MangroveSchemaPaths",
    "MangroveSensorsSpread",
    "MangroveShardLagging",
    "MangroveShardStuck",
    "MangroveShardTrimmed",
    "MangroveShardUnowned",
    "MangroveStatesOld",
    "MangroveThrottled",
    "MangroveUploadsFailing",
    "MangroveWarehouseLagging",
    "MangroveWarehouseRefused",
    "MangroveWorkerDown",
];

pub(super) async fn index() -> Response {
    of(&FILES[0])
}

pub(super) async fn file(Path(name): Path<String>) -> Response {
    match FILES.iter().find(|(known, _, _)| *known == name) {
        Some(file) => of(file),
        None => Refusal::new(StatusCode::NOT_FOUND, "the page has no such file", "open /").into_response(),
    }
}

pub(super) async fn runbook(Path(name): Path<String>) -> Response {
    match RUNBOOKS.iter().find(|(known, _)| *known == name) {
        Some((_, text)) => ([(CONTENT_TYPE, "text/plain; charset=utf-8")], *text).into_response(),
        None => Refusal::new(StatusCode::NOT_FOUND, "there is no such runbook", "see docs/runbooks").into_response(),
    }
}

fn of((_, kind, text): &(&'static str, &'static str, &'static str)) -> Response {
    ([(CONTENT_TYPE, *kind), (CONTENT_SECURITY_POLICY, POLICY)], *text).into_response()
}

/// The contract of every route, for people and generators.
pub(super) async fn openapi() -> Response {
    ([(CONTENT_TYPE, "application/json")], include_str!("../../../docs/openapi.json")).into_response()
}
