"""The policy of workers as it is shipped."""

from steps.flow import EXACT
from steps.step import Skipped, Step, held


class Policies(Step):
    name = "policy"
    expected = f"a worker with deploy/iam/worker.json alone: nothing is denied, {EXACT}"

    def run(self, world):
        if world.cloud.endpoint:
            raise Skipped("the local cloud has no IAM")
        names = {"Stream": world.stream, "Table": world.table, "Bucket": world.bucket}
        environment = world.cloud.worker_of_role(world.prefix, names)
        world.stop_workers()
        kind, world.kind = world.kind, None
        try:
            world.configure()
            worker = world.workers[world.start_worker(environment)]
            counts = world.burst()
            codes = world.stop_workers()
        finally:
            world.kind = kind
        denied = [line[-200:] for line in worker.log.read_text().splitlines() if "AccessDenied" in line or "not authorized" in line]
        return held(counts.clean() and not denied and not any(codes.values()), f"{counts}; {len(denied)} denials {' '.join(denied[:1])}".strip())
