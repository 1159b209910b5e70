#!/usr/bin/env python3
"""Makes what the chart holds of other files: rules, dashboards, the schema of `config`, the README.

    generate.py            writes
    generate.py --check    fails if something is not what would be written
"""

import json
import pathlib
import re
import sys
import tomllib

HERE = pathlib.Path(__file__).resolve().parent
CHART = HERE / "mangrove"
OBSERVABILITY = HERE.parent / "observability"
DEFAULTS = HERE.parent / "local" / "mangrove.toml"
# What a pod's own name, address and mounts decide.
SET_BY_CHART = {"worker": {"id"}, "ops": {"bind", "allow_remote", "advertise"}, "schema": {"file"}}


def schema_of(value):
    kinds = {bool: "boolean", int: "integer", float: "number", str: "string"}
    if isinstance(value, list):
        return {"type": "array", "items": {"type": "string"}}
    kind = kinds[type(value)]
    # Sizes are texts or plain bytes.
    return {"type": ["string", "integer"]} if isinstance(value, str) and re.fullmatch(r"\d+[KMG]iB", value) else {"type": kind}


def config_schema():
    sections = tomllib.loads(DEFAULTS.read_text())
    return {
        "type": "object",
        "description": "The configuration, section by section, as in mangrove.toml.",
        "additionalProperties": False,
        "required": ["worker", "stream", "bucket", "schema"],
        "properties": {
            section: {
                "type": "object",
                "additionalProperties": False,
                "properties": {key: schema_of(value) for key, value in keys.items()
                               if key not in SET_BY_CHART.get(section, set())},
            }
            for section, keys in sections.items()
        },
    }


def values_schema():
    path = CHART / "values.schema.json"
    schema = json.loads(path.read_text())
    schema["properties"]["config"] = config_schema()
    return json.dumps(schema, indent=2) + "\n"


def documented(text):
    """(path, default, meaning) of every key that has a comment of two dashes."""
    path, comment = [], None
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if match := re.match(r"^ *# -- (.*)$", line):
            comment = match[1]
        elif comment is not None and (match := re.match(r"^ *# (.*)$", line)):
            comment += " " + match[1]
        elif match := re.match(r"^( *)([A-Za-z0-9_]+):(.*)$", line):
            depth = len(match[1]) // 2
            path = path[:depth] + [match[2]]
            if comment is not None:
                below = []
                for further in lines[number + 1:]:
                    if further.strip() and not further.startswith(match[1] + "  "):
                        break
                    below.append(further)
                default = match[3].strip() or ("see values.yaml" if any(line.strip() for line in below) else "")
                yield ".".join(path), default, comment
            comment = None


README_HEAD = """# Helm chart of Mangrove

Workers that read one Kinesis stream into one S3 bucket. [docs/deploying.md](../../../docs/deploying.md) says what has to be there before, and how to upgrade and roll back.

```
helm install mangrove deploy/k8s/mangrove --namespace mangrove --create-namespace \\
  --values deploy/k8s/mangrove/values-production.yaml
helm test mangrove --namespace mangrove
```

Configuration and event schema are part of the pod: a revision that restarts or is rolled back to runs what it was made with.

A Deployment, not a StatefulSet: a worker keeps nothing on its disk, and its name need only differ from that of every other living worker, which a pod's name does. A rollout starts the new worker before the old one leaves, and the worker of a lost node is replaced without anybody's help.

What contradicts itself is refused before anything is sent to the cluster: keys that do not exist, a grace period that is shorter than the drain, a memory limit below the byte budget, two autoscalers.

This page is generated from the comments in values.yaml: `deploy/k8s/generate.py`.

| value | default | meaning |
|---|---|---|
"""


def readme():
    rows = [f"| `{path}` | {f'`{default}`' if default != 'see values.yaml' else default} | {meaning} |"
            for path, default, meaning in documented((CHART / "values.yaml").read_text())]
    return README_HEAD + "\n".join(rows) + "\n"


def wanted():
    yield CHART / "files" / "rules.yaml", (OBSERVABILITY / "rules.yaml").read_text()
    for dashboard in sorted((OBSERVABILITY / "dashboards").glob("*.json")):
        yield CHART / "files" / "dashboards" / dashboard.name, dashboard.read_text()
    yield CHART / "values.schema.json", values_schema()
    yield CHART / "README.md", readme()


def main():
    check = sys.argv[1:] == ["--check"]
    if sys.argv[1:] and not check:
        sys.exit(__doc__)
    stale = []
    for path, text in wanted():
        if not path.exists() or path.read_text() != text:
            stale.append(path.name)
            if not check:
                path.write_text(text)
    if check and stale:
        sys.exit(f"not what generate.py writes: {', '.join(stale)}. Run deploy/k8s/generate.py")


if __name__ == "__main__":
    main()
