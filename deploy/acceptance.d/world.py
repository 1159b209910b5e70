"""What the steps walk through: names, workers, bursts of events, the lake, the warehouse in turn."""

import json
import pathlib
import signal
import threading
import time
import urllib.request

import lake
from programs import Answered, Process, until
from receiver import Receiver

# What question 11 of docs/queries.md asks for: metadata of one sensor.
OWNERS = "sensor_id,owner\ns-000001,north\ns-000002,south\n"


class World:
    def __init__(self, arguments, cloud, scratch, prefix, tell):
        self.arguments, self.cloud, self.scratch, self.prefix, self.tell = arguments, cloud, pathlib.Path(scratch), prefix, tell
        self.binary, self.stream, self.bucket, self.table = arguments.mangrove, f"{prefix}-events", f"{prefix}-lake", f"{prefix}-leases"
        self.config = self.scratch / "mangrove.toml"
        self.ledgers, self.workers, self.born = [], {}, 0
        self.topics, self.warehouses, self.kind = [], {}, None
        self.lake, self.receiver = lake.Lake(cloud.of("s3"), self.bucket), Receiver()

    # Configuration and workers

    def configure(self):
        local = self.cloud.endpoint is not None
        sections = {
            "aws": {"region": self.cloud.region, "endpoint_url": self.cloud.endpoint or ""},
            "stream": {"name": self.stream}, "bucket": {"name": self.bucket}, "leases": {"table": self.table},
            "schema": {"use": "climate"}, "epoch": {"age_max": "2s" if local else "10s"},
            "alerts": {"webhooks": [self.receiver.url], "sns_topics": self.topics},
            "ops": {"bind": "127.0.0.1:0"},
        }
        if self.kind:
            pauses = {"enabled": True, "load_interval": "5s" if local else "30s", "backoff_max": "10s"}
            sections["metadata"] = {"sensors": "reference/sensors/", "sensor_columns": ["owner:text"], "refresh": "30s"}
            sections["warehouse"] = pauses | self.warehouses[self.kind]
        # What JSON writes of texts, lists of texts and booleans is TOML.
        text = "".join(f"[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items()) for name, keys in sections.items())
        self.config.write_text(text)

    def start_worker(self, environment=None):
        self.born += 1
        name = f"worker-{self.born}"
        worker = Process([self.binary, "run", "--config", self.config, "--worker-id", name], self.scratch / f"{name}.log", environment)
        self.workers[name] = worker
        worker.ops = worker.said(r"ops endpoint: (http://\S+)")[1]
        return name

    def stop_workers(self):
        """Drains all; the exit codes. Together, so that one does not wait for another."""
        workers, self.workers = self.workers, {}
        for worker in workers.values():
            worker.end(seconds=0)
        return {name: worker.end()[0] for name, worker in workers.items()}

    def restart_workers(self, number=2):
        self.stop_workers()
        self.configure()
        for _ in range(number):
            self.start_worker()

    def use_warehouse(self, kind):
        if self.kind != kind:
            self.kind = kind
            self.restart_workers()

    def owners(self):
        """Who owns which open lease, as `mangrove leases` says."""
        shards = self.mangrove("leases").json()["shards"]
        return {shard["shard"]: shard["owner"] for shard in shards if shard["owner"]}

    def mangrove(self, *words, json_out=True):
        return Answered([self.binary, *words, "--config", self.config, *(["--json"] if json_out else [])])

    # Events

    def burst(self, during=None):
        """Events for a while, and something that happens in their midst; then the ledgers against the lake."""
        number = len(self.ledgers) + 1
        ledger = self.scratch / f"ledger-{number}.jsonl"
        where = ["--endpoint-url", self.cloud.endpoint] if self.cloud.endpoint else []
        given = self.arguments
        fleet = Process(
            [self.binary, "fleet", *where, "--region", self.cloud.region, "--stream", self.stream, "--ledger", ledger, "--json",
             "--sensors", given.sensors, "--rate", given.rate, "--seed", number, "--for", f"{given.burst}s"],
            self.scratch / f"fleet-{number}.log")
        self.fleet = fleet
        until("a ledger", 60, lambda: ledger.exists() and ledger.stat().st_size > 0, 0.1)
        self.ledgers.append(ledger)
        try:
            if during:
                # In the midst of it: epochs are open, and events are on their way.
                time.sleep(given.burst / 3)
                during()
            fleet.child.wait(timeout=given.burst + 120)
        finally:
            fleet.end(signal.SIGINT)
        return self.settled()

    def settled(self):
        return lake.settled(self.ledgers, self.lake, self.arguments.patience)

    # The warehouse

    def sql(self, statement):
        return self.mangrove("sql", statement).rows()

    def number(self, statement):
        return int(self.sql(statement)[0]["n"])

    def loaded(self):
        """Waits until the warehouse has every reading of the lake."""
        def ask():
            status = self.mangrove("load", "--status")
            if status.code != 0:
                return None
            told = status.json()
            readings = sum(shard["readings"] for shard in told["shards"])
            return (readings, told["refused"]) if readings >= self.lake.read().sum("clean") else None
        return until("all readings in the warehouse", self.arguments.patience, ask, 2)

    def counted(self):
        tables = ("sensor_readings", "alerts", "dim_sensors", "sensor_hourly", "sensor_daily", "load_ledger")
        asked = ", ".join(f"(SELECT COUNT(*) FROM mangrove.{table}) AS {table}" for table in tables)
        return self.sql(f"SELECT {asked} FROM (SELECT 1 AS one) o")[0]

    def overview(self):
        return [finding for worker in self.workers.values() if worker.runs() for finding in asked(worker.ops + "/overview")["findings"]]

    def end(self):
        if fleet := getattr(self, "fleet", None):
            fleet.end(signal.SIGINT)
        self.stop_workers()
        self.receiver.stop()


def asked(url):
    # Loopback: no proxy has a say.
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=10) as reply:
        return json.loads(reply.read())


def side_by_side(works):
    """Runs functions in threads; their answers, when `stop` was called."""
    answers = [None] * len(works)
    stop = threading.Event()

    def run(n):
        try:
            answers[n] = works[n](stop)
        except Exception as error:  # Told by who waits for the answers.
            answers[n] = error
    threads = [threading.Thread(target=run, args=[n], daemon=True) for n in range(len(works))]
    for thread in threads:
        thread.start()

    def end():
        stop.set()
        for thread in threads:
            thread.join(timeout=60)
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers
    return end
