"""Events flow, whatever happens to workers and shards."""

import signal
import time

from programs import until
from steps.step import Step, held

EXACT = "every acknowledged record in the lake, once"


class Flow(Step):
    name, expected = "flow", f"{EXACT}; every open shard owned"

    def run(self, world):
        counts = world.burst()
        owners = world.owners()
        return held(counts.clean() and len(owners) == len(world.cloud.open_shards(world.stream)), f"{counts}; {len(owners)} shards owned")


class Killed(Step):
    name, expected = "sigkill", f"a worker killed by SIGKILL: others take its shards, {EXACT}"

    def run(self, world):
        name = next(iter(set(world.owners().values()) & set(world.workers)))
        took = []

        def kill():
            worker = world.workers.pop(name)
            worker.end(signal.SIGKILL)
            world.start_worker()
            began = time.monotonic()
            until(f"{name} owns nothing", 120, lambda: name not in world.owners().values())
            took.append(time.monotonic() - began)
        counts = world.burst(kill)
        return held(counts.clean(), f"taken over after {took[0]:.1f} s; {counts}")


class Drained(Step):
    name, expected = "sigterm", f"a worker ends by SIGTERM with exit code 0 within 30 s, {EXACT}"

    def run(self, world):
        name = next(iter(set(world.owners().values()) & set(world.workers)))
        ended = []

        def drain():
            ended.extend(world.workers.pop(name).end())
            world.start_worker()
        counts = world.burst(drain)
        code, took = ended
        return held(counts.clean() and code == 0 and took <= 30, f"exit code {code} after {took:.1f} s; {counts}")


class Resharded(Step):
    name, expected = "reshard", f"a shard is split, two are merged, children follow their parents: {EXACT}"

    def run(self, world):
        cloud, stream = world.cloud, world.stream

        def reshard():
            shard, first, last = cloud.open_shards(stream)[0]
            cloud.split(stream, shard, (first + last) // 2 + 1)
            before = cloud.open_shards(stream)
            # The upper child with its neighbour, so that lineages cross.
            cloud.merge(stream, before[1][0], before[2][0])
        counts = world.burst(reshard)
        # Once more, into the new shards alone.
        counts = world.burst() if counts.clean() else counts
        shards = {shard.removeprefix("shardId-") for shard, _, _ in cloud.open_shards(stream)}
        owned = until("the new shards are owned", 60, lambda: shards <= set(world.owners()) and len(shards))
        return held(counts.clean(), f"{owned} open shards, all owned; {counts}")
