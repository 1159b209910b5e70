"""A real Prometheus scrapes a running demo: every rule and every query of a dashboard is evaluated."""

import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

import yaml

import chart
import observability

SCRAPE_BYTES_MAX = 1_000_000
SCRAPE_SECONDS_MAX = 0.1
SERIES_MAX = 2_000
# How long rates need to have something to show.
WARM_UP_SECONDS = 20
# What a healthy demo has nothing to say about.
MAY_BE_EMPTY = re.compile(r"> 0$|^count\(.*== 0\)")
# Lints of `promtool check metrics` that are known: the lag is asked for in milliseconds.
LINTS_KNOWN = re.compile(r"^mangrove_\w*_ms (use base unit|metric names should not contain abbreviated units)")


def answer(url, timeout=10):
    # Loopback: no proxy has a say.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=timeout) as reply:
        return reply.read()


def until(what, seconds, ask):
    deadline = time.monotonic() + seconds
    while True:
        try:
            if found := ask():
                return found
        except (OSError, urllib.error.URLError):
            pass  # It is not up yet.
        if time.monotonic() > deadline:
            raise TimeoutError(f"no {what} within {seconds} s")
        time.sleep(0.2)


@contextlib.contextmanager
def process(*command, stop=signal.SIGTERM, **options):
    child = subprocess.Popen([str(part) for part in command], **options)
    try:
        yield child
    finally:
        child.send_signal(stop)
        try:
            child.wait(timeout=60)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def demo(binary, scratch):
    """A demo with some load; gives the address of its ops endpoint."""
    log = scratch / "demo.log"
    command = [binary, "demo", "--shards", "2", "--sensors", "500", "--rate", "2000", "--ops-port", "0", "--json", "--data-dir", scratch / "data"]
    with log.open("w") as out, process(*command, stop=signal.SIGINT, stdout=subprocess.DEVNULL, stderr=out) as child:
        def ops():
            if child.poll() is not None:
                raise RuntimeError(f"the demo ended: {log.read_text()[-2000:]}")
            return re.search(r"http://127\.0\.0\.1:\d+", log.read_text())
        yield until("ops endpoint", 60, ops)[0], child


@contextlib.contextmanager
def prometheus(root, scratch, target):
    port = free_port()
    (scratch / "rules.yaml").write_text(yaml.safe_dump(observability.shipped_rules(root), width=1000))
    (scratch / "prometheus.yaml").write_text(yaml.safe_dump({
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yaml"],
        "scrape_configs": [{"job_name": "mangrove", "static_configs": [{"targets": [target.removeprefix("http://")]}]}],
    }))
    command = ["prometheus", f"--config.file={scratch}/prometheus.yaml", f"--storage.tsdb.path={scratch}/tsdb",
               f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]
    with (scratch / "prometheus.log").open("w") as out, process(*command, stdout=out, stderr=out):
        base = f"http://127.0.0.1:{port}"
        until("Prometheus", 30, lambda: answer(base + "/-/ready"))
        yield base


def ask(base, path, **parameters):
    url = f"{base}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
    try:
        return json.loads(answer(url))["data"]
    except urllib.error.HTTPError as error:
        raise ValueError(json.loads(error.read()).get("error", str(error))) from error


def substituted(query):
    for variable, value in (("$__rate_interval", "10s"), ("$namespace", ".*"), ("$instance", ".*")):
        query = query.replace(variable, value)
    return query


def scrape_is_sound(root, text, took):
    """Size and time, and the same names as the page that lists them."""
    problems, kinds = [], observability.documented(root)
    samples = [line for line in text.splitlines() if line and not line.startswith("#")]
    print(f"       a scrape: {len(text)} bytes, {len(samples)} series, {took * 1000:.1f} ms", flush=True)
    if len(text) > SCRAPE_BYTES_MAX or len(samples) > SERIES_MAX:
        problems.append(f"a scrape has {len(text)} bytes and {len(samples)} series")
    if took > SCRAPE_SECONDS_MAX:
        problems.append(f"a scrape takes {took:.3f} s")
    shown = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    problems += [f"{name} is a {kind} and not in docs/metrics.md as one" for name, kind in shown.items() if kinds.get(name) != kind]
    problems += [f"{name} is in docs/metrics.md and never scraped" for name in sorted(set(kinds) - set(shown))]
    lint = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
    found = [line for line in (lint.stdout + lint.stderr).splitlines() if line.strip()]
    return problems + [f"promtool check metrics: {line}" for line in found if not LINTS_KNOWN.search(line)]


def rules_evaluate(base):
    def evaluated():
        found = [rule for group in ask(base, "rules")["groups"] for rule in group["rules"]]
        return found if found and all(rule["health"] != "unknown" for rule in found) else None
    found = until("evaluated rules", 30, evaluated)
    problems = [f"rule {rule['name']}: {rule.get('lastError')}" for rule in found if rule["health"] != "ok"]
    return problems + [f"rule {rule['name']} is {rule['state']} while nothing is wrong" for rule in found if rule["state"] != "inactive"]


def queries_answer(root, base):
    problems, asked = [], 0
    for where, query in observability.queries(root):
        if where.startswith("rule "):
            continue
        asked += 1
        try:
            result = ask(base, "query", query=substituted(query))["result"]
        except ValueError as error:
            problems.append(f"{where}: {error}")
            continue
        if not result and not MAY_BE_EMPTY.search(query) and not coming(query):
            problems.append(f"{where}: nothing for {query}")
    print(f"       {asked} queries of dashboards", flush=True)
    return problems


def coming(query):
    return {name for name in observability.metrics_of(query) if re.sub(r"_(bucket|sum|count)$", "", name) in observability.COMING}


def a_real_prometheus_understands_it(root, binary):
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        with demo(binary, scratch) as (ops, child), prometheus(root, scratch, ops) as base:
            until("scrape", 30, lambda: ask(base, "query", query='up{job="mangrove"} == 1')["result"])
            time.sleep(WARM_UP_SECONDS)
            began = time.monotonic()
            text = answer(ops + "/metrics").decode()
            problems = scrape_is_sound(root, text, time.monotonic() - began)
            problems += queries_answer(root, base) + rules_evaluate(base)
            health = subprocess.run([binary, "health", "--ready", "--ops", ops], capture_output=True, text=True)
            if health.returncode != 0:
                problems.append(f"mangrove health: {health.stderr}")
            # What is wrong is noticed: the worker ends, and its alert begins to wait for its time.
            child.send_signal(signal.SIGINT)
            pending = lambda: [alert for alert in ask(base, "alerts")["alerts"] if alert["labels"]["alertname"] == "MangroveWorkerDown"]
            until("alert about the worker that ended", 60, pending)
            health = subprocess.run([binary, "health", "--ops", ops], capture_output=True, text=True)
            if health.returncode != 3:
                problems.append(f"mangrove health says {health.returncode} of a worker that is gone")
            return problems


def a_real_worker_understands_it(root, binary):
    """What the chart writes is a configuration, for the binary itself."""
    problems = []
    environment = {"PATH": os.environ["PATH"], "MANGROVE_WORKER__ID": "mangrove-6f7c9-abcde", "MANGROVE_OPS__ADVERTISE": "http://10.0.3.7:8080"}
    for name, values in chart.value_sets(root).items():
        if "eventSchema" in values:
            values["eventSchema"] = (root / "schemas/climate.toml").read_text()
        with tempfile.TemporaryDirectory() as scratch:
            template = chart.one(chart.render(root, values), "Deployment")["spec"]["template"]
            for file in ("mangrove.toml", "schema.toml"):
                if text := template["metadata"]["annotations"].get(file):
                    (pathlib.Path(scratch) / file).write_text(text)
            command = [binary, "config", "--config", f"{scratch}/mangrove.toml"]
            done = subprocess.run(command, env=environment, capture_output=True, text=True)
            if done.returncode != 0 or "10.0.3.7" not in done.stdout:
                problems.append(f"{name}: {done.stderr or done.stdout}")
    return problems


def acceptance_is_walked(root, binary):
    """As far as the local cloud goes; chaos is there where the whole workspace was built."""
    chaos = binary.with_name("chaos")
    with tempfile.TemporaryDirectory() as scratch:
        report = pathlib.Path(scratch) / "report.md"
        oracle = ["--chaos", chaos] if chaos.exists() else []
        command = [root / "deploy/acceptance", "--endpoint-url", "local", "--mangrove", binary, *oracle, "--yes", "--report", report]
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
        rows = re.findall(r"^\| .* \| (passed|skipped|FAILED) \|$", report.read_text(), re.MULTILINE) if report.exists() else []
        print(f"       acceptance: {rows.count('passed')} steps passed, {rows.count('skipped')} skipped", flush=True)
        # All but the policy, for which there is no IAM here, and the oracle, where there is no chaos.
        return [] if done.returncode == 0 and rows.count("passed") >= 14 + bool(oracle) else [f"acceptance: exit code {done.returncode}: {(done.stdout + done.stderr)[-6000:]}"]


CHECKS = [a_real_worker_understands_it, a_real_prometheus_understands_it, acceptance_is_walked]
