"""The published stages and ours: what each is told to refuse, and what the bench makes of them."""

import collections
import csv
import json
import os
import shutil
import subprocess

import pytest

from harness import contract
from harness.server import run_command
from harness.settings import READY_S
from harness.swarm import run_all

SYNCHRONOUS = ("naive", "optimistic", "limited")
BENCH_S = 600.0  # children are started and stopped on a machine that may be busy
CHROMIUM = shutil.which("chromium")
REDIS = os.environ.get("DOORBUSTER_TEST_REDIS", "")


def start(make_server, strategy, **settings):
    named = {name.replace("__", "."): value for name, value in settings.items()}
    return make_server(settings={"purchase.strategy": strategy, **named})


def rush(server, sale, buyers, connections=16):
    """So many buyers at once; how often each status came."""
    counts = collections.Counter()
    run_all(server, ((None, server.purchase_bytes(sale, f"user-{number}"))
                     for number in range(buyers)),
            lambda _tag, status, _head, _body: counts.update([status]), connections=connections)
    return counts


@pytest.mark.parametrize("strategy", SYNCHRONOUS)
def test_an_order_is_in_the_store_when_its_buyer_hears_yes(make_server, strategy):
    server = start(make_server, strategy)
    sale = server.create_sale(2)
    order = server.bought(sale, "ann")
    body = contract.expect(server.order(order["order_id"], "ann"), 200)
    assert body["status"] == "confirmed", body
    contract.expect(server.buy(sale, "ann"), 409, "limit_reached")
    server.bought(sale, "bob")
    contract.expect(server.buy(sale, "cyd"), 409, "sold_out")
    audit = server.audit(sale)
    assert audit["balanced"] and audit["orders"]["confirmed"] == 2, audit
    assert audit["inventory_remaining"] is None, "nobody holds anything"


@pytest.mark.parametrize("strategy", SYNCHRONOUS)
def test_keys_and_limits_hold_across_a_restart(make_server, strategy):
    server = start(make_server, strategy)
    sale = server.create_sale(5)
    first = server.bought(sale, "ann", key="k")
    for _ in range(2):
        again = server.buy(sale, "ann", key="k")
        assert contract.expect(again, 202)["order_id"] == first["order_id"]
        assert again.header("idempotency-replayed") == "true"
        server.restart()
    contract.expect(server.buy(sale, "ann"), 409, "limit_reached")
    offline = run_command("audit", "--data", server.data, "--json", environment={
        "DOORBUSTER_PURCHASE_STRATEGY": strategy})
    assert offline.status == 0 and offline.json()[0]["sold"] == 1, offline


def test_what_nobody_holds_cannot_be_taken_out_or_paid_for_later(make_server):
    server = start(make_server, "optimistic")
    body = {"id": "s", "title": "s", "stock": 5, "payment_timeout_s": 60}
    refused = server.admin("POST", "/v1/sales", body)
    contract.expect(refused, 400, "invalid_request")
    assert refused.json()["field"] == "payment_timeout_s", refused
    contract.expect(server.call("GET", "/v1/sales/s"), 404, "not_found")
    sale = server.create_sale(5)
    contract.expect(server.admin("POST", f"/v1/sales/{sale}/stock", {"add": -1}), 409,
                    "invalid_state")
    order = server.bought(sale, "ann")["order_id"]
    paid = server.admin("POST", f"/v1/orders/{order}/pay", {"payment_ref": "p"})
    contract.expect(paid, 409, "not_payable")
    assert server.restock(sale, 1)["stock"] == 6
    server.bought(sale, "bob")


def test_naive_oversells_and_says_so(make_server):
    server = start(make_server, "naive")
    sale = server.create_sale(3)
    counts = rush(server, sale, 200)
    audit = server.audit(sale)
    assert audit["sold"] == counts[202] > 3, (counts, audit)
    assert not audit["balanced"], audit
    assert any("oversold" in violation for violation in audit["violations"]), audit


@pytest.mark.parametrize("strategy", ("optimistic", "limited"))
def test_the_versioned_update_never_oversells(make_server, strategy):
    server = start(make_server, strategy)
    sale = server.create_sale(3)
    counts = rush(server, sale, 200)
    audit = server.audit(sale)
    assert audit["balanced"] and audit["sold"] == counts[202] <= 3, (counts, audit)
    assert counts[202] + counts[409] == 200, counts


def test_the_limit_keeps_the_crowd_from_the_database(make_server):
    server = start(make_server, "limited", limits__per_second=5, limits__burst=5)
    sale = server.create_sale(1000)
    counts = rush(server, sale, 300)
    assert counts[429] > 200, counts
    unlimited = start(make_server, "optimistic", limits__per_second=5, limits__burst=5)
    sale = unlimited.create_sale(1000)
    assert rush(unlimited, sale, 300)[429] == 0, "this stage has no limiter"
    assert "[limits] is left aside" in unlimited.output()


@pytest.mark.parametrize("strategy, word", [
    ("naive", "sells more units than there are"), ("optimistic", None), ("reserve", None)])
def test_a_dangerous_strategy_is_warned_of(make_server, strategy, word):
    server = start(make_server, strategy)
    assert ("docs/stages.md" in server.output()) == (word is not None), server.output()
    if word is not None:
        assert word in server.output()


def test_a_strategy_and_a_store_stay_together(make_server):
    server = start(make_server, "optimistic")
    sale = server.create_sale(5)
    server.bought(sale, "ann")
    server.stop()
    result = run_command("serve", "--data", server.data, "--listen", "127.0.0.1:0",
                         bound_s=READY_S)
    assert result.status == 1 and "direct-" in result.stderr, result


@pytest.mark.skipif(not REDIS, reason="there is no Redis: see tools/services")
@pytest.mark.parametrize("strategy", ("cached", "queued"))
def test_looking_in_redis_begins_with_what_the_store_has(make_server, strategy):
    server = start(make_server, strategy, redis__url=REDIS,
                   redis__prefix=f"test-stages-{os.getpid()}-{strategy}")
    assert "docs/stages.md" in server.output(), "warned of"
    sale = server.create_sale(2)
    order = server.bought(sale, "ann")["order_id"]
    server.confirmed(order, "ann")
    server.restock(sale, 1)  # a new version of the row: Redis must have it, too
    for user in ("bob", "cyd"):
        server.confirmed(server.bought(sale, user)["order_id"], user)
    contract.expect(server.buy(sale, "dan"), 409, "sold_out")
    assert server.audit(sale)["sold"] == 3


def check_stage(stage, stock):
    median = {name: value["median"] for name, value in stage.items() if isinstance(value, dict)
              and "median" in value}
    assert median["errors"] == 0, stage
    answered = median["yes"] + sum(value["median"] for value in stage["no"].values())
    assert answered == median["attempts"], stage
    stored = median["yes"] - median["yes_but_no_order"] + median["order_but_no_yes"]
    assert median["orders_in_store"] == stored, stage
    assert median["unsent"] == 0, stage
    if stage["strategy"] in ("optimistic", "limited", "reserve"):
        assert median["oversold"] == 0 and median["yes_but_no_order"] == 0, stage
        assert median["order_but_no_yes"] == 0 and stage["violations"] == [], stage
        assert median["yes"] <= stock, stage
    return median


def test_the_bench_runs_every_stage_and_leaves_nothing(tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    arguments = ["bench", "stages", "--stock", "20", "--buyers", "300", "--connections", "32",
                 "--rounds", "1", "--limit", "200", "--json", "--csv", tmp_path / "stages.csv",
                 "--report", tmp_path / "stages"]
    if REDIS:
        arguments += ["--redis", REDIS]
    result = run_command(*arguments, environment={"TMPDIR": str(scratch)}, folder=tmp_path,
                         bound_s=BENCH_S)
    assert result.status == 0, result
    load = result.json()["loads"][0]
    stages = {stage["strategy"]: stage for stage in load["stages"]}
    assert list(stages) == ["naive", "optimistic", "limited", "cached", "queued", "reserve"]
    ran = [name for name, stage in stages.items() if "left_out" not in stage]
    assert len(ran) == (6 if REDIS else 4)
    medians = {name: check_stage(stages[name], 20) for name in ran}
    assert medians["reserve"]["yes"] == 20
    assert medians["naive"]["oversold"] > 0 and stages["naive"]["violations"]
    assert result.json()["failures"] == [] and result.json()["incomplete"] is None
    assert "doorbuster-stages-" in result.stderr, "what is made is named"
    assert 1 <= medians["optimistic"]["connections_peak"] <= 23
    assert medians["optimistic"]["sql_statements_per_attempt"] >= 1
    rows = list(csv.DictReader((tmp_path / "stages.csv").read_text().splitlines()))
    assert [row["strategy"] for row in rows] == ran
    assert json.loads((tmp_path / "stages.json").read_text())["loads"], "the same, in a file"
    assert "| optimistic |" in (tmp_path / "stages.md").read_text()
    assert not list(scratch.iterdir()), "the scratch folder is gone"


def browse(page, profile, *arguments):
    """Opens the page in a headless Chromium; what it printed and what it said."""
    return subprocess.run(
        [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
         f"--user-data-dir={profile}", "--virtual-time-budget=5000", *arguments, page.as_uri()],
        capture_output=True, text=True, timeout=BENCH_S, check=True)


def check_in_a_browser(page, folder):
    """Charts are drawn, nothing complains, and it can be printed; wide and as a phone has it."""
    if CHROMIUM is None:
        return
    for width in (1280, 390):
        shown = browse(page, folder / "profile", f"--window-size={width},900", "--dump-dom")
        assert shown.stdout.count("<canvas") >= 4, shown.stdout[-2000:]
        assert "CONSOLE" not in shown.stderr, shown.stderr
        assert "orders in the store" in shown.stdout
    pdf = folder / "page.pdf"
    browse(page, folder / "profile", f"--print-to-pdf={pdf}")
    assert pdf.stat().st_size > 10_000


def test_the_bench_makes_a_page_where_it_was_built_with_one(tmp_path):
    page = tmp_path / "stages.html"
    result = run_command("bench", "stages", "--stock", "5", "--buyers", "50", "--connections", "8",
                         "--rounds", "1", "--strategies", "optimistic,reserve", "--html", page,
                         folder=tmp_path, bound_s=BENCH_S)
    if result.status == 1:
        # As the sanitizers' builds are; that a release has its pages is what tests/web looks at.
        assert "not built into this binary" in result.stderr and not result.stdout, result
        return
    assert result.status == 0 and "optimistic" in result.stdout, result
    check_in_a_browser(page, tmp_path)
    text = page.read_text("utf-8")
    assert '"strategy":"optimistic"' in text and "http://" not in text.split("</head>")[0]
    assert "report-data-goes-here" not in text.split("</main>")[0]


def test_the_bench_says_what_does_not_fit(tmp_path):
    for arguments in (("--strategies", "pessimistic"), ("--rounds", "0"), ("--load", "none"),
                      ("--store", "oracle://x"), ("--strategies", "cached")):  # without a Redis
        result = run_command("bench", "stages", *arguments, folder=tmp_path)
        assert result.status == 2 and result.stderr, result


def test_the_bench_looks_whether_it_can_write_before_it_measures(tmp_path):
    for flag in ("--csv", "--report"):
        result = run_command("bench", "stages", flag, tmp_path / "missing" / "file",
                             folder=tmp_path)
        assert result.status == 1 and "missing" in result.stderr, result
        assert "round 1" not in result.stderr, "nothing was measured"
    kept = tmp_path / "kept.csv"
    kept.write_text("before")
    result = run_command("bench", "stages", "--csv", kept, "--strategies", "pessimistic",
                         folder=tmp_path)
    assert result.status == 2 and kept.read_text() == "before", result
