//! Opens the transports of the configured receivers of alerts.
//!
//! **Not here**: sending (`transports`), judging addresses (the configuration).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What all clients are made from.
pub use aws_config::SdkConfig;

use super::transports::{Transport, http_client};

/// Where alerts go.
#[derive(Clone)]
pub struct ReceiversConfig {
    /// Addresses that take JSON by POST.
    pub webhooks: Vec<String>,
    /// Base addresses of Alertmanagers.
    pub alertmanagers: Vec<String>,
    /// ARNs of SNS topics.
    pub sns_topics: Vec<String>,
    /// One attempt at one receiver may take this long.
    pub timeout: Duration,
}

/// Without the addresses, which may hold tokens.
impl fmt::Debug for ReceiversConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceiversConfig")
            .field("webhooks", &self.webhooks.len())
            .field("alertmanagers", &self.alertmanagers.len())
            .field("sns_topics", &self.sns_topics)
            .field("timeout", &self.timeout)
            .finish()
    }
}

/// A transport for each receiver. All share one HTTP client and one SNS client.
pub fn open(config: &ReceiversConfig, sdk: &SdkConfig) -> Result<Arc<[Transport]>, String> {
    let http = http_client(config.timeout).map_err(|error| format!("set up the HTTP client of alerts: {error}"))?;
    let sns = aws_sdk_sns::Client::new(sdk);
    let webhooks = config.webhooks.iter().map(|url| Transport::Webhook { url: url.clone(), http: http.clone() });
    let alertmanagers =
        config.alertmanagers.iter().map(|url| Transport::Alertmanager { url: url.clone(), http: http.clone() });
    let topics = config.sns_topics.iter().map(|arn| Transport::Sns { topic_arn: arn.clone(), client: sns.clone() });
    Ok(webhooks.chain(alertmanagers).chain(topics).collect())
}
