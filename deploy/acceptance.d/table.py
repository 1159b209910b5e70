"""What was expected and seen, on the terminal and as a file to send back."""

import datetime
import platform
import subprocess
import textwrap

import boto3
import botocore

WIDTHS = (22, 44, 60, 9)
HEADER = ("step", "expected", "seen", "verdict")


class Row:
    def __init__(self, step, expected, seen, verdict, seconds):
        self.step, self.expected, self.seen, self.verdict, self.seconds = step, expected, seen, verdict, seconds

    def cells(self):
        seen = f"skipped: {self.seen}" if self.verdict == "skipped" else self.seen
        return (f"{self.step} ({self.seconds:.0f} s)", self.expected, seen, self.verdict)

    def say(self, tell):
        tell(f"{self.step}: {self.verdict}: {self.seen}")


def printed(rows):
    """For a terminal: words are wrapped, a line between two steps."""
    lines = []
    for cells in [HEADER, *(row.cells() for row in rows)]:
        wrapped = [textwrap.wrap(cell, width) or [""] for cell, width in zip(cells, WIDTHS)]
        lines.append("-+-".join("-" * width for width in WIDTHS))
        for n in range(max(map(len, wrapped))):
            lines.append(" | ".join((cell[n] if n < len(cell) else "").ljust(width) for cell, width in zip(wrapped, WIDTHS)).rstrip())
    return "\n".join(lines)


def report(rows, facts, left):
    lines = ["# Acceptance of Mangrove", ""]
    lines += [f"- {name}: {value}" for name, value in facts.items()]
    lines += ["", "| " + " | ".join(HEADER) + " |", "|---|---|---|---|"]
    lines += ["| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row.cells()) + " |" for row in rows]
    lines += ["", "Left behind, to be deleted by hand:" if left else "Nothing was left behind.", ""]
    return "\n".join([*lines, *(f"- {thing}" for thing in left)]).rstrip() + "\n"


def facts(arguments, cloud_name, kinds, began, cost):
    version = subprocess.run([arguments.mangrove, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    now = datetime.datetime.now(datetime.timezone.utc)
    return {
        "mangrove": version, "against": cloud_name, "region": arguments.region, "warehouses": ", ".join(kinds) or "none",
        "began": f"{began:%Y-%m-%d %H:%M:%S} UTC", "ended": f"{now:%Y-%m-%d %H:%M:%S} UTC",
        "events": f"{arguments.rate} a second in bursts of {arguments.burst} s, {arguments.sensors} sensors, {arguments.shards} shards",
        "alerts' p99 must be under": f"{arguments.alert_p99} s",
        "cost": cost, "tools": f"Python {platform.python_version()}, boto3 {boto3.__version__}, botocore {botocore.__version__}, {platform.platform()}",
    }
