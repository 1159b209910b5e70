"""AWS itself: who asks, the role of COPY, both kinds of warehouse, restores. None of it has been seen on AWS yet.

Every call is held against the service's own model by `deploy/acceptance --dry-run`, which sends nothing.
"""

import json
import pathlib
import time

from botocore.exceptions import ClientError

from cloud import Cloud
from made import absent, code_of

IAM = pathlib.Path(__file__).resolve().parents[1] / "iam"
DATABASE = "dev"
# As long as IAM may need until others know a role, and as Redshift may need to make or delete a warehouse.
ROLE_SECONDS, WAREHOUSE_SECONDS = 120, 1800


class Aws(Cloud):
    kinds = ("serverless", "cluster")
    name = "AWS"

    def identity(self):
        caller = self.of("sts").get_caller_identity()
        self.account, self.partition = caller["Account"], caller["Arn"].split(":")[1]
        return self.account

    def topic_that_is_not(self, prefix):
        return f"arn:{self.partition}:sns:{self.region}:{self.account}:{prefix}-is-not-there"

    def make_lease_table(self, name):
        self.make_table(name)
        dynamo, on = self.of("dynamodb"), {"PointInTimeRecoveryEnabled": True}
        self.patient(lambda: dynamo.update_continuous_backups(TableName=name, PointInTimeRecoverySpecification=on))

    def patient(self, call, seconds=ROLE_SECONDS):
        """What another service has just made may not be known yet, and what is busy takes no order."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                return call()
            except ClientError as error:
                known = ("AccessDenied", "Validation", "InvalidParameter", "ContinuousBackups", "Conflict", "InvalidClusterState")
                if not code_of(error).startswith(known) or time.monotonic() > deadline:
                    raise
                time.sleep(5)

    def make_role(self, prefix, bucket):
        """The role that COPY reads with: deploy/iam/copy.json, without its key, as the bucket has none."""
        services = {"Service": ["redshift.amazonaws.com", "redshift-serverless.amazonaws.com"]}
        return self.make_role_of(f"{prefix}-copy", services, "copy.json", {"ReadWithItsKey"}, {"Bucket": bucket})

    def worker_of_role(self, prefix, names):
        """The environment of a worker that may do what deploy/iam/worker.json says, for an hour; without keys and topics."""
        trusted = {"AWS": f"arn:{self.partition}:iam::{self.account}:root"}
        role = self.make_role_of(f"{prefix}-worker", trusted, "worker.json", {"UseTheKeys", "SendAlerts"}, names)
        assume = lambda: self.of("sts").assume_role(RoleArn=role, RoleSessionName="mangrove-acceptance")
        keys = self.patient(assume)["Credentials"]
        # A policy is not in force everywhere at once.
        self.settle(15)
        return {"AWS_ACCESS_KEY_ID": keys["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": keys["SecretAccessKey"], "AWS_SESSION_TOKEN": keys["SessionToken"]}

    def make_role_of(self, name, trusted, file, without, names):
        iam = self.of("iam")
        trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": trusted}]}
        text = (IAM / file).read_text()
        for variable, value in ({"Partition": self.partition, "Region": self.region, "Account": self.account} | names).items():
            text = text.replace("${" + variable + "}", value)
        policy = json.loads(text)
        policy["Statement"] = [statement for statement in policy["Statement"] if statement["Sid"] not in without]
        self.made.add(f"role {name}", lambda: self.delete_role(name))
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
        iam.put_role_policy(RoleName=name, PolicyName="shipped", PolicyDocument=json.dumps(policy))
        return role

    def delete_role(self, name):
        try:
            self.of("iam").delete_role_policy(RoleName=name, PolicyName="shipped")
        except ClientError as error:
            if not absent(error):
                raise
        self.of("iam").delete_role(RoleName=name)

    def make_warehouses(self, kinds, prefix, bucket):
        """Both are begun before either is waited for. Keys of [warehouse] by kind."""
        if not kinds:
            return {}
        role = self.make_role(prefix, bucket)
        begin = {"serverless": self.begin_serverless, "cluster": self.begin_cluster}
        ready = {"serverless": self.await_serverless, "cluster": self.await_cluster}
        for kind in kinds:
            begin[kind](prefix, role)
        return {kind: ready[kind](prefix) | {"database": DATABASE, "iam_role": role} for kind in kinds}

    def begin_serverless(self, prefix, role):
        serverless = self.of("redshift-serverless")
        self.made.add(f"namespace {prefix}", lambda: self.delete_namespace(prefix))
        self.patient(lambda: serverless.create_namespace(
            namespaceName=prefix, dbName=DATABASE, adminUsername="mangrove", manageAdminPassword=True,
            iamRoles=[role], defaultIamRoleArn=role))
        self.made.add(f"workgroup {prefix}", lambda: self.delete_workgroup(prefix))
        self.patient(lambda: serverless.create_workgroup(
            workgroupName=prefix, namespaceName=prefix, baseCapacity=8, maxCapacity=8, publiclyAccessible=False))

    def await_serverless(self, prefix):
        serverless = self.of("redshift-serverless")
        ask = lambda: serverless.get_workgroup(workgroupName=prefix)["workgroup"]["status"] == "AVAILABLE"
        self.wait(f"workgroup {prefix} is available", WAREHOUSE_SECONDS, ask, 10)
        namespace = serverless.get_namespace(namespaceName=prefix)["namespace"]
        return {"workgroup": prefix, "secret_arn": namespace["adminPasswordSecretArn"]}

    def delete_workgroup(self, name):
        serverless = self.of("redshift-serverless")
        self.patient(lambda: serverless.delete_workgroup(workgroupName=name), WAREHOUSE_SECONDS)
        self.gone(f"workgroup {name}", lambda: serverless.get_workgroup(workgroupName=name))

    def delete_namespace(self, name):
        serverless = self.of("redshift-serverless")
        self.patient(lambda: serverless.delete_namespace(namespaceName=name), WAREHOUSE_SECONDS)
        self.gone(f"namespace {name}", lambda: serverless.get_namespace(namespaceName=name))

    def begin_cluster(self, prefix, role):
        self.made.add(f"cluster {prefix}", lambda: self.delete_cluster(prefix))
        self.patient(lambda: self.of("redshift").create_cluster(
            ClusterIdentifier=prefix, ClusterType="single-node", NodeType=self.node, DBName=DATABASE, MasterUsername="mangrove",
            ManageMasterPassword=True, IamRoles=[role], DefaultIamRoleArn=role, PubliclyAccessible=False, Encrypted=True))

    def await_cluster(self, prefix):
        self.cluster_is(prefix, "available")
        return {"cluster": prefix, "secret_arn": self.described(prefix)["MasterPasswordSecretArn"]}

    def described(self, name):
        return self.of("redshift").describe_clusters(ClusterIdentifier=name)["Clusters"][0]

    def cluster_is(self, name, status):
        self.wait(f"cluster {name} is {status}", WAREHOUSE_SECONDS, lambda: self.described(name)["ClusterStatus"] == status, 10)

    def delete_cluster(self, name):
        # One that pauses or resumes cannot be deleted.
        settled = lambda: self.described(name)["ClusterStatus"] in ("available", "paused")
        self.wait(f"cluster {name} can be deleted", WAREHOUSE_SECONDS, settled, 10)
        self.of("redshift").delete_cluster(ClusterIdentifier=name, SkipFinalClusterSnapshot=True)
        self.gone(f"cluster {name}", lambda: self.described(name))

    def gone(self, what, ask):
        def looked():
            try:
                ask()
                return False
            except ClientError as error:
                if not absent(error):
                    raise
                return True
        self.wait(f"{what} is gone", WAREHOUSE_SECONDS, looked, 10)

    def pause(self, prefix, paused):
        redshift = self.of("redshift")
        if paused:
            self.patient(lambda: redshift.pause_cluster(ClusterIdentifier=prefix))
            self.cluster_is(prefix, "paused")
        else:
            self.patient(lambda: redshift.resume_cluster(ClusterIdentifier=prefix))
            self.cluster_is(prefix, "available")

    def restorable(self, table, moment):
        """Whether the table can be restored as of then: some five minutes later it can."""
        described = self.of("dynamodb").describe_continuous_backups(TableName=table)
        recovery = described["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"]
        return recovery.get("LatestRestorableDateTime") and recovery["LatestRestorableDateTime"] >= moment

    def restore(self, table, target, moment):
        self.wait(f"{table} can be restored as of {moment:%H:%M:%S}", 900, lambda: self.restorable(table, moment), 15)
        self.made.add(f"table {target}", lambda: self.delete_table(target))
        self.of("dynamodb").restore_table_to_point_in_time(SourceTableName=table, TargetTableName=target, RestoreDateTime=moment)
        self.table_is_active(target, 3600)
