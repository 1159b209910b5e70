"""What the producers wrote down against what the bucket holds: every record, by the digest of its bytes.

Only objects that a manifest names count: those are what readers and the warehouse see.
"""

import base64
import collections
import gzip
import hashlib
import json
import time


class Lake:
    def __init__(self, s3, bucket):
        self.s3, self.bucket = s3, bucket
        self.manifests, self.digests, self.alerts = {}, collections.Counter(), {}

    def read(self):
        """Reads the manifests that are new, and the raw zone that they name."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix="manifests/")
        for key in sorted(entry["Key"] for page in pages for entry in page.get("Contents", [])):
            # A claim says only that somebody is about to write this epoch.
            if key.endswith(".json") and key not in self.manifests:
                manifest = json.loads(self.body(key))
                for named in manifest["objects"]:
                    self.take(named)
                self.manifests[key] = manifest
        return self

    def take(self, named):
        key, zone = named["key"], named["zone"]
        if zone.startswith("raw"):
            self.digests.update(hashlib.sha256(record).hexdigest() for record in records(key, gzip.decompress(self.body(key))))
        if zone == "alerts":
            for line in gzip.decompress(self.body(key)).splitlines():
                alert = json.loads(line)
                self.alerts[alert["id"]] = alert["arrival_ms"]

    def body(self, key):
        return self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()

    def sum(self, figure):
        return sum(manifest[figure] for manifest in self.manifests.values())


def records(key, text):
    name = key.rsplit("/", 1)[1]
    lines = text.split(b"\n")[:-1]
    if name.endswith(".ndjson.gz"):
        return [base64.b64decode(json.loads(line)["data"]) for line in lines]
    if name.endswith((".lf.jsonl.gz", ".crlf.jsonl.gz")):
        return [line + b"\n" for line in lines]
    return lines


class Counts:
    """Ledgers against the lake."""

    def __init__(self, ledgers, lake):
        sure, perhaps = collections.Counter(), collections.Counter()
        for ledger in ledgers:
            for line in ledger.open():
                entry = json.loads(line)
                if entry.get("k") == "acked":
                    sure[entry["sha256"]] += 1
                elif entry.get("k") in ("maybe", "failed"):
                    perhaps[entry["sha256"]] += 1
        surplus = lake.digests - sure - perhaps
        self.acked, self.held = sum(sure.values()), sum(lake.digests.values())
        self.missing = sum((sure - lake.digests).values())
        self.doubled = sum(n for digest, n in surplus.items() if digest in sure)
        self.unexpected = sum(surplus.values()) - self.doubled

    def clean(self):
        return self.acked > 0 and not (self.missing or self.doubled or self.unexpected)

    def __str__(self):
        return f"{self.acked} acknowledged, {self.held} in the lake: {self.missing} missing, {self.doubled} doubled, {self.unexpected} unexpected"


def settled(ledgers, lake, seconds):
    """The counts once nothing is missing, or when the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        counts = Counts(ledgers, lake.read())
        if not counts.missing or time.monotonic() > deadline:
            return counts
        time.sleep(1)
