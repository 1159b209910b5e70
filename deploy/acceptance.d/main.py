"""Proves Mangrove on a real AWS account, in about an hour and for less than ten dollars.

It makes a stream, a bucket, a lease table and warehouses of its own, runs workers and a fleet of simulated sensors on this
machine, kills, drains, splits, throttles, pauses and restores, and compares what was expected with what was seen. At the end,
and on Ctrl-C, everything it made is deleted; what could not be is listed.

It asks AWS by boto3, which finds credentials as the AWS command line does (AWS_PROFILE, SSO, a role). They need the right to
make and delete what is named above and two IAM roles (by which the warehouse reads the bucket, and a worker works). The report holds no
account number.
"""

EPILOG = """examples:
  deploy/acceptance --dry-run                           every call of AWS that it makes, checked by the service models; sends nothing
  deploy/acceptance --region eu-central-1               asks, then walks all steps with a Serverless warehouse
  deploy/acceptance --warehouse both --yes              both kinds of warehouse, without a question
  deploy/acceptance --warehouse none --steps flow,sigkill,reshard
  deploy/acceptance --endpoint-url local --chaos target/release/chaos      on this machine alone, in minutes
  deploy/acceptance --endpoint-url http://127.0.0.1:4566                   against a running `mangrove local --faults`

exit codes: 0 every step passed or was skipped by name, 1 one did not (or Ctrl-C), 2 wrong flags, 3 AWS lacks something."""

import argparse
import datetime
import os
import pathlib
import re
import secrets
import shutil
import signal
import sys
import tempfile
import time

import steps
import table
from aws import Aws
from botocore.exceptions import BotoCoreError, ClientError
from localcloud import Local, OwnCloud
from made import Made
from programs import Silent
from steps.step import Failed, Skipped
from world import OWNERS, World

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Dollars of one walk in us-east-1 (2026-11): hints, not bills.
COSTS = {
    "stream, bucket, lease table and its restore": 1.0,
    # 8 RPU for an hour, 0.375 an RPU-hour, and its storage; one ra3.large for two hours.
    "serverless": 3.5,
    "cluster": 1.5,
}


def flags():
    parser = argparse.ArgumentParser(prog="deploy/acceptance", description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ",".join(step.name for step in steps.ALL)
    add = parser.add_argument
    add("--endpoint-url", metavar="URL", help="a local cloud in the place of AWS; 'local' starts one on a free port")
    add("--region", default=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1", help="the region [default: of the environment, or us-east-1]")
    add("--prefix", default="mangrove-acc", help="how the names of all that is made begin; a random suffix follows [default: mangrove-acc]")
    add("--warehouse", choices=["serverless", "cluster", "both", "none"], help="kinds of warehouse [default: serverless; a local cloud has its own]")
    add("--cluster-node", default="ra3.large", help="node type of the cluster [default: ra3.large]")
    add("--steps", metavar="A,B", help=f"only these, in their own order: {names}")
    add("--mangrove", metavar="FILE", help="the binary [default: in PATH, or target/release/mangrove]")
    add("--chaos", metavar="FILE", help="the binary chaos, for its oracle; it reads folders of local clouds only")
    add("--report", metavar="FILE", type=pathlib.Path, help="where the report goes [default: acceptance-<date>.md]")
    add("--shards", type=int, default=2, help="of the stream [default: 2]")
    add("--sensors", type=int, help="simulated sensors [default: 1000; local 200]")
    add("--rate", type=int, help="events a second during a burst [default: 500; local 300]")
    add("--burst", type=int, help="seconds of events in each step [default: 60; local 6]")
    add("--alert-p99", type=float, help="seconds from arrival to webhook that 99 of 100 alerts keep to [default: 1; local 5, for busy machines]")
    add("--patience", type=int, help="seconds that a step waits for the lake or the warehouse [default: 600; local 120]")
    add("--keep", action="store_true", help="delete nothing at the end, and say what is there")
    add("--yes", action="store_true", help="do not ask before anything is made")
    add("--dry-run", action="store_true", help="print the calls of AWS that would make, use and delete things; send none")
    given = parser.parse_args()
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,29}", given.prefix):
        parser.error("--prefix: a lower case letter, then at most 29 letters, digits and hyphens")
    given.chosen = given.steps.split(",") if given.steps else names.split(",")
    if unknown := set(given.chosen) - set(names.split(",")):
        parser.error(f"--steps: {', '.join(sorted(unknown))}: not among {names}")
    local = bool(given.endpoint_url)
    for name, here, there in (("sensors", 200, 1000), ("rate", 300, 500), ("burst", 6, 60), ("alert_p99", 5, 1), ("patience", 120, 600)):
        if getattr(given, name) is None:
            setattr(given, name, here if local else there)
    if not given.dry_run:
        given.mangrove = program(parser, "--mangrove", given.mangrove or shutil.which("mangrove") or ROOT / "target/release/mangrove")
        given.chaos = given.chaos and program(parser, "--chaos", given.chaos)
    today = datetime.date.today()
    given.report = given.report or pathlib.Path(f"acceptance-{today:%Y-%m-%d}.md")
    return given


def program(parser, flag, path):
    path = pathlib.Path(path).resolve()
    if not os.access(path, os.X_OK) or path.is_dir():
        parser.error(f"{flag}: no program at {path}")
    return path


def kinds_of(given):
    asked = given.warehouse or ("local" if given.endpoint_url else "serverless")
    if given.endpoint_url:
        return [] if asked == "none" else ["local"]
    return {"none": [], "both": ["serverless", "cluster"]}.get(asked, [asked])


def cost_of(kinds):
    items = [name for name in COSTS if name not in ("serverless", "cluster") or name in kinds]
    return f"about ${sum(COSTS[name] for name in items):.0f} by prices of us-east-1, 2026-11 ({', '.join(f'{name}: ${COSTS[name]:.1f}' for name in items)})"


def agreed(given, prefix, kinds):
    print(f"This makes in {given.region}: the stream {prefix}-events ({given.shards} shards), the bucket {prefix}-lake, the table {prefix}-leases\n"
          f"with point-in-time recovery, IAM roles ({prefix}-copy, {prefix}-worker),\nwarehouses: {', '.join(kinds) or 'none'}. All of it is deleted at the end.\n"
          f"It takes about an hour and costs {cost_of(kinds)}.")
    return given.yes or input("Go on? [y/N] ").strip().lower() in ("y", "yes")


class Walk:
    def __init__(self, given, cloud, world, kinds, tell):
        self.given, self.cloud, self.world, self.kinds, self.tell, self.rows = given, cloud, world, kinds, tell, []

    def plan(self):
        """Steps with the warehouse that they are walked with."""
        first = self.kinds[0] if self.kinds else None
        planned = [(step, first) for step in steps.BEFORE]
        planned += [(step, kind) for kind in self.kinds or [None] for step in steps.OF_WAREHOUSE]
        planned += [(step, self.kinds[-1] if self.kinds else None) for step in steps.AFTER]
        return [(step, kind) for step, kind in planned if step.name in self.given.chosen]

    def provision(self):
        cloud, world = self.cloud, self.world
        cloud.identity()
        cloud.make_stream(world.stream, self.given.shards)
        cloud.make_bucket(world.bucket)
        cloud.put(world.bucket, "reference/sensors/owners.csv", OWNERS)
        cloud.make_lease_table(world.table)
        world.warehouses = cloud.make_warehouses(self.kinds, world.prefix, world.bucket)
        world.kind = self.kinds[0] if self.kinds else None
        world.restart_workers()
        return f"stream, bucket, lease table, {', '.join(self.kinds) or 'no'} warehouse; 2 workers run"

    def step(self, name, expected, work):
        began = time.monotonic()
        self.tell(f"{name} ...")
        try:
            seen, verdict = work(), "passed"
        except Skipped as skipped:
            seen, verdict = str(skipped), "skipped"
        except (Failed, Silent) as failed:
            seen, verdict = str(failed), "FAILED"
        except Exception as error:  # A step that breaks has failed; the walk goes on, and everything is deleted.
            seen, verdict = f"{type(error).__name__}: {error}", "FAILED"
        self.rows.append(table.Row(name, expected, seen, verdict, time.monotonic() - began))
        self.rows[-1].say(self.tell)
        return verdict

    def walk(self):
        planned = self.plan()
        for number, (step, kind) in enumerate(planned, 1):
            name = f"{number}/{len(planned)} {step.name}" + (f" ({kind})" if step in steps.OF_WAREHOUSE and len(self.kinds) > 1 else "")
            self.step(name, step.expected, lambda: self.one(step, kind))

    def one(self, step, kind):
        if step in steps.OF_WAREHOUSE and kind is None:
            raise Skipped("--warehouse none")
        if not self.world.workers and step not in steps.AFTER[1:]:
            self.world.restart_workers()
        self.world.use_warehouse(kind)
        return step().run(self.world)


def tell_from(began):
    def tell(what):
        print(f"[{time.monotonic() - began:6.0f} s] {what}", flush=True)
    return tell


def interrupted(_signal, _frame):
    raise KeyboardInterrupt


def main():
    given = flags()
    kinds, tell = kinds_of(given), tell_from(time.monotonic())
    if given.dry_run:
        import dry
        return dry.run(given, kinds)
    prefix = f"{given.prefix}-{secrets.token_hex(3)}"
    if not given.endpoint_url and not agreed(given, prefix, kinds):
        return 1
    signal.signal(signal.SIGTERM, interrupted)
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="mangrove-acceptance-"))
    own = None
    try:
        if given.endpoint_url == "local":
            own = OwnCloud(given.mangrove, scratch)
            given.endpoint_url = own.url
        code = walked(given, kinds, prefix, scratch, own, tell)
    except (Silent, BotoCoreError) as error:
        print(f"acceptance: {error}", file=sys.stderr)
        code = 3
    except KeyboardInterrupt:
        code = 1
    finally:
        if own:
            own.stop()
    if code == 0 and not given.keep:
        shutil.rmtree(scratch)
    else:
        print(f"logs of workers and ledgers of the fleet: {scratch}")
    return code


def walked(given, kinds, prefix, scratch, own, tell):
    made = Made(tell)
    cloud = (Local if given.endpoint_url else Aws)(given.region, made, tell, given.endpoint_url)
    cloud.node = given.cluster_node
    world = World(given, cloud, scratch, prefix, tell)
    world.own_cloud, world.began = own, datetime.datetime.now(datetime.timezone.utc)
    walk, lacking = Walk(given, cloud, world, kinds, tell), None
    try:
        tell("provision ...")
        began = time.monotonic()
        seen = walk.provision()
        walk.rows.append(table.Row("provision", "everything made and active, two workers run", seen, "passed", time.monotonic() - began))
        walk.walk()
    except (ClientError, BotoCoreError, Silent) as error:
        lacking = str(error)
        walk.rows.append(table.Row("provision", "everything made and active, two workers run", lacking, "FAILED", time.monotonic() - began))
    except KeyboardInterrupt:
        walk.rows.append(table.Row("interrupted", "", "Ctrl-C; what is not in the table was not walked", "FAILED", 0))
    # From here on Ctrl-C ends nothing: what was made has to go.
    for which in (signal.SIGINT, signal.SIGTERM):
        signal.signal(which, lambda *_: tell("everything is being deleted; this ends by itself"))
    left = torn_down(given, walk, world, made)
    account = getattr(cloud, "account", None)
    for row in walk.rows if account else []:
        row.seen = row.seen.replace(account, "<account>")
    text = table.report(walk.rows, table.facts(given, cloud.name, kinds, world.began, "none" if given.endpoint_url else cost_of(kinds)), left)
    given.report.write_text(text.replace(account, "<account>") if account else text)
    print(table.printed(walk.rows))
    print(f"report: {given.report}")
    return 3 if lacking else int(any(row.verdict == "FAILED" for row in walk.rows))


def torn_down(given, walk, world, made):
    world.end()
    if given.keep:
        kept = made.keep()
        walk.rows.append(table.Row("teardown", "everything made is deleted", f"--keep; there are: {', '.join(kept)}", "skipped", 0))
        return kept
    number = len(made.things)

    def undo():
        if left := made.undo():
            raise Failed(f"left behind: {'; '.join(left)}")
        return f"{number} things deleted"
    walk.step("teardown", "everything made is deleted", undo)
    return made.left


if __name__ == "__main__":
    sys.exit(main())
