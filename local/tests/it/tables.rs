//! Tables: conditional writes, as leases use them.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};

use crate::World;

pub(crate) async fn create(client: &Client, table: &str) {
    let key = KeySchemaElement::builder().attribute_name("leaseKey").key_type(KeyType::Hash).build().unwrap();
    let attribute = AttributeDefinition::builder()
        .attribute_name("leaseKey")
        .attribute_type(ScalarAttributeType::S)
        .build()
        .unwrap();
    let request = client.create_table().table_name(table).key_schema(key).attribute_definitions(attribute);
    request.billing_mode(BillingMode::PayPerRequest).send().await.unwrap();
}

pub(crate) fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

#[tokio::test]
async fn conditional_writes_hold_under_contention() {
    let world = World::new().await;
    let client = world.dynamodb();
    create(&client, "leases").await;

    let contenders: Vec<_> = (0..20)
        .map(|n| {
            let request = client
                .put_item()
                .table_name("leases")
                .item("leaseKey", text("shard-0"))
                .item("leaseOwner", text(&format!("worker-{n}")))
                .item("leaseCounter", AttributeValue::N("1".to_owned()))
                .condition_expression("attribute_not_exists(leaseKey)");
            tokio::spawn(async move { request.send().await })
        })
        .collect();
    let mut n_won = 0;
    for contender in contenders {
        match contender.await.unwrap() {
            Ok(_) => n_won += 1,
            Err(error) => assert!(error.into_service_error().is_conditional_check_failed_exception()),
        }
    }
    assert_eq!(n_won, 1);

    let update = |expected: &str| {
        client
            .update_item()
            .table_name("leases")
            .key("leaseKey", text("shard-0"))
            .update_expression("SET leaseCounter = leaseCounter + :one, checkpoint = :c")
            .condition_expression("leaseCounter = :expected")
            .expression_attribute_values(":one", AttributeValue::N("1".to_owned()))
            .expression_attribute_values(":c", text("495"))
            .expression_attribute_values(":expected", AttributeValue::N(expected.to_owned()))
            .send()
    };
    update("1").await.unwrap();
    assert!(update("1").await.unwrap_err().into_service_error().is_conditional_check_failed_exception());

    let scanned = client.scan().table_name("leases").consistent_read(true).send().await.unwrap();
    assert_eq!(scanned.items().len(), 1);
    assert_eq!(scanned.items()[0]["leaseCounter"], AttributeValue::N("2".to_owned()));
}
