"""Rules, dashboards, runbooks, collector: every query knows its metrics, every alert is tested and explained."""

import json
import pathlib
import re
import subprocess
import sys
import tempfile

import yaml

import chart

# Metrics that dashboards and rules name already and that no build has yet. A name that exists has to leave this list.
COMING = set()
# What Prometheus itself adds.
PROMETHEUS = {"up", "ALERTS"}
METRIC = re.compile(r"(?<![\w\"/=~.-])((?:mangrove|process)_\w+|up|ALERTS)(?![\w\"(/-])")
# Components of the collector (contrib and the AWS distribution).
COLLECTOR = {
    "receivers": {"prometheus", "otlp"},
    "processors": {"memory_limiter", "resourcedetection", "batch"},
    "exporters": {"awsemf", "awsxray"},
    "extensions": {"health_check"},
}


def folder(root):
    return root / "deploy/observability"


def documented(root):
    """Name and kind of every metric of docs/metrics.md."""
    return dict(re.findall(r"^\| `(\w+)` \| (\w+) \|", (root / "docs/metrics.md").read_text(), re.MULTILINE))


def metrics_of(query):
    """The metrics of a query: label matchers and texts are not looked into."""
    return set(METRIC.findall(re.sub(r"\{[^}]*\}|\"[^\"]*\"|by \([^)]*\)|on \([^)]*\)", " ", query)))


def rules(root):
    return [rule for group in yaml.safe_load((folder(root) / "rules.yaml").read_text())["groups"] for rule in group["rules"]]


def dashboards(root):
    return {file.stem: json.loads(file.read_text()) for file in sorted((folder(root) / "dashboards").glob("*.json"))}


def queries(root):
    """Where a query stands, and the query."""
    for rule in rules(root):
        yield f"rule {rule['alert']}", rule["expr"]
    for name, dashboard in dashboards(root).items():
        for panel in dashboard["panels"]:
            for target in panel.get("targets", []):
                yield f"dashboard {name}, panel {panel['title']}", target["expr"]


def is_generated(root):
    problems = []
    for script in ("deploy/observability/dashboards.py", "deploy/k8s/generate.py"):
        done = subprocess.run([sys.executable, root / script, "--check"], capture_output=True, text=True)
        if done.returncode:
            problems.append(f"{script}: {done.stderr.strip()}")
    return problems


def names_metrics_that_exist(root):
    problems, kinds = [], documented(root)
    if len(kinds) < 20:
        return ["docs/metrics.md lists hardly any metric"]
    for name in sorted(COMING & set(kinds)):
        problems.append(f"{name} exists now: take it from COMING in deploy/checks/observability.py")
    for where, query in queries(root):
        found = metrics_of(query)
        if not found:
            problems.append(f"{where}: no metric in {query!r}")
        for name in sorted(found - PROMETHEUS):
            base = re.sub(r"_(bucket|sum|count)$", "", name)
            if name not in kinds and name not in COMING and kinds.get(base) != "histogram" and base not in COMING:
                problems.append(f"{where}: there is no metric {name}")
            if kinds.get(name) == "counter" and not re.search(rf"(rate|increase)\([^()]*{name}", query):
                problems.append(f"{where}: the counter {name} is not used as a rate")
            if kinds.get(name) == "gauge" and re.search(rf"\b(rate|increase)\({name}\b", query):
                problems.append(f"{where}: {name} is a gauge and has no rate")
    used = set().union(*(metrics_of(query) for _, query in queries(root)))
    used |= {re.sub(r"_(bucket|sum|count)$", "", name) for name in used}
    for name in sorted(set(kinds) - used):
        problems.append(f"{name} is in no dashboard and no rule: who looks at it?")
    return problems


def shipped_rules(root):
    """The rules as the chart renders them."""
    values = chart.merged(chart.value_sets(root)["minimal-values.yaml"], {"prometheusRule": {"enabled": True}})
    return chart.one(chart.render(root, values), "PrometheusRule")["spec"]


def promtool(*arguments):
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True)
    return [] if done.returncode == 0 else [f"promtool {arguments[0]} {arguments[1]}: {done.stdout}{done.stderr}".strip()]


def rules_hold(root):
    """The shipped rules, checked and unit tested."""
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        (scratch / "rules.yaml").write_text(yaml.safe_dump(shipped_rules(root), width=1000))
        (scratch / "rules.test.yaml").write_text((folder(root) / "rules.test.yaml").read_text())
        problems = promtool("check", "rules", scratch / "rules.yaml")
        problems += problems or promtool("test", "rules", scratch / "rules.test.yaml")
    if shipped_rules(root) != yaml.safe_load((folder(root) / "rules.yaml").read_text()):
        problems.append("the chart ships other rules than deploy/observability/rules.yaml")
    return problems


def rules_are_tested(root):
    """Every alert has a test in which it fires, and one in which it stays silent; and a test can tell."""
    problems = []
    text = (folder(root) / "rules.test.yaml").read_text()
    outcomes = {}
    for test in yaml.safe_load(text)["tests"]:
        for check in test["promql_expr_test"]:
            alert = re.search(r'alertname="(\w+)"', check["expr"])[1]
            outcomes.setdefault((alert, test["name"]), []).append(bool(check["exp_samples"]))
    for rule in rules(root):
        of_alert = [fires for (alert, _), fires in outcomes.items() if alert == rule["alert"]]
        if not any(any(fires) for fires in of_alert):
            problems.append(f"{rule['alert']}: no test in which it fires")
        if not any(not any(fires) for fires in of_alert):
            problems.append(f"{rule['alert']}: no test in which it stays silent")
    return problems


def tests_can_tell(root):
    """Of every alert: with a rule that never fires, and with one that always fires, its tests fail."""
    problems = []
    whole = yaml.safe_load((folder(root) / "rules.yaml").read_text())
    tests = yaml.safe_load((folder(root) / "rules.test.yaml").read_text())
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        for rule in [rule for group in whole["groups"] for rule in group["rules"]]:
            own = [test for test in tests["tests"] if test["name"].startswith(rule["alert"] + ":")]
            silent = [test for test in own if not any(check["exp_samples"] for check in test["promql_expr_test"])]
            for expr, run in (("vector(1) == 0", own), ("vector(1)", silent)):
                mutant = {**rule, "expr": expr, "for": "0s"}
                (scratch / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "mutant", "rules": [mutant]}]}))
                (scratch / "rules.test.yaml").write_text(yaml.safe_dump({**tests, "tests": run}))
                if not promtool("test", "rules", scratch / "rules.test.yaml"):
                    problems.append(f"{rule['alert']}: its tests do not notice that it is {expr!r}")
    return problems


def has_runbooks(root):
    problems = []
    books = {file.stem: file.read_text() for file in (root / "docs/runbooks").glob("*.md")}
    alerts = {rule["alert"]: rule for rule in rules(root)}
    problems += [f"{name}: no runbook" for name in sorted(set(alerts) - set(books))]
    problems += [f"{name}: a runbook without an alert" for name in sorted(set(books) - set(alerts))]
    for name, rule in alerts.items():
        if rule["annotations"].get("runbook_url") != f"docs/runbooks/{name}.md":
            problems.append(f"{name}: another runbook_url")
        if not {"summary", "description"} <= set(rule["annotations"]) or rule["labels"].get("severity") not in ("warning", "critical"):
            problems.append(f"{name}: summary, description or severity is missing")
    for name, text in books.items():
        for heading in ("## What it means", "## How to see it", "## What to do"):
            if heading not in text:
                problems.append(f"{name}: its runbook lacks {heading!r}")
        for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
            if not link.startswith("http") and not (root / "docs/runbooks" / link).exists():
                problems.append(f"{name}: its runbook points to {link}, which is not there")
    return problems


def collector_is_whole(root):
    """What pipelines name is defined, what is defined is used and known, and its metrics exist."""
    problems = []
    config = yaml.safe_load((folder(root) / "otel-collector.yaml").read_text())
    pipelines = config["service"]["pipelines"].values()
    for section, known in COLLECTOR.items():
        defined = set(config.get(section, {}))
        used = set(config["service"]["extensions"]) if section == "extensions" else {name for pipeline in pipelines for name in pipeline[section]}
        problems += [f"collector: {section} lack {name}" for name in sorted(used - defined)]
        problems += [f"collector: {name} is defined and not used" for name in sorted(defined - used)]
        problems += [f"collector: no {section[:-1]} is called {name}" for name in sorted(defined) if name.split("/")[0] not in known]
    names = set(documented(root)) | COMING
    for declaration in config["exporters"]["awsemf"]["metric_declarations"]:
        for selector in declaration["metric_name_selectors"]:
            if not any(re.search(selector, name) for name in names):
                problems.append(f"collector: {selector} selects no metric")
    jobs = config["receivers"]["prometheus"]["config"]["scrape_configs"]
    if [job["job_name"] for job in jobs] != ["mangrove"]:
        problems.append("collector: rules and dashboards call the job mangrove")
    return problems
