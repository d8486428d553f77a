"""What an administrator can do with sales: create, list, change, restock, close, look."""

import collections

import pytest

from harness import contract
from harness.plugin import Servers
from harness.server import fresh_name
from harness.settings import scaled
from harness.swarm import run_all
from harness.waiting import eventually


def create(server, **fields):
    body = {"id": fresh_name("sale"), "title": "A sale", "stock": 5, **fields}
    return server.admin("POST", "/v1/sales",
                        {name: value for name, value in body.items() if value is not ...})


def refused_by_name(response, field: str) -> None:
    contract.expect(response, 400, "invalid_request")
    assert field in response.text, f"{field} must be named: {response}"


# -- create -----------------------------------------------------------------------------------

def test_creating_again_with_the_same_body_is_fine_with_another_is_not(server):
    body = {"id": fresh_name("sale"), "title": "Twice", "stock": 5, "per_user_limit": 2}
    first = contract.expect(server.admin("POST", "/v1/sales", body), 201)
    assert set(first) == contract.SALE_FIELDS, first
    again = contract.expect(server.admin("POST", "/v1/sales", body), 200)
    assert {**again, "server_time": None} == {**first, "server_time": None}
    for change in ({"stock": 6}, {"title": "Other"}, {"per_user_limit": 3},
                   {"payment_timeout_s": 60}):
        contract.expect(server.admin("POST", "/v1/sales", {**body, **change}), 409,
                        "already_exists")
    assert server.sale(body["id"])["stock"] == 5


def test_a_sale_with_all_fields(server):
    body = {"id": fresh_name("sale"), "title": "All", "stock": 7, "per_user_limit": 3,
            "starts_at": contract.seconds_from_now(600), "price": 199, "currency": "USD",
            "ends_at": contract.seconds_from_now(1200), "payment_timeout_s": 900}
    shown = contract.expect(server.admin("POST", "/v1/sales", body), 201)
    for name in ("id", "title", "stock", "per_user_limit", "price", "currency",
                 "payment_timeout_s"):
        assert shown[name] == body[name], name
    for name in ("starts_at", "ends_at"):
        difference = contract.time_of(shown[name]) - contract.time_of(body[name])
        assert abs(difference.total_seconds()) < 1.0, name
    assert shown["state"] == "scheduled"
    contract.expect(server.admin("POST", "/v1/sales", body), 200)


@pytest.mark.parametrize("field,value", [
    ("id", ...), ("title", ...), ("stock", ...),
    ("id", ""), ("id", "Upper"), ("id", "-x"), ("id", "a" * 64), ("id", "a b"), ("id", 5),
    ("id", "a/b"), ("id", "ä"), ("id", "a\n"),
    ("title", 5), ("title", "bell\u0007"), ("title", "nul\u0000"), ("title", "x" * 60_000),
    ("stock", -1), ("stock", 1.5), ("stock", "5"), ("stock", 2 ** 63), ("stock", 10 ** 30),
    ("stock", True), ("stock", None),
    ("per_user_limit", 0), ("per_user_limit", -1), ("per_user_limit", "1"),
    ("per_user_limit", 2 ** 63),
    ("starts_at", "tomorrow"), ("starts_at", "2030-13-01T00:00:00Z"), ("starts_at", 5),
    ("starts_at", "2030-02-30T00:00:00Z"), ("starts_at", "2030-01-01"),
    ("ends_at", "never"), ("ends_at", "2020-01-01T00:00:00Z\u0000"),
    ("price", -1), ("price", 1.5), ("price", "9.99"), ("price", 2 ** 63),
    ("currency", "euro"), ("currency", 5),
    ("payment_timeout_s", -1), ("payment_timeout_s", "90s"),
    ("payment_timeout_s", 365 * 24 * 3600 + 1), ("payment_timeout_s", 0.5),
])
def test_fields_out_of_range_are_refused_by_name(server, field, value):
    fields = {field: value}
    if field == "currency":
        fields["price"] = 100
    elif field == "price":
        fields["currency"] = "EUR"
    refused_by_name(create(server, **fields), field)


def test_a_sale_cannot_end_before_it_starts(server):
    response = create(server, starts_at=contract.seconds_from_now(7200),
                      ends_at=contract.seconds_from_now(3600))
    refused_by_name(response, "ends_at")


def test_unknown_and_duplicate_fields_of_a_sale_are_refused(server):
    refused_by_name(create(server, colour="red"), "colour")
    name = fresh_name("sale")
    body = f'{{"id":"{name}","title":"t","stock":1,"stock":2}}'.encode()
    refused_by_name(server.admin("POST", "/v1/sales", body), "stock")
    contract.expect(server.call("GET", f"/v1/sales/{name}"), 404, "not_found")


def test_creating_needs_a_body(server):
    contract.expect(server.admin("POST", "/v1/sales"), 400, "invalid_request")


def test_a_name_of_63_characters_is_fine(server):
    name = fresh_name("a").ljust(63, "z")
    assert server.create_sale(1, sale=name) == name
    server.bought(name, "buyer")


# -- list ---------------------------------------------------------------------------------------

def test_sales_are_listed_page_by_page(server):
    made = [server.create_sale(1) for _ in range(7)]
    for limit in (2, 3, 1000):
        listed = [sale["id"] for sale in server.list_all("/v1/sales", limit=limit)]
        assert len(listed) == len(set(listed)), "a sale is listed once"
        assert set(made) <= set(listed)
    page = contract.expect(server.admin("GET", "/v1/sales?limit=1"), 200)
    assert len(page["items"]) == 1 and page["next_cursor"] is not None
    assert set(page["items"][0]) == contract.SALE_FIELDS


def check_pages(server, path: str, count: int, limit: int) -> None:
    """The list has `count` items, and its last page ends it, full or not."""
    pages, cursor = [], ""
    while cursor is not None:
        tail = f"&cursor={cursor}" if cursor else ""
        page = contract.expect(server.admin("GET", f"{path}?limit={limit}{tail}"), 200)
        pages.append(len(page["items"]))
        cursor = page["next_cursor"]
    full, rest = divmod(count, limit)
    assert pages == [limit] * full + [rest] * (rest > 0), pages


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 6, 7])
def test_a_last_page_that_is_full_ends_the_list(paged, limit):
    server, sale = paged
    check_pages(server, "/v1/sales", 6, limit)
    check_pages(server, f"/v1/sales/{sale}/orders", 6, limit)


@pytest.fixture(name="paged", scope="module")
def _paged(tmp_path_factory):
    servers = Servers(tmp_path_factory.mktemp("pages"))
    server = servers()
    sale = [server.create_sale(10) for _ in range(6)][-1]
    orders = [server.bought(sale, f"buyer-{number}")["order_id"] for number in range(6)]
    for number, order in enumerate(orders):
        server.confirmed(order, f"buyer-{number}")
    yield server, sale
    servers.finish(judge=True)


@pytest.mark.parametrize("query,field", [
    ("limit=0", "limit"), ("limit=1001", "limit"), ("limit=-1", "limit"), ("limit=x", "limit"),
    ("limit=99999999999999999999", "limit"), ("limit=", "limit"), ("cursor=%00", "cursor"),
    ("cursor=no-such-cursor!!", "cursor")])
def test_bad_list_parameters_are_refused_by_name(server, query, field):
    refused_by_name(server.admin("GET", f"/v1/sales?{query}"), field)


# -- change -------------------------------------------------------------------------------------

def test_pause_and_resume_may_be_repeated(server):
    sale = server.create_sale(5)
    for state in ("paused", "paused", "open", "open"):
        assert server.set_state(sale, state)["state"] == state
    server.bought(sale, "buyer")


def test_title_and_limit_may_change(server):
    sale = server.create_sale(10)
    server.bought(sale, "buyer")
    contract.expect(server.buy(sale, "buyer"), 409, "limit_reached")
    changed = contract.expect(server.admin("PATCH", f"/v1/sales/{sale}",
                                           {"title": "New", "per_user_limit": 2}), 200)
    assert changed["title"] == "New" and changed["per_user_limit"] == 2
    server.bought(sale, "buyer")
    contract.expect(server.buy(sale, "buyer"), 409, "limit_reached")


@pytest.mark.parametrize("body,field", [
    ({"state": "closed"}, "state"), ({"state": "running"}, "state"), ({"state": 1}, "state"),
    ({"stock": 7}, "stock"), ({"per_user_limit": 0}, "per_user_limit"), ({"title": 5}, "title"),
    ({"colour": "red"}, "colour"), ({"title": None}, "title"), ({"state": None}, "state"),
    ({"per_user_limit": None}, "per_user_limit"), ({"starts_at": None}, "starts_at"),
    ({"ends_at": None, "state": None}, "state"), ({}, "body")])
def test_changes_that_make_no_sense_are_refused_by_name(server, body, field):
    sale = server.create_sale(5)
    refused_by_name(server.admin("PATCH", f"/v1/sales/{sale}", body), field)
    assert server.sale(sale)["state"] == "open"


def test_a_null_takes_the_end_away(server):
    sale = server.create_sale(5, ends_at=contract.seconds_from_now(3600))
    changed = contract.expect(server.admin("PATCH", f"/v1/sales/{sale}", {"ends_at": None}), 200)
    assert changed["ends_at"] is None
    assert server.sale(sale)["ends_at"] is None


def test_the_body_that_created_a_sale_is_fine_also_after_a_change(server):
    body = {"id": fresh_name("sale"), "title": "Before", "stock": 5}
    contract.expect(server.admin("POST", "/v1/sales", body), 201)
    changed = {"title": "After", "per_user_limit": 2}
    contract.expect(server.admin("PATCH", f"/v1/sales/{body['id']}", changed), 200)
    again = contract.expect(server.admin("POST", "/v1/sales", body), 200)
    assert (again["title"], again["per_user_limit"]) == ("After", 2)
    contract.expect(server.admin("POST", "/v1/sales", {**body, **changed}), 409, "already_exists")


def test_a_closed_sale_does_not_change(server):
    sale = server.create_sale(5)
    server.close_sale(sale)
    for state in ("open", "paused"):
        contract.expect(server.admin("PATCH", f"/v1/sales/{sale}", {"state": state}), 409,
                        "invalid_state")


def test_a_change_survives_a_crash(make_server):
    server = make_server()
    paused, closed, restocked = (server.create_sale(5) for _ in range(3))
    server.set_state(paused, "paused")
    server.close_sale(closed)
    server.restock(restocked, 4)
    server.kill()
    server.start()
    assert server.sale(paused)["state"] == "paused"
    assert server.sale(closed)["state"] == "closed"
    assert server.sale(restocked)["stock"] == 9


# -- restock ------------------------------------------------------------------------------------

def test_restocking_a_sold_out_sale_sells_again(server):
    sale = server.create_sale(1)
    server.bought(sale, "first")
    contract.expect(server.buy(sale, "second"), 409, "sold_out")
    shown = server.restock(sale, 2)
    assert (shown["stock"], shown["remaining"], shown["sold_out"]) == (3, 2, False)
    server.bought(sale, "second")
    server.bought(sale, "third")
    contract.expect(server.buy(sale, "fourth"), 409, "sold_out")
    contract.check_audit(server.audit(sale), stock=3, sold=3)


def test_restocking_with_a_key_counts_once(server):
    sale = server.create_sale(5)
    for _ in range(3):
        assert server.restock(sale, 10, key="delivery-1")["stock"] == 15
    assert server.restock(sale, 10, key="delivery-2")["stock"] == 25
    assert server.restock(sale, 1)["stock"] == 26
    assert server.restock(sale, 1)["stock"] == 27


def test_restocking_with_a_key_counts_once_across_a_crash(make_server):
    server = make_server()
    sale = server.create_sale(5)
    server.restock(sale, 10, key="delivery-1")
    server.kill()
    server.start()
    assert server.restock(sale, 10, key="delivery-1")["stock"] == 15


def test_a_restock_key_with_another_number_is_a_mismatch(server):
    sale = server.create_sale(5)
    server.restock(sale, 10, key="delivery-1")
    response = server.admin("POST", f"/v1/sales/{sale}/stock", {"add": 11},
                            {"Idempotency-Key": "delivery-1"})
    contract.expect(response, 422, "idempotency_mismatch")
    assert server.sale(sale)["stock"] == 15


@pytest.mark.parametrize("body", [{"add": 0}, {"add": 1.5}, {"add": "1"}, {"add": 2 ** 63}, {},
                                  {"add": None}])
def test_restocking_by_no_number_is_refused_by_name(server, body):
    sale = server.create_sale(5)
    refused_by_name(server.admin("POST", f"/v1/sales/{sale}/stock", body), "add")
    assert server.sale(sale)["stock"] == 5


def test_restocking_during_a_rush_loses_nothing(server):
    sale = server.create_sale(scaled(200))
    sold = collections.Counter()

    def requests():
        for number in range(scaled(4_000)):
            if number % scaled(400) == 0:
                server.restock(sale, 50)
            yield None, server.purchase_bytes(sale, f"buyer-{number}")

    run_all(server, requests(), lambda _tag, status, _head, _body: sold.update([status]))
    assert set(sold) <= {202, 409}, sold
    audit = contract.check_audit(server.audit(sale), stock=scaled(200) + 500, sold=sold[202])
    assert audit["inventory_remaining"] == audit["remaining"]


# -- close ----------------------------------------------------------------------------------------

def test_closing_may_be_repeated(server):
    sale = server.create_sale(5)
    first = server.close_sale(sale)
    assert first["state"] == "closed"
    again = server.close_sale(sale)
    assert {**again, "server_time": None} == {**first, "server_time": None}


# -- missing sales ----------------------------------------------------------------------------

@pytest.mark.parametrize("method,path,body", [
    ("PATCH", "", {"state": "open"}), ("POST", "/stock", {"add": 1}), ("POST", "/close", None),
    ("POST", "/stock", {"add": -1}), ("GET", "/orders", None), ("GET", "/audit", None),
    ("GET", "/journal", None)])
def test_admin_calls_to_no_sale(server, method, path, body):
    response = server.admin(method, f"/v1/sales/no-such-sale{path}", body)
    contract.expect(response, 404, "not_found")


# -- looking ----------------------------------------------------------------------------------

def test_orders_are_listed_and_filtered(server):
    sale = server.create_sale(100, per_user_limit=3)
    bought = [server.bought(sale, user, quantity)
              for user, quantity in (("anna", 1), ("anna", 2), ("berta", 3), ("a b&c=d", 1))]
    orders = {order["order_id"]: order for order in bought}

    def stored():
        confirmed = server.list_all(f"/v1/sales/{sale}/orders", status="confirmed")
        return confirmed if len(confirmed) == len(bought) else None

    listed = eventually(stored, "all orders are confirmed")
    for order in listed:
        assert contract.ORDER_FIELDS <= set(order), order
        for name in ("sale_id", "user_id", "quantity", "created_at"):
            assert order[name] == orders[order["order_id"]][name], name
    path = f"/v1/sales/{sale}/orders"
    assert {order["quantity"] for order in server.list_all(path, user_id="anna")} == {1, 2}
    assert len(server.list_all(path, user_id="a b&c=d")) == 1
    assert server.list_all(path, user_id="nobody") == []
    assert server.list_all(path, status="cancelled") == []
    assert len(server.list_all(path, status="confirmed", user_id="berta")) == 1
    assert len(server.list_all(path, status="", user_id="", cursor="")) == len(orders)
    assert len(server.list_all(path, status="", user_id="berta")) == 1
    for limit in (1, 3):
        paged = [order["order_id"] for order in server.list_all(path, limit=limit)]
        assert sorted(paged) == sorted(orders)


def test_orders_of_no_known_status_are_refused_by_name(server):
    sale = server.create_sale(1)
    refused_by_name(server.admin("GET", f"/v1/sales/{sale}/orders?status=lost"), "status")


def test_an_audit_says_how_the_books_stand(server):
    sale = server.create_sale(10, per_user_limit=3)
    for user, quantity in (("anna", 3), ("berta", 2)):
        server.bought(sale, user, quantity)
    audit = contract.check_audit(server.audit(sale), sale_id=sale, stock=10, sold=5,
                                 log_accepted_units=5, inventory_remaining=5)
    assert sum(audit["orders"].values()) == 2


def test_an_audit_of_a_busy_sale_balances_at_every_moment(server):
    sale = server.create_sale(scaled(3_000))

    def requests():
        for number in range(scaled(6_000)):
            if number % scaled(300) == 0:
                contract.check_audit(server.audit(sale))
            yield None, server.purchase_bytes(sale, f"buyer-{number}")

    run_all(server, requests(), lambda *_: None)
    contract.check_audit(server.audit(sale), sold=scaled(3_000))
