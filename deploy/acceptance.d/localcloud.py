"""The local cloud: what of AWS it has, and its own switches (`/_mangrove/...`)."""

import json
import signal
import urllib.error
import urllib.request

from cloud import Cloud
from programs import Process


class Local(Cloud):
    kinds = ("local",)
    name = "the local cloud"

    def identity(self):
        self.of("kinesis").list_streams()
        return "123456789012"

    def topic_that_is_not(self, prefix):
        return f"arn:aws:sns:{self.region}:123456789012:{prefix}-is-not-there"

    def make_lease_table(self, name):
        # The workers make it, which is documented as well; here it only has to be deleted.
        self.made.add(f"table {name}", lambda: self.delete_table(name))

    def make_warehouses(self, kinds, prefix, _bucket):
        return {kind: {"workgroup": prefix, "database": "dev"} for kind in kinds}

    def pause(self, _prefix, paused):
        self.ask("POST", "/_mangrove/warehouse", {"paused": paused})

    def throttle_reads(self, on):
        """Throttles a fifth of all reads, by a rule; false where the cloud takes no rules."""
        rule = {"service": "kinesis", "operation": "GetRecords", "kind": "throttle", "probability": 0.2}
        try:
            self.ask("PUT", "/_mangrove/faults", {"seed": 7, "rules": [rule]}) if on else self.ask("DELETE", "/_mangrove/faults")
        except urllib.error.HTTPError:
            return False
        return True

    def ask(self, method, path, body=None):
        request = urllib.request.Request(self.endpoint + path, method=method, data=json.dumps(body).encode() if body else None)
        # Loopback: no proxy has a say.
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as reply:
            return reply.read()


class OwnCloud:
    """`mangrove local` as a process of this script."""

    def __init__(self, binary, scratch):
        self.binary, self.folder, self.log, self.bind = binary, scratch / "cloud", scratch / "local.log", "127.0.0.1:0"
        self.start()

    def start(self):
        command = [self.binary, "local", "--bind", self.bind, "--data-dir", self.folder, "--enforce-limits", "--faults"]
        self.process = Process(command, self.log)
        self.url = self.process.said(r"local cloud at (http://[0-9.:]+)")[1]
        # Started again, it is where it was.
        self.bind = self.url.removeprefix("http://")

    def stop(self):
        self.process.end(signal.SIGINT)
