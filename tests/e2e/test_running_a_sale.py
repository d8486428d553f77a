"""Running a sale while it burns: what an operator does holds from the next request on, on every
core, is written down, and never takes a unit that was promised."""

import collections
import contextlib
import datetime
import json

import pytest

from harness import contract, orders
from harness.server import fresh_name
from harness.settings import scaled
from harness.swarm import run_all
from harness.wire import build_request

TOKEN = "correct-horse-battery-staple"
CONNECTIONS = 24  # enough for the kernel to give some to every core


def change_stock(server, sale: str, add: int, key: str = None):
    headers = {"Idempotency-Key": key} if key else None
    return server.admin("POST", f"/v1/sales/{sale}/stock", {"add": add}, headers)


def edit(server, sale: str, **fields) -> dict:
    return contract.expect(server.admin("PATCH", f"/v1/sales/{sale}", fields), 200)


def journal(server, sale: str, limit: int = 1000) -> list:
    return server.list_all(f"/v1/sales/{sale}/journal", limit=limit)


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc)


# -- on every core ------------------------------------------------------------------------------

class Crowd:
    """Connections that stay open, so that each request meets the core it met before."""

    def __init__(self, server):
        self.server = server
        self.stack = contextlib.ExitStack()
        self.connections = [self.stack.enter_context(server.connect())
                            for _ in range(CONNECTIONS)]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stack.close()

    def buy(self, sale: str, quantity: int = 1) -> list:
        """One purchase on every connection, each by a new user."""
        body = b'{"quantity":%d}' % quantity
        return [contract.check_answer(connection.request(
            "POST", f"/v1/sales/{sale}/purchases", {"X-User-Id": fresh_name("buyer")}, body))
            for connection in self.connections]

    def refused(self, sale: str, status: int, code: str) -> None:
        for response in self.buy(sale):
            contract.expect(response, status, code)

    def accepted(self, sale: str) -> None:
        for response in self.buy(sale):
            contract.expect(response, 202)

    def see(self, sale: str, **expected) -> None:
        for connection in self.connections:
            shown = contract.expect(connection.request("GET", f"/v1/sales/{sale}"), 200)
            for name, value in expected.items():
                assert shown[name] == value, f"{name} must be {value!r}: {shown}"


@pytest.fixture(name="crowd")
def _crowd(server):
    with Crowd(server) as crowd:
        yield crowd


def test_pausing_and_resuming_hold_from_the_next_request_on(server, crowd):
    sale = server.create_sale(10 * CONNECTIONS)
    for _ in range(3):
        crowd.accepted(sale)
        server.set_state(sale, "paused")
        crowd.refused(sale, 409, "paused")
        server.set_state(sale, "open")
    crowd.accepted(sale)
    contract.check_audit(server.audit(sale), sold=4 * CONNECTIONS)


def test_stock_goes_up_and_down_from_the_next_request_on(server, crowd):
    sale = server.create_sale(CONNECTIONS)
    crowd.accepted(sale)
    crowd.refused(sale, 409, "sold_out")
    server.restock(sale, 2 * CONNECTIONS)
    crowd.see(sale, stock=3 * CONNECTIONS, remaining=2 * CONNECTIONS, sold_out=False)
    crowd.accepted(sale)
    shown = server.restock(sale, -CONNECTIONS)
    assert (shown["stock"], shown["remaining"], shown["sold_out"]) == (2 * CONNECTIONS, 0, True)
    crowd.see(sale, stock=2 * CONNECTIONS, remaining=0, sold_out=True)
    crowd.refused(sale, 409, "sold_out")
    contract.check_audit(server.audit(sale), stock=2 * CONNECTIONS, sold=2 * CONNECTIONS,
                         inventory_remaining=0)


def test_a_limit_holds_from_the_next_request_on(server, crowd):
    sale = server.create_sale(10 * CONNECTIONS)
    for response in crowd.buy(sale, quantity=2):
        contract.expect(response, 409, "limit_reached")
    edit(server, sale, per_user_limit=2)
    for response in crowd.buy(sale, quantity=2):
        contract.expect(response, 202)


def test_starting_extending_and_closing_hold_from_the_next_request_on(server, crowd):
    sale = server.create_sale(10 * CONNECTIONS, starts_at=contract.seconds_from_now(3600))
    crowd.refused(sale, 409, "not_started")
    edit(server, sale, starts_at=contract.rfc3339(now()))
    crowd.accepted(sale)
    over = now()
    edit(server, sale, ends_at=contract.rfc3339(over))
    crowd.refused(sale, 410, "closed")
    edit(server, sale, ends_at=contract.seconds_from_now(3600))
    crowd.accepted(sale)
    server.close_sale(sale)
    crowd.refused(sale, 410, "closed")
    contract.expect(server.admin("PATCH", f"/v1/sales/{sale}",
                                 {"ends_at": contract.seconds_from_now(7200)}), 409,
                    "invalid_state")
    crowd.see(sale, state="closed")
    contract.check_audit(server.audit(sale), sold=2 * CONNECTIONS)


# -- to the millisecond -------------------------------------------------------------------------

def test_a_sale_starts_and_ends_at_its_millisecond(server):
    """Purchases all the way through: those before the start and after the end take nothing."""
    starts = contract.time_of(contract.seconds_from_now(5))
    ends = starts + datetime.timedelta(seconds=5)
    sale = server.create_sale(1_000_000, starts_at=contract.rfc3339(starts),
                              ends_at=contract.rfc3339(ends))
    answers = collections.Counter()
    taken = []
    too_early = []  # when those asked who heard so

    def requests():
        while answers["closed"] < CONNECTIONS:
            asked = datetime.datetime.now(datetime.timezone.utc)
            yield asked, server.purchase_bytes(sale, fresh_name("buyer"))

    def on_answer(asked, status, _head, body):
        answer = json.loads(body)
        answers[answer["code"] if status != 202 else "accepted"] += 1
        if status == 202:
            taken.append(contract.time_of(answer["created_at"]))
        elif answer["code"] == "not_started":
            too_early.append(asked)

    run_all(server, requests(), on_answer, connections=CONNECTIONS)
    assert set(answers) == {"not_started", "accepted", "closed"}, answers
    assert starts <= min(taken) and max(taken) < ends, (starts, min(taken), max(taken), ends)
    # Nobody who asks behind the start hears that it is to come; the two clocks are one machine's.
    assert max(too_early) < starts + datetime.timedelta(milliseconds=50), (max(too_early), starts)
    contract.check_audit(server.audit(sale), sold=answers["accepted"])


# -- lowering -----------------------------------------------------------------------------------

def test_lowering_takes_free_units_only(server):
    sale = server.create_sale(10, per_user_limit=4)
    server.bought(sale, "anna", 4)
    server.bought(sale, "berta", 3)
    problem = contract.expect(change_stock(server, sale, -4), 409, "below_sold")
    assert problem["remaining"] == 3
    contract.expect(change_stock(server, sale, -11), 409, "below_sold")
    shown = contract.expect(change_stock(server, sale, -3), 200)
    assert (shown["stock"], shown["remaining"], shown["sold_out"]) == (7, 0, True)
    contract.expect(server.buy(sale, "carla"), 409, "sold_out")
    assert contract.expect(change_stock(server, sale, -1), 409, "below_sold")["remaining"] == 0
    assert server.restock(sale, 1)["remaining"] == 1
    server.bought(sale, "carla")
    contract.check_audit(server.audit(sale), stock=8, sold=8, inventory_remaining=0)


def test_lowering_to_nothing(server):
    sale = server.create_sale(5)
    shown = contract.expect(change_stock(server, sale, -5), 200)
    assert (shown["stock"], shown["remaining"], shown["sold_out"]) == (0, 0, True)
    contract.check_audit(server.audit(sale), stock=0, sold=0, inventory_remaining=0)


def test_a_closed_or_missing_sale_is_not_lowered(server):
    sale = server.create_sale(5)
    server.close_sale(sale)
    contract.expect(change_stock(server, sale, -1), 409, "invalid_state")
    contract.expect(change_stock(server, "no-such-sale", -1), 404, "not_found")
    assert server.sale(sale)["stock"] == 5


def test_units_that_come_back_may_be_taken_out(server):
    sale = server.create_sale(3, payment_timeout_s=600)
    user = fresh_name("buyer")
    order = server.bought(sale, user)["order_id"]
    contract.expect(change_stock(server, sale, -3), 409, "below_sold")
    server.confirmed(order, user)
    orders.cancelled(server, order, user)
    orders.has_remaining(server, sale, 3)
    contract.expect(change_stock(server, sale, -3), 200)
    contract.check_audit(server.audit(sale), stock=0, sold=0, inventory_remaining=0)


@pytest.mark.parametrize("add,other", [(7, 8), (7, -7), (-2, -3), (-2, 2)])
def test_a_key_changes_the_stock_once_in_both_directions(server, add, other):
    sale = server.create_sale(10)
    for _ in range(3):
        shown = contract.expect(change_stock(server, sale, add, "delivery"), 200)
        assert shown["stock"] == shown["remaining"] == 10 + add
    contract.expect(change_stock(server, sale, other, "delivery"), 422, "idempotency_mismatch")
    contract.check_audit(server.audit(sale), stock=10 + add, inventory_remaining=10 + add)
    assert [entry["what"] for entry in journal(server, sale)] == ["created", "restocked"]


def test_the_same_key_from_many_sides_at_once_lowers_once(server):
    sale = server.create_sale(100)
    body = b'{"add":-60}'  # more than half: a second time could not be done
    request = build_request("POST", f"/v1/sales/{sale}/stock", server.host,
                            {"Idempotency-Key": "once"}, body)
    answers = []
    run_all(server, ((None, request) for _ in range(20)),
            lambda _tag, status, _head, body: answers.append((status, json.loads(body))),
            connections=20)
    assert [status for status, _ in answers] == [200] * 20, answers
    contract.check_audit(server.audit(sale), stock=40, inventory_remaining=40)
    assert len(journal(server, sale)) == 2


def test_lowering_with_a_key_counts_once_across_a_crash(make_server):
    server = make_server()
    sale = server.create_sale(10)
    contract.expect(change_stock(server, sale, -4, "k"), 200)
    server.kill()
    server.start()
    assert contract.expect(change_stock(server, sale, -4, "k"), 200)["stock"] == 6
    contract.expect(change_stock(server, sale, -5, "k"), 422, "idempotency_mismatch")
    contract.check_audit(server.audit(sale), stock=6, sold=0, inventory_remaining=6)


def test_lowering_under_load_never_takes_a_promised_unit(server):
    stock = scaled(3_000)
    sale = server.create_sale(stock)
    seen = collections.Counter()
    raised = lowered = 0

    def requests():
        nonlocal raised, lowered
        for number in range(2 * stock):
            if number % scaled(200) == scaled(200) // 4:
                response = change_stock(server, sale, -scaled(40))
                if response.status == 200:
                    lowered += scaled(40)
                else:
                    problem = contract.expect(response, 409, "below_sold")
                    assert 0 <= problem["remaining"] < scaled(40), problem
            if number % scaled(500) == scaled(500) // 2:
                server.restock(sale, scaled(30))
                raised += scaled(30)
            if number % scaled(700) == scaled(700) // 7:
                contract.check_audit(server.audit(sale))
            yield None, server.purchase_bytes(sale, f"buyer-{number}")

    def on_answer(_tag, status, _head, body):
        seen["accepted" if status == 202 else json.loads(body)["code"]] += 1

    run_all(server, requests(), on_answer)
    assert set(seen) == {"accepted", "sold_out"}, seen
    assert lowered > 0
    shown = server.sale(sale)
    assert shown["stock"] == stock + raised - lowered
    audit = contract.check_audit(server.audit(sale), stock=shown["stock"], sold=seen["accepted"])
    assert audit["inventory_remaining"] == audit["remaining"]


def test_lowering_by_more_than_there_can_be_is_refused_by_name(server):
    sale = server.create_sale(5)
    for add in (-10 ** 9 - 1, -2 ** 63, 0):
        problem = contract.expect(change_stock(server, sale, add), 400, "invalid_request")
        assert problem["field"] == "add"


# -- the journal --------------------------------------------------------------------------------

def test_the_journal_says_who_did_what_and_when(make_server):
    server = make_server(admin_token=TOKEN)
    started = now() - datetime.timedelta(milliseconds=2)
    ends = contract.seconds_from_now(3600)
    sale = server.create_sale(5, title="Shoes", payment_timeout_s=90, price=100, currency="EUR")
    for state in ("paused", "paused", "open"):
        server.set_state(sale, state)
    edit(server, sale, title="Boots", ends_at=ends, state="paused")
    server.restock(sale, 2, key="k")
    server.restock(sale, 2, key="k")
    contract.expect(change_stock(server, sale, -100), 409, "below_sold")
    server.restock(sale, -3)
    server.close_sale(sale)
    server.close_sale(sale)
    contract.expect(change_stock(server, sale, 1), 409, "invalid_state")

    def check():
        entries = journal(server, sale)
        assert [entry["what"] for entry in entries] == \
            ["created", "paused", "resumed", "edited", "restocked", "restocked", "closed"]
        for entry in entries:
            assert set(entry) == {"at", "who", "what", "before", "after"}, entry
            assert entry["who"] == "admin token from 127.0.0.1", entry
            assert set(entry["before"]) == \
                (set() if entry["what"] == "created" else set(entry["after"])), entry
        times = [contract.time_of(entry["at"]) for entry in entries]
        assert times == sorted(times) and started <= times[0] and times[-1] <= now(), times
        created = entries[0]["after"]
        assert created["title"] == "Shoes" and created["stock"] == 5, created
        assert created["payment_timeout_s"] == 90 and created["price"] == 100, created
        assert [(entry["before"], entry["after"]) for entry in entries[1:6]] == [
            ({"paused": False}, {"paused": True}), ({"paused": True}, {"paused": False}),
            ({"title": "Shoes", "ends_at": None, "paused": False},
             {"title": "Boots", "ends_at": ends, "paused": True}),
            ({"stock": 5}, {"stock": 7}), ({"stock": 7}, {"stock": 4})]
        assert entries[6]["before"] == {"closed_at": None}
        contract.time_of(entries[6]["after"]["closed_at"])
        return entries

    before = check()
    server.kill()
    server.start()
    assert check() == before, "the journal outlives a crash"
    for limit in (1, 2, 3, 7):
        assert journal(server, sale, limit) == before
    contract.expect(server.call("GET", f"/v1/sales/{sale}/journal"), 401, "unauthorized")


def test_the_journal_names_the_address_behind_a_trusted_proxy(make_server):
    trusting = '[server]\ntrusted_proxies = ["127.0.0.0/8"]\n'
    for config, address in ((None, "127.0.0.1"), (trusting, "203.0.113.7")):
        server = make_server(config=config)
        sale = fresh_name("sale")
        created = server.admin("POST", "/v1/sales", {"id": sale, "title": "t", "stock": 1},
                               {"X-Forwarded-For": "203.0.113.7"})
        contract.expect(created, 201)
        assert journal(server, sale)[0]["who"] == f"loopback {address}"


@pytest.mark.parametrize("query,field", [
    ("limit=0", "limit"), ("limit=1001", "limit"), ("cursor=x", "cursor"),
    ("cursor=-1", "cursor"), ("cursor=99999999999999999999", "cursor"), ("what=created", "what")])
def test_bad_parameters_of_the_journal_are_refused_by_name(server, query, field):
    sale = server.create_sale(1)
    response = server.admin("GET", f"/v1/sales/{sale}/journal?{query}")
    assert contract.expect(response, 400, "invalid_request")["field"] == field


def test_no_journal_of_no_sale(server):
    contract.expect(server.admin("GET", "/v1/sales/no-such-sale/journal"), 404, "not_found")


# -- the command line ---------------------------------------------------------------------------

def test_a_sale_is_run_from_the_command_line(make_server):
    server = make_server(admin_token=TOKEN)

    def run(*arguments) -> dict:
        result = server.cli("sale", *arguments)
        assert result.status == 0, result
        return result.json()

    sale = fresh_name("sale")
    made = run("create", "--id", sale, "--title", "Shoes", "--stock", "10",
               "--payment-timeout", "15m", "--ends-at", contract.seconds_from_now(1800))
    assert made["payment_timeout_s"] == 900
    edited = run("edit", sale, "--title", "Boots", "--per-user-limit", "2")
    assert (edited["title"], edited["per_user_limit"]) == ("Boots", 2)
    later = run("extend", sale, "--by", "10m")
    assert contract.time_of(later["ends_at"]) - contract.time_of(made["ends_at"]) == \
        datetime.timedelta(minutes=10)
    assert run("extend", sale, "--ends-at", made["ends_at"])["ends_at"] == made["ends_at"]
    assert run("restock", sale, "--add", "5")["stock"] == 15
    assert run("restock", sale, "--add", "-12", "--idempotency-key", "k")["stock"] == 3
    assert run("restock", sale, "--add", "-12", "--idempotency-key", "k")["stock"] == 3
    refused = server.cli("sale", "restock", sale, "--add", "-4")
    assert refused.status == 1 and "below_sold" in refused.stderr, refused
    edit(server, sale, ends_at=contract.rfc3339(now()))
    assert run("extend", sale, "--by", "1h")["state"] == "open", "one that had ended opens again"
    for verb, state in (("pause", "paused"), ("resume", "open"), ("close", "closed")):
        assert run(verb, sale)["state"] == state

    shown = run("show", sale)
    assert set(shown) == contract.SALE_FIELDS | {"journal"}
    assert shown["journal"] == journal(server, sale)
    assert [entry["what"] for entry in shown["journal"]] == [
        "created", "edited", "edited", "edited", "restocked", "restocked", "edited", "edited",
        "paused", "resumed", "closed"]
    assert run("show", sale, "--journal", "2")["journal"] == shown["journal"][-2:]
    assert "journal" not in run("show", sale, "--journal", "0")
    text = server.cli("sale", "show", sale, json_output=False).stdout
    assert "admin token from 127.0.0.1" in text and "stock: 15 -> 3" in text, text


def test_an_order_is_handled_from_the_command_line(make_server):
    server = make_server(admin_token=TOKEN)
    sale = server.create_sale(2, payment_timeout_s=600)
    paid, cancelled = (server.bought(sale, user)["order_id"] for user in ("anna", "berta"))

    def run(*arguments):
        return server.cli("order", *arguments, environment={"DOORBUSTER_ADMIN_TOKEN": TOKEN})

    assert run("pay", paid, "--payment-ref", "pi_1").json()["status"] == "paid"
    assert run("cancel", cancelled).json()["status"] == "cancelled"
    shown = run("show", paid).json()
    assert (shown["user_id"], shown["payment_ref"]) == ("anna", "pi_1")
    refused = run("cancel", paid)
    assert refused.status == 1 and "not_cancellable" in refused.stderr, refused


# -- lists --------------------------------------------------------------------------------------

def test_orders_are_listed_by_what_became_of_them(server):
    sale = server.create_sale(100, payment_timeout_s=600)
    made = {}
    for number in range(12):
        user = f"buyer-{number}"
        order = server.bought(sale, user)["order_id"]
        server.confirmed(order, user)
        status = ("confirmed", "paid", "cancelled")[number % 3]
        if status == "paid":
            orders.paid(server, order)
        elif status == "cancelled":
            orders.cancelled(server, order, user)
        made[order] = status
    path = f"/v1/sales/{sale}/orders"
    for status in ("confirmed", "paid", "cancelled", "expired", "refused", "queued"):
        for limit in (1, 3, 1000):
            listed = server.list_all(path, limit=limit, status=status)
            assert [order["order_id"] for order in listed] == \
                [order for order in sorted(made) if made[order] == status]
    assert len(server.list_all(path, user_id="buyer-1", status="paid")) == 1
    assert server.list_all(path, user_id="buyer-1", status="cancelled") == []
    assert server.list_all(path, user_id="", status="") == server.list_all(path)
