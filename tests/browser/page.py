"""GOAL    An operator sees what is so: the tree, a restart within a second, why a shard is stuck in three clicks; on a
        phone too; and nothing that comes from outside is ever more than text.
METHOD  The built binary, watched by headless Chromium. Clicks are real, faults are injected by named points."""

import os
import shutil
import sys
import tempfile
import time

from scene import TOKEN, Browser, Process, get, order, put, until

BOXES = ["committer", "sinks", "aggregator", "sensors", "reader"]
VIEWS = ["overview", "tree", "shards", "sensors", "alerts", "restarts", "cluster", "config", "runbook/MangroveShardStuck"]
ADMIN = {"MANGROVE_ADMIN__BIND": "127.0.0.1:0", "MANGROVE_ADMIN__TOKEN": TOKEN}
# A schema lets no id have quotes or angle brackets; what devices say of themselves may have anything.
HOSTILE_ID = "javascript:alert(1)/../${x}{{y}}%3Cimg"
HOSTILE = "<img src=x onerror=\"document.title='pwned'\"><script>document.title='pwned'</script>"


def demo_is_shown(folder, browser):
    """The tree of a running demo; a restart within a second; every view on a phone; orders by the page itself."""
    args = ["demo", "--for", "120s", "--sensors", "300", "--rate", "1500", "--shards", "3", "--ops-port", "0"]
    demo = Process(folder, [*args, "--data-dir", os.path.join(folder, "demo")], **ADMIN)
    try:
        ops = demo.printed(r"ops endpoint: (http://[\d.:]+)")
        admin = demo.printed(r"admin endpoint: (http://[\d.:]+)")
        browser.size(1180, 860)
        browser.open(ops + "/")
        browser.sees("All is well")
        browser.sees("records/s", ".flow")

        browser.open(ops + "/#/tree")
        for box in BOXES:
            until(f"three of {box}", lambda: browser.texts(".tree a.row").count(box) == 3)
        assert browser.all("#unlock[hidden]"), "the ops endpoint takes no orders, and offers none"

        path = "shards/000000000001/aggregator"
        row = f"[data-key='{path}']"
        browser.sees("running", row)
        assert "of 5" not in browser.text(row)
        began = time.monotonic()
        status, reply = order(admin, "kill", path=path, reason="a test")
        assert status == 200, reply
        # The whole, not the parts one after the other.
        seen = lambda: "1 of 5 in 60 s" in browser.text(row) and "killed on request: a test" in browser.text(f"[data-key='{path} !']")
        until("restart, count and error", seen)
        took = time.monotonic() - began
        print(f"a killed actor shows its restart, count and error after {took:.2f} s")
        assert took < 1.0, f"{took:.2f} s"
        browser.open(ops + "/#/restarts")
        browser.sees("killed on request: a test", ".line")

        # A curve of the sensor's readings, and its attributes.
        browser.open(ops + "/#/sensors")
        browser.click(".found a", "s-000001")
        until("a curve", lambda: browser.all(".chart .trace"))
        browser.sees("firmware", "#sensor")
        until("two epochs", lambda: all(line["epoch"] >= 1 for line in get(ops + "/shards")["shards"]))
        for view in VIEWS:
            browser.open(f"{ops}/#/{view}")
            time.sleep(0.7)
            browser.shot(view.split("/")[0])
        browser.size(1180, 860, dark=True)
        browser.open(ops + "/#/tree")
        time.sleep(0.5)
        browser.shot("tree-dark")
        browser.size(360, 760)
        for view in [*VIEWS, "sensors/s-000001", "shards/000000000001", f"tree/{path}"]:
            browser.open(f"{ops}/#/{view}")
            time.sleep(0.7)
            assert browser.overflow() <= 0, f"{view} is {browser.overflow()} pixels too wide"
            browser.shot(f"{view.replace('/', '-')}-360")
        browser.size(1180, 860)

        by_keyboard(browser, ops)
        by_the_page_itself(browser, admin)
        browser.assert_quiet([ops, admin])
    finally:
        browser.open("about:blank")
        demo.end()


def by_keyboard(browser, ops):
    """From the top of the page, Tab and Enter alone lead to a view."""
    from selenium.webdriver.common.keys import Keys

    browser.open(ops + "/#/overview")
    browser.sees("From stream to lake".upper(), "main")
    browser.driver.execute_script("document.activeElement.blur()")
    for _ in range(20):
        active = browser.driver.switch_to.active_element
        if active.text.startswith("Restarts"):
            break
        active.send_keys(Keys.TAB)
    browser.driver.switch_to.active_element.send_keys(Keys.ENTER)
    browser.sees("killed on request", "main")


def by_the_page_itself(browser, admin):
    """The token is pasted, an order given, and a reload forgets the token."""
    browser.open(admin + "/#/tree")
    browser.click("#unlock", "Unlock")
    field = until("a field", lambda: browser.all("dialog input"))[0]
    field.send_keys("x" * 40)
    browser.click("dialog button", "Unlock")
    browser.sees("another one", "dialog")
    # A refusal is an answer, but the browser's console notes it.
    browser.collect()
    noted = [line for line in browser.console if "/admin/check" in line and "403" in line]
    assert len(noted) == 1, browser.console
    browser.console.remove(noted[0])
    field.clear()
    field.send_keys(TOKEN)
    browser.click("dialog button", "Unlock")
    row = "[data-key='shards/000000000002/reader']"
    browser.click(f"{row} button", "Restart")
    until("a field", lambda: browser.all("dialog input"))[0].send_keys("by the page")
    browser.click("dialog button.main", "Restart")
    browser.sees("by the page", "main")
    browser.driver.refresh()
    browser.sees("running", row)
    assert not browser.all(f"{row} td:last-child button"), "a reload forgets the token"


def a_stuck_shard_is_explained(folder, browser):
    """Three clicks from the first page to what to do; and a hostile sensor is text everywhere."""
    schema = open("schemas/climate.toml", encoding="utf-8").read()
    schema = schema.replace('extra_characters = ""', 'extra_characters = "/(){}$%"')
    write(folder, "hostile.toml", schema)
    config = 'stream.name = "events"\nbucket.name = "lake"\nschema.file = "hostile.toml"\nworker.id = "worker-a"\n'
    write(folder, "mangrove.toml", config + 'ops.bind = "127.0.0.1:0"\nepoch.age_max = "1s"\n')
    args = ["local", "--bind", "127.0.0.1:0", "--data-dir", os.path.join(folder, "cloud"), "--stream", "events"]
    local = Process(folder, [*args, "--shards", "2", "--bucket", "lake"])
    worker = None
    try:
        cloud = local.printed(r"local cloud at (http://[\d.:]+)")
        local.printed(r"(Ctrl-C stops it)")
        # The reader of one shard never comes back from its 40th page.
        plan = "reader.page[000000000001]=hang@40"
        run = ["run", "--config", os.path.join(folder, "mangrove.toml"), "--endpoint-url", cloud]
        worker = Process(folder, run, MANGROVE_FAULTS=plan)
        ops = worker.printed(r"ops endpoint: (http://[\d.:]+)")
        for temperature in [20.0, 21.0, 22.0, 99.0, 20.5]:
            put(cloud, "events", HOSTILE_ID, temperature, HOSTILE)
        browser.size(1180, 860)
        browser.open(ops + "/#/sensors")
        browser.click(".found a", "javascript:")
        browser.sees(HOSTILE_ID, "#sensor-id")
        browser.sees(HOSTILE, "#sensor")
        browser.shot("hostile-sensor")
        browser.open(ops + "/#/alerts")
        browser.sees(HOSTILE_ID, "main")
        assert not browser.all("main img, main script") and browser.driver.title != "pwned"

        browser.open(ops + "/")
        until("a finding", lambda: "is stuck" in browser.text("#verdict"))
        assert "Shard 000000000001 is stuck: its reader has been in one handler" in browser.text("#verdict")
        browser.shot("stuck-0-overview")
        browser.click(".findings a", "Show")
        browser.sees("What holds it: its reader has been in one handler", "#why")
        browser.shot("stuck-1-shard")
        browser.click("#culprit", "Look at its reader")
        browser.sees("shards/000000000001/reader", "main h3")
        browser.sees("in one handler for", "main .card")
        browser.shot("stuck-2-reader")
        browser.click("main .card a", "What to do")
        browser.sees("MangroveShardStuck", "#runbook")
        browser.shot("stuck-3-what-to-do")
        browser.assert_quiet([ops])
    finally:
        browser.open("about:blank")
        if worker:
            worker.end()
        local.end()


def write(folder, name, text):
    with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
        file.write(text)


def main():
    folder = tempfile.mkdtemp(prefix="mangrove-browser-")
    browser = Browser()
    try:
        for scene in [a_stuck_shard_is_explained, demo_is_shown]:
            began = time.monotonic()
            scene(folder, browser)
            print(f"{scene.__name__}: ok, {time.monotonic() - began:.1f} s")
    except BaseException:
        browser.shot("failure")
        print(browser.text()[:3000], file=sys.stderr)
        raise
    finally:
        browser.end()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
