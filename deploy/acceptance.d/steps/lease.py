"""The lease table as of some minutes ago."""

import datetime

from steps.flow import EXACT
from steps.step import Step, held


class Restored(Step):
    name = "restore"
    expected = f"a lease table restored as of before the last epochs: workers go on from what the bucket has, {EXACT}"

    def run(self, world):
        moment = datetime.datetime.now(datetime.timezone.utc)
        older = world.cloud.items(world.table)
        counts = world.burst()
        world.stop_workers()
        if world.cloud.endpoint:
            world.cloud.put_back(world.table, older)
            how = f"{len(older)} items put back"
        else:
            target = f"{world.table}-restored"
            world.tell("waiting for point-in-time recovery, 10 to 40 minutes")
            world.cloud.restore(world.table, target, moment)
            world.table, how = target, f"restored into {target} as of {moment:%H:%M:%S} UTC"
        world.restart_workers()
        epochs = len(world.lake.manifests)
        counts = world.burst() if counts.clean() else counts
        more = len(world.lake.manifests) - epochs
        return held(counts.clean() and more > 0, f"{how}; {more} epochs since; {counts}")
