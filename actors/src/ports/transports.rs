//! Where alerts go: HTTP webhooks (plain JSON or Alertmanager's v2 API) and SNS topics.

use std::time::Duration;

use messages::{Alert, Severity};
use serde_json::{Value, json};

use super::aws::{CallError, Failure, classify};

/// The longest part of a receiver's error that is kept.
const ANSWER_CHARS_MAX: usize = 200;

/// One destination.
#[derive(Clone, Debug)]
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

    /// Hands one alert over.
    pub async fn send(&self, alert: &Alert) -> Result<(), CallError> {
        match self {
            Self::Webhook { url, http } => {
                let request = http.post(url).header("idempotency-key", &alert.id).json(alert);
                post("post to the webhook", request).await
            }
            Self::Alertmanager { url, http } => {
                let url = format!("{}/api/v2/alerts", url.trim_end_matches('/'));
                post("post to the Alertmanager", http.post(url).json(&json!([alertmanager(alert)]))).await
            }
            Self::Sns { topic_arn, client } => {
                let body = serde_json::to_string(alert).expect("an alert is plain data with text keys");
                let request = client.publish().topic_arn(topic_arn).message(body);
                let sent = request.send().await;
                sent.map(drop).map_err(|e| classify(format!("publish to {topic_arn:?}"), e))
            }
        }
    }
}

async fn post(action: &str, request: reqwest::RequestBuilder) -> Result<(), CallError> {
    let fail = |failure, message| CallError { action: action.to_owned(), failure, code: None, message };
    // An address may hold a token: it stays out of the error.
    let answer = request.send().await.map_err(|e| fail(Failure::Transient, e.without_url().to_string()))?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let text = answer.text().await.unwrap_or_default();
    let text: String = text.chars().take(ANSWER_CHARS_MAX).collect();
    let failure = match status.as_u16() {
        429 => Failure::Throttled,
        400..=499 => Failure::Refused,
        _ => Failure::Transient,
    };
    Err(fail(failure, format!("{status}: {text}")))
}

/// The alert as Alertmanager's API v2 takes it: labels identify, annotations explain.
fn alertmanager(alert: &Alert) -> Value {
    let severity = match alert.severity {
        Severity::Warning => "warning",
        Severity::Critical => "critical",
    };
    let starts_at = chrono::DateTime::from_timestamp_micros(alert.event_time_us).unwrap_or_default();
    json!({
        "labels": {
            "alertname": format!("mangrove_{}", alert.kind.as_str()),
            "severity": severity,
            "sensor_id": alert.sensor_id,
            "field": alert.field.as_deref().unwrap_or(""),
            "alert_id": alert.id,
        },
        "annotations": {
            "summary": alert.message,
            "value": alert.value.map(|v| v.to_string()).unwrap_or_default(),
        },
        "startsAt": starts_at.to_rfc3339(),
    })
}
