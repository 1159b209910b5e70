"""Checks what is deployed.

    deploy/check                  all that needs nothing but files
    deploy/check --live <binary>  and a real Prometheus that scrapes `<binary> demo`; every query is evaluated; and
                                  deploy/acceptance is walked against `<binary> local`
    deploy/check --update         writes what is generated: dashboards, the chart's copies, its schema and README

The checks are checked as well: each is shown a tree in which something is broken, and has to say so.
"""

import argparse
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import chart
import files
import live
import observability

ROOT = pathlib.Path(__file__).resolve().parents[2]
# What the checks look at.
LOOKED_AT = ["deploy", "docs", "schemas", "messages/src/epoch.rs", "ARCHITECTURE.md", "SEMANTICS.md", "deny.toml"]

K8S = "deploy/k8s/mangrove/"
TEMPLATES = K8S + "templates/"
OBS = "deploy/observability/"
# Each check, and edits that break it: file, what stands there, what is put in its place.
CHECKS = [
    (files.yaml_is_clean, [(OBS + "rules.yaml", "groups:", "groups:   ")]),
    (files.scripts_are_clean, [
        ("deploy/image/check-binary", "fi\ndone\n# Of", "done\n# Of"),
        ("deploy/acceptance", "\nfi\n", "\n"),
    ]),
    (files.acceptance_calls_what_there_is, [
        ("deploy/acceptance.d/aws.py", "SkipFinalClusterSnapshot=True", "SkipFinalSnapshot=True"),
        ("deploy/acceptance.d/cloud.py", "ShardCount=shards", "Shards=shards"),
    ]),
    (files.dockerfile_is_sound, [
        ("deploy/image/Dockerfile", "USER 65532:65532", "USER root"),
        ("deploy/image/Dockerfile", "--no-default-features ", ""),
        ("deploy/image/Dockerfile", "WORKDIR /source", "WORKDIR source"),
    ]),
    (files.policy_is_narrow, [
        ("deploy/iam/worker.json", '"s3:PutObject", ', '"s3:PutObject", "s3:DeleteObject", '),
        ("deploy/iam/worker.json", '"sns:Publish"', '"sns:*"'),
        ("deploy/iam/worker.json", '        "arn:${Partition}:s3:::${Bucket}/duplicates/*",\n', ""),
        ("deploy/iam/copy.json", "arn:${Partition}:kms", "arn:aws:kms"),
        ("docs/deploying.md", "deploy/iam/warehouse-cluster-user.json", "deploy/iam/warehouse.json"),
    ]),
    (files.dependencies_are_allowed, [
        ("deny.toml", '  "MIT",\n', ""),
        ("deny.toml", '  "MIT",\n', '  "MIT",\n  "MPL-2.0",\n'),
        ("deny.toml", '"hyper@0.14"', '"hyper@1"'),
        ("deny.toml", "crates.io-index", "another-index"),
    ]),
    (observability.is_generated, [
        (OBS + "dashboards/overview.json", '"Lag"', '"Delay"'),
        (K8S + "files/rules.yaml", "> 60000", "> 70000"),
        (K8S + "values.yaml", "replicas: 2", "replicas: 3"),
        ("deploy/local/mangrove.toml", "threads = 0 ", "strands = 0 "),
    ]),
    (observability.names_metrics_that_exist, [
        (OBS + "rules.yaml", "(mangrove_shard_lag_ms)", "(mangrove_shard_delay_ms)"),
        (OBS + "dashboards/shards.json", "mangrove_shard_reading", "mangrove_shard_writing"),
        (OBS + "rules.yaml", "increase(mangrove_epochs_total[10m])", "max_over_time(mangrove_epochs_total[10m])"),
        ("docs/metrics.md", "| `mangrove_actors` |", "| `mangrove_unheard_of` |"),
    ]),
    (observability.rules_hold, [
        (K8S + "files/rules.yaml", "> 60000", "> 600000"),
        (K8S + "files/rules.yaml", "for: 5m", "for: 5mm"),
        (TEMPLATES + "prometheusrule.yaml", "files/rules.yaml", "files/dashboards/shards.json"),
    ]),
    (observability.rules_are_tested, [(OBS + "rules.test.yaml", 'ALERTS{alertname="MangroveFenced"', 'ALERTS{alertname="MangroveOther"')]),
    (observability.tests_can_tell, [(OBS + "rules.test.yaml", "name: 'MangroveShardUnowned: what one worker", "name: 'what one worker")]),
    (observability.has_runbooks, [
        ("docs/runbooks/MangroveFenced.md", "## What to do", "## Perhaps"),
        ("docs/runbooks/MangroveFenced.md", "(MangroveLeaseTableUnreachable.md)", "(MangroveLeaseTable.md)"),
        (OBS + "rules.yaml", "alert: MangroveFenced", "alert: MangroveFence"),
    ]),
    (observability.collector_is_whole, [
        (OBS + "otel-collector.yaml", "exporters: [awsxray]", "exporters: [xray]"),
        (OBS + "otel-collector.yaml", "^mangrove_worker_ready$", "^mangrove_worker_happy$"),
    ]),
    (chart.lints, [(K8S + "Chart.yaml", "version: 0.1.0", "version: one")]),
    (chart.validates, [
        (TEMPLATES + "deployment.yaml", "  minReadySeconds:", "  minReadySecond:"),
        (TEMPLATES + "pdb.yaml", "AlwaysAllow", "3"),
        (TEMPLATES + "servicemonitor.yaml", "  selector:", "  select:"),
    ]),
    (chart.is_restricted, [
        (TEMPLATES + "_helpers.tpl", "runAsNonRoot: true", "runAsNonRoot: false"),
        (TEMPLATES + "_helpers.tpl", "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false"),
        (TEMPLATES + "tests/ready.yaml", '{{- include "mangrove.containerSecurity" . | nindent 8 }}', "{}"),
        (TEMPLATES + "_helpers.tpl", '(default .Chart.AppVersion .Values.image.tag)', '"latest"'),
    ]),
    (chart.fits_together, [
        (TEMPLATES + "service.yaml", '{{- include "mangrove.selector" . | nindent 4 }}', "app: mangrove"),
        (TEMPLATES + "deployment.yaml", "httpGet: {path: /livez, port: ops}", "httpGet: {path: /livez, port: http}"),
        (TEMPLATES + "deployment.yaml", '{{ include "mangrove.grace" . }}', "30"),
        (TEMPLATES + "networkpolicy.yaml", '{{- include "mangrove.release" . | nindent 14 }}', "app: mangrove"),
        (TEMPLATES + "networkpolicy.yaml", "{port: 4318, protocol: TCP}", "{port: 4317, protocol: TCP}"),
        (TEMPLATES + "deployment.yaml", "nodeTaintsPolicy: Honor", "nodeTaintsPolicy: Ignore"),
        (K8S + "values.yaml", "nodeLostSeconds: 30", "nodeLostSeconds: 300"),
        (K8S + "values.yaml", "clusterDomain: cluster.local", "clusterDomain: cluster"),
        (TEMPLATES + "tests/ready.yaml", ",hook-failed", ""),
    ]),
    (chart.configures, [
        (TEMPLATES + "_helpers.tpl", '"allow_remote" true', '"allow_all" true'),
        (TEMPLATES + "deployment.yaml", '{{- include "mangrove.toml" . | nindent 10 }}', '{{- "x = 1" | nindent 10 }}'),
        (TEMPLATES + "deployment.yaml", "AWS_ROLE_SESSION_NAME", "AWS_SESSION_NAME"),
        (TEMPLATES + "deployment.yaml", "        mangrove.toml: |", '        replicas: "{{ .Values.replicas }}"\n        mangrove.toml: |'),
    ]),
    (chart.each_revision_is_whole, [
        (TEMPLATES + "deployment.yaml", "          downwardAPI:\n            items:",
         '          configMap:\n            name: {{ include "mangrove.fullname" . }}-more\n            items:'),
        (TEMPLATES + "deployment.yaml", "        schema.toml: |", "        scheme.toml: |"),
        (TEMPLATES + "deployment.yaml", '{{- include "mangrove.selector" . | nindent 8 }}\n        {{- with .Values.commonLabels',
         '{{- include "mangrove.selector" . | nindent 8 }}\n        chart: {{ .Chart.Version | quote }}\n        {{- with .Values.commonLabels'),
    ]),
    (chart.scales_from_what_runs, [
        (TEMPLATES + "deployment.yaml", '  replicas: {{ include "mangrove.replicas" . }}', ""),
        (TEMPLATES + "_helpers.tpl", "{{ max $replicas .least }}", "{{ .least }}"),
        (TEMPLATES + "_helpers.tpl", 'lookup "apps/v1" "Deployment"', 'lookup "apps/v1" "StatefulSet"'),
    ]),
    (chart.policy_lets_through, [
        (TEMPLATES + "networkpolicy.yaml", '"none" (list "169.254.169.254/32" "fd00:ec2::254/128")', ""),
        (TEMPLATES + "networkpolicy.yaml", '(eq $cidr "::/0")', "false"),
        (TEMPLATES + "_helpers.tpl", 'concat (default list $alerts.webhooks)', "concat (list)"),
        (K8S + "values.yaml", '["169.254.20.10/32"]', "[]"),
        (K8S + "values.yaml", ', "::/0"]', "]"),
        (K8S + "values-production.yaml", "# networkPolicy:\n#   httpsCidrs: [10.0.0.0/16, ...]", "networkPolicy:\n  httpsCidrs: [10.0.0.0/16]"),
    ]),
    (chart.refuses, [
        (TEMPLATES + "_validate.tpl", "(lt $grace $graceMin)", "false"),
        (K8S + "values.schema.json", '"maximum": 1000', '"maximum": -1'),
        (TEMPLATES + "_validate.tpl", "and .Values.autoscaling.hpa.enabled .Values.autoscaling.keda.enabled -", "and false -"),
    ]),
]


def copied(scratch):
    for name in LOOKED_AT:
        source, target = ROOT / name, scratch / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    return scratch


def can_fail(check, edits):
    """What the check does not notice."""
    problems = []
    for file, old, new in edits:
        with tempfile.TemporaryDirectory() as scratch:
            root = copied(pathlib.Path(scratch))
            text = (root / file).read_text()
            if old not in text:
                problems.append(f"{check.__name__}: {old!r} is not in {file}: nothing was broken")
                continue
            (root / file).write_text(text.replace(old, new))
            try:
                noticed = check(root)
            except Exception as error:  # A tree that cannot even be read is noticed as well.
                noticed = [str(error)]
            if not noticed:
                problems.append(f"{check.__name__} does not notice {new!r} instead of {old!r} in {file}")
    return problems


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--live", metavar="BINARY", type=pathlib.Path, help="also ask a real Prometheus about this binary's demo")
    parser.add_argument("--update", action="store_true", help="write what is generated, and end")
    parser.add_argument("--only", metavar="NAME", help="one check")
    arguments = parser.parse_args()
    if arguments.update:
        for script in ("deploy/observability/dashboards.py", "deploy/k8s/generate.py"):
            subprocess.run([sys.executable, ROOT / script], check=True)
        return
    failed = 0

    def report(name, began, problems):
        nonlocal failed
        failed += len(problems)
        print(f"{'FAILED' if problems else 'ok':6} {name} ({time.monotonic() - began:.1f} s)", flush=True)
        for problem in problems:
            print(f"       {problem}", flush=True)

    with tempfile.TemporaryDirectory() as scratch:
        # The same copy that is broken below, unbroken: what fails there fails because of the edit.
        whole = copied(pathlib.Path(scratch))
        for check, edits in CHECKS:
            if arguments.only not in (None, check.__name__):
                continue
            began = time.monotonic()
            report(check.__name__, began, check(whole))
            began = time.monotonic()
            report(f"{check.__name__} can fail: {len(edits)} times", began, can_fail(check, edits))
    if arguments.live:
        for check in live.CHECKS:
            began = time.monotonic()
            report(check.__name__, began, check(ROOT, arguments.live.resolve()))
    if failed:
        sys.exit(f"{failed} problems")


if __name__ == "__main__":
    main()
