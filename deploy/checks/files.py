"""Files that stand by themselves: YAML, the Dockerfile, the policy, shell."""

import json
import pathlib
import re
import shutil
import subprocess

WORKSPACE = pathlib.Path(__file__).resolve().parents[2] / "Cargo.toml"

YAMLLINT = "{extends: default, rules: {line-length: disable, document-start: disable, comments: {min-spaces-from-content: 1}, " \
           "braces: {max-spaces-inside: 1}, indentation: {indent-sequences: whatever}}}"


# However the worker is set up.
NEVER = {"s3:DeleteObject", "s3:PutObjectAcl", "s3:PutBucketPolicy", "iam:PassRole", "sts:AssumeRole"}


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    return [] if done.returncode == 0 else [f"{command[0]}: {(done.stdout + done.stderr).strip()}"]


def yaml_is_clean(root):
    files = [file for file in (root / "deploy").rglob("*.yaml") if "templates" not in file.parts]
    return run("yamllint", "--strict", "--config-data", YAMLLINT, *sorted(files))


def scripts_are_clean(root):
    # Not on every machine; where it is not, bash itself reads them.
    checker = ["shellcheck"] if shutil.which("shellcheck") else ["bash", "-n"]
    scripts = [root / "deploy/check", root / "deploy/acceptance", root / "deploy/image/check-binary"]
    return [problem for script in scripts for problem in run(*checker, script)]


def acceptance_calls_what_there_is(root):
    """Each call of AWS in the acceptance script, held against the service's own model; nothing is sent."""
    return run(root / "deploy/acceptance", "--dry-run", "--warehouse", "both")


def dependencies_are_allowed(root):
    """Licences, bans and sources of every crate in Cargo.lock. Vulnerabilities come from the network, and are not asked for."""
    return run("cargo-deny", "--locked", "--manifest-path", WORKSPACE, "--color", "never", "--config", root / "deny.toml",
               "check", "--hide-inclusion-graph", "licenses", "bans", "sources")


def dockerfile_is_sound(root):
    file = root / "deploy/image/Dockerfile"
    problems, text = run("hadolint", file), file.read_text()
    last = text[text.rindex("\nFROM "):]
    wanted = {
        "--no-default-features": text, "--locked": text, "--profile dist": text, "check-binary": text, "sbom": text,
        "USER 65532:65532": last, "HEALTHCHECK": last, "distroless": last, "org.opencontainers.image.revision": last,
        "ENTRYPOINT [": last,
    }
    problems += [f"Dockerfile: {what} is missing" for what, where in wanted.items() if what not in where]
    if re.search(r"^RUN ", last, re.MULTILINE):
        problems.append("Dockerfile: there is no shell in the last stage")
    return problems


def as_list(value):
    return value if isinstance(value, list) else [value]


def policy_is_narrow(root):
    """What the worker may do: named actions on named resources, nothing deleted from the bucket, no role passed."""
    problems, allowed = [], set()
    for file in sorted((root / "deploy/iam").glob("*.json")):
        for statement in json.loads(file.read_text())["Statement"]:
            label = f"{file.name}, {statement['Sid']}"
            actions, resources = as_list(statement["Action"]), as_list(statement["Resource"])
            for action in actions:
                if "*" in action:
                    problems.append(f"{label}: {action} is not one action")
                if action in NEVER:
                    problems.append(f"{label}: {action} is never needed")
            for resource in resources:
                # Some actions know no resource; a condition has to narrow them then.
                if (resource == "*" and "Condition" not in statement) or resource.endswith(":::${Bucket}/*"):
                    problems.append(f"{label}: {resource} is everything")
                # China and GovCloud are partitions of their own.
                if resource.startswith("arn:") and not resource.startswith("arn:${Partition}:"):
                    problems.append(f"{label}: {resource} holds in one partition only")
            if statement["Effect"] != "Allow":
                problems.append(f"{label}: what is not allowed is refused already")
            if "s3:PutObject" in actions:
                allowed |= {resource.split("/", 1)[1].removesuffix("/*") for resource in resources}
    # Each way for the loader to become a database user has its policy, which the page about permissions names.
    page = (root / "docs/deploying.md").read_text()
    for name in ["warehouse", "warehouse-cluster", "warehouse-cluster-user", "warehouse-cluster-secret", "copy"]:
        if not (root / f"deploy/iam/{name}.json").exists() or f"deploy/iam/{name}.json" not in page:
            problems.append(f"policy: {name}.json is missing, or not named in docs/deploying.md")
    zones = set(re.findall(r'=> "([a-z/]+)",', zone_folders(root)))
    for zone in sorted(zones):
        if not any(zone == folder or zone.startswith(folder + "/") for folder in allowed):
            problems.append(f"policy: the zone {zone}/ cannot be written")
    return problems


def zone_folders(root):
    """The folders of the lake, from where they are named."""
    file = root / "messages/src/epoch.rs"
    text = file.read_text()
    start = text.index("pub fn folder(self)")
    return text[start:text.index("\n    }\n", start)]
