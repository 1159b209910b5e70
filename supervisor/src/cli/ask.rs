//! Asks the ops endpoint of a running worker.
//!
//! **Promises** one bounded answer within the time limit, or an error that says where nobody answered.

use std::time::Duration;

use reqwest::{StatusCode, Url};

use crate::exit::CliError;

/// The worker's answers are bounded by its configuration; this is beyond any.
const ANSWER_BYTES_MAX: usize = 64 << 20;
const ANSWER_CHARS_SHOWN: usize = 200;

/// `host:port` is enough.
pub(super) fn ops_address(text: &str) -> Result<Url, String> {
    let full = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    Url::parse(&full).ok().filter(Url::has_host).ok_or_else(|| "write an address, such as 127.0.0.1:8080".to_owned())
}

/// The address as it may be printed: who is asked, and nothing that may be secret.
pub(super) fn shown(ops: &Url) -> String {
    let port = ops.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}/", ops.scheme(), ops.host_str().unwrap_or_default())
}

/// What the endpoint answers.
pub(super) async fn ask(ops: &Url, path: &str, timeout: Duration) -> Result<(StatusCode, String), CliError> {
    let silent = |error: reqwest::Error| {
        // The last cause is the one that says what to do: refused, timed out, no such host.
        let causes = std::iter::successors(std::error::Error::source(&error), |error| error.source());
        let cause = causes.last().map(|cause| format!(" ({cause})")).unwrap_or_default();
        CliError::environment(format!(
            "no answer from {}{cause}: is a worker running there? --ops takes another address",
            shown(ops)
        ))
    };
    let http = reqwest::Client::builder().timeout(timeout).build().map_err(CliError::internal)?;
    let url = ops.join(path).map_err(CliError::configuration)?;
    let mut answer = http.get(url).send().await.map_err(silent)?;
    let status = answer.status();
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(silent)? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > ANSWER_BYTES_MAX {
            return Err(CliError::environment(format!("{} answers with too much to be a worker", shown(ops))));
        }
    }
    Ok((status, String::from_utf8_lossy(&bytes).into_owned()))
}

/// An answer that nobody expects from a worker.
pub(super) fn unexpected(ops: &Url, status: StatusCode, text: &str) -> CliError {
    let answer: String = text.chars().take(ANSWER_CHARS_SHOWN).collect();
    CliError::environment(format!("{} answers {status}: {}", shown(ops), answer.trim().escape_debug()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_what_may_be_secret() {
        let ops = ops_address("http://user:password@127.0.0.1:8080/token?key=secret#x").unwrap();
        assert_eq!(shown(&ops), "http://127.0.0.1:8080/");
        let error = unexpected(&ops, StatusCode::OK, "\u{1b}[2J");
        assert!(!error.message.contains("password") && !error.message.contains('\u{1b}'), "{error}");
    }
}
