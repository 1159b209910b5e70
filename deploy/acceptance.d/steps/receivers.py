"""Others beside: a second reader on the stream, a receiver that refuses."""

import functools
import time

from programs import until
from receiver import p99
from steps.flow import EXACT
from steps.step import Skipped, Step, held
from world import side_by_side

TRIES = 4


def alerts_come(world, during=None):
    """Bursts until the webhook has some; the counts, and the latencies of those."""
    since = time.time() * 1000
    for _ in range(TRIES):
        counts = world.burst(during)
        if not counts.clean() or (latencies := world.receiver.latencies(since)):
            break
    return counts, world.receiver.latencies(since)


class SecondReader(Step):
    name = "reader"
    expected = f"another reader without pauses is throttled: {EXACT}; on AWS the alerts' p99 is within the limit"

    def run(self, world):
        cloud, stream = world.cloud, world.stream
        shards = [shard for shard, _, _ in cloud.open_shards(stream)]
        works = [functools.partial(cloud.read_without_pause, stream, shard) for shard in shards]
        end = side_by_side(works)
        injected = False
        try:
            time.sleep(3)
            injected = cloud.endpoint is not None and cloud.throttle_reads(True)
            counts, latencies = alerts_come(world)
        finally:
            answers = end()
            if injected:
                cloud.throttle_reads(False)
        answered, throttled = (sum(answer[n] for answer in answers) for n in (0, 1))
        if not throttled and cloud.endpoint:
            raise Skipped(f"the local cloud throttles no reads without --faults; {counts}")
        how = " (a fifth of all reads by a rule of the local cloud)" if injected else ""
        # What a rule throttles at random is not what the service does: alerts are timed there, and judged on AWS.
        limit = world.arguments.alert_p99 if not cloud.endpoint else float("inf")
        seen = f"{answered} reads answered, {throttled} throttled{how}; {counts}; {told(latencies)}"
        return held(counts.clean() and throttled > 0 and latencies and p99(latencies) <= limit * 1000, seen)


class RefusedTopic(Step):
    name = "receivers"
    expected = "an SNS topic that refuses is a finding, and the healthy webhook's p99 is within the limit"

    def run(self, world):
        world.topics = [world.cloud.topic_that_is_not(world.prefix)]
        world.restart_workers()
        try:
            # A new worker proves itself by its first epoch, and shards are handed over then: alerts are timed after it.
            world.burst()
            counts, latencies = alerts_come(world)
            finding = until("a finding about the topic", 60, lambda: [f for f in world.overview() if f["runbook"] == "MangroveAlertsFailing"])
        finally:
            world.topics = []
            world.restart_workers()
        limit = world.arguments.alert_p99
        seen = f"{told(latencies)}; finding: {finding[0]['what'][:160]}"
        return held(counts.clean() and latencies and p99(latencies) <= limit * 1000, seen)


def told(latencies):
    if not latencies:
        return "no alert came"
    return f"{len(latencies)} alerts, p50 {latencies[len(latencies) // 2]:.0f} ms, p99 {p99(latencies):.0f} ms from arrival"
