"""What becomes of an order after the yes: paid, cancelled, expired; and its units go on sale again.

The table of the contract, row by row, then what a change does to the sale, across restarts, and
with many changes at once.
"""

import collections
import contextlib
import datetime
import json
import random
import sqlite3
import threading
import time

import pytest

from harness import contract, orders
from harness.orders import cancel, cancelled, check_refusal, has_remaining, paid, pay, reaches
from harness.server import fresh_name
from harness.settings import BOUND_S, SLOW, scaled
from harness.swarm import run_all
from harness.waiting import eventually
from harness.wire import build_request

TOKEN = "correct-horse-battery-staple"
LONG_S = 600  # a payment timeout that no test waits for
STOCK = 5


class Case:
    """An order of a sale of its own, brought into a state."""

    def __init__(self, server, state: str):
        timeout = {"no payment step": 0, "expired": 1}.get(state, LONG_S)
        self.server = server
        self.sale = server.create_sale(STOCK, payment_timeout_s=timeout)
        self.user = fresh_name("buyer")
        self.id = server.bought(self.sale, self.user)["order_id"]
        self.status = state
        if state in ("payment due", "no payment step"):
            self.status = "confirmed"
            server.confirmed(self.id, self.user)
        elif state == "paid":
            paid(server, self.id, "first")
        elif state == "cancelled":
            cancelled(server, self.id, self.user)
        elif state == "expired":
            reaches(server, self.id, self.user, "expired")
        self.before = self.shown()

    def shown(self) -> dict:
        return orders.shown_to(self.server, self.id, self.user)

    def act(self, action: str):
        if action == "cancel":
            return cancel(self.server, self.id, self.user)
        return pay(self.server, self.id, action.removeprefix("pay "))


# -- the table ----------------------------------------------------------------------------------

@pytest.mark.parametrize("state,action,after", [
    ("payment due", "pay first", "paid"),
    ("payment due", "cancel", "cancelled"),
    ("no payment step", "pay first", "not_payable"),
    ("no payment step", "cancel", "not_cancellable"),
    ("paid", "pay first", "paid"),
    ("paid", "pay second", "not_payable"),
    ("paid", "cancel", "not_cancellable"),
    ("cancelled", "pay first", "not_payable"),
    ("cancelled", "cancel", "cancelled"),
    ("expired", "pay first", "not_payable"),
    ("expired", "cancel", "not_cancellable"),
])
def test_what_an_order_allows(server, state, action, after):
    case = Case(server, state)
    for _ in range(2):  # asked again, it answers the same
        response = case.act(action)
        if after.startswith("not_"):
            check_refusal(response, after, case.id, case.status)
            assert case.shown() == case.before, "a refusal changes nothing"
        else:
            body = orders.check_order(contract.expect(response, 200))
            assert body["status"] == after, body
            assert body == case.shown(), "the answer is the order"
            assert body["version"] == 2 and body["expires_at"] == case.before["expires_at"], body
            if case.status == after:
                assert body == case.before, "done already: nothing changes"
    final = case.shown()
    if final["status"] == "paid":
        assert final["payment_ref"] == "first", final
    kept = final["status"] in orders.LIVE
    has_remaining(server, case.sale, STOCK - kept)
    counts = {name: number for name, number in server.audit(case.sale)["orders"].items() if number}
    assert counts == {final["status"]: 1}


def test_an_order_without_a_payment_step_never_expires(server):
    case = Case(server, "no payment step")
    assert case.before["expires_at"] is None and case.before["version"] == 1
    # Whatever would expire at all has expired by the time that a younger order has.
    Case(server, "expired")
    assert case.shown() == case.before


def test_a_paid_order_never_expires(server):
    sale = server.create_sale(STOCK, payment_timeout_s=5)
    first = server.bought(sale, "pays")["order_id"]
    shown = paid(server, first)
    second = server.bought(sale, "does-not")["order_id"]
    reaches(server, second, "does-not", "expired")
    assert orders.shown_to(server, first, "pays") == shown
    has_remaining(server, sale, STOCK - 1)


def test_an_order_expires_so_long_after_it_was_stored(server):
    for timeout in (30, 90, 86_400):
        sale = server.create_sale(STOCK, payment_timeout_s=timeout)
        assert server.sale(sale)["payment_timeout_s"] == timeout
        order = server.bought(sale, "buyer")
        shown = server.confirmed(order["order_id"], "buyer")
        orders.check_order(shown, timeout)
        expires = contract.time_of(shown["expires_at"])
        least = datetime.timedelta(seconds=timeout) - orders.CLOCK_STEP
        now = datetime.datetime.now(datetime.timezone.utc)
        assert contract.time_of(order["created_at"]) + least <= expires
        assert expires <= now + datetime.timedelta(seconds=timeout), shown


def test_versions_count_the_changes(server):
    sale = server.create_sale(STOCK, payment_timeout_s=1)
    order = server.bought(sale, "buyer")["order_id"]
    seen = []

    def look():
        shown = orders.shown_to(server, order, "buyer")
        if not seen or seen[-1]["version"] != shown["version"]:
            seen.append(shown)
        assert seen[-1] == shown, "another order, another version"
        return shown["status"] == "expired"

    eventually(look, "the order expires")
    versions = [shown["version"] for shown in seen]  # a slow look misses some
    assert versions == sorted(set(versions)) and versions[-1] == 2, versions


# -- who may, and what must be said -------------------------------------------------------------

def test_nobody_cancels_the_order_of_another(server):
    case = Case(server, "payment due")
    contract.expect(cancel(server, case.id, "someone-else"), 404, "not_found")
    contract.expect(cancel(server, case.id), 401, "unauthorized")
    assert case.shown() == case.before
    cancelled(server, case.id, case.user)
    contract.expect(cancel(server, case.id, "someone-else"), 404, "not_found")


def test_an_administrator_cancels_any_order(make_server):
    server = make_server(admin_token=TOKEN)
    sale = server.create_sale(STOCK, payment_timeout_s=LONG_S)
    for headers in ({}, {"X-User-Id": "someone-else"}):
        user = fresh_name("buyer")
        order = server.bought(sale, user)["order_id"]
        body = contract.expect(server.admin("POST", f"/v1/orders/{order}/cancel", None, headers),
                               200)
        assert body["status"] == "cancelled" and body["user_id"] == user, body
    has_remaining(server, sale, STOCK)


@pytest.mark.parametrize("headers", [
    {}, {"X-User-Id": "buyer"}, {"Authorization": "Bearer wrong"},
    {"Authorization": f"Bearer {TOKEN}x", "X-User-Id": "buyer"}])
def test_only_an_administrator_says_that_an_order_is_paid(make_server, headers):
    server = make_server(admin_token=TOKEN)
    sale = server.create_sale(STOCK, payment_timeout_s=LONG_S)
    order = server.bought(sale, "buyer")["order_id"]
    response = server.call("POST", f"/v1/orders/{order}/pay", headers, {"payment_ref": "mine"})
    assert response.status in (401, 403), response
    assert server.confirmed(order, "buyer")["status"] == "confirmed"
    paid(server, order)


@pytest.mark.parametrize("body,field", [
    (b"", None), (b"{}", "payment_ref"), (b'{"payment_ref":5}', "payment_ref"),
    (b'{"payment_ref":null}', "payment_ref"), (b'{"payment_ref":""}', "payment_ref"),
    (b'{"payment_ref":["x"]}', "payment_ref"), (b'{"payment_ref":"a\\u0007b"}', "payment_ref"),
    (b'{"payment_ref":"a\\u0000b"}', "payment_ref"),
    (b'{"payment_ref":"%s"}' % (b"x" * 10_000), "payment_ref"),
    (b'{"payment_ref":"x","payment_ref":"x"}', "payment_ref"),
    (b'{"payment_ref":"x","amount":5}', "amount"), (b'"x"', None), (b'{"payment_ref":"x"', None)])
def test_a_payment_says_which_one_it_is(server, body, field):
    case = Case(server, "payment due")
    response = server.admin("POST", f"/v1/orders/{case.id}/pay", body)
    contract.expect(response, 400, "invalid_request")
    assert field is None or field in response.text, response
    assert case.shown() == case.before


@pytest.mark.parametrize("ref", ["1", "x" * 255, "pi_3Nk/ü-日本", "=1+1", 'quoted " \\'])
def test_a_payments_name_comes_back_as_it_was_given(server, ref):
    case = Case(server, "payment due")
    assert paid(server, case.id, ref)["payment_ref"] == ref
    assert case.shown()["payment_ref"] == ref
    paid(server, case.id, ref)
    check_refusal(pay(server, case.id, "y" + ref[1:]), "not_payable", case.id, "paid")


def test_bodies_that_pay_and_cancel_do_not_take(server):
    case = Case(server, "payment due")
    for action in ("pay", "cancel"):
        path = f"/v1/orders/{case.id}/{action}"
        headers = {"X-User-Id": case.user}
        contract.expect(server.call("GET", path, headers), 405, "method_not_allowed")
        contract.expect(server.call("POST", path, headers, b'{"payment_ref":"x"}',
                                    content_type="text/plain"), 415, "unsupported_media_type")
    response = server.call("POST", f"/v1/orders/{case.id}/cancel", {"X-User-Id": case.user},
                           {"reason": "too dear"})
    contract.expect(response, 400, "invalid_request")
    assert case.shown() == case.before


@pytest.mark.parametrize("known", [True, False])
def test_orders_that_do_not_exist(server, known):
    order = "no-such-order"
    if known:  # as the server writes ids, but of no order
        order = Case(server, "payment due").id
        order = order[:-4] + ("0000" if order[-4:] != "0000" else "1111")
    for response in (pay(server, order, "x"), cancel(server, order, "buyer")):
        assert response.status in ((404,) if known else (400, 404)), response


# -- at once behind the yes ---------------------------------------------------------------------

@pytest.mark.parametrize("action", ["pay", "cancel"])
def test_a_change_right_behind_the_yes_waits_for_the_store(server, action):
    count = scaled(100, 20)
    sale = server.create_sale(count, payment_timeout_s=LONG_S)
    late = 0

    def changed(connection, data: bytes):
        """The answer; a 503 comes behind the 2 s that are promised, never before."""
        nonlocal late
        for _ in range(5):
            asked = time.monotonic()
            connection.send(data)
            response = connection.read_response()
            if response.status != 503:
                return response
            assert time.monotonic() - asked > 1.9, f"turned away before its time: {response}"
            late += 1
        return response

    with server.connect() as connection:
        for number in range(count):
            user = f"buyer-{number}"
            connection.send(server.purchase_bytes(sale, user))
            order = contract.expect(connection.read_response(), 202)["order_id"]
            data = orders.pay_bytes(server, order, f"of-{user}") if action == "pay" \
                else orders.cancel_bytes(server, order, user)
            body = orders.check_order(contract.expect(changed(connection, data), 200))
            assert body["user_id"] == user and body["version"] == 2, body
    assert late <= count // 10, f"{late} of {count} waited in vain: no pause of the machine's"
    has_remaining(server, sale, 0 if action == "pay" else count)


# -- giving back --------------------------------------------------------------------------------

def end(server, how: str, order: str, user: str) -> None:
    if how == "cancelled":
        cancelled(server, order, user)
    else:
        reaches(server, order, user, "expired")


def can_buy(server, sale: str, user: str, quantity: int = 1) -> str:
    """Buys as soon as the units that are on their way back have arrived; the order's id."""
    def attempt():
        response = server.buy(sale, user, quantity)
        if response.status == 202:
            return response.json()["order_id"]
        assert response.code in ("sold_out", "limit_reached"), response
        return None
    return eventually(attempt, f"{user} can buy {quantity} of {sale}")


@pytest.mark.parametrize("how", ["cancelled", "expired"])
def test_the_units_are_for_sale_again(server, how):
    sale = server.create_sale(3, payment_timeout_s=5 if how == "expired" else LONG_S,
                              per_user_limit=3)
    order = server.bought(sale, "first", 3)["order_id"]
    assert server.sale(sale)["sold_out"] is True
    contract.expect(server.buy(sale, "second"), 409, "sold_out")
    end(server, how, order, "first")
    second = can_buy(server, sale, "second", 3)
    paid(server, second)
    contract.expect(server.buy(sale, "third"), 409, "sold_out")
    audit = contract.check_audit(server.audit(sale), sold=3, inventory_remaining=0,
                                 log_accepted_units=6)
    assert audit["orders"][how] == 1 and audit["orders"]["paid"] == 1, audit


@pytest.mark.parametrize("how", ["cancelled", "expired"])
def test_the_users_limit_is_free_again(server, how):
    sale = server.create_sale(50, payment_timeout_s=5 if how == "expired" else LONG_S)
    for _ in range(2):
        order = server.bought(sale, "buyer")["order_id"]
        problem = contract.expect(server.buy(sale, "buyer"), 409, "limit_reached")
        assert problem["order_id"] == order
        end(server, how, order, "buyer")
        order = can_buy(server, sale, "buyer")
        end(server, how, order, "buyer")
        has_remaining(server, sale, 50)


def test_the_limit_names_the_latest_order_that_lives(server):
    sale = server.create_sale(50, payment_timeout_s=LONG_S, per_user_limit=2)
    first, second = (server.bought(sale, "buyer")["order_id"] for _ in range(2))

    def named(quantity: int = 1):
        return contract.expect(server.buy(sale, "buyer", quantity), 409,
                               "limit_reached").get("order_id")

    assert named() == second
    cancelled(server, second, "buyer")
    has_remaining(server, sale, 49)
    assert named(2) == first, "the one that was cancelled is no order of the user's any more"
    third = server.bought(sale, "buyer")["order_id"]
    assert named() == third
    paid(server, third)
    assert named() == third
    cancelled(server, first, "buyer")
    has_remaining(server, sale, 49)
    assert named(2) == third
    assert named(3) == third
    fourth = server.bought(sale, "buyer")["order_id"]
    assert named() == fourth
    cancelled(server, fourth, "buyer")
    has_remaining(server, sale, 49)
    assert named(2) == third


def test_the_limit_names_the_latest_order_that_lives_after_a_crash_too(make_server):
    server = make_server()
    sale = server.create_sale(50, payment_timeout_s=LONG_S, per_user_limit=4)
    ids = [server.bought(sale, "buyer")["order_id"] for _ in range(4)]
    cancelled(server, ids[3], "buyer")
    cancelled(server, ids[1], "buyer")
    server.kill()
    server.start()
    for ended, named in ((None, ids[2]), (ids[2], ids[0]), (ids[0], None)):
        if ended is not None:
            cancelled(server, ended, "buyer")
        problem = eventually(lambda named=named: refused_by_limit(server, sale, 5, named),
                             f"the limit names {named}")
        assert problem["code"] == "limit_reached", problem
    has_remaining(server, sale, 50)


def refused_by_limit(server, sale: str, quantity: int, named: str):
    problem = contract.expect(server.buy(sale, "buyer", quantity), 409, "limit_reached")
    return problem if problem.get("order_id") == named else None


def test_more_than_the_limit_names_no_order_when_none_lives(server):
    sale = server.create_sale(50, payment_timeout_s=LONG_S, per_user_limit=2)
    cancelled(server, server.bought(sale, "buyer", 2)["order_id"], "buyer")
    has_remaining(server, sale, 50)
    problem = contract.expect(server.buy(sale, "buyer", 3), 409, "limit_reached")
    assert problem.get("order_id") is None, problem


def test_the_key_of_an_order_that_ended_is_still_bound(make_server):
    server = make_server()
    sale = server.create_sale(STOCK, payment_timeout_s=LONG_S, per_user_limit=2)
    order = server.bought(sale, "buyer", 2, key="the key")

    def replayed():
        response = server.buy(sale, "buyer", 2, key="the key")
        assert contract.expect(response, 202) == order
        assert response.header("idempotency-replayed") == "true"
        contract.expect(server.buy(sale, "buyer", 1, key="the key"), 422, "idempotency_mismatch")
        shown = orders.shown_to(server, order["order_id"], "buyer")
        assert shown["status"] == "cancelled", shown

    cancelled(server, order["order_id"], "buyer")
    replayed()
    has_remaining(server, sale, STOCK)  # a replay takes no stock
    replayed()
    server.kill()
    server.start()
    replayed()
    has_remaining(server, sale, STOCK)
    server.close_sale(sale)
    replayed()


def test_every_core_hears_that_units_came_back(make_server):
    """Connections are spread over the threads; each must see the flag fall and buy again."""
    server = make_server(settings={"server.threads": 4})
    lines = 64
    sale = server.create_sale(lines, payment_timeout_s=LONG_S)
    connections = [server.connect() for _ in range(lines)]
    look = build_request("GET", f"/v1/sales/{sale}", server.host)

    def ask_all(requests) -> list:
        for connection, request in zip(connections, requests):
            connection.send(request)
        return [contract.check_answer(connection.read_response()) for connection in connections]

    def all_see(remaining: int) -> None:
        def same():
            shown = [response.json() for response in ask_all([look] * lines)]
            return all(sale["remaining"] == remaining and sale["sold_out"] is (remaining == 0)
                       for sale in shown)
        eventually(same, f"every connection sees {remaining} units")

    try:
        for turn in range(scaled(5, 2)):
            users = [f"turn-{turn}-buyer-{number}" for number in range(lines)]
            bought = [contract.expect(response, 202)["order_id"] for response in ask_all(
                server.purchase_bytes(sale, user) for user in users)]
            all_see(0)
            for response in ask_all(server.purchase_bytes(sale, f"{user}-late")
                                    for user in users):
                contract.expect(response, 409, "sold_out")
            # One unit alone must be seen as well: the flag falls at the first.
            cancelled(server, bought[0], users[0])
            all_see(1)
            answers = ask_all(orders.cancel_bytes(server, order, user)
                              for order, user in zip(bought, users))
            for order, user, response in zip(bought, users, answers):
                if response.status == 503:  # the store stood still for its 2 s
                    cancelled(server, order, user)
                else:
                    assert contract.expect(response, 200)["status"] == "cancelled"
            all_see(lines)
        contract.check_audit(server.audit(sale), sold=0, inventory_remaining=lines)
    finally:
        for connection in connections:
            connection.close()


def test_one_unit_goes_round(server):
    sale = server.create_sale(1, payment_timeout_s=LONG_S)
    turns = scaled(60, 10)
    for turn in range(turns):
        user = f"buyer-{turn}"
        order = can_buy(server, sale, user)
        contract.expect(server.buy(sale, "always-late"), 409, "sold_out")
        cancelled(server, order, user)
    has_remaining(server, sale, 1)
    audit = contract.check_audit(server.audit(sale), log_accepted_units=turns)
    assert audit["orders"]["cancelled"] == turns, audit


def test_orders_of_a_closed_sale_live_on(make_server):
    server = make_server()
    sale = server.create_sale(10, payment_timeout_s=10, per_user_limit=10)
    ids = [server.bought(sale, "buyer")["order_id"] for _ in range(5)]
    paid(server, ids[0])
    server.close_sale(sale)
    paid(server, ids[1])
    cancelled(server, ids[2], "buyer")
    server.kill()
    server.start()
    reaches(server, ids[3], "buyer", "expired")
    reaches(server, ids[4], "buyer", "expired")
    check_refusal(pay(server, ids[4], "late"), "not_payable", ids[4], "expired")
    contract.expect(server.buy(sale, "buyer"), 410, "closed")

    def balanced():
        audit = contract.check_audit(server.audit(sale), stock=10, sold=2)
        return {name: number for name, number in audit["orders"].items() if number} \
            == {"paid": 2, "cancelled": 1, "expired": 2}
    eventually(balanced, "the books of the closed sale are right")


# -- too late -----------------------------------------------------------------------------------

def test_a_late_payment_hears_the_truth_and_the_unit_is_sold_again(server):
    sale = server.create_sale(1, payment_timeout_s=5)
    order = server.bought(sale, "late")["order_id"]
    expires = contract.time_of(server.confirmed(order, "late")["expires_at"])
    orders.await_moment(expires + orders.CLOCK_STEP)
    # At once: whether or not the expiry has come around to this order.
    check_refusal(pay(server, order, "late-money"), "not_payable", order, "expired")
    assert orders.shown_to(server, order, "late")["status"] == "expired"
    second = can_buy(server, sale, "in-time")
    paid(server, second)
    check_refusal(pay(server, order, "late-money"), "not_payable", order, "expired")
    contract.check_audit(server.audit(sale), sold=1, inventory_remaining=0)


def buy_many(server, sale: str, count: int) -> dict:
    """So many buyers with one unit each, all stored; their orders by id."""
    users = {}

    def on_purchase(user, status, _head, body):
        assert status == 202, (user, status, body)
        users[json.loads(body)["order_id"]] = user

    run_all(server, ((user, server.purchase_bytes(sale, user))
                     for user in (f"buyer-{number}" for number in range(count))), on_purchase)
    stored = {}

    def on_order(order, status, _head, body):
        shown = orders.check_order(json.loads(body))
        if status == 200 and shown["status"] != "queued":
            stored[order] = shown

    def look():
        run_all(server, ((order, server.order_bytes(order, user))
                         for order, user in users.items() if order not in stored), on_order)
        return len(stored) == count
    eventually(look, f"{count} orders are stored")
    return stored


def race_payments_with_expiry(server, dice, count: int) -> collections.Counter:
    """Orders that are paid about when they expire. How many each side won, all of it checked."""
    sale = server.create_sale(count, payment_timeout_s=3)
    stored = buy_many(server, sale, count)
    # From well before the time to a little after it, most of them close by.
    plan = sorted((contract.time_of(order["expires_at"]) + datetime.timedelta(
        seconds=dice.choice((dice.uniform(-0.4, 0.05), dice.gauss(0, 0.01)))), order["order_id"])
        for order in stored.values())
    connections = [server.connect() for _ in plan]
    won = {}
    try:
        for (moment, order), connection in zip(plan, connections):
            orders.await_moment(moment)
            connection.send(orders.pay_bytes(server, order, f"for-{order}"))
        for (moment, order), connection in zip(plan, connections):
            response = contract.check_answer(connection.read_response())
            if response.status == 200:
                shown = orders.check_order(response.json())
                assert shown["status"] == "paid", shown
                assert moment < contract.time_of(shown["expires_at"]) + orders.CLOCK_STEP, \
                    f"sent at {moment}, too late: {shown}"
            else:
                check_refusal(response, "not_payable", order, "expired")
            won[order] = "paid" if response.status == 200 else "expired"
    finally:
        for connection in connections:
            connection.close()
    counts = collections.Counter(won.values())

    has_remaining(server, sale, counts["expired"])
    for order, winner in won.items():
        shown = orders.shown_to(server, order, stored[order]["user_id"])
        assert shown["status"] == winner, f"answered {winner}: {shown}"
        if winner == "paid":
            paid(server, order, f"for-{order}")
    audit = contract.check_audit(server.audit(sale), stock=count, sold=counts["paid"],
                                 inventory_remaining=counts["expired"])
    assert audit["orders"] == {**audit["orders"], **counts, "confirmed": 0, "queued": 0}, audit
    return counts


def test_payment_and_expiry_at_the_same_instant_have_one_winner(server):
    dice = random.Random(3)
    for _ in range(5):  # where the machine stands still for the moment in question, no race is run
        counts = race_payments_with_expiry(server, dice, scaled(200, 40))
        if counts["paid"] > 0 and counts["expired"] > 0:
            return
    pytest.fail(f"no race was run: {counts}")


# -- many at once -------------------------------------------------------------------------------

def test_of_many_changes_at_once_each_order_takes_one(make_server):
    server = make_server(settings={"server.threads": 4})
    dice = random.Random(11)
    count = scaled(1_000, 100)
    sale = server.create_sale(count, payment_timeout_s=LONG_S)
    stored = buy_many(server, sale, count)
    todo = [(order, action) for order in stored for action in ("pay a", "pay b", "cancel")]
    dice.shuffle(todo)
    taken, refused = {}, collections.defaultdict(list)
    shed = []

    def request(order, action):
        if action == "cancel":
            return orders.cancel_bytes(server, order, stored[order]["user_id"])
        return orders.pay_bytes(server, order, action.removeprefix("pay "))

    def on_answer(tag, status, _head, body):
        order, action = tag
        answer = json.loads(body)
        if status == 503:
            shed.append(tag)
        elif status == 200:
            shown = orders.check_order(answer)
            assert shown["status"] == ("cancelled" if action == "cancel" else "paid"), shown
            assert order not in taken, f"{taken[order]} and {action}: {shown}"
            taken[order] = (action, shown)
        else:
            assert status == 409 and answer["order_id"] == order, (tag, status, body)
            assert answer["code"] == ("not_cancellable" if action == "cancel" else "not_payable")
            refused[order].append(answer["order_status"])

    def settled():
        again, shed[:] = list(shed), []
        run_all(server, ((tag, request(*tag)) for tag in again), on_answer, connections=64)
        return not shed

    run_all(server, ((tag, request(*tag)) for tag in todo), on_answer, connections=64, depth=2)
    eventually(settled, "every change is decided")
    assert len(taken) == count
    kinds = collections.Counter()
    for order, (action, shown) in taken.items():
        kinds[action] += 1
        assert refused[order] == [shown["status"]] * 2, (action, shown, refused[order])
        assert orders.shown_to(server, order, shown["user_id"]) == shown
        if action != "cancel":
            assert shown["payment_ref"] == action.removeprefix("pay "), shown
    assert min(kinds.values()) > 0, f"a race has more than one winner in a while: {kinds}"
    has_remaining(server, sale, kinds["cancel"])
    audit = contract.check_audit(server.audit(sale), sold=count - kinds["cancel"])
    assert audit["orders"] == {**audit["orders"], "cancelled": kinds["cancel"],
                               "paid": count - kinds["cancel"]}, audit


@pytest.mark.parametrize("action", ["pay", "cancel"])
def test_the_same_change_many_times_at_once_is_one(server, action):
    case = Case(server, "payment due")
    request = orders.pay_bytes(server, case.id, "once") if action == "pay" \
        else orders.cancel_bytes(server, case.id, case.user)
    answers = []
    run_all(server, ((None, request) for _ in range(200)),
            lambda _tag, status, _head, body: answers.append((status, body)), connections=32)
    # Where the store stood still for 2 s, they hear 503, and one asks again.
    last = orders.decided(lambda: case.act("pay once" if action == "pay" else action), action)
    answers = [answer for answer in answers if answer[0] != 503] + [(last.status, last.body)]
    assert {status for status, _ in answers} == {200}, collections.Counter(answers)
    assert len({body for _, body in answers}) == 1, "one change, one answer"
    assert json.loads(answers[0][1]) == case.shown()
    has_remaining(server, case.sale, STOCK - (action == "pay"))


# -- across restarts ----------------------------------------------------------------------------

def test_what_comes_due_while_nobody_runs_expires_at_the_start(make_server):
    server = make_server()
    sale = server.create_sale(2, payment_timeout_s=10)
    order = server.bought(sale, "buyer")["order_id"]
    kept = server.bought(sale, "payer")["order_id"]
    paid(server, kept)
    expires = contract.time_of(server.confirmed(order, "buyer")["expires_at"])
    server.kill()
    assert orders.seconds_until(expires) > 0, "killed before it was due"
    orders.await_moment(expires)
    server.start()
    shown = reaches(server, order, "buyer", "expired")
    assert contract.time_of(shown["expires_at"]) == expires, shown
    check_refusal(pay(server, order, "late"), "not_payable", order, "expired")
    has_remaining(server, sale, 1)
    can_buy(server, sale, "buyer")
    assert orders.shown_to(server, kept, "payer")["status"] == "paid"


def test_what_comes_due_after_a_restart_expires_at_its_time(make_server):
    server = make_server()
    sale = server.create_sale(1, payment_timeout_s=4)
    order = server.bought(sale, "buyer")["order_id"]
    before = server.confirmed(order, "buyer")
    server.kill()
    server.start()
    shown = orders.shown_to(server, order, "buyer")
    if shown["status"] == "confirmed":  # else the start took longer than the time that was left
        assert shown == before
    # check_order, in reaches, sees to it that nothing expires early.
    reaches(server, order, "buyer", "expired")
    has_remaining(server, sale, 1)


@pytest.mark.parametrize("action", ["pay", "cancel"])
def test_an_answered_change_survives_a_kill(make_server, action):
    server = make_server()
    sale = server.create_sale(1, payment_timeout_s=LONG_S)
    order = server.bought(sale, "buyer")["order_id"]
    shown = paid(server, order, "kept") if action == "pay" else cancelled(server, order, "buyer")
    server.kill()
    server.start()
    assert orders.shown_to(server, order, "buyer") == shown
    if action == "pay":
        paid(server, order, "kept")
        check_refusal(pay(server, order, "other"), "not_payable", order, "paid")
        contract.expect(server.buy(sale, "second"), 409, "sold_out")
        has_remaining(server, sale, 0)
    else:
        cancelled(server, order, "buyer")
        has_remaining(server, sale, 1)
        can_buy(server, sale, "buyer")


def test_a_clean_stop_keeps_every_change(make_server):
    server = make_server()
    sale = server.create_sale(20, payment_timeout_s=LONG_S, per_user_limit=20)
    ids = [server.bought(sale, "buyer")["order_id"] for _ in range(20)]
    before = [paid(server, order) if number % 2 else cancelled(server, order, "buyer")
              for number, order in enumerate(ids)]
    server.restart()
    assert [orders.shown_to(server, order, "buyer") for order in ids] == before
    has_remaining(server, sale, 10)


# -- a store that is held up --------------------------------------------------------------------

@contextlib.contextmanager
def locked_store(server):
    """Another program holds the store's write lock, as a careless backup does."""
    store = sqlite3.connect(server.data / "orders.db", isolation_level=None, timeout=BOUND_S)
    try:
        store.execute("BEGIN IMMEDIATE")
        yield
        store.execute("ROLLBACK")
    finally:
        store.close()


class Asking(threading.Thread):
    """A call on a thread of its own: its answer, and how long it took."""

    def __init__(self, call, *arguments):
        super().__init__(daemon=True)
        self._call = (call, arguments)
        self.response = None
        self.seconds = None
        self.start()

    def run(self):
        call, arguments = self._call
        began = time.monotonic()
        self.response = call(*arguments)
        self.seconds = time.monotonic() - began

    def answer(self):
        self.join(BOUND_S)
        assert self.seconds is not None, "an answer or an exception"
        return self.response


def test_changes_of_a_queued_order_wait_two_seconds_for_the_store(make_server):
    server = make_server()
    sale = server.create_sale(10, payment_timeout_s=LONG_S)
    due = server.create_sale(1, payment_timeout_s=1)
    unpaid = server.bought(due, "unpaid")["order_id"]
    eventually(lambda: orders.shown_to(server, unpaid, "unpaid")["status"] != "queued",
               "it is stored, and may have expired already")
    with locked_store(server):
        ids = [server.bought(sale, f"buyer-{number}")["order_id"] for number in range(2)]
        asking = [Asking(pay, server, ids[0], "x"), Asking(cancel, server, ids[1], "buyer-1")]
        for each in asking:
            contract.expect(each.answer(), 503, "unavailable")
        slowest = max(each.seconds for each in asking)
        assert slowest < (30.0 if SLOW else 20.0), f"2 s are promised, it took {slowest:.1f} s"
        for number, order in enumerate(ids):
            assert orders.shown_to(server, order, f"buyer-{number}")["status"] == "queued"
    paid(server, ids[0], "x")
    cancelled(server, ids[1], "buyer-1")
    has_remaining(server, sale, 9)
    reaches(server, unpaid, "unpaid", "expired")
    has_remaining(server, due, 1)


def test_a_lowering_that_the_store_holds_up_happens_once_and_the_books_agree(make_server):
    server = make_server()
    sale = server.create_sale(10, payment_timeout_s=LONG_S)
    target = f"/v1/sales/{sale}/stock"
    change = ("POST", target, {"add": -3}, {"Idempotency-Key": "once"})
    with locked_store(server):
        for each in [Asking(server.admin, *change) for _ in range(2)]:
            contract.expect(each.answer(), 503, "unavailable")
    assert contract.expect(server.admin(*change), 200)["stock"] == 7
    has_remaining(server, sale, 7)  # an audit that does not balance meanwhile fails, too
    assert contract.expect(server.admin(*change), 200)["stock"] == 7
