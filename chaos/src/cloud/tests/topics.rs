use actors::ports::provision;
use actors::ports::transports::Transport;
use messages::{Alert, AlertKind, SensorId, Severity};

use super::*;

#[tokio::test(start_paused = true)]
async fn what_is_published_is_kept() {
    let world = World::new(1);
    let sdk = world.sdk(ME);
    let alert = Alert {
        id: "id-1".into(),
        kind: AlertKind::Range,
        severity: Severity::Warning,
        sensor_id: SensorId::new("s-1"),
        field: Some("temperature".into()),
        value: Some(99.5),
        message: "a + b & \"c\" <é>".into(),
        event_time_us: 1,
        arrival_ms: 2,
        shard: "shardId-000000000000".into(),
        sequence: None,
    };
    let to = |topic_arn: String| Transport::Sns { topic_arn, client: aws_sdk_sns::Client::new(&sdk) };
    assert!(to("arn:aws:sns:us-east-1:000000000000:nobody".into()).send(&alert).await.is_err());
    let arn = provision::topic(&sdk, "alerts").await.unwrap();
    to(arn).send(&alert).await.unwrap();
    let published = world.cloud.published();
    assert_eq!(published.len(), 1);
    assert_eq!(serde_json::from_str::<Alert>(&published[0]).unwrap(), alert);
}
