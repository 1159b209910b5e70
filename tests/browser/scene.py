"""A running worker and a real browser that looks at it. Whatever is started here is ended here."""

import base64
import json
import os
import re
import subprocess
import time
import urllib.error
import urllib.request
from datetime import datetime, timezone

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

PATIENCE = 40
TOKEN = "0123456789abcdef0123456789abcdef"


def until(what, fact, patience=PATIENCE):
    """Waits for a fact, and answers it; fails with what was waited for."""
    deadline = time.monotonic() + patience
    while True:
        found = fact()
        if found:
            return found
        assert time.monotonic() < deadline, f"no {what} within {patience} s"
        time.sleep(0.05)


class Process:
    """A command of the binary."""

    def __init__(self, folder, args, **env):
        # No variable of ours reaches it but those named.
        env = {"PATH": os.environ["PATH"], **env}
        self.log = open(os.path.join(folder, f"{args[0]}.log"), "w+", encoding="utf-8")
        self.child = subprocess.Popen([os.environ["MANGROVE"], *args], env=env, stdout=self.log, stderr=self.log)

    def printed(self, pattern):
        def look():
            text = open(self.log.name, encoding="utf-8", errors="replace").read()
            assert self.child.poll() is None, f"it has ended: {text}"
            return re.search(pattern, text)

        return until(f"line with {pattern}", look).group(1)

    def end(self):
        self.child.kill()
        self.child.wait()


def get(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


def order(base, name, **body):
    """An order to the admin listener; the status and the reply."""
    headers = {"content-type": "application/json", "authorization": f"Bearer {TOKEN}"}
    request = urllib.request.Request(f"{base}/admin/{name}", json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        return refused.code, json.load(refused)


def put(cloud, stream, sensor, temperature, firmware):
    """A reading, put into the stream as any Kinesis client does."""
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    event = {"sensor_id": sensor, "event_id": os.urandom(8).hex(), "ts": now, "temperature": temperature, "humidity": 50.0}
    event["firmware"] = firmware
    record = {"StreamName": stream, "PartitionKey": sensor[:200], "Data": base64.b64encode(json.dumps(event).encode()).decode()}
    scope = f"test/{now[:10].replace('-', '')}/us-east-1/kinesis/aws4_request"
    headers = {
        "content-type": "application/x-amz-json-1.1",
        "x-amz-target": "Kinesis_20131202.PutRecord",
        "x-amz-date": datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ"),
        "authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0",
    }
    request = urllib.request.Request(cloud + "/", json.dumps(record).encode(), headers)
    urllib.request.urlopen(request, timeout=10).read()


class Browser:
    """Headless Chromium that keeps what its console says and whom it asks."""

    def __init__(self):
        options = Options()
        for flag in ["headless=new", "no-sandbox", "disable-dev-shm-usage", "hide-scrollbars", "disable-background-networking"]:
            options.add_argument(f"--{flag}")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
        self.console, self.asked = [], []

    def size(self, width, height=900, dark=False):
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})

    def open(self, url):
        self.driver.get(url)

    def all(self, css):
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def texts(self, css):
        # In one step: the page is drawn anew every second.
        script = "return [...document.querySelectorAll(arguments[0])].map((element) => element.innerText)"
        return self.driver.execute_script(script, css)

    def text(self, css="body"):
        return "\n".join(self.texts(css))

    def sees(self, text, css="body", patience=PATIENCE):
        return until(f"{text!r} in {css}", lambda: text in self.text(css), patience)

    def click(self, css, words=None):
        """A real click on the first element with these words."""

        def try_it():
            try:
                for element in self.all(css):
                    if words is None or words in element.text:
                        element.click()
                        return True
            except Exception as moved:  # drawn anew in between
                assert "stale" in str(moved) or "intercepted" in str(moved), moved
            return False

        until(f"{css} with {words!r} to click", try_it)

    def overflow(self):
        return self.driver.execute_script("return document.documentElement.scrollWidth - innerWidth")

    def shot(self, name):
        folder = os.environ.get("SCREENSHOTS", "target/screenshots")
        os.makedirs(folder, exist_ok=True)
        self.driver.save_screenshot(os.path.join(folder, f"{name}.png"))

    def collect(self):
        self.console += [entry["message"] for entry in self.driver.get_log("browser")]
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                self.asked.append(message["params"]["request"]["url"])

    def assert_quiet(self, bases):
        """Nothing on the console, and nobody asked but the worker."""
        self.collect()
        assert not self.console, f"the console says {self.console}"
        own = [*(base + "/" for base in bases), "data:"]
        strangers = [url for url in self.asked if not any(url.startswith(base) for base in own)]
        assert not strangers, f"it asked {strangers}"
        assert self.asked, "it asked nobody at all"

    def end(self):
        self.driver.quit()
