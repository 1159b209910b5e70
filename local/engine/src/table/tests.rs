use serde_json::json;

use super::*;
use crate::Service;

const HABITS: Habits = Habits { rows_per_page: usize::MAX, creating_ms: 0, keeps_history: false };

fn asking() -> Asking<'static> {
    let place = Place { region: "eu-west-1", account: "123456789012" };
    Asking { place, now_ms: 7, client: ClientId(0), habits: HABITS }
}

/// The answer, or the code and the message of the refusal.
fn asked(tables: &mut Tables, operation: &str, input: &Value) -> Result<Value, String> {
    let reply = tables.serve(asking(), operation, input).map_err(|no| format!("{}: {}", no.code, no.message))?;
    Ok(serde_json::from_slice(&reply.body).unwrap())
}

fn of(table: &str, rest: Value) -> Value {
    let mut input = json!({ "TableName": table });
    input.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    input
}

/// A table of readings, by sensor and time, with an index by site.
fn readings() -> Tables {
    let mut tables = Tables::default();
    let key = |hash: &str| json!([{ "AttributeName": hash, "KeyType": "HASH" }, { "AttributeName": "t", "KeyType": "RANGE" }]);
    let types = json!([
        { "AttributeName": "id", "AttributeType": "S" },
        { "AttributeName": "t", "AttributeType": "N" },
        { "AttributeName": "site", "AttributeType": "S" },
    ]);
    let index = json!({
        "IndexName": "by-site", "KeySchema": key("site"), "Projection": { "ProjectionType": "KEYS_ONLY" },
    });
    let create = json!({
        "KeySchema": key("id"), "AttributeDefinitions": types, "BillingMode": "PAY_PER_REQUEST",
        "GlobalSecondaryIndexes": [index],
    });
    asked(&mut tables, "CreateTable", &of("r", create)).unwrap();
    for n in 0..10 {
        let mut item = json!({ "id": { "S": format!("s{}", n % 2) }, "t": { "N": n.to_string() }, "v": { "N": "1" } });
        if n % 3 == 0 {
            item["site"] = json!({ "S": "north" });
        }
        asked(&mut tables, "PutItem", &of("r", json!({ "Item": item }))).unwrap();
    }
    tables
}

fn times(answer: &Value) -> Vec<&str> {
    answer["Items"].as_array().unwrap().iter().map(|item| item["t"]["N"].as_str().unwrap()).collect()
}

#[test]
fn queries_are_in_the_order_of_the_key_and_have_pages() {
    let mut tables = readings();
    let query = |more: Value| {
        let mut query = of(
            "r",
            json!({
                "KeyConditionExpression": "id = :i AND t BETWEEN :a AND :b",
                "ExpressionAttributeValues": { ":i": { "S": "s1" }, ":a": { "N": "2" }, ":b": { "N": "10" } },
            }),
        );
        query.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        query
    };
    let all = asked(&mut tables, "Query", &query(json!({}))).unwrap();
    assert_eq!(times(&all), ["3", "5", "7", "9"]);
    let back = json!({ "ScanIndexForward": false, "Limit": 3 });
    let first = asked(&mut tables, "Query", &query(back.clone())).unwrap();
    assert_eq!(times(&first), ["9", "7", "5"]);
    let mut next = back;
    next["ExclusiveStartKey"] = first["LastEvaluatedKey"].clone();
    let rest = asked(&mut tables, "Query", &query(next)).unwrap();
    assert_eq!((times(&rest), rest.get("LastEvaluatedKey")), (vec!["3"], None));

    let by_site = json!({
        "IndexName": "by-site", "KeyConditionExpression": "site = :s", "Limit": 2,
        "ExpressionAttributeValues": { ":s": { "S": "north" } },
    });
    let page = asked(&mut tables, "Query", &of("r", by_site.clone())).unwrap();
    assert_eq!(times(&page), ["0", "3"]);
    assert_eq!(page["Items"][0].as_object().unwrap().len(), 3, "keys only");
    let mut next = by_site;
    next["ExclusiveStartKey"] = page["LastEvaluatedKey"].clone();
    assert_eq!(times(&asked(&mut tables, "Query", &of("r", next)).unwrap()), ["6", "9"]);
}

#[test]
fn a_limit_is_of_what_is_looked_at_and_capacity_is_of_bytes() {
    let mut tables = readings();
    let scan = json!({
        "FilterExpression": "t > :t", "ExpressionAttributeValues": { ":t": { "N": "7" } }, "Limit": 4,
        "ReturnConsumedCapacity": "TOTAL", "ConsistentRead": true,
    });
    let page = asked(&mut tables, "Scan", &of("r", scan)).unwrap();
    assert_eq!((&page["Count"], &page["ScannedCount"]), (&json!(0), &json!(4)));
    assert!(page["LastEvaluatedKey"].is_object());
    assert_eq!(page["ConsumedCapacity"]["CapacityUnits"], 1.0);
    let large = json!({ "id": { "S": "s9" }, "t": { "N": "1" }, "plan": { "S": "x".repeat(9_000) } });
    asked(&mut tables, "PutItem", &of("r", json!({ "Item": large }))).unwrap();
    let all = asked(&mut tables, "Scan", &of("r", json!({ "ReturnConsumedCapacity": "TOTAL" }))).unwrap();
    assert_eq!(all["ConsumedCapacity"]["CapacityUnits"], 1.5, "three of 4 KB, each half of one");
}

/// The row after an update, or what was said.
fn updated(tables: &mut Tables, update: &str, values: Value) -> Result<Value, String> {
    let key = json!({ "id": { "S": "s0" }, "t": { "N": "0" } });
    let mut input = of("r", json!({ "Key": key, "UpdateExpression": update, "ReturnValues": "ALL_NEW" }));
    if values != json!({}) {
        input["ExpressionAttributeValues"] = values;
    }
    asked(tables, "UpdateItem", &input).map(|answer| answer["Attributes"].clone())
}

#[test]
fn updates_reach_into_documents() {
    let mut tables = readings();
    let tree = json!({ "M": { "list": { "L": [{ "N": "1" }, { "N": "2" }, { "N": "3" }] }, "label": { "S": "x" } } });
    updated(&mut tables, "SET tree = :t", json!({ ":t": tree })).unwrap();
    let row = updated(
        &mut tables,
        "SET tree.list[1] = v + :one, tree.new = if_not_exists(nothing, :one), copy = tree.list[0]
         REMOVE tree.list[0], tree.list[2], tree.label ADD n :one, words :w",
        json!({ ":one": { "N": "1" }, ":w": { "SS": ["a", "b"] } }),
    );
    let row = row.unwrap();
    assert_eq!(row["tree"], json!({ "M": { "list": { "L": [{ "N": "2" }] }, "new": { "N": "1" } } }));
    assert_eq!((&row["copy"], &row["n"]), (&json!({ "N": "1" }), &json!({ "N": "1" })));
    let row = updated(
        &mut tables,
        "SET tree.list = list_append(tree.list, :l), n = n - :half DELETE words :w",
        json!({ ":l": { "L": [{ "S": "y" }] }, ":half": { "N": "0.5" }, ":w": { "SS": ["a", "b"] } }),
    );
    let row = row.unwrap();
    assert_eq!(row["tree"]["M"]["list"], json!({ "L": [{ "N": "2" }, { "S": "y" }] }));
    assert_eq!((&row["n"], row.get("words")), (&json!({ "N": "0.5" }), None), "a set without members is gone");

    let members = json!({ "L": [{ "S": "a" }, { "M": { "x": { "S": "b" }, "y": { "S": "c" } } }, { "S": "d" }] });
    updated(&mut tables, "SET deep = :t", json!({ ":t": members })).unwrap();
    let row = updated(&mut tables, "REMOVE deep[0], deep[1].x, deep[2]", json!({})).unwrap();
    assert_eq!(row["deep"], json!({ "L": [{ "M": { "y": { "S": "c" } } }] }), "places are those of before");

    let values = json!({ ":v": { "S": "x" } });
    for (update, part) in [
        ("SET tree.list[0].a = :v", "invalid for update"),
        ("SET nothing.a = :v", "invalid for update"),
        ("SET a = nothing, b = :v", "does not exist"),
        ("SET a = v + :v", "incorrect data type"),
        ("ADD v :v", "incorrect data type"),
        ("DELETE words :v", "incorrect data type"),
        ("SET tree = :v, tree.label = :v", "overlap"),
        ("SET a = :v SET b = :v", "Syntax error"),
        ("SET a = :v REMOVE", "Syntax error"),
        ("SET id = :v", "part of the key"),
        ("SET site = :v, a = :w", "not defined"),
        ("SET a = nonsense(:v)", "Invalid function name"),
    ] {
        let refused = updated(&mut tables, update, values.clone());
        assert!(refused.as_ref().is_err_and(|message| message.contains(part)), "{update}: {refused:?}");
    }
    assert!(updated(&mut tables, "SET site = :v", json!({ ":v": { "N": "1" } })).is_err(), "a key of an index");
}

#[test]
fn conditions_hold_or_not() {
    let row = json!({
        "n": { "N": "10" }, "s": { "S": "text" }, "b": { "B": "AQID" }, "set": { "NS": ["1", "2"] },
        "list": { "L": [{ "S": "a" }] }, "map": { "M": { "in": { "N": "5" } } },
    });
    let row: Item = serde_json::from_value(row).unwrap();
    let values = json!({
        ":1": { "N": "1" }, ":5": { "N": "5.0" }, ":10": { "N": "1e1" }, ":t": { "S": "te" }, ":a": { "S": "a" },
        ":b": { "B": "AQ==" }, ":S": { "S": "S" }, ":set": { "NS": ["2", "1.0"] },
    });
    let holds = |condition: &str| -> Result<bool, Refusal> {
        let request = json!({ "ConditionExpression": condition, "ExpressionAttributeValues": values });
        let request = request.as_object().unwrap();
        let condition = expression::Definitions::of(request).condition("ConditionExpression")?.unwrap();
        Ok(condition.holds(Some(&row)))
    };
    for (condition, expected) in [
        ("n = :10", true),
        ("n > :5 AND n <= :10", true),
        ("s > :1", false),
        ("NOT s > :1", true),
        ("map.in = :5", true),
        ("list[0] = :a", true),
        ("list[1] = :a", false),
        ("set = :set", true),
        ("contains(set, :1) AND contains(list, :a) AND contains(s, :t)", true),
        ("contains(set, :5)", false),
        ("begins_with(s, :t) AND begins_with(b, :b)", true),
        ("attribute_type(s, :S)", true),
        ("attribute_type(n, :S)", false),
        ("size(s) < :5 AND size(set) > :1", true),
        ("n IN (:1, :5)", false),
        ("n in (:1, :10)", true),
        ("n BETWEEN :5 AND :10 AND s = :t OR attribute_exists(map.in)", true),
        ("n BETWEEN :5 AND :10 AND (s = :t OR attribute_exists(map.out))", false),
        ("map.out <> :1", true),
    ] {
        assert_eq!(holds(condition).unwrap(), expected, "{condition}");
    }
    let nested = format!("{}n = :1{}", "(".repeat(200), ")".repeat(200));
    for wrong in ["n", "n = n", "n = :x", "size(n) = ", "state = :1", "n == :1", "exists(n)", "n IN ()", "%", &nested] {
        assert!(holds(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_transaction_is_whole_and_known_by_its_token() {
    let mut tables = readings();
    let key = |t: &str| json!({ "id": { "S": "s0" }, "t": { "N": t } });
    let add = |t: &str| {
        json!({ "Update": {
            "TableName": "r", "Key": key(t), "UpdateExpression": "ADD v :v",
            "ExpressionAttributeValues": { ":v": { "N": "1" } },
        } })
    };
    let check = |condition: &str| {
        json!({ "ConditionCheck": {
            "TableName": "r", "Key": key("4"), "ConditionExpression": condition,
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        } })
    };
    let written = |tables: &mut Tables, items: Value| {
        tables.serve(asking(), "TransactWriteItems", &json!({ "TransactItems": items, "ClientRequestToken": "token" }))
    };
    let refusal = written(&mut tables, json!([add("0"), check("attribute_not_exists(v)")])).unwrap_err();
    let body = refusal.reply(Service::DynamoDb, false).body;
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["CancellationReasons"][0], json!({ "Code": "None" }));
    assert_eq!(body["CancellationReasons"][1]["Item"]["v"], json!({ "N": "1" }));
    for _ in 0..2 {
        written(&mut tables, json!([add("0"), add("2"), check("attribute_exists(v)")])).unwrap();
    }
    assert!(written(&mut tables, json!([add("0")])).is_err(), "another one with its token");
    let get = |t: &str| json!({ "Get": { "TableName": "r", "Key": key(t), "ProjectionExpression": "v" } });
    let got = asked(&mut tables, "TransactGetItems", &json!({ "TransactItems": [get("0"), get("2"), get("77")] }));
    let two = json!({ "Item": { "v": { "N": "2" } } });
    assert_eq!(got.unwrap()["Responses"], json!([two, two, {}]), "once");
}

#[test]
fn tables_are_as_they_were_saved_and_those_of_builds_before_are_read() {
    let mut tables = readings();
    let scan = of("r", json!({}));
    let all = asked(&mut tables, "Scan", &scan).unwrap();
    let mut again: Tables = serde_json::from_str(&serde_json::to_string(&tables).unwrap()).unwrap();
    assert_eq!(asked(&mut again, "Scan", &scan).unwrap(), all);
    assert_eq!(asked(&mut again, "DescribeTable", &scan).unwrap(), asked(&mut tables, "DescribeTable", &scan).unwrap());

    let before = include_str!("../../../tests/data/tables-before/us-east-1.json");
    let mut tables: Tables = serde_json::from_str(before).unwrap();
    let scan = of("leases", json!({}));
    let all = asked(&mut tables, "Scan", &scan).unwrap();
    let items = all["Items"].as_array().unwrap();
    let key = |item: &Value| item["leaseKey"]["S"].as_str().unwrap().to_owned();
    let keys: Vec<String> = items.iter().map(key).collect();
    assert!(keys.contains(&"mangrove-table".to_owned()) && keys.is_sorted(), "{keys:?}");
    let described = asked(&mut tables, "DescribeTable", &scan).unwrap();
    assert_eq!(described["Table"]["CreationDateTime"], 1_796_080_666.0);
    let lost = before.replace("\"creation_date_time\"", "\"nothing\"");
    assert!(serde_json::from_str::<Tables>(&lost).is_err_and(|error| error.to_string().contains("no date")));
}
