"""What a purchase answers, what it refuses, and which refusal wins."""

import gzip
import json

import pytest

from harness import contract
from harness.server import fresh_name
from harness.waiting import eventually
from harness.wire import build_request


def post(server, sale, body: bytes, headers=None, content_type="application/json"):
    return server.call("POST", f"/v1/sales/{sale}/purchases",
                       {"X-User-Id": "buyer", **(headers or {})}, body,
                       content_type=content_type)


# -- the yes ----------------------------------------------------------------------------------

def test_an_accepted_purchase_says_all_about_the_order(server):
    sale = server.create_sale(10, per_user_limit=3)
    response = server.buy(sale, "buyer", 2)
    body = contract.expect(response, 202)
    assert set(body) == contract.PURCHASE_FIELDS, body
    assert body["sale_id"] == sale and body["user_id"] == "buyer" and body["quantity"] == 2
    assert body["status"] == "queued"
    contract.time_of(body["created_at"])
    assert response.header("location") == f"/v1/orders/{body['order_id']}"
    assert response.header("content-type").split(";")[0] == "application/json"


def test_an_empty_body_buys_one(server):
    sale = server.create_sale(10)
    assert server.bought(sale, "buyer")["quantity"] == 1


def test_remaining_counts_down_to_sold_out(server):
    sale = server.create_sale(3)
    for left in (2, 1, 0):
        server.bought(sale, fresh_name("buyer"))
        shown = server.sale(sale)
        assert shown["remaining"] == left
        assert shown["sold_out"] is (left == 0)
    problem = contract.expect(server.buy(sale, "late"), 409, "sold_out")
    assert problem["remaining"] == 0


@pytest.mark.parametrize("user", ["u", "x" * 128, "a b", "ünïcode", "user@example.org", "=1+1",
                                  '"quoted\\"'])
def test_user_ids_of_printable_characters_are_taken(server, user):
    sale = server.create_sale(5)
    assert server.bought(sale, user)["user_id"] == user


@pytest.mark.parametrize("user", ["x" * 129, "tab\tin", "bell\a"])
def test_malformed_user_ids_are_nobody(server, user):
    sale = server.create_sale(5)
    response = server.buy(sale, user)
    assert response.status in (400, 401), response
    contract.check_audit(server.audit(sale), sold=0)


def test_content_type_may_have_parameters(server):
    sale = server.create_sale(5)
    contract.expect(post(server, sale, b'{"quantity":1}',
                         content_type="application/json; charset=utf-8"), 202)


def test_whitespace_around_json_is_fine(server):
    sale = server.create_sale(5)
    contract.expect(post(server, sale, b' \r\n\t{ "quantity" : 1 } \n'), 202)


# -- bad requests -------------------------------------------------------------------------------

@pytest.mark.parametrize("quantity", [
    "0", "-1", "1.5", '"1"', "true", "[]", "{}", "1e400", "-0.0001", "2147483648000",
    "9223372036854775808", "18446744073709551617", "123456789012345678901234567890"])
def test_quantities_that_are_no_count_are_refused_by_name(server, quantity):
    sale = server.create_sale(5, per_user_limit=5)
    response = post(server, sale, f'{{"quantity":{quantity}}}'.encode())
    contract.expect(response, 400, "invalid_request")
    if quantity != "1e400":  # no JSON number of any program's: may fail as JSON already
        assert "quantity" in response.text, response
    contract.check_audit(server.audit(sale), sold=0)


def test_unknown_fields_are_refused_by_name(server):
    sale = server.create_sale(5)
    response = post(server, sale, b'{"quantity":1,"colour":"red"}')
    contract.expect(response, 400, "invalid_request")
    assert "colour" in response.text


def test_duplicate_fields_are_refused_by_name(server):
    sale = server.create_sale(5, per_user_limit=5)
    for body in (b'{"quantity":1,"quantity":2}', b'{"quantity":1,"quantity":1}',
                 b'{"quantity":1,"quant\\u0069ty":1}'):
        response = post(server, sale, body)
        contract.expect(response, 400, "invalid_request")
        assert "quantity" in response.text
    contract.check_audit(server.audit(sale), sold=0)


@pytest.mark.parametrize("body", [
    b"{", b"}", b"[]", b"[1]", b'"quantity"', b"1", b"null", b"true", b'{"quantity":1}x',
    b'{"quantity":1}{"quantity":1}', b'{"quantity":1,}', b"{'quantity':1}", b'{quantity:1}',
    b'{"quantity":01}', b'{"quantity":+1}', b'{"quantity":0x1}', b'{"quantity":NaN}',
    b'{"quantity":1\x00}', b'\x00', b'\xff\xfe{"quantity":1}', b'{"\xff":1}', b'{"\xc3\x28":1}',
    b'{"\xed\xa0\x80":1}', b'{"quan\x01tity":1}', b'{"quantity":1 // one\n}', b"[" * 5000,
    b'{"a":' * 5000, b'[' * 2000 + b']' * 2000])
def test_bodies_that_are_no_json_object_are_refused(server, body):
    sale = server.create_sale(5)
    contract.expect(post(server, sale, body), 400, "invalid_request")
    contract.check_audit(server.audit(sale), sold=0)


@pytest.mark.parametrize("content_type", [
    None, "text/plain", "application/x-www-form-urlencoded", "application/jsonx", "json",
    "text/json", "multipart/form-data; boundary=x"])
def test_a_body_of_another_type_is_refused(server, content_type):
    sale = server.create_sale(5)
    response = post(server, sale, b'{"quantity":1}', content_type=content_type)
    contract.expect(response, 415, "unsupported_media_type")
    contract.check_audit(server.audit(sale), sold=0)


def test_a_body_that_is_encoded_is_refused(server):
    sale = server.create_sale(5)
    response = post(server, sale, gzip.compress(b'{"quantity":1}'), {"Content-Encoding": "gzip"})
    contract.expect(response, 415, "unsupported_media_type")
    contract.check_audit(server.audit(sale), sold=0)
    contract.expect(post(server, sale, b'{"quantity":1}', {"Content-Encoding": "identity"}), 202)
    contract.expect(server.call("GET", f"/v1/sales/{sale}", {"Content-Encoding": "gzip"}), 200)


def test_an_escape_that_nothing_needs_changes_no_address(server):
    sale = server.create_sale(5, sale=fresh_name("rush"))
    contract.expect(server.buy(sale.replace("r", "%72", 1), "buyer"), 202)
    contract.expect(server.call("GET", f"/v1/%73ales/{sale.replace('-', '%2d')}"), 200)
    contract.expect(server.call("GET", f"/v1%2Fsales/{sale}"), 404, "not_found")


def padded(length: int) -> bytes:
    return b'{"quantity":1' + b" " * (length - 14) + b"}"


def test_bodies_are_at_most_64_kib(server):
    sale = server.create_sale(5)
    contract.expect(post(server, sale, padded(65536)), 202)
    with server.connect() as connection:
        connection.send_tolerant(build_request(
            "POST", f"/v1/sales/{sale}/purchases", server.host, {"X-User-Id": "late"},
            padded(65537)))
        response = contract.check_answer(connection.read_response())
        contract.expect(response, 413, "payload_too_large")
    contract.check_audit(server.audit(sale), sold=1)


def test_a_huge_announced_body_is_refused_before_it_is_sent(server):
    sale = server.create_sale(5)
    with server.connect() as connection:
        connection.send(build_request(
            "POST", f"/v1/sales/{sale}/purchases", server.host,
            {"X-User-Id": "buyer", "Content-Length": "10000000000",
             "Content-Type": "application/json"}))
        response = contract.check_answer(connection.read_response())
        contract.expect(response, 413, "payload_too_large")


# -- the sale's state -----------------------------------------------------------------------

def test_no_such_sale(server):
    contract.expect(server.buy("no-such-sale", "buyer"), 404, "not_found")
    contract.expect(server.call("GET", "/v1/sales/no-such-sale"), 404, "not_found")


@pytest.mark.parametrize("sale", ["UPPER", "-dash", "a" * 64, "a%20b", "%2e%2e", "sale%00",
                                  "%ff", "a%2fb"])
def test_names_that_no_sale_can_have(server, sale):
    response = server.buy(sale, "buyer")
    assert response.status in (400, 404), response


def test_a_scheduled_sale_has_not_started(server):
    sale = server.create_sale(5, starts_at=contract.seconds_from_now(3600))
    assert server.sale(sale)["state"] == "scheduled"
    response = server.buy(sale, "buyer")
    contract.expect(response, 409, "not_started")
    assert contract.retry_after_of(response) <= 3600 + 2


def test_a_scheduled_sale_opens_by_itself(server):
    sale = server.create_sale(5, starts_at=contract.seconds_from_now(1.5))

    def accepted():
        response = server.buy(sale, "buyer")
        if response.status != 202:
            contract.expect(response, 409, "not_started")
            contract.retry_after_of(response)
        return response.status == 202

    eventually(accepted, "the sale opens at its time")
    shown = server.sale(sale)
    assert shown["state"] == "open"
    assert contract.time_of(shown["server_time"]) >= contract.time_of(shown["starts_at"])


def test_a_sale_ends_by_itself(server):
    sale = server.create_sale(1000, per_user_limit=1000,
                              ends_at=contract.seconds_from_now(4.0))

    def ended():
        response = server.buy(sale, "buyer")
        if response.status == 202:
            return False
        contract.expect(response, 410, "closed")
        return True

    eventually(ended, "the sale ends at its time")
    assert server.sale(sale)["state"] == "closed"
    contract.check_audit(server.audit(sale))


def test_a_paused_sale_refuses_until_resumed(server):
    sale = server.create_sale(5)
    assert server.set_state(sale, "paused")["state"] == "paused"
    contract.expect(server.buy(sale, "buyer"), 409, "paused")
    assert server.set_state(sale, "open")["state"] == "open"
    server.bought(sale, "buyer")


def test_a_closed_sale_is_gone(server):
    sale = server.create_sale(5)
    server.close_sale(sale)
    contract.expect(server.buy(sale, "buyer"), 410, "closed")


# -- limits -----------------------------------------------------------------------------------

def test_the_limit_counts_units_not_orders(server):
    sale = server.create_sale(100, per_user_limit=3)
    first = server.bought(sale, "buyer", 2)
    problem = contract.expect(server.buy(sale, "buyer", 2), 409, "limit_reached")
    assert problem["order_id"] == first["order_id"]
    last = server.bought(sale, "buyer", 1)
    problem = contract.expect(server.buy(sale, "buyer", 1), 409, "limit_reached")
    assert problem["order_id"] == last["order_id"]
    server.bought(sale, "other", 3)
    contract.check_audit(server.audit(sale), sold=6)


def test_more_than_the_limit_at_once_names_no_order(server):
    sale = server.create_sale(100, per_user_limit=3)
    problem = contract.expect(server.buy(sale, "buyer", 4), 409, "limit_reached")
    assert problem.get("order_id") is None


def test_the_limit_survives_a_crash(make_server):
    server = make_server()
    sale = server.create_sale(100, per_user_limit=3)
    first = server.bought(sale, "buyer", 2)
    server.kill()
    server.start()
    problem = contract.expect(server.buy(sale, "buyer", 2), 409, "limit_reached")
    assert problem["order_id"] == first["order_id"]
    server.bought(sale, "buyer", 1)


# -- which answer wins --------------------------------------------------------------------------

def test_a_bad_request_wins_over_everything(server):
    for sale, headers in (("no-such-sale", {}), (server.create_sale(1), {})):
        path = f"/v1/sales/{sale}/purchases"
        contract.expect(server.call("POST", path, headers, b"{"), 400)
        contract.expect(server.call("POST", path, headers, b"{}x"), 400)
        contract.expect(server.call("POST", path, headers, b"{}", content_type="text/plain"), 415)
        contract.expect(server.call("GET", path, headers), 405)


def test_a_missing_sale_wins_over_a_missing_buyer(server):
    contract.expect(server.buy("no-such-sale"), 404, "not_found")


def test_a_missing_buyer_wins_over_the_limits(server):
    sale = server.create_sale(5)
    contract.expect(server.buy(sale, quantity=2), 401, "unauthorized")


@pytest.mark.parametrize("state", ["closed", "paused", "sold_out", "not_started"])
def test_the_sales_state_and_a_missing_buyer_may_come_either_way(server, state):
    fields = {"starts_at": contract.seconds_from_now(3600)} if state == "not_started" else {}
    sale = server.create_sale(1, **fields)
    if state == "closed":
        server.close_sale(sale)
    elif state == "paused":
        server.set_state(sale, "paused")
    elif state == "sold_out":
        server.bought(sale, "winner")
    assert server.buy(sale).code in ("unauthorized", state)


def test_closed_wins_over_paused_and_sold_out(server):
    sale = server.create_sale(1)
    server.bought(sale, "winner")
    server.set_state(sale, "paused")
    server.close_sale(sale)
    contract.expect(server.buy(sale, "buyer"), 410, "closed")


def test_paused_wins_over_sold_out(server):
    sale = server.create_sale(1)
    server.bought(sale, "winner")
    server.set_state(sale, "paused")
    contract.expect(server.buy(sale, "buyer"), 409, "paused")


def test_not_started_wins_over_the_limit(server):
    sale = server.create_sale(1, starts_at=contract.seconds_from_now(3600))
    contract.expect(server.buy(sale, "buyer", 7), 409, "not_started")


def test_nothing_left_wins_over_the_limit(server):
    sale = server.create_sale(1, per_user_limit=1)
    server.bought(sale, "buyer")
    contract.expect(server.buy(sale, "buyer"), 409, "sold_out")
    contract.expect(server.buy(sale, "other", 7), 409, "sold_out")


def test_the_limit_wins_over_fewer_left_than_asked(server):
    sale = server.create_sale(4, per_user_limit=3)
    server.bought(sale, "buyer", 3)
    contract.expect(server.buy(sale, "buyer", 2), 409, "limit_reached")
    problem = contract.expect(server.buy(sale, "other", 2), 409, "sold_out")
    assert problem["remaining"] == 1
    server.bought(sale, "other", 1)


# -- reading a sale -------------------------------------------------------------------------

def test_a_sale_shows_its_terms(server):
    sale = server.create_sale(10, title="Türöffner 🚪", per_user_limit=4, price=4999,
                              currency="EUR", ends_at=contract.seconds_from_now(86400))
    shown = server.sale(sale)
    assert set(shown) == contract.SALE_FIELDS, shown
    assert shown["id"] == sale and shown["title"] == "Türöffner 🚪"
    assert shown["state"] == "open" and shown["sold_out"] is False
    assert shown["stock"] == 10 and shown["remaining"] == 10 and shown["per_user_limit"] == 4
    assert shown["price"] == 4999 and shown["currency"] == "EUR"
    assert shown["payment_timeout_s"] == 0
    for name in ("starts_at", "ends_at", "server_time"):
        contract.time_of(shown[name])


def test_a_sale_shows_null_where_nothing_is_set(server):
    shown = server.sale(server.create_sale(10))
    assert shown["ends_at"] is None and shown["price"] is None and shown["currency"] is None
    assert shown["per_user_limit"] == 1
    contract.time_of(shown["starts_at"])


def test_titles_come_back_as_they_went_in(server):
    title = 'quote " backslash \\ slash / <b>&amp;</b> \u2028 日本'
    sale = server.create_sale(1, title=title)
    assert server.sale(sale)["title"] == title


# -- orders -----------------------------------------------------------------------------------

def test_an_order_is_shown_to_its_buyer_only(server):
    sale = server.create_sale(10, per_user_limit=2)
    bought = server.bought(sale, "buyer", 2)
    order = contract.expect(server.order(bought["order_id"], "buyer"), 200)
    assert set(order) >= contract.ORDER_FIELDS, order
    for name in contract.PURCHASE_FIELDS - {"status"}:
        assert order[name] == bought[name], name
    assert order["status"] in ("queued", "confirmed")
    assert order["expires_at"] is None and order["paid_at"] is None
    assert isinstance(order["version"], int)
    contract.expect(server.order(bought["order_id"], "someone-else"), 404, "not_found")
    assert server.call("GET", f"/v1/orders/{bought['order_id']}").status in (401, 404)
    server.confirmed(bought["order_id"], "buyer")
    contract.expect(server.order(bought["order_id"], "someone-else"), 404, "not_found")


def test_an_order_is_never_missing_after_its_yes(server):
    sale = server.create_sale(1000)
    with server.connect() as connection:
        for _ in range(100):
            user = fresh_name("buyer")
            connection.send(server.purchase_bytes(sale, user))
            bought = contract.expect(connection.read_response(), 202)
            connection.send(server.order_bytes(bought["order_id"], user))
            contract.expect(connection.read_response(), 200)


def test_versions_never_go_down(server):
    sale = server.create_sale(1)
    bought = server.bought(sale, "buyer")
    before = contract.expect(server.order(bought["order_id"], "buyer"), 200)
    after = server.confirmed(bought["order_id"], "buyer")
    assert after["version"] >= before["version"]


@pytest.mark.parametrize("order", ["nope", "0", "-1", "x" * 200, "%00", "..", "%2e%2e%2f"])
def test_orders_that_do_not_exist(server, order):
    response = server.call("GET", f"/v1/orders/{order}", {"X-User-Id": "buyer"})
    assert response.status in (400, 404), response


def test_answers_are_utf8_json(server):
    sale = server.create_sale(1, title="ü")
    response = server.call("GET", f"/v1/sales/{sale}")
    assert json.loads(response.body.decode("utf-8"))["title"] == "ü"
