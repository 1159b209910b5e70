"""The calls of AWS without AWS: each is held against the service's own model and printed; nothing is sent."""

import datetime

import boto3
from botocore.validate import ParamValidator

import steps
from aws import Aws
from made import Made

# What is waited for.
SAID = {"StreamStatus": "ACTIVE", "TableStatus": "ACTIVE", "status": "AVAILABLE", "ClusterStatus": "available",
        "Arn": "arn:aws:iam::123456789012:role/dry", "Account": "123456789012"}


class Checked(Exception):
    """A call that the service would refuse as it stands."""


class DryClient:
    """Answers as the model says an answer looks."""

    def __init__(self, service, region, tell):
        keys = {"aws_access_key_id": "dry", "aws_secret_access_key": "dry"}
        self.client, self.service, self.tell = boto3.client(service, region_name=region, **keys), service, tell
        self.exceptions = self.client.exceptions

    def call(self, operation, given):
        model = self.client.meta.service_model.operation_model(operation)
        problems = ParamValidator().validate(given, model.input_shape) if model.input_shape else None
        if problems and problems.has_errors():
            raise Checked(f"{self.service} {operation}: {problems.generate_report()}")
        self.tell(f"{self.service} {operation} {', '.join(f'{key}={value}' for key, value in given.items())}"[:200])
        return answer(model.output_shape) if model.output_shape else {}

    def get_paginator(self, method):
        assert self.client.can_paginate(method), method
        outer = self

        class Pages:
            def paginate(self, **given):
                return [outer.call(outer.client.meta.method_to_api_mapping[method], given)]
        return Pages()

    def __getattr__(self, method):
        operation = self.client.meta.method_to_api_mapping[method]
        return lambda **given: self.call(operation, given)


def answer(shape, name="", depth=0):
    if shape.type_name == "structure":
        if shape.name == "Shard":
            return {"ShardId": "shardId-000000000000", "HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": "9"}, "SequenceNumberRange": {}}
        return {} if depth > 5 else {key: answer(member, key, depth + 1) for key, member in shape.members.items() if key != "Errors"}
    if shape.type_name == "list":
        return [answer(shape.member, name, depth + 1)]
    if shape.type_name == "map":
        return {"leaseKey": answer(shape.value, name, depth + 1)}
    if shape.type_name == "timestamp":
        return datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=1)
    return {"string": SAID.get(name, "dry"), "boolean": False, "blob": b""}.get(shape.type_name, 0)


def run(given, kinds):
    """Makes, uses and deletes everything; 0 if no call would be refused by its form."""
    made = Made(lambda what: print(f"# {what}"))
    clients = lambda service: DryClient(service, given.region, print)
    cloud = Aws(given.region, made, print, clients=clients)
    cloud.node, prefix = given.cluster_node, f"{given.prefix}-dry123"
    cloud.wait = lambda what, _seconds, ask, _pause=0: ask() or print(f"# waits until {what}")
    cloud.settle = lambda _seconds: None
    cloud.gone = lambda what, ask: ask() and print(f"# waits until {what} is gone")
    try:
        cloud.identity()
        cloud.make_stream(f"{prefix}-events", given.shards)
        cloud.make_bucket(f"{prefix}-lake")
        cloud.put(f"{prefix}-lake", "reference/sensors/owners.csv", "")
        cloud.make_lease_table(f"{prefix}-leases")
        cloud.make_warehouses([kind for kind in kinds if kind != "local"], prefix, f"{prefix}-lake")
        print(f"# steps: {', '.join(step.name for step in steps.ALL if step.name in given.chosen)}")
        shard = cloud.open_shards(f"{prefix}-events")[0][0]
        cloud.split(f"{prefix}-events", shard, 5)
        cloud.merge(f"{prefix}-events", shard, shard)
        cloud.items(f"{prefix}-leases")
        cloud.worker_of_role(prefix, {"Stream": f"{prefix}-events", "Table": f"{prefix}-leases", "Bucket": f"{prefix}-lake"})
        if "cluster" in kinds:
            cloud.pause(prefix, True)
            cloud.pause(prefix, False)
        cloud.restore(f"{prefix}-leases", f"{prefix}-leases-restored", datetime.datetime.now(datetime.timezone.utc))
    except Checked as refused:
        made.left.append(str(refused))
    left = made.undo()
    for problem in left:
        print(f"REFUSED {problem}")
    return int(bool(left))
