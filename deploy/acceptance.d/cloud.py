"""What the walk asks of a cloud, AWS or the local one: streams, buckets, lease tables. All calls of AWS are here and in aws.py."""

import time

import boto3
from botocore.config import Config

from programs import until

LEASE_KEY = "leaseKey"


class Cloud:
    def __init__(self, region, made, tell, endpoint=None, clients=None):
        self.region, self.made, self.tell, self.endpoint = region, made, tell, endpoint
        self.session = boto3.session.Session(region_name=region)
        self.clients, self.make = {}, clients or self.client_of
        self.wait, self.settle = until, time.sleep

    def client_of(self, service):
        given = {"endpoint_url": self.endpoint, "config": Config(proxies={}, s3={"addressing_style": "path"})} if self.endpoint else {}
        if self.endpoint:
            given |= {"aws_access_key_id": "local", "aws_secret_access_key": "local"}
        return self.session.client(service, **given)

    def of(self, service):
        if service not in self.clients:
            self.clients[service] = self.make(service)
        return self.clients[service]

    def make_stream(self, name, shards):
        kinesis = self.of("kinesis")
        self.made.add(f"stream {name}", lambda: self.delete_stream(name))
        kinesis.create_stream(StreamName=name, ShardCount=shards, StreamModeDetails={"StreamMode": "PROVISIONED"})
        self.stream_is_active(name)

    def delete_stream(self, name):
        # One that is being made or resharded cannot be deleted.
        self.stream_is_active(name)
        self.of("kinesis").delete_stream(StreamName=name, EnforceConsumerDeletion=True)

    def stream_is_active(self, name):
        ask = lambda: self.of("kinesis").describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE"
        self.wait(f"stream {name} is active", 300, ask, 2 if not self.endpoint else 0.2)

    def make_bucket(self, name):
        where = {} if self.region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": self.region}}
        self.made.add(f"bucket {name} with all its objects", lambda: self.delete_bucket(name))
        self.of("s3").create_bucket(Bucket=name, **where)

    def delete_bucket(self, name):
        s3 = self.of("s3")
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=name):
            if keys := [{"Key": entry["Key"]} for entry in page.get("Contents", [])]:
                refused = s3.delete_objects(Bucket=name, Delete={"Objects": keys, "Quiet": True}).get("Errors", [])
                if refused:
                    raise RuntimeError(f"{len(refused)} objects could not be deleted: {refused[0]}")
        s3.delete_bucket(Bucket=name)

    def put(self, bucket, key, text):
        self.of("s3").put_object(Bucket=bucket, Key=key, Body=text.encode())

    def make_table(self, name):
        dynamo = self.of("dynamodb")
        self.made.add(f"table {name}", lambda: self.delete_table(name))
        dynamo.create_table(
            TableName=name, BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": LEASE_KEY, "AttributeType": "S"}],
            KeySchema=[{"AttributeName": LEASE_KEY, "KeyType": "HASH"}])
        self.table_is_active(name)

    def table_is_active(self, name, seconds=300):
        ask = lambda: self.of("dynamodb").describe_table(TableName=name)["Table"]["TableStatus"] == "ACTIVE"
        self.wait(f"table {name} is active", seconds, ask, 5 if not self.endpoint else 0.2)

    def delete_table(self, name):
        self.table_is_active(name, 1800)
        self.of("dynamodb").delete_table(TableName=name)

    def items(self, table):
        pages = self.of("dynamodb").get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
        return [item for page in pages for item in page["Items"]]

    def put_back(self, table, older):
        """The table as it was: what came since is deleted."""
        dynamo, keys = self.of("dynamodb"), {item[LEASE_KEY]["S"] for item in older}
        for item in self.items(table):
            if item[LEASE_KEY]["S"] not in keys:
                dynamo.delete_item(TableName=table, Key={LEASE_KEY: item[LEASE_KEY]})
        for item in older:
            dynamo.put_item(TableName=table, Item=item)

    def open_shards(self, stream):
        """The shards that still take records, in the order of their hash keys: id, first key, last key."""
        pages = self.of("kinesis").get_paginator("list_shards").paginate(StreamName=stream)
        found = [(int(shard["HashKeyRange"]["StartingHashKey"]), int(shard["HashKeyRange"]["EndingHashKey"]), shard["ShardId"])
                 for page in pages for shard in page["Shards"] if "EndingSequenceNumber" not in shard["SequenceNumberRange"]]
        return [(shard, first, last) for first, last, shard in sorted(found)]

    def split(self, stream, shard, at):
        self.of("kinesis").split_shard(StreamName=stream, ShardToSplit=shard, NewStartingHashKey=str(at))
        self.stream_is_active(stream)

    def merge(self, stream, one, next_one):
        self.of("kinesis").merge_shards(StreamName=stream, ShardToMerge=one, AdjacentShardToMerge=next_one)
        self.stream_is_active(stream)

    def read_without_pause(self, stream, shard, stop):
        """A reader that keeps no limit: calls that were answered, calls that were throttled."""
        kinesis = self.session.client("kinesis", **self.impatient())
        iterator, answered, throttled = None, 0, 0
        while not stop.is_set():
            try:
                iterator = iterator or kinesis.get_shard_iterator(
                    StreamName=stream, ShardId=shard, ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
                iterator = kinesis.get_records(ShardIterator=iterator, Limit=10000).get("NextShardIterator")
                answered += 1
            except (kinesis.exceptions.ProvisionedThroughputExceededException, kinesis.exceptions.LimitExceededException):
                throttled += 1
                time.sleep(0.02)
            except kinesis.exceptions.ExpiredIteratorException:
                iterator = None
        return answered, throttled

    def impatient(self):
        config = Config(retries={"total_max_attempts": 1}, **({"proxies": {}} if self.endpoint else {}))
        given = {"endpoint_url": self.endpoint, "aws_access_key_id": "local", "aws_secret_access_key": "local"} if self.endpoint else {}
        return {"config": config, **given}
