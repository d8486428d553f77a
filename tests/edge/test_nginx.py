"""nginx before doorbuster, with deploy/nginx as it is shipped: each of its rules by itself."""

import os
import re
import socket
import time

import pytest

from harness import contract, orders, tokens
from harness.events import EventStream
from harness.server import fresh_name
from harness.settings import BOUND_S
from harness.waiting import eventually
from harness.wire import Connection, build_request

# As long as an answer may be remembered. In t seconds there are at most t / MOMENT_S + 2 moments:
# they begin on the clock, so the first and the last may be there in part.
MOMENT_S = 0.5
SLACK_S = 1.0  # for a busy machine
LONG_S = 600  # a payment timeout that no test waits for
BURST, ADDRESS_BURST = 10, 100  # deploy/nginx/doorbuster/routes.conf


def sold_out(edge, stock: int = 1, **fields):
    """A sale that is sold out; its id, and each order's buyer, key and body."""
    sale = edge.server.create_sale(stock, **fields)
    bought = []
    for _ in range(stock):
        name = fresh_name("buyer")
        bought.append((name, f"key-{name}", edge.bought(sale, name, 1, f"key-{name}")))
    return sale, bought


def test_nginx_takes_the_configuration(edge):
    checked = edge.checked()
    assert checked.returncode == 0 and "test is successful" in checked.stderr, checked


# -- what is remembered -------------------------------------------------------------------------

def test_a_sale_that_is_sold_out_refuses_without_doorbuster(edge):
    sale, _ = sold_out(edge)
    edge.wait_shut(sale)
    before = edge.purchases_answered()
    began = time.monotonic()
    for _ in range(50):
        name = fresh_name("late")
        answer = edge.buy(sale, name, headers={"X-Request-Id": name,
                                               "X-Forwarded-For": "198.51.100.7"})
        problem = contract.expect(answer, 409, "sold_out")
        assert problem["remaining"] == 0 and answer.header("x-request-id") == name, answer
    asked = edge.purchases_answered() - before
    assert asked <= (time.monotonic() - began) / MOMENT_S + 2, f"{asked} of 50 came through"


def test_a_yes_is_repeated_for_its_key_when_everything_is_sold(edge):
    sale, bought = sold_out(edge, 3)
    edge.wait_shut(sale)
    for name, key, order in bought:
        answer = edge.buy(sale, name, 1, key)
        assert contract.expect(answer, 202) == order
        assert answer.header("idempotency-replayed") == "true"
    name, key, _ = bought[0]
    contract.expect(edge.buy(sale, name, 2, key), 422, "idempotency_mismatch")
    contract.expect(edge.buy(sale, "another", 1, key), 409, "sold_out")
    edge.server.close_sale(sale)
    assert edge.buy(sale, name, 1, key).status == 202


def test_units_that_come_back_are_sold_again_within_a_moment(edge):
    sale, _ = sold_out(edge)
    edge.wait_shut(sale)
    edge.server.restock(sale, 2)
    back = time.monotonic()
    assert edge.buy(sale, fresh_name("with-a-key"), 1, "key").status == 202  # who has one, at once
    eventually(lambda: edge.buy(sale, fresh_name("patient")).status == 202, "the unit is sold",
               pause_s=0.02)
    took = time.monotonic() - back
    assert took < MOMENT_S + SLACK_S, f"only after {took:.1f} s"
    contract.check_audit(edge.server.audit(sale), sold=3)


def test_a_cancelled_unit_is_sold_again_within_a_moment(edge):
    sale, bought = sold_out(edge, payment_timeout_s=LONG_S)
    edge.wait_shut(sale)
    name, _, order = bought[0]
    orders.reaches(edge.server, order["order_id"], name, "confirmed")
    orders.cancelled(edge, order["order_id"], name)
    back = time.monotonic()
    eventually(lambda: edge.buy(sale, fresh_name("patient")).status == 202, "the unit is sold",
               pause_s=0.02)
    assert time.monotonic() - back < MOMENT_S + SLACK_S


def test_what_one_buyer_is_told_is_told_to_nobody_else(edge):
    sale = edge.server.create_sale(20)
    for _ in range(8):
        name = fresh_name("keen")
        order = edge.bought(sale, name)
        told = contract.expect(edge.buy(sale, name), 409, "limit_reached")
        assert order["user_id"] == name and told["order_id"] == order["order_id"]
        assert contract.expect(edge.order(order["order_id"], name), 200)["user_id"] == name
        contract.expect(edge.order(order["order_id"], "another"), 404)
    contract.check_audit(edge.server.audit(sale), sold=8)


def test_one_sale_that_is_sold_out_says_nothing_of_another(edge):
    sale, _ = sold_out(edge)
    other = edge.server.create_sale(5000, sale=f"{sale}-too")
    edge.wait_shut(sale)
    began = time.monotonic()
    while time.monotonic() - began < 6 * MOMENT_S:  # whichever is the first of a moment
        contract.expect(edge.buy(sale, fresh_name("late")), 409, "sold_out")
        edge.bought(other, fresh_name("lucky"))
        time.sleep(0.03)  # poll: no faster than one address may ask


def test_nobody_hears_not_started_after_the_start(edge):
    starts_at = contract.seconds_from_now(1.5)
    start = contract.time_of(starts_at).timestamp()
    sale = edge.server.create_sale(1, starts_at=starts_at)
    for number in range(100_000):
        asked_at = time.time()
        headers = {"X-Forwarded-For": f"10.6.{number // 250 % 250}.{number % 250 + 1}"}
        answer = edge.buy(sale, fresh_name("early"), headers=headers)
        if answer.status == 202:
            break
        contract.expect(answer, 409, "not_started")
        assert asked_at < start, f"not_started {asked_at - start:.3f} s after the start"
        assert contract.retry_after_of(answer) < 10
    assert answer.status == 202 and number > 0


def test_what_is_no_purchase_is_told_so_also_when_all_is_sold(edge):
    sale, _ = sold_out(edge)
    edge.wait_shut(sale)
    target, buyer = f"/v1/sales/{sale}/purchases", {"X-User-Id": "buyer"}
    contract.expect(edge.call("POST", target, buyer, b"a=1", content_type="text/plain"), 415)
    answer = edge.call("GET", target, buyer)
    contract.expect(answer, 405, "method_not_allowed")
    assert answer.header("allow") == "POST"
    contract.expect(edge.buy("no-such-sale", "buyer"), 404, "not_found")
    contract.expect(edge.buy(sale), 409, "sold_out")  # a buyer's name is not asked for
    contract.expect(edge.buy(edge.server.create_sale(1)), 401, "unauthorized")


def test_a_sale_is_looked_up_once_a_moment_however_many_look(edge):
    sale = edge.server.create_sale(7)
    names = [fresh_name("looks-") for _ in range(60)]
    began = time.monotonic()
    for number, name in enumerate(names):
        answer = edge.call("GET", f"/v1/sales/{sale}?nocache={number}", {"X-Request-Id": name})
        assert contract.expect(answer, 200).keys() == contract.SALE_FIELDS
        assert answer.header("x-request-id") == name
    took = time.monotonic() - began
    asked = sum(edge.line_of(name).asked for name in names)
    assert asked <= took / MOMENT_S + 2, f"{asked} of {len(names)} in {took:.1f} s"
    edge.server.set_state(sale, "paused")
    eventually(lambda: edge.sale(sale)["state"] == "paused", "the pause is seen", pause_s=0.02)
    contract.expect(edge.call("PATCH", f"/v1/sales/{sale}", body={"stock": 1}), 405,
                    "method_not_allowed")


# -- limits -------------------------------------------------------------------------------------

def limited(connection, requests, burst: int, rate: float):
    """Sends them as fast as they are answered: a burst gets through and what the rate allows."""
    let_through, refused = 0, []
    began = time.monotonic()
    for start in range(0, len(requests), 50):
        part = requests[start:start + 50]
        connection.send(b"".join(part))
        for _ in part:
            answer = contract.check_answer(connection.read_response())
            if answer.status == 429:
                refused.append(answer)
            else:
                let_through += 1
    took = time.monotonic() - began
    assert burst <= let_through <= burst + 1 + rate * took, f"{let_through} in {took:.1f} s"
    for answer in refused:
        contract.expect(answer, 429, "rate_limited")
        assert 1 <= contract.retry_after_of(answer) <= 3
        assert answer.header("ratelimit-policy") == '"edge";q=5;w=1', answer
        assert answer.header("ratelimit").startswith('"edge";r=0;t='), answer
    assert {contract.retry_after_of(answer) for answer in refused} == {1, 2, 3}


def paused_sale(edge) -> str:
    """A sale whose answer costs nothing, so that many fit into a second."""
    sale = edge.server.create_sale(10)
    edge.server.set_state(sale, "paused")
    return sale


def test_a_user_who_clicks_too_often_is_told_to_wait(edge):
    sale, open_sale = paused_sale(edge), edge.server.create_sale(10)
    order = edge.bought(open_sale, "reads")["order_id"]
    with edge.connect() as connection:
        # Wherever they come from.
        limited(connection, [edge.attempt_bytes(sale, "clicks", f"198.51.100.{number}")
                             for number in range(1, 251)], BURST, 5)
        limited(connection, [edge.order_bytes(order, "reads")] * 90, BURST - 1, 5)
    edge.bought(open_sale, "another")
    eventually(lambda: edge.buy(open_sale, "clicks").status == 202, "after a while it goes on")


@pytest.mark.parametrize("addresses", [["203.0.113.9"], [f"2001:db8:7:7:{number:x}::1"
                                                         for number in range(1, 250)]])
def test_an_address_or_ipv6_network_that_asks_too_much_is_told_to_wait(edge, addresses):
    sale, open_sale = paused_sale(edge), edge.server.create_sale(10)
    with edge.connect() as connection:
        limited(connection, [
            edge.attempt_bytes(sale, fresh_name("crowd"), addresses[number % len(addresses)])
            for number in range(800)], ADDRESS_BURST, 50)
    for address in ("203.0.113.10", "2001:db8:7:8::1", "2001:db8::1"):
        answer = edge.buy(open_sale, fresh_name("else"), headers={"X-Forwarded-For": address})
        contract.expect(answer, 202)


def test_a_made_up_user_or_address_is_not_believed(edge):
    sale, open_sale = paused_sale(edge), edge.server.create_sale(10)
    with Stranger(edge.port) as stranger:
        stranger.send(edge.attempt_bytes(open_sale, "ann", "198.51.100.1"))
        contract.expect(stranger.read_response(), 401, "unauthorized")
        limited(stranger, [edge.attempt_bytes(sale, f"ann-{number}", f"198.51.100.{number % 250}")
                           for number in range(800)], ADDRESS_BURST - 1, 50)
    contract.check_audit(edge.server.audit(open_sale), sold=0)


class Stranger(Connection):
    """A connection from an address that is no gateway."""

    def __init__(self, port: int):  # pylint: disable=super-init-not-called
        self.host = f"127.0.0.1:{port}"
        self.socket = socket.create_connection(("127.0.0.1", port), BOUND_S, ("127.0.0.2", 0))
        self.buffer = b""


SECRET = b"0123456789abcdef0123456789abcdef"
JWT = ('[server]\ntrusted_proxies = ["127.0.0.1"]\n[identity]\nmode = "jwt"\n'
       f'jwt_keys = ["hs256:{SECRET.decode()}"]\n')


def bearer(user: str) -> dict:
    return {"Authorization": f"Bearer {tokens.hs256(SECRET, tokens.claims_for(user))}"}


def test_with_tokens_each_token_has_a_limit(make_edge):
    edge = make_edge(JWT)
    sale, open_sale = paused_sale(edge), edge.server.create_sale(10)
    ann, bob = bearer("ann"), bearer("bob")
    assert contract.expect(edge.buy(open_sale, headers=ann), 202)["user_id"] == "ann"
    with edge.connect() as connection:
        request = build_request("POST", f"/v1/sales/{sale}/purchases", edge.host, ann)
        limited(connection, [request] * 90, BURST - 1, 5)
    assert contract.expect(edge.buy(open_sale, headers=bob), 202)["user_id"] == "bob"
    contract.expect(edge.buy(open_sale, "ann"), 401, "unauthorized")


def test_doorbuster_is_told_the_address_that_nginx_saw(make_edge):
    edge = make_edge(JWT + "[limits]\nper_ip_per_second = 1\n")
    sale = edge.server.create_sale(100)

    def headers(address):
        return {"X-Forwarded-For": address, **bearer(fresh_name("buyer"))}
    with Stranger(edge.port) as stranger:
        answers = [stranger.request("POST", f"/v1/sales/{sale}/purchases",
                                    headers(f"198.51.100.{number}")) for number in range(1, 9)]
    limits = {answer.header("ratelimit-policy").split(";")[0] for answer in answers
              if answer.status == 429}
    assert limits and '"edge"' not in limits, answers  # doorbuster's own, for one address
    for number in range(1, 9):
        answer = edge.buy(sale, headers=headers(f"203.0.113.{number}"))
        contract.expect(answer, 202)  # a balancer's clients are one address each


def test_streams_of_one_buyer_are_counted(edge):
    order, user = due_order(edge)
    streams = [EventStream(edge, order, user) for _ in range(4)]
    contract.expect(edge.call("GET", f"/v1/orders/{order}/events", {"X-User-Id": user}), 429,
                    "rate_limited")
    for stream in streams:
        stream.close()


# -- what passes through ------------------------------------------------------------------------

def due_order(edge):
    """An order that waits for its payment; (id, buyer)."""
    user = fresh_name("buyer")
    order = edge.bought(edge.server.create_sale(1, payment_timeout_s=LONG_S), user)["order_id"]
    orders.reaches(edge.server, order, user, "confirmed")
    return order, user


def test_an_orders_events_arrive_at_once(edge):
    order, user = due_order(edge)
    with EventStream(edge, order, user) as stream:
        assert stream.next()["status"] == "confirmed"  # it would wait for ever in a buffer
        orders.paid(edge.server, order)
        paid_at = time.monotonic()
        assert stream.next()["status"] == "paid"
        assert time.monotonic() - paid_at < 5.0
        assert stream.rest() == ["confirmed", "paid"]


def test_a_silent_stream_stays_open(edge):
    order, user = due_order(edge)
    with EventStream(edge, order, user) as stream:
        stream.next()
        stream.next_comment()  # after 15 s
        orders.cancelled(edge, order, user)
        assert stream.rest() == ["confirmed", "cancelled"]


def test_what_is_for_administrators_is_not_there(edge):
    sale = edge.server.create_sale(1)
    body = {"id": "mine", "title": "mine", "stock": 1}
    for host in (edge.host, "localhost", "127.0.0.1:8080"):
        headers = {"Host": host}
        for method, target in (("GET", "/metrics"), ("GET", "/readyz"), ("GET", "/v1/sales"),
                               ("POST", "/v1/sales"), ("POST", f"/v1/sales/{sale}/stock"),
                               ("POST", f"/v1/sales/{sale}/close"), ("GET", "/v1/webhooks"),
                               ("GET", f"/v1/sales/{sale}/audit"), ("GET", "/"),
                               ("GET", f"/v1/sales/{sale}/orders"), ("GET", "/edge/uri_too_long"),
                               ("POST", "/v1/orders/00000081m84m8qgg000rmp8d1d9q7719/pay")):
            answer = edge.call(method, target, headers, body if method == "POST" else None)
            contract.expect(answer, 404, "not_found")
    assert edge.call("GET", "/openapi.yaml").status == 200


def test_the_storefront_comes_with_all_that_it_loads(edge):
    sale = edge.server.create_sale(1)
    page = edge.server.call("GET", f"/shop/{sale}", check=False)
    if page.status != 200:
        assert os.environ.get("CI") != "true", "CI's server has pages"
        pytest.skip("this server was built without pages")
    assets = re.findall(r'(?:src|href)="(/assets/[^"]+)"', page.text)
    assert len(assets) > 1, page.text
    for target in (f"/shop/{sale}", *assets):
        answer = edge.call("GET", target, check=False)
        own = edge.server.call("GET", target, check=False)
        assert (answer.status, answer.text) == (200, own.text), target
        for name in ("content-type", "cache-control", "content-security-policy", "etag"):
            assert answer.header(name) == own.header(name), (target, name)
    contract.expect(edge.call("GET", "/assets/nothing.js"), 404, "not_found")


def test_what_nginx_refuses_has_the_contracts_form(edge):
    target, buyer = f"/v1/sales/{edge.server.create_sale(1)}/purchases", {"X-User-Id": "buyer"}
    largest = b'{"quantity":1}'.ljust(64 * 1024)
    contract.expect(edge.call("POST", target, buyer, largest), 202)
    contract.expect(edge.call("POST", target, buyer, largest + b" "), 413, "payload_too_large")
    contract.expect(edge.call("GET", "/" + "a" * 20_000), 414, "uri_too_long")
    contract.expect(edge.call("GET", "/", {"X-Long": "a" * 20_000}), 431, "headers_too_large")
    with edge.connect() as connection:
        connection.send(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
        contract.expect(contract.check_answer(connection.read_response()), 400, "invalid_request")


def test_connections_to_doorbuster_are_kept(make_edge):
    edge = make_edge(gate=True)
    sale = edge.server.create_sale(100)
    began = time.monotonic()
    for number in range(60):
        key = fresh_name("key") if number % 2 else None
        headers = {"X-Forwarded-For": f"198.51.100.{number}"}
        contract.expect(edge.buy(sale, fresh_name("buyer"), 1, key, headers), 202)
    # A few for each worker; and nginx closes the connection on which the gate heard its 401, which
    # is once a moment.
    took = time.monotonic() - began
    assert edge.gate.accepted <= 8 + took / MOMENT_S, f"{edge.gate.accepted} in {took:.1f} s"


def test_a_slow_body_waits_in_nginx(make_edge):
    edge = make_edge(gate=True)
    sale = edge.server.create_sale(1)
    request = build_request("POST", f"/v1/sales/{sale}/purchases", edge.host,
                            {"X-User-Id": "slow", "Idempotency-Key": "k"}, b'{"quantity":1}')
    with edge.connect() as connection:
        connection.send(request[:-5])
        contract.expect(edge.call("GET", "/nothing"), 404)
        assert edge.gate.accepted == 0
        connection.send(request[-5:])
        contract.expect(connection.read_response(), 202)


def test_a_doorbuster_that_is_away_or_hangs_is_a_503_and_comes_back(make_edge):
    edge = make_edge(gate=True)
    sale = edge.server.create_sale(10)
    edge.bought(sale, "first", 1, "key")
    edge.gate.cut()
    for key in (None, "key"):
        answer = edge.buy(sale, fresh_name("buyer"), 1, key)
        contract.expect(answer, 503, "unavailable")
    edge.gate.heal()
    assert edge.buy(sale, "first", 1, "key").header("idempotency-replayed") == "true"
    edge.gate.swallow_replies()
    contract.expect(edge.buy(sale, "second", 1, "key"), 503, "unavailable")
    edge.gate.heal()
    answer = edge.buy(sale, "second", 1, "key")  # it was bought: nobody could say so
    contract.expect(answer, 202)
    assert answer.header("idempotency-replayed") == "true"
    contract.check_audit(edge.server.audit(sale), sold=2)
