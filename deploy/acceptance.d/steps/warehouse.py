"""The warehouse: loads, times, questions, a pause. Each once for each kind of warehouse."""

import datetime
import pathlib
import re

from steps.flow import EXACT
from steps.step import Skipped, Step, held

QUESTIONS = pathlib.Path(__file__).resolve().parents[3] / "docs/queries.md"


class Loads(Step):
    name = "load"
    expected = "every reading of the lake in the warehouse, once; nothing refused; the same load again and `ddl --diff` change nothing"

    def run(self, world):
        counts = world.burst()
        readings, refused = world.loaded()
        before = world.counted()
        again = world.mangrove("load", "--once", json_out=False)
        after = world.counted()
        lacks = world.mangrove("ddl", "--diff", json_out=False).good().out.strip()
        clean = world.lake.sum("clean")
        seen = f"{readings} readings by the ledger, {after['sensor_readings']} in the table, {clean} in the lake; {len(refused)} refused; " \
               f"again: exit code {again.code}, rows {'as before' if before == after else f'{before} then {after}'}; ddl --diff: {lacks[:80] or 'nothing'}"
        right = counts.clean() and not refused and readings == clean == int(after["sensor_readings"])
        return held(right and again.code == 0 and before == after and not lacks, seen)


class Times(Step):
    name = "times"
    expected = "times of readings within this walk, times of alerts equal to the lake's to the millisecond; no key twice"

    def run(self, world):
        world.loaded()
        row = world.sql("SELECT MIN(arrival_time) AS first_arrival, MAX(arrival_time) AS last_arrival, COUNT(*) - COUNT(event_time) AS without_time, "
                        "MAX(event_time) AS newest_event FROM mangrove.sensor_readings")[0]
        # No clock of ours is exact; a wrong unit is wrong by years.
        low, high = world.began - datetime.timedelta(hours=1), datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)
        within = all(low <= moment(row[name]) <= high for name in ("first_arrival", "last_arrival", "newest_event"))
        alerts = world.sql("SELECT id, arrival_time FROM mangrove.alerts")
        wrong = [row for row in alerts if world.lake.alerts.get(row["id"]) != round(moment(row["arrival_time"]).timestamp() * 1000)]
        twice = world.number("SELECT COUNT(*) AS n FROM (SELECT shard, sequence, sub_sequence FROM mangrove.sensor_readings "
                             "GROUP BY shard, sequence, sub_sequence HAVING COUNT(*) > 1) d")
        seen = f"readings arrived {row['first_arrival']} to {row['last_arrival']}, measured until {row['newest_event']}; {len(alerts)} alerts of {len(world.lake.alerts)}, {len(wrong)} with other times; {twice} keys twice"
        right = within and int(row["without_time"]) == 0 and twice == 0
        return held(right and not wrong and len(alerts) == len(world.lake.alerts), seen)


class Queries(Step):
    name = "queries"
    expected = "every question of docs/queries.md is answered, and the first counts as many readings as the lake has"

    def run(self, world):
        world.loaded()
        blocks = re.findall(r"```sql\n(.*?)```", QUESTIONS.read_text(), re.DOTALL)
        answered, refused, readings = 0, [], 0
        for number, statement in enumerate(blocks, 1):
            answer = world.mangrove("sql", statement)
            if answer.code != 0:
                refused.append(f"{number}: {answer.err.strip()[:120]}")
                continue
            answered += 1
            if number == 1:
                readings = sum(int(row["readings"]) for row in answer.rows())
        seen = f"{answered} of {len(blocks)} answered; {readings} readings, {world.lake.sum('clean')} in the lake"
        return held(blocks and not refused and readings == world.lake.sum("clean"), "; ".join([seen, *refused]))


class Pause(Step):
    name = "pause"
    expected = f"while the warehouse is paused the lake goes on: {EXACT}; after the resume all is loaded"

    def run(self, world):
        if world.kind == "serverless":
            raise Skipped("Redshift Serverless cannot be paused; it sleeps by itself")
        world.loaded()
        before = world.lake.sum("clean")
        world.cloud.pause(world.prefix, True)
        try:
            counts = world.burst()
        finally:
            world.cloud.pause(world.prefix, False)
        readings, refused = world.loaded()
        seen = f"{counts}; {readings - before} readings of the pause loaded after it, {len(refused)} refused"
        return held(counts.clean() and readings > before and readings == world.lake.read().sum("clean") and not refused, seen)


def moment(text):
    """A TIMESTAMP as `mangrove sql --json` prints it: UTC, fractions as long as they need."""
    whole, _, fraction = text.replace("T", " ").removesuffix("Z").partition(".")
    known = datetime.datetime.fromisoformat(f"{whole}.{fraction[:6].ljust(6, '0')}")
    return known.replace(tzinfo=datetime.timezone.utc)
