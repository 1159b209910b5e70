//! SNS: winterbaume's, made as strict as the service.
//!
//! **Promises** nothing is answered with 200 and not done. A message is taken and forgotten, because nobody can
//! subscribe: Subscribe is refused.
//! **Fails** with SNS's `InvalidAction` or `InvalidParameter`.
//! **Not here**: deliveries, FIFO topics, permissions.

use axum::http::request::Parts;
use bytes::Bytes;
use winterbaume_core::{MockResponse, MockService, StateViewError, StatefulService, default_account_id};
use winterbaume_sns::SnsService;

use super::{Saved, request};

/// As the service.
const MESSAGE_BYTES_MAX: usize = 256 * 1024;

/// Each action with the parameters that it heeds, besides `Action` and `Version`.
const ACTIONS: &[(&str, &[&str])] = &[
    ("CreateTopic", &["Name", "Tags"]),
    ("DeleteTopic", &["TopicArn"]),
    ("ListTopics", &[]),
    ("GetTopicAttributes", &["TopicArn"]),
    ("SetTopicAttributes", &["TopicArn", "AttributeName", "AttributeValue"]),
    ("ListSubscriptions", &[]),
    ("ListSubscriptionsByTopic", &["TopicArn"]),
    ("Publish", &["TopicArn", "Message", "Subject", "MessageAttributes", "MessageStructure"]),
    ("PublishBatch", &["TopicArn", "PublishBatchRequestEntries"]),
    ("TagResource", &["ResourceArn", "Tags"]),
    ("UntagResource", &["ResourceArn", "TagKeys"]),
    ("ListTagsForResource", &["ResourceArn"]),
];

#[async_trait::async_trait]
impl Saved for SnsService {
    const SCOPE: &'static str = "sns";

    fn only_reads(_parts: &Parts, body: &[u8]) -> bool {
        // Publish keeps nothing: the crate delivers to nobody and forgets the message.
        let reads = ["Publish", "Get", "List"];
        reads.iter().any(|prefix| action(body).starts_with(prefix))
    }

    async fn answer(&self, region: &str, parts: &Parts, body: Bytes) -> MockResponse {
        match refusal(&body) {
            Some(refusal) => refusal,
            None => self.handle(request(Self::SCOPE, region, parts.method.as_str(), &parts.headers, body)).await,
        }
    }

    async fn save(&self, region: &str) -> Result<Vec<u8>, StateViewError> {
        let view = self.snapshot(default_account_id(), region).await;
        Ok(serde_json::to_vec(&view)?)
    }

    async fn load(&self, region: &str, state: &[u8]) -> Result<(), StateViewError> {
        self.restore(default_account_id(), region, serde_json::from_slice(state)?).await
    }
}

fn action(body: &[u8]) -> &str {
    let body = std::str::from_utf8(body).unwrap_or("");
    body.split('&').find_map(|pair| pair.strip_prefix("Action=")).unwrap_or("")
}

fn refusal(body: &[u8]) -> Option<MockResponse> {
    let action = action(body);
    let Some((_, heeded)) = ACTIONS.iter().find(|(name, _)| *name == action) else {
        let message = "the local cloud does not have this action; it delivers to nobody, so nobody can subscribe";
        return Some(MockResponse::error(400, "InvalidAction", message));
    };
    let text = std::str::from_utf8(body).unwrap_or("");
    for (name, value) in text.split('&').filter_map(|pair| pair.split_once('=')) {
        let name = name.split('.').next().unwrap_or("");
        if !["Action", "Version"].contains(&name) && !heeded.contains(&name) {
            let name: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
            let message = format!("Invalid parameter: the local cloud does not support {name} of {action}");
            return Some(MockResponse::error(400, "InvalidParameter", &message));
        }
        if name == "Message" && decoded_len(value) > MESSAGE_BYTES_MAX {
            return Some(MockResponse::error(400, "InvalidParameter", "Invalid parameter: Message too long"));
        }
    }
    None
}

/// The length of a value in percent notation.
fn decoded_len(value: &str) -> usize {
    value.len() - 2 * value.bytes().filter(|byte| *byte == b'%').count()
}
