"""The plans for JMeter and k6: what they send, and what they take for a yes, a no and a failure."""

import collections
import csv
import json
import os
import shutil
import subprocess

import pytest

from harness import contract
from harness.server import fresh_name
from harness.settings import LOAD_S, ROOT, clean_environment, scaled

JMETER = ROOT / "tools" / "jmeter"
PLAN = ROOT / "bench" / "jmeter" / "purchase.jmx"
SCRIPT = ROOT / "bench" / "k6" / "purchase.js"
NOT_FETCHED = 3  # the status of tools/jmeter when Maven Central did not give JMeter
JMETER_S = 4 * LOAD_S  # a first run downloads it; java takes half a minute to start when it is busy


def cannot(why: str) -> None:
    """Skips; where CI=true that is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)


# -- JMeter -----------------------------------------------------------------------------------

def jmeter(folder, server, sale: str, **properties) -> list:
    """Runs the plan; the rows of its result file."""
    for program in ("java", "mvn"):
        if shutil.which(program) is None:
            cannot(f"JMeter needs {program}: tools/install-packages services")
    result = folder / f"{fresh_name('jmeter')}.jtl"
    settings = {"port": server.port, "sale": sale, **properties}
    finished = subprocess.run(
        [JMETER, "-t", PLAN, "-l", result, "-j", result.with_suffix(".log"),
         *(f"-J{name}={value}" for name, value in settings.items())],
        env=clean_environment(), cwd=folder, stdin=subprocess.DEVNULL, capture_output=True,
        timeout=JMETER_S, check=False, text=True)
    if finished.returncode == NOT_FETCHED:
        cannot(finished.stderr)
    assert finished.returncode == 0, finished
    with open(result, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_jmeter_runs_the_published_test_and_nothing_is_oversold(server, tmp_path):
    stock, threads = 10, scaled(300, 30)
    sale = server.create_sale(stock)
    rows = jmeter(tmp_path, server, sale, threads=threads)
    assert len(rows) == threads * 2
    labels = collections.Counter((row["label"], row["responseCode"]) for row in rows)
    assert labels == {("accepted", "202"): stock, ("sold_out", "409"): len(rows) - stock}
    assert all(row["success"] == "true" for row in rows), labels
    contract.check_audit(server.audit(sale), sold=stock)
    buyers = {order["user_id"] for order in server.list_all(f"/v1/sales/{sale}/orders")}
    assert len(buyers) == stock and all(buyer.startswith("buyer-") for buyer in buyers), buyers


def test_what_jmeter_did_not_expect_is_a_failure(server, tmp_path):
    sale = server.create_sale(1)
    server.bought(sale, "somebody")
    rows = jmeter(tmp_path, server, sale, threads=2, loops=2, rampup=0, user="late",
                  expected="limit_reached,paused")
    assert [(row["label"], row["success"]) for row in rows] == [("sold_out", "false")] * 4
    assert all('"code":"sold_out"' in row["failureMessage"] for row in rows), rows


# -- k6 ---------------------------------------------------------------------------------------
# k6 is neither in Debian nor in a registry that the tests may use. The script runs in Node instead,
# with stand-ins for k6's modules that hand it answers of the real server.

STAND_INS = {
    "package.json": '{"name":"k6","type":"module",'
                    '"exports":{".":"./k6.js","./http":"./http.js","./metrics":"./metrics.js"}}',
    "k6.js": """
export function check(value, checks) {
    for (const name of Object.keys(checks)) seen.checks.push(checks[name](value));
}""",
    "http.js": """
export default {
    expectedStatuses: (...statuses) => statuses,
    setResponseCallback: (statuses) => { seen.expected = statuses; },
    post(url, body, parameters) {
        seen.requests.push({ url, body, headers: parameters.headers });
        const answer = seen.answers.shift();
        const json = () => JSON.parse(answer.body);
        return { status: answer.status, timings: { duration: 1.5 }, json };
    },
};""",
    "metrics.js": """
class Metric {
    constructor(name) { this.name = name; seen.metrics[name] = []; }
    add(value) { seen.metrics[this.name].push(value); }
}
export class Counter extends Metric {}
export class Trend extends Metric {}""",
}
DRIVER = """
import { readFileSync } from 'node:fs';
const given = JSON.parse(readFileSync(0));
globalThis.seen = { answers: given.answers, requests: [], checks: [], metrics: {} };
globalThis.__ENV = given.environment;
globalThis.__VU = 7;
const script = await import('./purchase.mjs');
for (globalThis.__ITER = 0; seen.answers.length > 0; ++globalThis.__ITER) script.default();
console.log(JSON.stringify({ ...seen, options: script.options }));
"""


@pytest.fixture(name="k6")
def _k6(tmp_path):
    """k6(answers, **environment): what the script did with these answers."""
    if shutil.which("node") is None:
        cannot("there is no node: tools/install-packages test")
    modules = tmp_path / "node_modules" / "k6"
    modules.mkdir(parents=True)
    for name, text in STAND_INS.items():
        (modules / name).write_text(text, encoding="utf-8")
    shutil.copyfile(SCRIPT, tmp_path / "purchase.mjs")
    (tmp_path / "driver.mjs").write_text(DRIVER, encoding="utf-8")

    def run(answers, **environment):
        given = [{"status": one.status, "body": one.body.decode("utf-8")} for one in answers]
        finished = subprocess.run(
            ["node", "driver.mjs"], cwd=tmp_path, env=clean_environment(),
            input=json.dumps({"answers": given, "environment": environment}),
            capture_output=True, timeout=LOAD_S, check=False, text=True)
        assert finished.returncode == 0, finished
        return json.loads(finished.stdout)
    return run


def test_the_k6_script_is_a_module_that_node_can_read(tmp_path):
    if shutil.which("node") is None:
        cannot("there is no node: tools/install-packages test")
    module = shutil.copyfile(SCRIPT, tmp_path / "purchase.mjs")
    subprocess.run(["node", "--check", module], check=True, timeout=LOAD_S)


def test_the_k6_script_tells_a_yes_from_a_no_and_both_from_anything_else(server, k6):
    sale, paused, closed = server.create_sale(1), server.create_sale(1), server.create_sale(1)
    server.set_state(paused, "paused")
    server.close_sale(closed)
    answers = [server.buy(sale, "buyer-7-0"), server.buy(sale, "b"), server.buy(paused, "c"),
               server.buy(closed, "d"), server.buy("no-such-sale", "e"), server.buy(paused + "x"),
               server.call("GET", "/livez"), server.buy(sale, "buyer-7-7")]
    answers.append(answers[0])  # a 202 that is another buyer's
    seen = k6(answers, SALE=sale, URL=server.url)
    assert [one["headers"]["X-User-Id"] for one in seen["requests"]] == \
        [f"buyer-7-{number}" for number in range(len(answers))]
    assert {one["url"] for one in seen["requests"]} == {f"{server.url}/v1/sales/{sale}/purchases"}
    assert {one["body"] for one in seen["requests"]} == {'{"quantity":1}'}
    counted = {name: sum(values) for name, values in seen["metrics"].items()}
    assert counted == {"accepted": 1, "accepted_time": 1.5, "refused_time": 6.0, "unexpected": 4,
                       "refused_sold_out": 2, "refused_paused": 1, "refused_closed": 1,
                       "refused_limit_reached": 0, "refused_not_started": 0,
                       "refused_rate_limited": 0}
    assert seen["checks"] == [True, True, True, True, False, False, False, True, False]
    assert len(seen["metrics"]["unexpected"]) == len(answers)


def test_the_k6_script_sends_what_its_parameters_say(server, k6):
    sale = server.create_sale(5, per_user_limit=3)
    seen = k6([server.buy(sale, "me-7-0", 3, "me-7-0")], BUYER="me", QUANTITY="3", KEYS="1")
    assert seen["requests"] == [{
        "url": "http://127.0.0.1:8080/v1/sales/demo/purchases", "body": '{"quantity":3}',
        "headers": {"Content-Type": "application/json", "X-User-Id": "me-7-0",
                    "Idempotency-Key": "me-7-0"}}]
    assert seen["checks"] == [True]
    published = {"executor": "per-vu-iterations", "vus": 300, "iterations": 2}
    assert seen["options"]["scenarios"]["purchases"].items() >= published.items()
    rush = k6([], RATE="5000", DURATION="40s", VUS="900")["options"]["scenarios"]["purchases"]
    assert rush == {"executor": "constant-arrival-rate", "rate": 5000, "timeUnit": "1s",
                    "duration": "40s", "preAllocatedVUs": 900}
