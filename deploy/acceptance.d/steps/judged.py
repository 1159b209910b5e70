"""The last word: all ledgers against the whole lake; and the oracle of chaos, where it can look."""

import json

from programs import Answered
from steps.step import Failed, Skipped, Step, held


class Counted(Step):
    name = "counts"
    expected = "all workers drain with exit code 0; every record of every ledger in the lake, once"

    def run(self, world):
        codes = world.stop_workers()
        counts = world.settled()
        seen = f"exit codes {sorted(codes.values())}; {len(world.ledgers)} ledgers: {counts}; {len(world.lake.manifests)} epochs"
        return held(counts.clean() and not any(codes.values()), seen)


class Oracle(Step):
    name = "oracle"
    expected = "`chaos oracle` finds no violation of any promise"

    def run(self, world):
        if not world.arguments.chaos:
            raise Skipped("no --chaos given")
        if world.own_cloud is None:
            raise Skipped("chaos oracle reads the folder of a local cloud, and only --endpoint-url local knows it")
        world.stop_workers()
        if world.kind:
            # What the drain has committed nobody has loaded yet.
            world.mangrove("load", "--once", json_out=False).good()
        # The oracle knows every object of the bucket but those that people put there.
        world.cloud.of("s3").delete_object(Bucket=world.bucket, Key="reference/sensors/owners.csv")
        world.own_cloud.stop()
        try:
            verdict = self.judge(world)
        finally:
            world.own_cloud.start()
        told = "; ".join(f"{violation['invariant']}: {violation['what']}"[:200] for violation in verdict["violations"][:3])
        seen = f"{len(verdict['violations'])} violations of {len(verdict['checked'])} promises checked, {verdict['records']} records"
        return held(not verdict["violations"], f"{seen}; {told}" if told else seen)

    def judge(self, world):
        ledgers = [word for ledger in world.ledgers for word in ("--ledger", ledger)]
        judged = Answered([world.arguments.chaos, "oracle", *ledgers, "--data-dir", world.own_cloud.folder, "--bucket", world.bucket,
                           "--stream", world.stream, "--table", world.table, "--json"])
        if judged.code not in (0, 1):
            raise Failed(f"chaos oracle: exit code {judged.code}: {judged.err[-300:]}")
        return json.loads(judged.out)
