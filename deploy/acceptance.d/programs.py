"""Programs as processes of this machine: the local cloud, workers, the fleet, commands that answer."""

import json
import os
import pathlib
import re
import signal
import subprocess
import time


class Silent(Exception):
    """Something did not come in time."""


def until(what, seconds, ask, pause=0.5):
    """The first answer that is not false."""
    deadline = time.monotonic() + seconds
    while True:
        if found := ask():
            return found
        if time.monotonic() > deadline:
            raise Silent(f"{what}: not within {seconds:.0f} s")
        time.sleep(pause)


class Process:
    """One program, with a log of its own."""

    def __init__(self, command, log, environment=None):
        self.log, self.told = pathlib.Path(log), set()
        with self.log.open("w") as out:
            # A group of its own: Ctrl-C at the terminal is for the script, which ends the others in their order.
            self.child = subprocess.Popen([str(part) for part in command], stdout=out, stderr=out, start_new_session=True,
                                          env={**os.environ, **(environment or {})})

    def said(self, pattern, seconds=60):
        def look():
            if found := re.search(pattern, self.log.read_text()):
                return found
            if self.child.poll() is not None:
                raise Silent(f"{self.log.name} ended with {self.child.returncode}: {self.log.read_text()[-600:]}")
            return None
        return until(f"{pattern!r} in {self.log.name}", seconds, look, 0.1)

    def runs(self):
        return self.child.poll() is None

    def end(self, how=signal.SIGTERM, seconds=90):
        """Its exit code, and how long it took. A worker that is told twice ends without draining: nobody is."""
        began = time.monotonic()
        if self.runs() and how not in self.told:
            self.told.add(how)
            self.child.send_signal(how)
        if seconds == 0:
            return None
        try:
            code = self.child.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.child.kill()
            code = self.child.wait()
        return code, time.monotonic() - began


class Answered:
    """What a command that ends has said."""

    def __init__(self, command, seconds=600):
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=seconds)
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr

    def good(self):
        if self.code != 0:
            raise Silent(f"exit code {self.code}: {(self.err or self.out).strip()[-400:]}")
        return self

    def json(self):
        return json.loads(self.good().out)

    def rows(self):
        return [json.loads(line) for line in self.good().out.splitlines() if line.startswith("{")]
