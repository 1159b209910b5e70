//! Who holds the leases, asked of a cloud as any DynamoDB client asks.

use std::time::Duration;

use actors::ports::aws::{self, AwsSettings};
use aws_sdk_dynamodb::types::AttributeValue;

/// The owner of every lease, or none.
pub fn lease_owners(endpoint_url: &str, table: &str) -> Vec<Option<String>> {
    let settings = AwsSettings {
        region: None,
        endpoint_url: Some(endpoint_url.to_owned()),
        attempt_timeout: Duration::from_secs(10),
    };
    let rows = tokio::runtime::Runtime::new().unwrap().block_on(async {
        let client = aws_sdk_dynamodb::Client::new(&aws::load(&settings).await);
        client.scan().table_name(table).consistent_read(true).send().await.unwrap()
    });
    let owner = |value: Option<&AttributeValue>| value.map(|owner| owner.as_s().unwrap().clone());
    // Rows of shards have a checkpoint; the table's own and the workers' have none.
    let shards = rows.items().iter().filter(|row| row.contains_key("checkpoint"));
    shards.map(|row| owner(row.get("leaseOwner"))).collect()
}
