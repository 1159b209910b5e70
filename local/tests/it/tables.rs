//! Tables: what a lease table needs. Conditional writes, scans, attributes of every type, restarts and kills.

use std::collections::{BTreeSet, HashMap};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ReturnValuesOnConditionCheckFailure,
    ScalarAttributeType,
};
use tokio::sync::mpsc;

use crate::{World, kill, sdk};

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

fn count(value: u32) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// A lease as KCL writes it and ours, with every type of attribute that must survive the changes of others.
fn lease(ix: u32) -> HashMap<String, AttributeValue> {
    HashMap::from([
        ("leaseKey".to_owned(), text(&format!("shardId-{ix:012}"))),
        ("leaseCounter".to_owned(), count(1)),
        ("checkpoint".to_owned(), text(&"4".repeat(56))),
        ("parentShardId".to_owned(), AttributeValue::Ss(vec!["shardId-a".to_owned(), "shardId-b".to_owned()])),
        ("done".to_owned(), AttributeValue::Bool(true)),
        ("plan".to_owned(), AttributeValue::B(Blob::new([0, 255, 128, 10]))),
        ("nothing".to_owned(), AttributeValue::Null(true)),
        ("list".to_owned(), AttributeValue::L(vec![count(1), text("x"), AttributeValue::Bool(false)])),
        ("map".to_owned(), AttributeValue::M(HashMap::from([("inner".to_owned(), AttributeValue::B(Blob::new([7])))]))),
        ("numbers".to_owned(), AttributeValue::Ns(vec!["1".to_owned(), "2.5".to_owned()])),
    ])
}

async fn put_lease(client: &Client, ix: u32) {
    client.put_item().table_name("leases").set_item(Some(lease(ix))).send().await.unwrap();
}

async fn get_lease(client: &Client, ix: u32) -> Option<HashMap<String, AttributeValue>> {
    let get = client.get_item().table_name("leases").key("leaseKey", text(&format!("shardId-{ix:012}")));
    get.consistent_read(true).send().await.unwrap().item
}

#[tokio::test]
async fn a_scan_has_pages_and_projections() {
    let world = World::new().await;
    let client = world.dynamodb();
    create(&client, "leases").await;
    for ix in 0..23 {
        put_lease(&client, ix).await;
    }
    let mut pages = Vec::new();
    let mut start = None;
    loop {
        let scan = client.scan().table_name("leases").limit(5).consistent_read(true).set_exclusive_start_key(start);
        let page = scan.projection_expression("leaseKey, #c").expression_attribute_names("#c", "leaseCounter");
        let page = page.send().await.unwrap();
        pages.push(page.items().to_vec());
        start = page.last_evaluated_key;
        if start.is_none() {
            break;
        }
    }
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [5, 5, 5, 5, 3]);
    let items: Vec<_> = pages.into_iter().flatten().collect();
    assert!(items.iter().all(|item| item.len() == 2 && item["leaseCounter"] == count(1)), "only what was asked for");
    let keys: BTreeSet<String> = items.iter().map(|item| item["leaseKey"].as_s().unwrap().clone()).collect();
    assert_eq!(keys.len(), 23);

    let mut paginated = client.scan().table_name("leases").limit(10).into_paginator().items().send();
    let mut n_items = 0;
    while let Some(item) = paginated.next().await {
        item.unwrap();
        n_items += 1;
    }
    assert_eq!(n_items, 23, "the SDK's own paginator");
}

#[tokio::test]
async fn attributes_of_every_type_survive_changes_of_others_and_restarts() {
    let world = World::new().await;
    let client = world.dynamodb();
    create(&client, "leases").await;
    put_lease(&client, 0).await;
    let update = client.update_item().table_name("leases").key("leaseKey", text("shardId-000000000000"));
    let update = update.update_expression("SET leaseCounter = :two, leaseOwner = :me REMOVE checkpoint, numbers");
    let update = update.condition_expression("leaseCounter = :one AND attribute_not_exists(leaseOwner) AND done = :t");
    let update = update.expression_attribute_values(":one", count(1)).expression_attribute_values(":two", count(2));
    let update = update
        .expression_attribute_values(":me", text("w"))
        .expression_attribute_values(":t", AttributeValue::Bool(true));
    update.clone().send().await.unwrap();
    assert!(update.send().await.unwrap_err().into_service_error().is_conditional_check_failed_exception());

    let mut expected = lease(0);
    expected.insert("leaseCounter".to_owned(), count(2));
    expected.insert("leaseOwner".to_owned(), text("w"));
    expected.remove("checkpoint");
    expected.remove("numbers");
    assert_eq!(get_lease(&client, 0).await, Some(expected.clone()));
    let world = world.reopened().await;
    assert_eq!(get_lease(&world.dynamodb(), 0).await, Some(expected));
}

#[tokio::test]
async fn deletes_and_puts_have_conditions() {
    let world = World::new().await;
    let client = world.dynamodb();
    create(&client, "leases").await;
    let put = || {
        let put = client.put_item().table_name("leases").set_item(Some(lease(0)));
        put.condition_expression("attribute_not_exists(leaseKey)").send()
    };
    put().await.unwrap();
    assert!(put().await.unwrap_err().into_service_error().is_conditional_check_failed_exception());

    let delete = |counter: u32| {
        let delete = client.delete_item().table_name("leases").key("leaseKey", text("shardId-000000000000"));
        let delete = delete.condition_expression("leaseCounter = :c").expression_attribute_values(":c", count(counter));
        delete.send()
    };
    assert!(delete(9).await.unwrap_err().into_service_error().is_conditional_check_failed_exception());
    assert!(get_lease(&client, 0).await.is_some());
    delete(1).await.unwrap();
    assert_eq!(get_lease(&client, 0).await, None);
    put().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_sixteen_concurrent_updates_one_wins_and_the_others_see_it() {
    let world = World::new().await;
    let client = world.dynamodb();
    create(&client, "leases").await;
    put_lease(&client, 0).await;
    for round in 1..=10 {
        let take = |worker: u32| {
            let take = client.update_item().table_name("leases").key("leaseKey", text("shardId-000000000000"));
            let take = take.update_expression("SET leaseCounter = :new, leaseOwner = :me");
            let take = take.condition_expression("leaseCounter = :seen");
            let take = take.expression_attribute_values(":new", count(round + 1));
            let take = take.expression_attribute_values(":seen", count(round));
            let take = take.expression_attribute_values(":me", text(&format!("worker-{worker}")));
            let take = take.return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
            tokio::spawn(take.send())
        };
        let takes: Vec<_> = (0..16).map(take).collect();
        let (mut winners, mut seen) = (Vec::new(), BTreeSet::new());
        for (worker, take) in takes.into_iter().enumerate() {
            match take.await.unwrap() {
                Ok(_) => winners.push(format!("worker-{worker}")),
                Err(error) => match error.into_service_error() {
                    UpdateItemError::ConditionalCheckFailedException(failed) => {
                        let item = failed.item().expect("the item it was checked against");
                        seen.insert(item["leaseOwner"].as_s().unwrap().clone());
                    }
                    other => panic!("{other:?}"),
                },
            }
        }
        assert_eq!(winners.len(), 1);
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), winners);
    }
}

#[tokio::test]
async fn a_failed_condition_returns_the_item_only_when_asked_and_only_of_a_table() {
    let world = World::new().await;
    let client = world.dynamodb();
    create(&client, "leases").await;
    put_lease(&client, 0).await;
    let put = |table: &str, returned| {
        let put = client.put_item().table_name(table).set_item(Some(lease(0)));
        let put = put.condition_expression("attribute_not_exists(leaseKey) AND attribute_exists(x)");
        put.set_return_values_on_condition_check_failure(returned).send()
    };
    let item = |error: PutItemError| match error {
        PutItemError::ConditionalCheckFailedException(failed) => failed.item,
        other => panic!("{other:?}"),
    };
    let all_old = Some(ReturnValuesOnConditionCheckFailure::AllOld);
    let failed = put("leases", all_old.clone()).await.unwrap_err();
    assert_eq!(item(failed.into_service_error()), Some(lease(0)));
    assert_eq!(item(put("leases", None).await.unwrap_err().into_service_error()), None);
    let unknown = put("nothing", all_old).await.unwrap_err();
    assert!(unknown.into_service_error().is_resource_not_found_exception());
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_survive_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = kill::spawn(folder.path());
    let client = Client::new(&sdk(&kill::endpoint(folder.path()).await).await);
    create(&client, "leases").await;
    for ix in 0..4 {
        put_lease(&client, ix).await;
    }
    // Each counts its own lease up, one acknowledged step after the other.
    let (tell, mut told) = mpsc::channel(1_000);
    let workers: Vec<_> = (0..4)
        .map(|ix| {
            let (client, tell) = (client.clone(), tell.clone());
            tokio::spawn(async move {
                for counter in 1.. {
                    let renew = client.update_item().table_name("leases");
                    let renew = renew.key("leaseKey", text(&format!("shardId-{ix:012}")));
                    let renew =
                        renew.update_expression("SET leaseCounter = :new").condition_expression("leaseCounter = :old");
                    let renew = renew.expression_attribute_values(":new", count(counter + 1));
                    if renew.expression_attribute_values(":old", count(counter)).send().await.is_err() {
                        return counter;
                    }
                    let _ = tell.send(()).await;
                }
                unreachable!("the cloud is killed before")
            })
        })
        .collect();
    for _ in 0..100 {
        told.recv().await.unwrap();
    }
    told.close();
    child.kill().unwrap();
    child.wait().unwrap();

    let world = kill::left_behind(folder).await;
    for (ix, worker) in workers.into_iter().enumerate() {
        let acknowledged = worker.await.unwrap();
        let mut found = get_lease(&world.dynamodb(), ix as u32).await.unwrap();
        let counter: u32 = found.insert("leaseCounter".to_owned(), count(1)).unwrap().as_n().unwrap().parse().unwrap();
        // The SDK tries three times, and a change whose answer was lost is there as well.
        assert!((acknowledged..=acknowledged + 1).contains(&counter), "{counter} instead of {acknowledged}");
        assert_eq!(found, lease(ix as u32), "nothing else changed");
    }
}
