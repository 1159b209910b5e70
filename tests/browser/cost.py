"""GOAL    Looking costs little: an open page and a scrape every 5 s take under 3 % of a worker's processor time a record,
        with 100,000 sensors and 20,000 events a second; /metrics stays under 1 MB and 100 ms.
METHOD  One run of a cloud, a fleet and a worker as processes. Windows with and without somebody who looks take turns;
        the worker's processor time for each record is compared, which other load on the machine hardly moves."""

import os
import re
import shutil
import statistics
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

from scene import Process, get, until

SENSORS, RATE, WINDOW_S, PAIRS = int(os.environ.get("SENSORS", 100_000)), int(os.environ.get("RATE", 20_000)), 8, 5
CONFIG = 'stream.name = "events"\nbucket.name = "lake"\nschema.use = "climate"\nworker.id = "worker-a"\nops.bind = "127.0.0.1:0"\n'


def cpu_s(pid):
    fields = open(f"/proc/{pid}/stat", encoding="ascii").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def scrape(ops):
    began = time.monotonic()
    text = urllib.request.urlopen(ops + "/metrics", timeout=30).read().decode()
    return text, time.monotonic() - began


def n_read(ops):
    return sum(float(n) for n in re.findall(r"^mangrove_reader_records_total\S* (\S+)$", scrape(ops)[0], re.M))


class Looking:
    """What an open page asks for, and a scraper."""

    def __init__(self, ops):
        self.ops, self.on, self.sizes, self.times = ops, True, [], []
        self.threads = [threading.Thread(target=work) for work in (self.listen, self.ask, self.scrape)]
        for thread in self.threads:
            thread.start()

    def listen(self):
        with urllib.request.urlopen(self.ops + "/events", timeout=30) as events:
            while self.on and events.readline():
                pass

    def ask(self):
        while self.on:
            for path in ["/sensors/s-000007", "/sensors?q=s-0&limit=100", "/epochs"]:
                try:
                    get(self.ops + path)
                except urllib.error.HTTPError as busy:
                    # A shard with a long queue does not answer in time, and says so.
                    assert busy.code == 503, busy
            time.sleep(1)

    def scrape(self):
        next_at = time.monotonic()
        while self.on:
            if time.monotonic() >= next_at:
                text, took = scrape(self.ops)
                self.sizes.append(len(text))
                self.times.append(took)
                next_at += 5
            time.sleep(0.1)

    def end(self):
        self.on = False
        for thread in self.threads:
            thread.join()


def window(ops, pid):
    records, cpu = n_read(ops), cpu_s(pid)
    time.sleep(WINDOW_S)
    return (cpu_s(pid) - cpu) / max(1.0, n_read(ops) - records)


def main():
    folder = tempfile.mkdtemp(prefix="mangrove-cost-", dir=os.environ.get("TMPDIR"))
    with open(os.path.join(folder, "mangrove.toml"), "w", encoding="utf-8") as file:
        file.write(CONFIG)
    args = ["local", "--bind", "127.0.0.1:0", "--data-dir", os.path.join(folder, "cloud"), "--stream", "events", "--shards", "4"]
    processes = [Process(folder, [*args, "--bucket", "lake"])]
    try:
        cloud = processes[0].printed(r"local cloud at (http://[\d.:]+)")
        processes[0].printed(r"(Ctrl-C stops it)")
        worker = Process(folder, ["run", "--config", os.path.join(folder, "mangrove.toml"), "--endpoint-url", cloud])
        processes.append(worker)
        ops = worker.printed(r"ops endpoint: (http://[\d.:]+)")
        fleet = ["fleet", "--endpoint-url", cloud, "--stream", "events", "--ledger", os.path.join(folder, "ledger.jsonl")]
        processes.append(Process(folder, [*fleet, "--sensors", str(SENSORS), "--rate", str(RATE), "--for", "10m", "--json"]))
        known = lambda: sum(line["sensors"] or 0 for line in get(ops + "/shards")["shards"])
        until("nearly all sensors", lambda: known() > SENSORS * 0.9, patience=120)
        quiet, looked, sizes, times, began = [], [], [], [], time.monotonic()
        read = n_read(ops)
        for _ in range(PAIRS):
            quiet.append(window(ops, worker.child.pid))
            looking = Looking(ops)
            looked.append(window(ops, worker.child.pid))
            looking.end()
            sizes += looking.sizes
            times += looking.times
        rate = (n_read(ops) - read) / (time.monotonic() - began)
        cost = statistics.median(looked) / statistics.median(quiet) - 1
        us = [f"{statistics.median(one) * 1e6:.1f} us" for one in (quiet, looked)]
        print(f"{known()} sensors, {rate:.0f} records/s; processor time a record {us[0]} quiet, {us[1]} looked at: {cost:+.1%}")
        print(f"/metrics: {max(sizes)} bytes, {statistics.median(times) * 1e3:.0f} ms, {max(times) * 1e3:.0f} ms at most")
        assert max(sizes) < 1_000_000 and statistics.median(times) < 0.1
        assert cost < 0.03, f"{cost:+.1%}"
    finally:
        for process in processes:
            process.end()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
