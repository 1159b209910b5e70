use std::collections::HashMap;

use actors::ports::leases::{Home, LeaseError, LeaseRow, LeaseTable};
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure::AllOld;
use messages::{EpochNumber, ShardId, StreamId};

use super::*;

const TABLE: &str = "leases";

async fn world() -> (World, LeaseTable) {
    let world = World::new(5);
    let table = LeaseTable::new(&world.sdk(ME), TABLE);
    table.ensure().await.unwrap();
    (world, table)
}

fn shard(n: u32) -> ShardId {
    ShardId::new(&format!("shardId-{n:012}"))
}

fn home() -> Home {
    Home { stream: StreamId { arn: "arn".into(), created_ms: 7 }, bucket: "lake".into() }
}

fn fresh(n: u32) -> LeaseRow {
    LeaseRow::fresh(shard(n), vec![shard(8), shard(9)], ("0".into(), "5".into())).at(&home())
}

fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.into())
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_created_taken_and_released() {
    let (world, table) = world().await;
    table.ensure().await.unwrap();
    assert_eq!(table.get(&shard(0)).await.unwrap(), None);
    for _ in 0..2 {
        table.create_if_absent(&fresh(0)).await.unwrap();
    }
    let row = table.get(&shard(0)).await.unwrap().unwrap();
    assert_eq!(row, fresh(0));
    let mut lease = table.take(row.clone(), "me", &home(), None).await.unwrap();
    // The row has moved on since it was read: the second to take it loses.
    assert!(matches!(table.take(row, "you", &home(), None).await, Err(LeaseError::Lost(_))));
    lease.release(EpochNumber(3)).await.unwrap();
    let row = table.get(&shard(0)).await.unwrap().unwrap();
    assert_eq!((row.owner, row.counter, row.alerts_through), (None, 2, EpochNumber(3)));

    let history = world.cloud.lease_history();
    assert_eq!(history.len(), 3);
    assert!(history[0].before.is_none() && history[0].client == ME);
    assert_eq!(history[1].after.as_ref().unwrap()["leaseOwner"]["S"], "me");
    assert_eq!(history[2].before, history[1].after);
    assert_eq!(world.cloud.rows()[shard(0).as_str()], history[2].after.clone().unwrap());
}

#[tokio::test(start_paused = true)]
async fn children_are_added_to_their_parents_row() {
    let (world, table) = world().await;
    table.create_if_absent(&fresh(0)).await.unwrap();
    for children in [[shard(1), shard(2)], [shard(2), shard(3)]] {
        table.note_children(&shard(0), &children).await.unwrap();
    }
    let all = [1, 2, 3].map(|n| shard(n).to_string());
    assert_eq!(world.cloud.rows()[shard(0).as_str()]["childShardIds"], serde_json::json!({ "SS": all }));
    // Of a row that is gone nothing is noted.
    table.note_children(&shard(7), &[shard(1)]).await.unwrap();
    assert!(!world.cloud.rows().contains_key(shard(7).as_str()));
}

#[tokio::test(start_paused = true)]
async fn a_planted_row_is_read() {
    let (world, table) = world().await;
    let row = serde_json::json!({
        "leaseKey": { "S": "shardId-000000000004" }, "leaseCounter": { "N": "17" }, "leaseOwner": { "S": "kcl" },
        "checkpoint": { "S": "SHARD_END" }, "parentShardId": { "SS": ["shardId-000000000001"] },
    });
    world.cloud.put_row(serde_json::from_value(row).unwrap());
    let row = table.get(&shard(4)).await.unwrap().unwrap();
    assert_eq!((row.counter, row.owner.as_deref(), row.parents), (17, Some("kcl"), vec![shard(1)]));
}

#[tokio::test(start_paused = true)]
async fn a_scan_has_pages_and_a_row_can_be_deleted() {
    let (world, table) = world().await;
    for n in 0..8 {
        table.create_if_absent(&fresh(n)).await.unwrap();
    }
    let raw = aws_sdk_dynamodb::Client::new(&world.sdk(ME));
    let (mut seen, mut start, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = raw.scan().table_name(TABLE).set_exclusive_start_key(start).send().await.unwrap();
        seen.extend(page.items().iter().map(|item| item["leaseKey"].as_s().unwrap().clone()));
        (start, pages) = (page.last_evaluated_key, pages + 1);
        if start.is_none() {
            break;
        }
    }
    assert_eq!((seen, pages), ((0..8).map(|n| shard(n).to_string()).collect(), 3));
    let delete = || raw.delete_item().table_name(TABLE).key("leaseKey", text(shard(3).as_str()));
    delete().condition_expression("attribute_exists(leaseOwner)").send().await.unwrap_err();
    delete().condition_expression("attribute_not_exists(leaseOwner)").send().await.unwrap();
    assert_eq!(world.cloud.rows().len(), 7);
    assert_eq!(world.cloud.lease_history().last().unwrap().after, None);
}

/// One update of a row with `leaseOwner = me` and `leaseCounter = 7`: whether it was applied, or the error's code.
async fn update(world: &World, update: &str, condition: &str) -> Result<(), String> {
    let row =
        serde_json::json!({ "leaseKey": { "S": "k" }, "leaseOwner": { "S": "me" }, "leaseCounter": { "N": "7" } });
    world.cloud.put_row(serde_json::from_value(row).unwrap());
    let expressions = format!("{update} {condition}");
    let all = [(":me", text("me")), (":you", text("you")), (":seven", AttributeValue::N("07".into()))];
    let values: HashMap<_, _> = all
        .into_iter()
        .filter(|(name, _)| expressions.contains(name))
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    let names = expressions.contains("#owner").then(|| HashMap::from([("#owner".into(), "leaseOwner".into())]));
    let raw = aws_sdk_dynamodb::Client::new(&world.sdk(ME));
    let request = raw.update_item().table_name(TABLE).key("leaseKey", text("k"));
    let request = request.update_expression(update).condition_expression(condition);
    let request = request.set_expression_attribute_names(names);
    let request = request.set_expression_attribute_values((!values.is_empty()).then_some(values));
    let answer = request.return_values_on_condition_check_failure(AllOld).send().await;
    answer.map(drop).map_err(|error| {
        let error = error.into_service_error();
        if error.is_conditional_check_failed_exception() {
            assert!(format!("{error:?}").contains("leaseCounter"), "the row comes with the refusal: {error:?}");
        }
        error.meta().code().unwrap_or_default().to_owned()
    })
}

#[tokio::test(start_paused = true)]
async fn conditions_are_judged_both_ways() {
    let (world, _) = world().await;
    let cases = [
        ("leaseOwner = :me", true),
        ("leaseOwner = :you", false),
        ("leaseOwner <> :me", false),
        ("#owner <> :you", true),
        ("missing = :me", false),
        ("missing <> :me", true),
        ("leaseCounter = :seven", true),
        ("attribute_exists(leaseOwner)", true),
        ("attribute_exists(missing)", false),
        ("attribute_not_exists(missing)", true),
        ("attribute_not_exists(#owner)", false),
        ("leaseOwner = :me AND leaseCounter = :seven", true),
        ("leaseOwner = :you and leaseCounter = :seven", false),
        ("leaseOwner = :you OR leaseCounter = :seven", true),
        // AND binds closer than OR.
        ("leaseOwner = :me OR leaseOwner = :you AND leaseOwner = :you", true),
        ("(leaseOwner = :me OR leaseOwner = :you) AND leaseOwner = :you", false),
    ];
    for (condition, holds) in cases {
        let expected = if holds { Ok(()) } else { Err("ConditionalCheckFailedException".to_owned()) };
        assert_eq!(update(&world, "REMOVE checkpointOwner", condition).await, expected, "{condition}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_outside_the_grammar_is_refused() {
    let (world, _) = world().await;
    let before = world.cloud.lease_history().len();
    let conditions = [
        "leaseOwner",
        "leaseOwner = ",
        "leaseOwner = :nobody",
        "leaseOwner = leaseOwner",
        "leaseOwner = :me leaseCounter = :seven",
        "(leaseOwner = :me",
        "attribute_exists()",
        "#nobody = :me",
        "owner = :me",
    ];
    for condition in conditions {
        let refused = update(&world, "REMOVE checkpointOwner", condition).await;
        assert_eq!(refused, Err("ValidationException".to_owned()), "{condition}");
    }
    let updates = [
        "leaseOwner = :you",
        "SET leaseOwner",
        "SET leaseOwner = :you, ",
        "SET leaseKey = :you",
        "SET a = :you REMOVE a",
        "SET a = :you SET b = :you",
        "REMOVE",
        "SET a = :you + :seven",
    ];
    for expression in updates {
        let refused = update(&world, expression, "leaseOwner = :me").await;
        assert_eq!(refused, Err("ValidationException".to_owned()), "{expression}");
    }
    let raw = aws_sdk_dynamodb::Client::new(&world.sdk(ME));
    let request = raw.update_item().table_name(TABLE).key("leaseKey", text("k")).update_expression("SET a = :a");
    let unused =
        request.clone().expression_attribute_values(":a", text("x")).expression_attribute_values(":b", text("x"));
    assert!(unused.send().await.is_err());
    assert!(raw.query().table_name(TABLE).send().await.is_err());
    assert_eq!(world.cloud.lease_history().len(), before);
    request.expression_attribute_values(":a", text("x")).send().await.unwrap();
    assert_eq!(world.cloud.rows()["k"]["a"]["S"], "x");
}
