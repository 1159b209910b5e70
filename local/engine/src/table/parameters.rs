//! What the tables understand: each operation with the parameters that it heeds. What is not here is refused.
//!
//! **Promises** a parameter is heeded, or changes nothing that a client can see, or is refused.

use serde_json::{Map, Value};

use crate::Refusal;

const CONDITIONAL: &[&str] = &[
    "TableName",
    "Expected",
    "ConditionalOperator",
    "ConditionExpression",
    "ExpressionAttributeNames",
    "ExpressionAttributeValues",
    "ReturnValues",
    "ReturnValuesOnConditionCheckFailure",
    "ReturnConsumedCapacity",
    "ReturnItemCollectionMetrics",
];
const READING: &[&str] = &[
    "TableName",
    "AttributesToGet",
    "ConditionalOperator",
    "ConsistentRead",
    "ExclusiveStartKey",
    "ExpressionAttributeNames",
    "ExpressionAttributeValues",
    "FilterExpression",
    "Limit",
    "ProjectionExpression",
    "ReturnConsumedCapacity",
    "Select",
];

/// Operation, what it shares with others, and its own.
const OPERATIONS: &[(&str, &[&str], &[&str])] = &[
    (
        "CreateTable",
        &[],
        &[
            "TableName",
            "AttributeDefinitions",
            "BillingMode",
            "DeletionProtectionEnabled",
            "GlobalSecondaryIndexes",
            "KeySchema",
            "LocalSecondaryIndexes",
            "OnDemandThroughput",
            "ProvisionedThroughput",
            "SSESpecification",
            "StreamSpecification",
            "TableClass",
            "Tags",
            "WarmThroughput",
        ],
    ),
    ("DeleteTable", &[], &["TableName"]),
    ("DescribeTable", &[], &["TableName"]),
    ("ListTables", &[], &["ExclusiveStartTableName", "Limit"]),
    (
        "UpdateTable",
        &[],
        &[
            "TableName",
            "AttributeDefinitions",
            "BillingMode",
            "DeletionProtectionEnabled",
            "GlobalSecondaryIndexUpdates",
            "ProvisionedThroughput",
        ],
    ),
    ("PutItem", CONDITIONAL, &["Item"]),
    ("DeleteItem", CONDITIONAL, &["Key"]),
    ("UpdateItem", CONDITIONAL, &["Key", "AttributeUpdates", "UpdateExpression"]),
    (
        "GetItem",
        &[],
        &[
            "TableName",
            "Key",
            "AttributesToGet",
            "ConsistentRead",
            "ExpressionAttributeNames",
            "ProjectionExpression",
            "ReturnConsumedCapacity",
        ],
    ),
    ("Query", READING, &["IndexName", "KeyConditionExpression", "KeyConditions", "QueryFilter", "ScanIndexForward"]),
    ("Scan", READING, &["ScanFilter", "Segment", "TotalSegments"]),
    ("BatchGetItem", &[], &["RequestItems", "ReturnConsumedCapacity"]),
    ("BatchWriteItem", &[], &["RequestItems", "ReturnConsumedCapacity", "ReturnItemCollectionMetrics"]),
    ("TransactGetItems", &[], &["TransactItems", "ReturnConsumedCapacity"]),
    (
        "TransactWriteItems",
        &[],
        &["TransactItems", "ClientRequestToken", "ReturnConsumedCapacity", "ReturnItemCollectionMetrics"],
    ),
    ("TagResource", &[], &["ResourceArn", "Tags"]),
    ("UntagResource", &[], &["ResourceArn", "TagKeys"]),
    ("ListTagsOfResource", &[], &["ResourceArn"]),
    ("UpdateTimeToLive", &[], &["TableName", "TimeToLiveSpecification"]),
    ("DescribeTimeToLive", &[], &["TableName"]),
    ("UpdateContinuousBackups", &[], &["TableName", "PointInTimeRecoverySpecification"]),
    ("DescribeContinuousBackups", &[], &["TableName"]),
    ("DescribeLimits", &[], &[]),
    ("DescribeEndpoints", &[], &[]),
];

/// Values that ask for what is not there.
const NOT_THERE: &[(&str, fn(&Value) -> bool)] = &[
    ("DeletionProtectionEnabled", |value| value == true),
    ("StreamSpecification", |value| value["StreamEnabled"] == true),
];

/// Whether the operation is one of these.
pub(super) fn is_known(operation: &str) -> bool {
    OPERATIONS.iter().any(|(name, _, _)| *name == operation)
}

/// Refuses a request of which something would be left out.
pub(super) fn understood(operation: &str, request: &Map<String, Value>) -> Result<(), Refusal> {
    let refused = |name: &str| Refusal::validation(format!("this cloud does not support {name} of {operation}"));
    let Some((_, shared, own)) = OPERATIONS.iter().find(|(name, _, _)| *name == operation) else { return Ok(()) };
    for (name, value) in request.iter().filter(|(_, value)| !value.is_null()) {
        let known = shared.contains(&name.as_str()) || own.contains(&name.as_str());
        if !known || NOT_THERE.iter().any(|(not_there, asks)| not_there == name && asks(value)) {
            return Err(refused(name));
        }
    }
    // What is asked for of one table of a batch.
    if operation == "BatchGetItem" {
        let tables = request.get("RequestItems").and_then(Value::as_object).into_iter().flatten();
        let asked = tables.flat_map(|(_, table)| table.as_object().into_iter().flatten());
        let mut unknown = asked.filter(|(name, _)| !["Keys", "ConsistentRead"].contains(&name.as_str()));
        return unknown.next().map_or(Ok(()), |(name, _)| Err(refused(name)));
    }
    Ok(())
}
