//! The lease table, asked of a cloud as any DynamoDB client asks: who holds the leases, and the table taken away.

use std::collections::HashMap;
use std::time::Duration;

use actors::ports::aws::{self, AwsSettings};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;

/// The owner of every lease, or none.
pub fn lease_owners(endpoint_url: &str, table: &str) -> Vec<Option<String>> {
    let owner = |value: Option<&AttributeValue>| value.map(|owner| owner.as_s().unwrap().clone());
    let rows = rows(endpoint_url, table).unwrap();
    // Rows of shards have a checkpoint; the table's own and the workers' have none.
    let shards = rows.iter().filter(|row| row.contains_key("checkpoint"));
    shards.map(|row| owner(row.get("leaseOwner"))).collect()
}

/// Whether there is such a table at all.
pub fn has_table(endpoint_url: &str, table: &str) -> bool {
    rows(endpoint_url, table).is_some()
}

/// Deletes the table with all of its rows.
pub fn delete_table(endpoint_url: &str, table: &str) {
    with_client(endpoint_url, async |client| drop(client.delete_table().table_name(table).send().await.unwrap()));
}

/// Every row; none if there is no table.
fn rows(endpoint_url: &str, table: &str) -> Option<Vec<HashMap<String, AttributeValue>>> {
    with_client(endpoint_url, async |client| {
        let answer = client.scan().table_name(table).consistent_read(true).send().await;
        match answer.map_err(|error| error.into_service_error()) {
            Ok(answer) => Some(answer.items.unwrap_or_default()),
            Err(error) if error.is_resource_not_found_exception() => None,
            Err(error) => panic!("{table}: {error:?}"),
        }
    })
}

fn with_client<T>(endpoint_url: &str, ask: impl AsyncFnOnce(&Client) -> T) -> T {
    let settings = AwsSettings {
        region: None,
        endpoint_url: Some(endpoint_url.to_owned()),
        attempt_timeout: Duration::from_secs(10),
    };
    tokio::runtime::Runtime::new().unwrap().block_on(async { ask(&Client::new(&aws::load(&settings).await)).await })
}
