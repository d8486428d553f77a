"""Webhooks: every change of an order reaches every receiver that wants it, at least once, under one
id, in the order's order, signed; whatever the receiver does and whenever the server restarts.

The receiver checks signatures, bodies and the order of events by itself: `receiver.check()`.
"""

import datetime
import json
import urllib.parse

import pytest

from harness import contract, orders
from harness.server import fresh_name
from harness.settings import scaled
from harness.swarm import run_all
from harness.waiting import eventually
from harness.webhook_receiver import Answer, WebhookReceiver

LONG_S = 600  # a payment timeout that no test waits for


@pytest.fixture
def receiver():
    with WebhookReceiver() as running:
        yield running


def settings(*endpoints: str, allow_private: str = "true", timeout_s: int = 2) -> str:
    return (f"[webhooks]\nallow_private = {allow_private}\ntimeout_s = {timeout_s}\n"
            f"endpoints = [{', '.join(endpoints)}]\n")


def buy_some(server, count: int, sale: str = None) -> list:
    """Orders of a sale with a payment step; their ids."""
    sale = sale or server.create_sale(count, payment_timeout_s=LONG_S)
    return [server.bought(sale, fresh_name("buyer"))["order_id"] for _ in range(count)]


def confirmed_ids(order_ids) -> set:
    return {f"{order}.1" for order in order_ids}


def listed(server) -> list:
    return server.list_all("/v1/webhooks")


def endpoint_of(server, receiver) -> dict:
    return next(one for one in listed(server) if one["url"] == receiver.url)


def waiting(server, receiver, state: str, limit: int = 1000) -> list:
    return server.list_all("/v1/webhooks/events", limit, endpoint=receiver.url, state=state)


def replay(server, receiver, **wish):
    return server.admin("POST", "/v1/webhooks/replay", {"endpoint": receiver.url, **wish})


def all_delivered(server, receiver) -> bool:
    return endpoint_of(server, receiver)["pending"] == 0


# -- what is told -------------------------------------------------------------------------------

def test_every_change_of_an_order_is_told(make_server, receiver):
    server = make_server(config=settings(receiver.endpoint()))
    sale = server.create_sale(10, payment_timeout_s=LONG_S, per_user_limit=2)
    short = server.create_sale(10, payment_timeout_s=1)
    users = {name: fresh_name(name) for name in ("payer", "canceller", "late")}
    paid = server.bought(sale, users["payer"], 2)["order_id"]
    dropped = server.bought(sale, users["canceller"])["order_id"]
    late = server.bought(short, users["late"])["order_id"]
    orders.paid(server, paid, 'ref "1"')
    orders.cancelled(server, dropped, users["canceller"])
    receiver.wait_for_ids({f"{order}.{version}" for order in (paid, dropped, late)
                           for version in (1, 2)})
    assert receiver.types_of(paid) == ["order.confirmed", "order.paid"]
    assert receiver.types_of(dropped) == ["order.confirmed", "order.cancelled"]
    assert receiver.types_of(late) == ["order.confirmed", "order.expired"]
    receiver.check()

    last = {one.order: one for one in receiver.accepted()}
    for order, user in ((paid, "payer"), (dropped, "canceller"), (late, "late")):
        event = last[order].event
        assert event["data"] == contract.expect(server.order(order, users[user]), 200)
        assert event["subject"] == order
        assert event["source"] == f"/v1/sales/{short if order == late else sale}"
        assert event["datacontenttype"] == "application/json"
        contract.time_of(event["time"])
    first = next(one for one in receiver.accepted() if one.id == f"{paid}.1").event["data"]
    assert first["status"] == "confirmed" and first["version"] == 1
    assert first["paid_at"] is None and first["payment_ref"] is None
    assert first["expires_at"] is not None


def test_an_endpoint_is_told_what_it_wants(make_server, receiver):
    with WebhookReceiver() as other:
        server = make_server(config=settings(receiver.endpoint("order.paid", "order.cancelled"),
                                             other.endpoint()))
        order, unpaid = buy_some(server, 2)
        orders.paid(server, order)
        other.wait_for_ids({f"{order}.1", f"{order}.2", f"{unpaid}.1"})
        receiver.wait_for_ids({f"{order}.2"})
        eventually(lambda: all_delivered(server, receiver), "nothing is left to tell")
        assert receiver.accepted_ids() == {f"{order}.2"}
        receiver.check()
        other.check()


def test_a_new_endpoint_is_told_of_what_comes_from_then_on(make_server, receiver):
    with WebhookReceiver() as other:
        server = make_server(config=settings(receiver.endpoint()))
        early = buy_some(server, 3)
        receiver.wait_for_ids(confirmed_ids(early))
        server.stop()
        server.config_file.write_text(settings(receiver.endpoint(), other.endpoint()),
                                      encoding="utf-8")
        server.start()
        late = buy_some(server, 3)
        other.wait_for_ids(confirmed_ids(late))
        receiver.wait_for_ids(confirmed_ids(late))
        assert other.accepted_ids() == confirmed_ids(late)


# -- receivers that misbehave -------------------------------------------------------------------

def test_a_difficult_receiver_gets_everything_in_order(make_server, receiver):
    server = make_server(config=settings(receiver.endpoint(), timeout_s=1))
    sale = server.create_sale(1000, payment_timeout_s=LONG_S)
    wanted = set()
    moods = [
        lambda: receiver.script(*[Answer(status=500)] * 5),
        lambda: receiver.script(*[Answer(close="unanswered")] * 5),
        lambda: receiver.script(*[Answer(close="halfway")] * 3, *[Answer(close="unread")] * 3),
        lambda: receiver.script(*[Answer(delay_s=1.5)] * 3),
        receiver.stop,
        lambda: receiver.script(*[Answer(status=429, headers=(("Retry-After", "1"),))] * 2),
    ]
    for mood in moods:
        mood()
        bought = buy_some(server, 10, sale)
        for order in bought[:5]:
            orders.paid(server, order)
        wanted |= confirmed_ids(bought) | {f"{order}.2" for order in bought[:5]}
        receiver.start()
        receiver.wait_for_ids(wanted)
    receiver.check()
    eventually(lambda: all_delivered(server, receiver), "nothing is left to tell")
    assert endpoint_of(server, receiver)["failing_since"] is None
    assert endpoint_of(server, receiver)["parked"] == 0


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_a_restart_in_the_middle_resumes(make_server, receiver, how):
    server = make_server(config=settings(receiver.endpoint()))
    early = buy_some(server, 20)
    receiver.wait_for_ids(confirmed_ids(early))
    receiver.behave(503)
    late = buy_some(server, 20)
    receiver.wait_for(lambda: any(one.answer.status == 503 for one in receiver.deliveries()),
                      "an attempt that fails")
    server.kill() if how == "kill" else server.stop()
    receiver.behave()
    server.start()
    receiver.wait_for_ids(confirmed_ids(early + late))
    receiver.check()

    # What was saved is not told again.
    eventually(lambda: all_delivered(server, receiver), "nothing is left to tell")
    server.stop()
    receiver.forget()
    server.start()
    last = buy_some(server, 1)
    receiver.wait_for_ids(confirmed_ids(last))
    assert receiver.accepted_ids() == confirmed_ids(last)


@pytest.mark.parametrize("mood", ["hangs", "refuses connections", "answers 500"])
def test_a_dead_receiver_slows_no_purchase(make_server, receiver, mood):
    server = make_server(config=settings(receiver.endpoint()))
    if mood == "hangs":
        receiver.behave(delay_s=3600)
    elif mood == "refuses connections":
        receiver.stop()
    else:
        receiver.behave(500)
    buyers = scaled(3000)
    stock = buyers // 3
    sale = server.create_sale(stock, payment_timeout_s=LONG_S)
    answers = {"accepted": 0, "sold_out": 0}

    def count(_, status, __, body):
        if status == 202:
            answers["accepted"] += 1
        else:
            assert json.loads(body)["code"] == "sold_out", body
            answers["sold_out"] += 1

    run_all(server,
            ((i, server.purchase_bytes(sale, f"buyer-{i}")) for i in range(buyers)), count)
    assert answers == {"accepted": stock, "sold_out": buyers - stock}
    eventually(lambda: server.audit(sale)["orders"]["confirmed"] == stock,
               "every order is in the store")
    assert server.audit(sale)["balanced"]
    server.stop()  # within its bound, whatever the receiver does


# -- what an operator sees and does -------------------------------------------------------------

def test_an_endpoint_that_is_gone_is_disabled_and_comes_back_by_command(make_server, receiver):
    server = make_server(config=settings(receiver.endpoint()))
    receiver.behave(410)
    bought = buy_some(server, 3)
    eventually(lambda: endpoint_of(server, receiver)["state"] == "disabled", "it is disabled")
    eventually(lambda: f"doorbuster webhook replay {receiver.url}" in server.output(),
               "the log says how to bring it back")
    assert receiver.secret not in server.output()
    shown = endpoint_of(server, receiver)
    assert "410" in shown["reason"] and shown["delivered"] == 0, shown
    eventually(lambda: len(waiting(server, receiver, "pending")) == 3, "all three wait")
    pending = waiting(server, receiver, "pending")
    assert {one["id"] for one in pending} == confirmed_ids(bought)
    assert [one["id"] for one in waiting(server, receiver, "pending", limit=1)] == \
        [one["id"] for one in pending]
    assert waiting(server, receiver, "parked") == []

    # A restart alone does not bring it back.
    server.restart()
    assert endpoint_of(server, receiver)["state"] == "disabled"
    receiver.behave()
    receiver.forget()
    result = server.cli("webhook", "replay", receiver.url)
    assert result.status == 0 and result.json()["state"] == "active", result
    receiver.wait_for_ids(confirmed_ids(bought))
    assert endpoint_of(server, receiver)["reason"] is None
    receiver.check()


def test_the_commands_list_and_replay(make_server, receiver):
    token = "correct-horse-battery-staple"
    server = make_server(config=settings(receiver.endpoint()), admin_token=token)
    environment = {"DOORBUSTER_ADMIN_TOKEN": token}

    def cli(*arguments):
        result = server.cli("webhook", *arguments, environment=environment)
        assert result.status == 0, result
        return result.json()

    first = buy_some(server, 2)
    receiver.wait_for_ids(confirmed_ids(first))
    eventually(lambda: all_delivered(server, receiver), "nothing is left to tell")
    moment = contract.rfc3339(datetime.datetime.now(datetime.timezone.utc))
    eventually(lambda: contract.rfc3339(datetime.datetime.now(datetime.timezone.utc)) > moment,
               "the next millisecond")
    since = contract.seconds_from_now(0)
    second = buy_some(server, 2)
    receiver.wait_for_ids(confirmed_ids(first + second))
    eventually(lambda: all_delivered(server, receiver), "nothing is left to tell")
    one, = cli("list")["items"]
    assert one["url"] == receiver.url and one["state"] == "active"
    assert one["delivered"] == 4 and one["pending"] == 0 and one["parked"] == 0
    assert cli("events", receiver.url)["items"] == []

    receiver.forget()
    cli("replay", receiver.url, "--event", f"{first[0]}.1")
    receiver.wait_for_ids({f"{first[0]}.1"})
    eventually(lambda: all_delivered(server, receiver), "nothing is left to tell")
    assert receiver.accepted_ids() == {f"{first[0]}.1"}
    receiver.forget()
    cli("replay", receiver.url, "--since", since)
    receiver.wait_for_ids(confirmed_ids(second))
    eventually(lambda: all_delivered(server, receiver), "nothing is left to tell")
    assert receiver.accepted_ids() == confirmed_ids(second)
    cli("replay", receiver.url, "--parked")
    receiver.check()

    table = server.cli("webhook", "list", json_output=False, environment=environment)
    assert table.status == 0 and receiver.url in table.stdout and "active" in table.stdout
    refused = server.cli("webhook", "replay", "http://else.example/", environment=environment)
    assert refused.status == 1, refused
    refused = server.cli("webhook", "replay", receiver.url, "--event", f"{first[0]}.9",
                         environment=environment)
    assert refused.status == 1, refused
    refused = server.cli("webhook", "list", environment={"DOORBUSTER_ADMIN_TOKEN": ""})
    assert refused.status == 1 and "admin token" in refused.stderr, refused
    assert server.call("GET", "/v1/webhooks").status == 401


def test_calls_that_are_wrong_are_refused(make_server, receiver):
    server = make_server(config=settings(receiver.endpoint()))
    quoted = urllib.parse.quote(receiver.url, safe="")
    for target in ("/v1/webhooks?limit=0", "/v1/webhooks/events", "/v1/webhooks?cursor=x",
                   f"/v1/webhooks/events?endpoint={quoted}&state=lost",
                   f"/v1/webhooks/events?endpoint={quoted}&cursor=-1"):
        contract.expect(server.admin("GET", target), 400, "invalid_request")
    contract.expect(server.admin("GET", "/v1/webhooks/events?endpoint=nobody"), 404, "not_found")
    for body in ({}, {"endpoint": receiver.url, "since": "yesterday"},
                 {"endpoint": receiver.url, "event_id": "x.1"},
                 {"endpoint": receiver.url, "parked": "yes"}, {"endpoint": 1},
                 {"endpoint": receiver.url, "parked": True, "since": contract.seconds_from_now(0)},
                 {"endpoint": receiver.url, "unknown": 1}):
        contract.expect(server.admin("POST", "/v1/webhooks/replay", body), 400,
                        "invalid_request")
    contract.expect(server.admin("POST", "/v1/webhooks/replay", {"endpoint": "nobody"}), 404,
                    "not_found")
    contract.expect(server.admin("POST", "/v1/webhooks"), 405, "method_not_allowed")


def test_without_endpoints_the_lists_are_empty(server):
    assert listed(server) == []
    contract.expect(server.admin("POST", "/v1/webhooks/replay", {"endpoint": "nobody"}), 404,
                    "not_found")


def test_metrics_count_deliveries(make_server, receiver):
    server = make_server(config=settings(receiver.endpoint(), timeout_s=20))
    receiver.script(Answer(status=500))
    bought = buy_some(server, 5)
    receiver.wait_for_ids(confirmed_ids(bought))
    eventually(lambda: all_delivered(server, receiver), "nothing is left to tell")
    label = f'endpoint="127.0.0.1:{receiver.port}"'
    lines = [f'doorbuster_webhook_deliveries_total{{{label},outcome="delivered"}} 5',
             f'doorbuster_webhook_deliveries_total{{{label},outcome="failed"}} 1',
             f'doorbuster_webhook_pending{{{label}}} 0']
    eventually(lambda: all(line in server.call("GET", "/metrics").body.decode()
                           for line in lines), f"the page has {lines}")


# -- private addresses --------------------------------------------------------------------------

def test_a_private_address_is_refused_without_the_setting(make_server, receiver):
    server = make_server(config=settings(receiver.endpoint(), allow_private="false"))
    buy_some(server, 1)
    eventually(lambda: endpoint_of(server, receiver)["last_error"], "an attempt fails")
    shown = endpoint_of(server, receiver)
    assert "allow_private" in shown["last_error"] or "loopback" in shown["last_error"], shown
    assert receiver.connections() == 0
