"""A rush of buyers on too few units: each unit is sold once, everyone else hears a clear no."""

import collections
import json
import random

from harness import contract
from harness.settings import LOAD_S, scaled
from harness.swarm import run_all
from harness.waiting import eventually

BUYERS = scaled(20_000)
STOCK = scaled(1_000)
LATENCIES = {"p50", "p90", "p99", "p999", "max"}


def audit_when_stored(server, sale: str) -> dict:
    """The audit once the order writer has brought every order to the store."""
    def look():
        audit = contract.check_audit(server.audit(sale))
        return audit if audit["orders"].get("queued", 0) == 0 else None
    return eventually(look, f"all orders of {sale} are in the store")


def check_load_report(report: dict, attempts: int) -> None:
    assert report["attempts"] == attempts, report
    assert report["errors"] == 0, report
    assert set(report["rejected"]) <= {"sold_out", "limit_reached"}, report
    assert report["accepted"] + sum(report["rejected"].values()) == attempts, report
    assert report["seconds"] > 0 and report["attempts_per_second"] > 0, report
    assert report["accepted_per_second"] > 0, report
    for name in ("latency_ms", "accepted_latency_ms"):
        assert LATENCIES <= set(report[name]), report
        assert report[name]["p50"] <= report[name]["p99"] <= report[name]["max"], report


def check_one_order_a_buyer(server, sale: str) -> None:
    orders = server.list_all(f"/v1/sales/{sale}/orders")
    assert len(orders) == STOCK
    assert len({order["order_id"] for order in orders}) == STOCK
    assert len({order["user_id"] for order in orders}) == STOCK
    assert {order["quantity"] for order in orders} == {1}


def test_a_rush_sells_each_unit_exactly_once(server):
    sale = server.create_sale(STOCK)
    result = server.cli("load", "--sale", sale, "--buyers", BUYERS, "--attempts-per-buyer", 3,
                        "--connections", 64, bound_s=LOAD_S)
    assert result.status == 0, result
    report = result.json()
    check_load_report(report, BUYERS * 3)
    assert report["accepted"] == STOCK, report

    audit = audit_when_stored(server, sale)
    contract.check_audit(audit, stock=STOCK, sold=STOCK, remaining=0, inventory_remaining=0,
                         log_accepted_units=STOCK)
    assert audit["orders"] == {**audit["orders"], "confirmed": STOCK}
    assert sum(audit["orders"].values()) == STOCK
    check_one_order_a_buyer(server, sale)
    assert server.sale(sale)["sold_out"] is True


def test_a_rush_with_idempotency_keys_sells_each_unit_exactly_once(server):
    sale = server.create_sale(STOCK)
    result = server.cli("load", "--sale", sale, "--buyers", BUYERS, "--attempts-per-buyer", 3,
                        "--connections", 64, "--keys", bound_s=LOAD_S)
    assert result.status == 0, result
    report = result.json()
    assert report["attempts"] == BUYERS * 3 and report["errors"] == 0, report
    assert set(report["rejected"]) <= {"sold_out", "limit_reached"}, report
    assert report["rejected"].get("limit_reached", 0) == 0, \
        f"a retry with the buyer's key is the order again, not a second one: {report}"
    audit = audit_when_stored(server, sale)
    contract.check_audit(audit, stock=STOCK, sold=STOCK, inventory_remaining=0)
    check_one_order_a_buyer(server, sale)


def test_quantities_up_to_a_limit_of_three_never_oversell(server):
    buyers, stock = scaled(3_000), scaled(2_000)
    sale = server.create_sale(stock, per_user_limit=3)
    dice = random.Random(20_250)
    attempts = [(f"buyer-{number}", dice.randint(1, 3))
                for number in range(buyers) for _ in range(4)]
    dice.shuffle(attempts)
    sold = collections.Counter()
    refused = collections.Counter()
    orders = set()

    def on_answer(tag, status, _head, body):
        user, quantity = tag
        answer = json.loads(body)
        if status == 202:
            assert answer["user_id"] == user and answer["quantity"] == quantity, answer
            assert answer["order_id"] not in orders, "an order id was given out twice"
            orders.add(answer["order_id"])
            sold[user] += quantity
        else:
            refused[answer["code"]] += 1

    run_all(server, (((user, quantity), server.purchase_bytes(sale, user, quantity))
                     for user, quantity in attempts), on_answer, connections=64)
    # Whoever wanted several may have left the last ones; single units find them all.
    run_all(server, (((f"late-{number}", 1), server.purchase_bytes(sale, f"late-{number}", 1))
                     for number in range(5)), on_answer)

    assert sum(sold.values()) == stock
    assert max(sold.values()) <= 3
    assert set(refused) <= {"sold_out", "limit_reached"}, refused
    contract.check_audit(audit_when_stored(server, sale), stock=stock, sold=stock,
                         inventory_remaining=0, log_accepted_units=stock)
    listed = server.list_all(f"/v1/sales/{sale}/orders")
    assert {order["order_id"] for order in listed} == orders
    per_user = collections.Counter()
    for order in listed:
        per_user[order["user_id"]] += order["quantity"]
    assert per_user == sold


def test_two_sales_at_once_do_not_mix(server):
    stocks = {server.create_sale(stock): stock for stock in (scaled(300), scaled(500))}
    sold = collections.Counter()

    def on_answer(tag, status, _head, body):
        if status == 202:
            assert json.loads(body)["sale_id"] == tag
            sold[tag] += 1

    requests = [(sale, server.purchase_bytes(sale, f"buyer-{number}"))
                for sale in stocks for number in range(scaled(2_000))]
    random.Random(7).shuffle(requests)
    run_all(server, requests, on_answer, connections=32, depth=4)
    assert dict(sold) == stocks
    for sale, stock in stocks.items():
        contract.check_audit(server.audit(sale), sold=stock)


def test_open_loop_load_reports_what_it_did(server):
    sale = server.create_sale(50)
    result = server.cli("load", "--sale", sale, "--buyers", 200, "--rate", 400, "--duration",
                        "1s", "--connections", 8, bound_s=LOAD_S)
    assert result.status == 0, result
    report = result.json()
    assert report["errors"] == 0 and 0 < report["attempts"], report
    assert report["accepted"] <= 50, report
    contract.check_audit(server.audit(sale), sold=report["accepted"])
