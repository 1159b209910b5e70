//! GOAL    What the AWS command line sends in ordinary use is done, or refused with the service's code; nothing is
//!         answered with 200 and left undone.
//! METHOD  Requests as the command line sends them, in the order of a session, each with the answer expected. Nothing of
//!         AWS has to be installed.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::World;

/// One call: what it is, how it is sent, and what comes back.
struct Call {
    name: &'static str,
    service: &'static str,
    head: String,
    body: String,
    status: u16,
    contains: &'static str,
}

/// A call of a service that is spoken to in JSON.
fn json(target: &'static str, body: &str, status: u16, contains: &'static str) -> Call {
    let service = match target.split('_').next().unwrap() {
        "Kinesis" => "kinesis",
        "DynamoDB" => "dynamodb",
        _ => "redshift-data",
    };
    let version = if service == "dynamodb" { "1.0" } else { "1.1" };
    let head =
        format!("POST / HTTP/1.1\r\nX-Amz-Target: {target}\r\nContent-Type: application/x-amz-json-{version}\r\n");
    Call { name: target, service, head, body: body.to_owned(), status, contains }
}

/// A call of SNS, which is spoken to in forms.
fn form(body: &'static str, status: u16, contains: &'static str) -> Call {
    let head = "POST / HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded; charset=utf-8\r\n".to_owned();
    let body_text = format!("{body}&Version=2010-03-31");
    Call { name: body, service: "sns", head, body: body_text, status, contains }
}

/// A call of S3.
fn s3(line: &'static str, headers: &str, body: &str, status: u16, contains: &'static str) -> Call {
    let head = format!("{line} HTTP/1.1\r\n{headers}");
    Call { name: line, service: "s3", head, body: body.to_owned(), status, contains }
}

async fn sent(world: &World, call: &Call) -> String {
    let scope = format!(
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260101/eu-west-1/{}/aws4_request, SignedHeaders=host, Signature=s",
        call.service
    );
    let request = format!(
        "{}Host: {}\r\nX-Amz-Date: 20260101T000000Z\r\nAuthorization: {scope}\r\nContent-Length: {}\r\n\
         User-Agent: aws-cli/2.27.0\r\nConnection: close\r\n\r\n{}",
        call.head,
        world.cloud.addr(),
        call.body.len(),
        call.body
    );
    let mut socket = TcpStream::connect(world.cloud.addr()).await.unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

async fn check(world: &World, calls: Vec<Call>) {
    for call in calls {
        let answer = sent(world, &call).await;
        let status = answer.split(' ').nth(1).and_then(|status| status.parse::<u16>().ok());
        assert_eq!(status, Some(call.status), "{} {}: {answer}", call.name, call.body);
        assert!(answer.contains(call.contains), "{} {}: {} is not in {answer}", call.name, call.body, call.contains);
    }
}

#[tokio::test]
async fn aws_kinesis() {
    let world = World::new().await;
    check(
        &world,
        vec![
            json("Kinesis_20131202.CreateStream", r#"{"StreamName":"s","ShardCount":1}"#, 200, ""),
            json(
                "Kinesis_20131202.CreateStream",
                r#"{"StreamName":"s","ShardCount":1}"#,
                400,
                "ResourceInUseException",
            ),
            json(
                "Kinesis_20131202.CreateStream",
                r#"{"StreamName":"t","ShardCount":1,"Tags":{"a":"b"}}"#,
                400,
                "InvalidArgument",
            ),
            json(
                "Kinesis_20131202.CreateStream",
                r#"{"StreamName":"t","ShardCount":1,"StreamModeDetails":{"StreamMode":"ON_DEMAND"}}"#,
                400,
                "InvalidArgument",
            ),
            json("Kinesis_20131202.ListStreams", "{}", 200, r#""StreamNames":["s"]"#),
            json("Kinesis_20131202.ListStreams", r#"{"NextToken":"x"}"#, 400, "InvalidArgument"),
            json("Kinesis_20131202.DescribeStreamSummary", r#"{"StreamName":"s"}"#, 200, "ACTIVE"),
            json("Kinesis_20131202.DescribeStream", r#"{"StreamName":"s"}"#, 200, "shardId-000000000000"),
            json("Kinesis_20131202.DescribeStream", r#"{"StreamName":"nope"}"#, 400, "ResourceNotFoundException"),
            json("Kinesis_20131202.ListShards", r#"{"StreamName":"s"}"#, 200, "shardId-000000000000"),
            json(
                "Kinesis_20131202.PutRecord",
                r#"{"StreamName":"s","PartitionKey":"p","Data":"aGVsbG8="}"#,
                200,
                "SequenceNumber",
            ),
            json(
                "Kinesis_20131202.PutRecord",
                r#"{"StreamName":"s","PartitionKey":"p","Data":"aGVsbG8=","Something":1}"#,
                400,
                "InvalidArgument",
            ),
            json(
                "Kinesis_20131202.PutRecord",
                r#"{"StreamName":"nope","PartitionKey":"p","Data":"aGVsbG8="}"#,
                400,
                "ResourceNotFoundException",
            ),
            json(
                "Kinesis_20131202.PutRecords",
                r#"{"StreamName":"s","Records":[{"Data":"aGVsbG8=","PartitionKey":"p"}]}"#,
                200,
                r#""FailedRecordCount":0"#,
            ),
            json(
                "Kinesis_20131202.GetShardIterator",
                r#"{"StreamName":"s","ShardId":"shardId-000000000000","ShardIteratorType":"TRIM_HORIZON"}"#,
                200,
                "ShardIterator",
            ),
            json(
                "Kinesis_20131202.GetShardIterator",
                r#"{"StreamName":"s","ShardId":"shardId-000000000009","ShardIteratorType":"LATEST"}"#,
                400,
                "ResourceNotFoundException",
            ),
            json("Kinesis_20131202.GetRecords", r#"{"ShardIterator":"nonsense"}"#, 400, "InvalidArgumentException"),
            json(
                "Kinesis_20131202.IncreaseStreamRetentionPeriod",
                r#"{"StreamName":"s","RetentionPeriodHours":48}"#,
                200,
                "",
            ),
            json("Kinesis_20131202.DescribeStreamSummary", r#"{"StreamName":"s"}"#, 200, "USER_PARTITION_KEY"),
            json(
                "Kinesis_20131202.UpdateStreamRecordDistributionStrategy",
                r#"{"StreamName":"s","RecordDistributionStrategy":"AUTO"}"#,
                400,
                "StreamARN",
            ),
            json(
                "Kinesis_20131202.UpdateStreamRecordDistributionStrategy",
                r#"{"StreamARN":"arn:aws:kinesis:us-east-1:123456789012:stream/s","RecordDistributionStrategy":"AUTO"}"#,
                400,
                "ON_DEMAND",
            ),
            json("Kinesis_20131202.AddTagsToStream", r#"{"StreamName":"s","Tags":{"team":"a"}}"#, 200, ""),
            json("Kinesis_20131202.ListTagsForStream", r#"{"StreamName":"s"}"#, 200, "team"),
            json(
                "Kinesis_20131202.UpdateShardCount",
                r#"{"StreamName":"s","TargetShardCount":2,"ScalingType":"UNIFORM_SCALING"}"#,
                200,
                r#""TargetShardCount":2"#,
            ),
            json(
                "Kinesis_20131202.PutResourcePolicy",
                r#"{"ResourceARN":"arn:aws:kinesis:eu-west-1:123456789012:stream/nope","Policy":"{}"}"#,
                400,
                "UnknownOperationException",
            ),
            json(
                "Kinesis_20131202.StartStreamEncryption",
                r#"{"StreamName":"s","EncryptionType":"KMS","KeyId":"k"}"#,
                400,
                "UnknownOperationException",
            ),
            json("Kinesis_20131202.Frobnicate", "{}", 400, "UnknownOperationException"),
            json(
                "Kinesis_20131202.RegisterStreamConsumer",
                r#"{"StreamARN":"arn:aws:kinesis:us-east-1:123456789012:stream/s","ConsumerName":"c"}"#,
                200,
                "CREATING",
            ),
            json("Kinesis_20131202.DeleteStream", r#"{"StreamName":"s"}"#, 400, "ResourceInUseException"),
            json("Kinesis_20131202.DeleteStream", r#"{"StreamName":"s","EnforceConsumerDeletion":true}"#, 200, ""),
            json("Kinesis_20131202.DeleteStream", r#"{"StreamName":"s"}"#, 400, "ResourceNotFoundException"),
        ],
    )
    .await;
}

#[tokio::test]
async fn aws_s3_and_s3api() {
    let world = World::new().await;
    let place = "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><LocationConstraint>eu-west-1</LocationConstraint></CreateBucketConfiguration>";
    let hello = "Content-Type: text/plain\r\nx-amz-checksum-crc32: NhCmhg==\r\nx-amz-sdk-checksum-algorithm: CRC32\r\n";
    let delete = "<Delete><Object><Key>a/copy.txt</Key></Object><Quiet>true</Quiet></Delete>";
    check(
        &world,
        vec![
            s3("PUT /lake", "", place, 200, ""),
            s3("PUT /lake", "", place, 409, "BucketAlreadyOwnedByYou"),
            s3("GET /?max-buckets=1000&x-id=ListBuckets", "", "", 200, "<Name>lake</Name>"),
            s3("GET /?prefix=zzz", "", "", 200, "<Buckets"),
            s3("HEAD /lake", "", "", 200, ""),
            s3("HEAD /nope", "", "", 404, ""),
            s3("GET /lake?location", "", "", 200, "LocationConstraint"),
            s3("PUT /lake/a/hello.txt", hello, "hello", 200, "5d41402abc4b2a76b9719d911017c592"),
            s3("PUT /lake/a/hello.txt", "If-None-Match: *\r\n", "other", 412, "PreconditionFailed"),
            s3("PUT /lake/a/b.txt", "x-amz-tagging: a=b\r\n", "x", 501, "NotImplemented"),
            s3("PUT /lake/a/b.txt", "x-amz-acl: public-read\r\n", "x", 501, "NotImplemented"),
            s3("PUT /lake/a/b.txt", "x-amz-storage-class: GLACIER\r\n", "x", 501, "NotImplemented"),
            s3("PUT /lake/a/b.txt", "Content-MD5: 1B2M2Y8AsgTpgAmY7PhCfg==\r\n", "x", 400, "BadDigest"),
            s3(
                "HEAD /lake/a/hello.txt",
                "x-amz-checksum-mode: ENABLED\r\n",
                "",
                200,
                "5d41402abc4b2a76b9719d911017c592",
            ),
            s3("HEAD /lake/a/b.txt", "", "", 404, ""),
            s3("GET /lake/a/hello.txt", "", "", 200, "hello"),
            s3("GET /lake/a/hello.txt", "Range: bytes=1-2\r\n", "", 206, "\r\n\r\nel"),
            s3("GET /lake/a/hello.txt", "Range: bytes=9-\r\n", "", 416, "InvalidRange"),
            s3("GET /lake/a/hello.txt", "If-None-Match: \"5d41402abc4b2a76b9719d911017c592\"\r\n", "", 304, ""),
            s3("GET /lake/a/hello.txt", "If-Match: \"0\"\r\n", "", 412, "PreconditionFailed"),
            s3("GET /lake/a/hello.txt", "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT\r\n", "", 304, ""),
            s3(
                "GET /lake/a/hello.txt",
                "If-Unmodified-Since: Sat, 01 Jan 2000 00:00:00 GMT\r\n",
                "",
                412,
                "PreconditionFailed",
            ),
            s3("HEAD /lake/a/hello.txt", "If-Match: \"0\"\r\n", "", 412, ""),
            s3("HEAD /lake/a/hello.txt", "Range: bytes=0-1\r\n", "", 501, ""),
            s3("GET /lake/a/hello.txt?versionId=1", "", "", 501, "NotImplemented"),
            s3("GET /lake/a/hello.txt?partNumber=1", "", "", 501, "NotImplemented"),
            s3("GET /lake/a/hello.txt?attributes", "x-amz-object-attributes: ETag\r\n", "", 501, "NotImplemented"),
            s3("GET /lake/a/nope.txt", "", "", 404, "NoSuchKey"),
            s3(
                "GET /lake?list-type=2&prefix=&delimiter=%2F&encoding-type=url",
                "",
                "",
                200,
                "<CommonPrefixes><Prefix>a/</Prefix>",
            ),
            s3("GET /lake?list-type=2&prefix=a%2F&encoding-type=url", "", "", 200, "5d41402abc4b2a76b9719d911017c592"),
            s3("GET /lake?list-type=2&fetch-owner=true", "", "", 501, "NotImplemented"),
            s3("GET /nope?list-type=2", "", "", 404, "NoSuchBucket"),
            s3(
                "PUT /lake/a/copy.txt",
                "x-amz-copy-source: lake/a/hello.txt\r\n",
                "",
                200,
                "5d41402abc4b2a76b9719d911017c592",
            ),
            s3("PUT /lake/a/copy.txt", "x-amz-copy-source: lake/a/copy.txt\r\n", "", 400, "InvalidRequest"),
            s3(
                "PUT /lake/a/copy.txt",
                "x-amz-copy-source: lake/a/hello.txt?versionId=1\r\n",
                "",
                501,
                "NotImplemented",
            ),
            s3(
                "PUT /lake/a/new.txt",
                "x-amz-copy-source: lake/a/hello.txt\r\nx-amz-copy-source-if-match: \"0\"\r\n",
                "",
                501,
                "NotImplemented",
            ),
            s3("POST /lake/a/big?uploads", "", "", 200, "<UploadId>"),
            s3("POST /lake?delete", "", delete, 200, "DeleteResult"),
            s3("HEAD /lake/a/copy.txt", "", "", 404, ""),
            s3("DELETE /lake", "", "", 409, "BucketNotEmpty"),
            s3("DELETE /lake/a/hello.txt", "If-Match: \"0\"\r\n", "", 501, "NotImplemented"),
            s3("DELETE /lake/a/hello.txt", "", "", 204, ""),
            s3("DELETE /lake", "x-amz-expected-bucket-owner: 210987654321\r\n", "", 403, "AccessDenied"),
            s3("DELETE /lake", "", "", 204, ""),
            s3("DELETE /lake", "", "", 404, "NoSuchBucket"),
        ],
    )
    .await;
}

#[tokio::test]
async fn what_s3_has_and_the_local_cloud_has_not_is_not_implemented() {
    let world = World::new().await;
    world.s3().create_bucket().bucket("lake").send().await.unwrap();
    let resources = "acl tagging versioning versions lifecycle policy policyStatus cors encryption website logging \
                     notification replication object-lock publicAccessBlock ownershipControls accelerate requestPayment \
                     inventory metrics analytics uploads nothing";
    for resource in resources.split_whitespace() {
        for (method, path) in [("GET", "/lake"), ("PUT", "/lake"), ("DELETE", "/lake"), ("GET", "/lake/k")] {
            let head = format!("{method} {path}?{resource} HTTP/1.1\r\n");
            let call =
                Call { name: "", service: "s3", head, body: String::new(), status: 501, contains: "NotImplemented" };
            let answer = sent(&world, &call).await;
            assert!(
                answer.starts_with("HTTP/1.1 501") && answer.contains("NotImplemented"),
                "{method} {resource}: {answer}"
            );
        }
    }
    assert_eq!(world.s3().list_buckets().send().await.unwrap().buckets().len(), 1, "nothing was done");
}

#[tokio::test]
async fn aws_dynamodb() {
    let world = World::new().await;
    let table = r#"{"TableName":"t","KeySchema":[{"AttributeName":"id","KeyType":"HASH"}],"AttributeDefinitions":[{"AttributeName":"id","AttributeType":"S"}],"BillingMode":"PAY_PER_REQUEST","Tags":[{"Key":"team","Value":"a"}]}"#;
    let item = |operation: &'static str, rest: &str, status, contains| {
        json(operation, &format!(r#"{{"TableName":"t",{rest}}}"#), status, contains)
    };
    const PUT: &str = "DynamoDB_20120810.PutItem";
    const GET: &str = "DynamoDB_20120810.GetItem";
    const UPDATE: &str = "DynamoDB_20120810.UpdateItem";
    const DELETE: &str = "DynamoDB_20120810.DeleteItem";
    const QUERY: &str = "DynamoDB_20120810.Query";
    const SCAN: &str = "DynamoDB_20120810.Scan";
    let failed = "ConditionalCheckFailedException";
    check(&world, vec![
        json("DynamoDB_20120810.CreateTable", table, 200, "ACTIVE"),
        json("DynamoDB_20120810.CreateTable", table, 400, "ResourceInUseException"),
        json("DynamoDB_20120810.CreateTable", r#"{"TableName":"u","DeletionProtectionEnabled":true}"#, 400, "ValidationException"),
        json("DynamoDB_20120810.ListTables", "{}", 200, r#"["t"]"#),
        json("DynamoDB_20120810.DescribeTable", r#"{"TableName":"t"}"#, 200, "ACTIVE"),
        json("DynamoDB_20120810.DescribeTable", r#"{"TableName":"nope"}"#, 400, "ResourceNotFoundException"),
        json("DynamoDB_20120810.ListTagsOfResource", r#"{"ResourceArn":"arn:aws:dynamodb:eu-west-1:123456789012:table/t"}"#, 200, "team"),
        item(PUT, r#""Item":{"id":{"S":"a"},"n":{"N":"1"}}"#, 200, ""),
        item(PUT, r#""Item":{"n":{"N":"1"}}"#, 400, "Missing the key id"),
        item(PUT, r#""Item":{"id":{"N":"1"}}"#, 400, "Type mismatch for key"),
        item(PUT, r#""Item":{"id":{"S":""}}"#, 400, "empty string"),
        item(PUT, r#""Item":{"id":{"S":"a"}},"Nonsense":1"#, 400, "ValidationException"),
        json(PUT, r#"{"TableName":"nope","Item":{"id":{"S":"a"}}}"#, 400, "ResourceNotFoundException"),
        item(GET, r#""Key":{"id":{"S":"a"}}"#, 200, r#""N":"1""#),
        item(GET, r#""Key":{"id":{"S":"a"}},"AttributesToGet":["id"]"#, 200, r#"{"Item":{"id":{"S":"a"}}}"#),
        item(GET, r#""Key":{"other":{"S":"a"}}"#, 400, "does not match the schema"),
        // Conditions and updates from before there were expressions.
        item(PUT, r#""Item":{"id":{"S":"a"}},"Expected":{"id":{"Exists":false}}"#, 400, failed),
        item(PUT, r#""Item":{"id":{"S":"a"},"n":{"N":"2"}},"Expected":{"n":{"Value":{"N":"1"}}}"#, 200, ""),
        item(UPDATE, r#""Key":{"id":{"S":"a"}},"AttributeUpdates":{"n":{"Value":{"N":"9"},"Action":"PUT"}},"Expected":{"n":{"Value":{"N":"777"}}}"#, 400, failed),
        item(UPDATE, r#""Key":{"id":{"S":"a"}},"AttributeUpdates":{"n":{"Value":{"N":"1"},"Action":"ADD"},"s":{"Value":{"SS":["x","y"]}}},"Expected":{"n":{"ComparisonOperator":"BETWEEN","AttributeValueList":[{"N":"1"},{"N":"3"}]}},"ReturnValues":"UPDATED_NEW""#, 200, r#""N":"3""#),
        item(UPDATE, r#""Key":{"id":{"S":"a"}},"AttributeUpdates":{"s":{"Value":{"SS":["x"]},"Action":"DELETE"}},"ReturnValues":"ALL_NEW""#, 200, r#"["y"]"#),
        item(UPDATE, r#""Key":{"id":{"S":"a"}},"AttributeUpdates":{"s":{"Action":"DELETE"}},"ReturnValues":"UPDATED_OLD""#, 200, r#"["y"]"#),
        item(UPDATE, r#""Key":{"id":{"S":"a"}},"AttributeUpdates":{"id":{"Value":{"S":"b"}}}"#, 400, "part of the key"),
        item(UPDATE, r#""Key":{"id":{"S":"a"}},"AttributeUpdates":{"n":{"Value":{"N":"9"}}},"Expected":{"n":{"Value":{"N":"1"}},"m":{"Exists":false}},"ConditionalOperator":"OR""#, 200, ""),
        item(UPDATE, r#""Key":{"id":{"S":"a"}},"AttributeUpdates":{"n":{"Value":{"N":"9"}}},"ConditionExpression":"n = :n","ExpressionAttributeValues":{":n":{"N":"9"}}"#, 400, "Can not use both expression and non-expression"),
        item(UPDATE, r#""Key":{"id":{"S":"a"}},"UpdateExpression":"SET n = :n","ExpressionAttributeValues":{":n":{"N":"4"},":m":{"N":"5"}}"#, 400, "unused in expressions"),
        item(UPDATE, r#""Key":{"id":{"S":"a"}},"UpdateExpression":"SET n = :n","ExpressionAttributeValues":{":n":{"N":"4"}},"ReturnValues":"ALL_OLD""#, 200, r#""N":"9""#),
        item(DELETE, r#""Key":{"id":{"S":"a"}},"Expected":{"n":{"Value":{"N":"1"}}}"#, 400, failed),
        item(QUERY, r#""KeyConditions":{"id":{"ComparisonOperator":"EQ","AttributeValueList":[{"S":"a"}]}},"QueryFilter":{"n":{"ComparisonOperator":"GT","AttributeValueList":[{"N":"100"}]}}"#, 200, r#""Count":0"#),
        item(QUERY, r#""KeyConditionExpression":"id = :i","ExpressionAttributeValues":{":i":{"S":"a"}},"Select":"COUNT""#, 200, r#""Count":1"#),
        item(QUERY, r#""KeyConditionExpression":"id = = :i","ExpressionAttributeValues":{":i":{"S":"a"}}"#, 400, "ValidationException"),
        item(QUERY, r#""KeyConditionExpression":"id = :i AND other = :i","ExpressionAttributeValues":{":i":{"S":"a"}}"#, 400, "ValidationException"),
        item(QUERY, r#""KeyConditionExpression":"id = :i OR id = :i","ExpressionAttributeValues":{":i":{"S":"a"}}"#, 400, "Invalid operator"),
        item(QUERY, r#""IndexName":"i","KeyConditionExpression":"id = :i","ExpressionAttributeValues":{":i":{"S":"a"}}"#, 400, "specified index: i"),
        item(SCAN, r#""ScanFilter":{"n":{"ComparisonOperator":"NE","AttributeValueList":[{"N":"4"}]}}"#, 200, r#""Count":0"#),
        item(SCAN, r#""TotalSegments":2,"Segment":1"#, 200, r#""Count":0"#),
        item(SCAN, r#""TotalSegments":2,"Segment":0"#, 200, r#""Count":1"#),
        item(SCAN, r#""IndexName":"i""#, 400, "ValidationException"),
        item(DELETE, r#""Key":{"id":{"S":"a"}},"Expected":{"n":{"Value":{"N":"4"}}},"ReturnValues":"ALL_OLD""#, 200, r#""N":"4""#),
        json("DynamoDB_20120810.BatchWriteItem", r#"{"RequestItems":{"t":[{"PutRequest":{"Item":{"id":{"S":"b"}}}},{"DeleteRequest":{"Key":{"id":{"S":"a"}}}}]}}"#, 200, "UnprocessedItems"),
        json("DynamoDB_20120810.BatchWriteItem", r#"{"RequestItems":{"t":[{"PutRequest":{"Item":{"x":{"S":"b"}}}}]}}"#, 400, "Missing the key id"),
        json("DynamoDB_20120810.BatchWriteItem", r#"{"RequestItems":{"nope":[{"PutRequest":{"Item":{"id":{"S":"b"}}}}]}}"#, 400, "ResourceNotFoundException"),
        json("DynamoDB_20120810.BatchGetItem", r#"{"RequestItems":{"t":{"Keys":[{"id":{"S":"b"}}]}}}"#, 200, r#"{"S":"b"}"#),
        json("DynamoDB_20120810.BatchGetItem", r#"{"RequestItems":{"t":{"Keys":[{"x":{"S":"b"}}]}}}"#, 400, "does not match the schema"),
        json("DynamoDB_20120810.BatchGetItem", r#"{"RequestItems":{"t":{"Keys":[{"id":{"S":"b"}}],"ProjectionExpression":"id"}}}"#, 400, "ValidationException"),
        json("DynamoDB_20120810.TransactWriteItems", r#"{"TransactItems":[{"Put":{"TableName":"nope","Item":{"id":{"S":"b"}}}}]}"#, 400, "ResourceNotFoundException"),
        json("DynamoDB_20120810.TransactWriteItems", r#"{"TransactItems":[{"Delete":{"TableName":"t","Key":{"id":{"S":"b"}},"ConditionExpression":"attribute_not_exists(id)"}}]}"#, 400, "TransactionCanceledException"),
        json("DynamoDB_20120810.UpdateTimeToLive", r#"{"TableName":"nope","TimeToLiveSpecification":{"Enabled":true,"AttributeName":"x"}}"#, 400, "ResourceNotFoundException"),
        json("DynamoDB_20120810.TagResource", r#"{"ResourceArn":"arn:aws:dynamodb:eu-west-1:123456789012:table/nope","Tags":[{"Key":"a","Value":"b"}]}"#, 400, "ResourceNotFoundException"),
        item("DynamoDB_20120810.CreateBackup", r#""BackupName":"b""#, 400, "UnknownOperationException"),
        item("DynamoDB_20120810.Frobnicate", r#""a":1"#, 400, "UnknownOperationException"),
        json("DynamoDB_20120810.DeleteTable", r#"{"TableName":"t"}"#, 200, ""),
        item(SCAN, r#""Limit":1"#, 400, "ResourceNotFoundException"),
    ])
    .await;
}

#[tokio::test]
async fn services_that_are_not_here_say_so() {
    let world = World::new().await;
    let call = |service, head: &str, contains| Call {
        name: service,
        service,
        head: format!("{head}\r\n"),
        body: String::new(),
        status: 400,
        contains,
    };
    check(
        &world,
        vec![
            call("lambda", "GET /2015-03-31/functions/ HTTP/1.1", "UnknownOperationException"),
            call("glue", "POST / HTTP/1.1\r\nX-Amz-Target: AWSGlue.GetTables", "UnknownOperationException"),
            call(
                "sts",
                "POST / HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded; charset=utf-8",
                "InvalidAction",
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn aws_sns() {
    let world = World::new().await;
    check(
        &world,
        vec![
            form("Action=CreateTopic&Name=alerts", 200, "arn:aws:sns:eu-west-1:123456789012:alerts"),
            form(
                "Action=CreateTopic&Name=a.fifo&Attributes.entry.1.key=FifoTopic&Attributes.entry.1.value=true",
                200,
                "a.fifo",
            ),
            form(
                "Action=Publish&TopicArn=arn%3Aaws%3Asns%3Aeu-west-1%3A123456789012%3Aa.fifo&Message=hi",
                400,
                "MessageGroupId",
            ),
            form("Action=ListTopics", 200, "alerts"),
            form(
                "Action=Publish&TopicArn=arn%3Aaws%3Asns%3Aeu-west-1%3A123456789012%3Aalerts&Message=hi&Subject=s",
                200,
                "MessageId",
            ),
            form(
                "Action=Publish&TopicArn=arn%3Aaws%3Asns%3Aeu-west-1%3A123456789012%3Anope&Message=hi",
                404,
                "NotFound",
            ),
            form("Action=Publish&PhoneNumber=%2B15550100&Message=hi", 400, "InvalidParameter"),
            form(
                "Action=Subscribe&TopicArn=arn%3Aaws%3Asns%3Aeu-west-1%3A123456789012%3Aalerts&Protocol=sqs&Endpoint=x",
                400,
                "InvalidAction",
            ),
            form(
                "Action=GetTopicAttributes&TopicArn=arn%3Aaws%3Asns%3Aeu-west-1%3A123456789012%3Aalerts",
                200,
                "Attributes",
            ),
            form(
                "Action=ListSubscriptionsByTopic&TopicArn=arn%3Aaws%3Asns%3Aeu-west-1%3A123456789012%3Aalerts",
                200,
                "Subscriptions",
            ),
            form("Action=Frobnicate", 400, "InvalidAction"),
            form("Action=DeleteTopic&TopicArn=arn%3Aaws%3Asns%3Aeu-west-1%3A123456789012%3Aalerts", 200, ""),
        ],
    )
    .await;
}

#[cfg(feature = "warehouse")]
#[tokio::test]
async fn aws_redshift_data() {
    let world = World::new().await;
    let run = |body: &str, status, contains| json("RedshiftData.ExecuteStatement", body, status, contains);
    check(
        &world,
        vec![
            run(r#"{"Database":"dev","WorkgroupName":"local","Sql":"SELECT 1"}"#, 200, "Id"),
            run(r#"{"Database":"dev","WorkgroupName":"local"}"#, 400, "ValidationException"),
            json("RedshiftData.ListStatements", "{}", 200, "Statements"),
            json(
                "RedshiftData.DescribeStatement",
                r#"{"Id":"d9b6c0c9-0747-4bf4-b142-e8883122f766"}"#,
                400,
                "ResourceNotFoundException",
            ),
            json(
                "RedshiftData.GetStatementResult",
                r#"{"Id":"d9b6c0c9-0747-4bf4-b142-e8883122f766"}"#,
                400,
                "ResourceNotFoundException",
            ),
            json("RedshiftData.Frobnicate", "{}", 400, "UnknownOperationException"),
        ],
    )
    .await;
}
