"""Files that stand by themselves: YAML, the Dockerfile, the policy, shell."""

import json
import re
import shutil
import subprocess

YAMLLINT = "{extends: default, rules: {line-length: disable, document-start: disable, comments: {min-spaces-from-content: 1}, " \
           "braces: {max-spaces-inside: 1}, indentation: {indent-sequences: whatever}}}"


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    return [] if done.returncode == 0 else [f"{command[0]}: {(done.stdout + done.stderr).strip()}"]


def yaml_is_clean(root):
    files = [file for file in (root / "deploy").rglob("*.yaml") if "templates" not in file.parts]
    return run("yamllint", "--strict", "--config-data", YAMLLINT, *sorted(files))


def scripts_are_clean(root):
    # Not on every machine; where it is not, bash itself reads them.
    checker = ["shellcheck"] if shutil.which("shellcheck") else ["bash", "-n"]
    scripts = [root / "deploy/check", root / "deploy/image/check-binary"]
    return [problem for script in scripts for problem in run(*checker, script)]


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


def policy_is_narrow(root):
    """What the worker may do: named actions on named resources, nothing deleted from the bucket, no role passed."""
    problems = []
    policy = json.loads((root / "deploy/iam/worker.json").read_text())
    for statement in policy["Statement"]:
        label = f"policy, {statement['Sid']}"
        as_list = lambda value: value if isinstance(value, list) else [value]
        for action in as_list(statement["Action"]):
            if "*" in action:
                problems.append(f"{label}: {action} is not one action")
            if action in ("s3:DeleteObject", "s3:PutObjectAcl", "iam:PassRole", "sts:AssumeRole", "s3:PutBucketPolicy"):
                problems.append(f"{label}: {action} is never needed")
        for resource in as_list(statement["Resource"]):
            if resource == "*" or resource.endswith(":::${Bucket}/*"):
                problems.append(f"{label}: {resource} is everything")
        if statement["Effect"] != "Allow":
            problems.append(f"{label}: what is not allowed is refused already")
    zones = set(re.findall(r'=> "([a-z/]+)",', zone_folders(root)))
    allowed = {resource.split("/", 1)[1].removesuffix("/*") for statement in policy["Statement"]
               if "s3:PutObject" in statement["Action"] for resource in statement["Resource"]}
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
