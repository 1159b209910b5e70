//! Where alerts go: HTTP webhooks (plain JSON or Alertmanager's v2 API) and SNS topics.

use std::fmt;
use std::time::Duration;

use aws_sdk_sns::types::MessageAttributeValue;
use messages::{Alert, Severity};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::aws::{CallError, Failure, classify, retry_after};

/// The longest part of a receiver's error that is read, and that is kept.
const ANSWER_BYTES_MAX: usize = 16 << 10;
const ANSWER_CHARS_MAX: usize = 200;

/// One destination.
#[derive(Clone)]
pub enum Transport {
    /// POSTs the alert as JSON.
    Webhook {
        /// Where to.
        url: String,
        /// The client, shared.
        http: reqwest::Client,
    },
    /// POSTs to an Alertmanager, API v2.
    Alertmanager {
        /// The base address; `/api/v2/alerts` is added.
        url: String,
        /// The client, shared.
        http: reqwest::Client,
    },
    /// Publishes the alert as JSON.
    Sns {
        /// The topic.
        topic_arn: String,
        /// The client, shared.
        client: aws_sdk_sns::Client,
    },
}

/// Without the address, which may hold a token.
impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Transport").field(&self.kind()).finish()
    }
}

/// The HTTP client of all webhooks: no redirects, because an alert goes where the operator said and nowhere else.
pub fn http_client(timeout: Duration) -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder().timeout(timeout).redirect(reqwest::redirect::Policy::none()).build()
}

impl Transport {
    /// The destination's kind, for logs and metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Webhook { .. } => "webhook",
            Self::Alertmanager { .. } => "alertmanager",
            Self::Sns { .. } => "sns",
        }
    }

    /// The destination, for people: an address may hold a token, so only its host is named.
    pub fn name(&self) -> String {
        match self {
            Self::Webhook { url, .. } | Self::Alertmanager { url, .. } => {
                let url = reqwest::Url::parse(url).ok();
                let host = url.as_ref().and_then(|url| url.host_str()).unwrap_or("an address that is none");
                let port = url.as_ref().and_then(|url| url.port()).map(|port| format!(":{port}")).unwrap_or_default();
                format!("{} {host}{port}", self.kind())
            }
            Self::Sns { topic_arn, .. } => format!("{} {topic_arn}", self.kind()),
        }
    }

    /// Hands one alert over.
    pub async fn send(&self, alert: &Alert) -> Result<(), CallError> {
        match self {
            Self::Webhook { url, http } => {
                let request = http.post(url).header("idempotency-key", &alert.id).json(alert);
                self.post(request).await
            }
            Self::Alertmanager { url, http } => {
                let url = format!("{}/api/v2/alerts", url.trim_end_matches('/'));
                self.post(http.post(url).json(&json!([alertmanager(alert)]))).await
            }
            Self::Sns { topic_arn, client } => {
                let body = serde_json::to_string(alert).expect("an alert is plain data with text keys");
                let request = client.publish().topic_arn(topic_arn).message(body);
                let of = |text| MessageAttributeValue::builder().data_type("String").string_value(text).build();
                let of =
                    |text| of(text).map_err(|e| CallError::new("describe an alert", Failure::Refused, e.to_string()));
                // By these a subscriber filters.
                let request = request
                    .message_attributes("kind", of(alert.kind.as_str())?)
                    .message_attributes("severity", of(severity(alert))?)
                    .message_attributes("sensor_id", of(alert.sensor_id.as_str())?);
                // One group for each sensor; what is sent again within five minutes is dropped.
                let request = match topic_arn.ends_with(".fifo") {
                    true => request
                        .message_group_id(fifo_id(alert.sensor_id.as_str()))
                        .message_deduplication_id(fifo_id(&alert.id)),
                    false => request,
                };
                let sent = request.send().await;
                sent.map(drop).map_err(|e| classify(format!("publish to {topic_arn:?}"), e))
            }
        }
    }

    async fn post(&self, request: reqwest::RequestBuilder) -> Result<(), CallError> {
        let fail = |failure, message: String| CallError::new(format!("post to {}", self.name()), failure, message);
        // An address may hold a token: it stays out of the error.
        let answer = request.send().await.map_err(|e| fail(Failure::Transient, e.without_url().to_string()))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let retry_after = retry_after(|name| answer.headers().get(name)?.to_str().ok());
        let text: String = beginning(answer).await.chars().take(ANSWER_CHARS_MAX).collect();
        let (failure, code) = by_status(status.as_u16());
        Err(CallError { retry_after, code: code.map(str::to_owned), ..fail(failure, format!("{status}: {text}")) })
    }
}

/// As FIFO topics take ids: 128 characters of ASCII that are seen; what is none of that, by its digest.
fn fifo_id(text: &str) -> String {
    match text.len() <= 128 && !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => text.to_owned(),
        false => format!("{:x}", Sha256::digest(text)),
    }
}

fn severity(alert: &Alert) -> &'static str {
    match alert.severity {
        Severity::Warning => "warning",
        Severity::Critical => "critical",
    }
}

/// What a status says, and its name where others decide whether it stays so.
fn by_status(status: u16) -> (Failure, Option<&'static str>) {
    match status {
        401 | 407 => (Failure::Refused, Some("Unauthorized")),
        403 => (Failure::Refused, Some("Forbidden")),
        404 | 405 | 410 => (Failure::NotFound, None),
        429 => (Failure::Throttled, None),
        400..=499 => (Failure::Refused, None),
        _ => (Failure::Transient, None),
    }
}

/// The beginning of an answer, and no more of it than that: a receiver decides how long its errors are.
async fn beginning(mut answer: reqwest::Response) -> String {
    let mut bytes = Vec::new();
    // One that breaks off has said what it has said.
    while let Ok(Some(chunk)) = answer.chunk().await {
        let left = ANSWER_BYTES_MAX - bytes.len();
        bytes.extend_from_slice(&chunk[..chunk.len().min(left)]);
        if bytes.len() == ANSWER_BYTES_MAX {
            break;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The alert as Alertmanager's API v2 takes it: labels identify, annotations explain. The alert's id is no label: every
/// alert would be one of its own, and nothing group, silence or end.
fn alertmanager(alert: &Alert) -> Value {
    let starts_at = chrono::DateTime::from_timestamp_micros(alert.event_time_us).unwrap_or_default();
    json!({
        "labels": {
            "alertname": format!("mangrove_{}", alert.kind.as_str()),
            "severity": severity(alert),
            "sensor_id": alert.sensor_id,
            "field": alert.field.as_deref().unwrap_or(""),
        },
        "annotations": {
            "alert_id": alert.id,
            "summary": alert.message,
            "value": alert.value.map(|v| v.to_string()).unwrap_or_default(),
        },
        "startsAt": starts_at.to_rfc3339(),
    })
}

#[cfg(test)]
mod tests {
    use messages::AlertKind;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    fn alert() -> Alert {
        Alert {
            id: "a-1".into(),
            kind: AlertKind::Range,
            severity: Severity::Critical,
            sensor_id: messages::SensorId::new("s-1"),
            field: None,
            value: None,
            message: "too hot".into(),
            event_time_us: 0,
            arrival_ms: 0,
            shard: "000000000000".into(),
            sequence: None,
        }
    }

    #[tokio::test]
    async fn a_receiver_says_when_to_come_back() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answers = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            assert!(stream.read(&mut request).await.unwrap() > 0);
            let answer = "HTTP/1.1 429 Too Many Requests\r\nretry-after: 7\r\ncontent-length: 4\r\nconnection: close\r\n\r\nbusy";
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        let http = http_client(Duration::from_secs(10)).unwrap();
        let error = Transport::Webhook { url, http }.send(&alert()).await.unwrap_err();
        answers.await.unwrap();
        assert_eq!((error.failure, error.retry_after), (Failure::Throttled, Some(Duration::from_secs(7))));
    }

    #[tokio::test]
    async fn an_error_page_without_end_is_read_to_its_beginning() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let served = tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let _ = socket.read(&mut [0; 4096]).await.unwrap();
            let head = b"HTTP/1.1 500 Oops\r\nContent-Length: 10000000000\r\n\r\n";
            socket.write_all(head).await.unwrap();
            let (piece, mut n) = (vec![b'a'; 1 << 16], 0);
            // Until the other side has read enough, and goes away.
            while socket.write_all(&piece).await.is_ok() {
                n += piece.len();
            }
            n
        });
        let http = http_client(Duration::from_secs(60)).unwrap();
        let error = Transport::Webhook { url, http }.send(&alert()).await.unwrap_err();
        assert_eq!(error.message, format!("500 Internal Server Error: {}", "a".repeat(ANSWER_CHARS_MAX)));
        // What the system's buffers hold, and no gigabytes.
        assert!(served.await.unwrap() < 64 << 20);
    }

    #[test]
    fn a_fifo_topic_gets_ids_that_it_takes() {
        assert_eq!(fifo_id("s-1"), "s-1");
        let long = "a".repeat(129);
        for odd in ["", "a b", "wärme", "a\n", &long] {
            let id = fifo_id(odd);
            assert!(id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{odd:?}: {id}");
            assert_eq!(id, fifo_id(odd));
        }
    }

    #[test]
    fn no_address_is_shown_by_accident() {
        let http = http_client(Duration::from_secs(1)).unwrap();
        let shown = format!("{:?}", Transport::Webhook { url: "https://h/secret".into(), http });
        assert_eq!(shown, "Transport(\"webhook\")");
    }
}
