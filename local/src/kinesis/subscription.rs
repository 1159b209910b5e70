//! SubscribeToShard: pages of one shard as a stream of events, until the shard ends or five minutes have passed.

use std::time::Duration;

use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use axum::body::Body;
use axum::http::{Response, StatusCode};
use bytes::Bytes;
use futures_util::stream;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{Kinesis, asking, cbor};
use crate::clock::now_ms;
use crate::reply;

const SESSION_MS: i64 = 5 * 60 * 1_000;
const POLL: Duration = Duration::from_millis(200);
const PAGE_RECORDS_MAX: usize = 10_000;

struct Subscription {
    kinesis: Kinesis,
    is_cbor: bool,
    /// None at the end.
    iterator: Option<String>,
    until_ms: i64,
    n_sent: usize,
}

/// The answer, which goes on.
pub(super) fn body(kinesis: Kinesis, iterator: String, is_cbor: bool) -> Response<Body> {
    let first = Subscription { kinesis, is_cbor, iterator: Some(iterator), until_ms: now_ms() + SESSION_MS, n_sent: 0 };
    let events = stream::unfold(first, |mut subscription| async {
        let event = subscription.next().await?;
        Some((Ok::<Bytes, std::io::Error>(event), subscription))
    });
    reply::answer(StatusCode::OK, "application/vnd.amazon.eventstream", Body::from_stream(events))
}

impl Subscription {
    async fn next(&mut self) -> Option<Bytes> {
        self.n_sent += 1;
        if self.n_sent == 1 {
            return Some(framed("initial-response", None, Bytes::new()));
        }
        if self.n_sent > 2 {
            sleep(POLL).await;
        }
        let iterator = self.iterator.take().filter(|_| now_ms() < self.until_ms)?;
        let (page, next) = self.page(&iterator)?;
        self.iterator = next;
        let (content_type, content) = match self.is_cbor {
            true => (cbor::CONTENT_TYPE, cbor::encoded(page.to_string().as_bytes())),
            false => ("application/json", page.to_string().into_bytes()),
        };
        Some(framed("SubscribeToShardEvent", Some(content_type), content.into()))
    }

    /// The page and where it goes on; none when the stream is gone.
    fn page(&self, iterator: &str) -> Option<(Value, Option<String>)> {
        let state = self.kinesis.state();
        let page = state.engine.page(asking(), iterator, PAGE_RECORDS_MAX).ok()?;
        let next = page.next_shard_iterator.clone();
        let mut event = json!(page);
        let fields = event.as_object_mut()?;
        fields.remove("NextShardIterator");
        fields.entry("ChildShards").or_insert_with(|| json!([]));
        let number = next.as_deref().and_then(|next| next.split('/').nth(2));
        fields.insert("ContinuationSequenceNumber".to_owned(), json!(number));
        Some((event, next))
    }
}

fn framed(kind: &'static str, content_type: Option<&'static str>, content: Bytes) -> Bytes {
    let header = |name: &'static str, value: &'static str| Header::new(name, HeaderValue::String(value.into()));
    let mut message =
        Message::new(content).add_header(header(":message-type", "event")).add_header(header(":event-type", kind));
    if let Some(content_type) = content_type {
        message = message.add_header(header(":content-type", content_type));
    }
    let mut frame = Vec::new();
    write_message_to(&message, &mut frame).expect("memory takes every frame");
    frame.into()
}
