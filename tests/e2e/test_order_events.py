"""An order's events: each change is told once, in order, up to the last; to whom it concerns."""

import os
import threading

import pytest

from harness import contract, orders
from harness.events import EventStream, check_head, events_bytes
from harness.server import fresh_name
from harness.settings import SHUTDOWN_S, scaled
from harness.swarm import Swarm
from harness.waiting import eventually
from harness.wire import Closed, build_request

TOKEN = "correct-horse-battery-staple"
LONG_S = 600  # a payment timeout that no test waits for


def due_order(server, sale: str = None):
    """An order that waits for its payment; (id, buyer)."""
    sale = sale or server.create_sale(1, payment_timeout_s=LONG_S)
    user = fresh_name("buyer")
    order = server.bought(sale, user)["order_id"]
    server.confirmed(order, user)
    return order, user


# -- what is told -------------------------------------------------------------------------------

def test_an_order_without_a_payment_step_ends_confirmed(server):
    sale = server.create_sale(20)
    for _ in range(20):
        user = fresh_name("buyer")
        order = server.bought(sale, user)["order_id"]
        with EventStream(server, order, user) as stream:
            assert stream.rest() in (["queued", "confirmed"], ["confirmed"])
            assert stream.events[-1] == orders.shown_to(server, order, user)


@pytest.mark.parametrize("end", ["paid", "cancelled", "expired"])
def test_the_stream_of_an_order_to_be_paid_stays_until_its_end(server, end):
    timeout_s = 10 if end == "expired" else LONG_S
    sale = server.create_sale(1, payment_timeout_s=timeout_s)
    user = fresh_name("buyer")
    order = server.bought(sale, user)["order_id"]
    with EventStream(server, order, user) as stream:
        while stream.next()["status"] == "queued":
            pass
        assert stream.events[-1]["status"] == "confirmed", stream.events
        if end == "paid":
            orders.paid(server, order)
        elif end == "cancelled":
            orders.cancelled(server, order, user)
        assert stream.rest()[-2:] == ["confirmed", end]
        assert stream.events[-1] == orders.shown_to(server, order, user)


def test_everybody_who_looks_on_is_told(server):
    order, user = due_order(server)
    streams = [EventStream(server, order, user) for _ in range(20)]
    for stream in streams:
        assert stream.next()["status"] == "confirmed"
    orders.paid(server, order)
    for stream in streams:
        assert stream.rest() == ["confirmed", "paid"]
        stream.close()


def test_a_stream_that_is_opened_again_begins_with_the_status(server):
    order, user = due_order(server)
    with EventStream(server, order, user, {"Last-Event-ID": "1"}) as stream:
        assert stream.next()["status"] == "confirmed"
    orders.cancelled(server, order, user)
    with EventStream(server, order, user, {"Last-Event-ID": "2"}) as stream:
        assert stream.rest() == ["cancelled"]


def test_a_silent_stream_is_kept_alive(server):
    order, user = due_order(server)
    with EventStream(server, order, user) as stream:
        assert stream.next()["status"] == "confirmed"
        stream.next_comment()
        orders.paid(server, order)
        assert stream.rest() == ["confirmed", "paid"]


# -- to whom ------------------------------------------------------------------------------------

def test_events_are_for_the_buyer_and_administrators(make_server):
    server = make_server(admin_token=TOKEN)
    order, user = due_order(server)
    target = f"/v1/orders/{order}/events"
    contract.expect(server.call("GET", target, {"X-User-Id": "somebody-else"}), 404, "not_found")
    contract.expect(server.call("GET", target), 401, "unauthorized")
    contract.expect(server.call("GET", target, {"Authorization": "Bearer wrong"}), 401,
                    "unauthorized")
    with EventStream(server, order, headers={"Authorization": f"Bearer {TOKEN}"}) as stream:
        assert stream.next()["user_id"] == user
        orders.cancelled(server, order, user)
        assert stream.rest() == ["confirmed", "cancelled"]


def test_there_are_no_events_of_an_order_that_is_none(server):
    for order in ("0" * 32, "none", "%00", "0" * 31):
        answer = server.call("GET", f"/v1/orders/{order}/events", {"X-User-Id": "buyer"})
        contract.expect(answer, 404, "not_found")
    answer = server.call("POST", f"/v1/orders/{'0' * 32}/events", {"X-User-Id": "buyer"})
    contract.expect(answer, 405, "method_not_allowed")
    assert answer.header("allow") == "GET, HEAD"


def test_a_stream_counts_as_a_read_of_its_order(make_server):
    server = make_server(settings={"limits.per_user_per_second": 0.01})
    sale = server.create_sale(1)
    order = server.bought(sale, "buyer")["order_id"]
    answer = server.call("GET", f"/v1/orders/{order}/events", {"X-User-Id": "buyer"})
    contract.expect(answer, 429, "rate_limited")


# -- how it is sent -----------------------------------------------------------------------------

def test_head_shows_the_headers_only(server):
    order, user = due_order(server)
    with server.connect() as connection:
        connection.send(events_bytes(server, order, user, method="HEAD"))
        check_head(connection.read_response("HEAD"))
        connection.send(events_bytes(server, order, "somebody-else", method="HEAD"))
        assert connection.read_response("HEAD").status == 404
        assert connection.request("GET", "/livez").status == 200


def test_a_connection_lives_on_after_a_stream_with_what_was_sent_meanwhile(server):
    order, user = due_order(server)
    behind = build_request("GET", "/livez", server.host)
    with EventStream(server, order, user, behind=behind) as stream:
        stream.next()
        stream.connection.send(behind)
        orders.paid(server, order)
        assert stream.rest() == ["confirmed", "paid"]
        for _ in range(2):
            assert stream.connection.read_response().json() == {"status": "alive"}
        stream.connection.send(server.order_bytes(order, user))
        assert contract.expect(stream.connection.read_response(), 200)["status"] == "paid"


def test_an_old_client_reads_until_the_connection_ends(server):
    order, user = due_order(server)
    with EventStream(server, order, user, version="1.0") as stream:
        assert stream.head.header("connection") == "close"
        stream.next()
        orders.cancelled(server, order, user)
        assert stream.rest() == ["confirmed", "cancelled"]


# -- many of them -------------------------------------------------------------------------------

def test_many_streams_while_purchases_go_on(server):
    buyers = scaled(400, 50)
    sale = server.create_sale(buyers, payment_timeout_s=LONG_S)
    rush = server.create_sale(100_000)
    stop = threading.Event()
    statuses = set()

    def requests():
        number = 0
        while not stop.is_set():
            number += 1
            yield number, server.purchase_bytes(rush, f"rush-{number}")

    def buy():
        with Swarm(server.port, 8, depth=2) as swarm:
            swarm.run(requests(), lambda _tag, status, _head, _body: statuses.add(status))

    crowd = threading.Thread(target=buy)
    crowd.start()
    streams, again = [], []
    try:
        for _ in range(buyers):
            user = fresh_name("buyer")
            order = server.bought(sale, user)["order_id"]
            streams.append((EventStream(server, order, user), user))
        with server.connect() as connection:
            for number, (stream, user) in enumerate(streams):
                if number % 2:
                    connection.send(orders.cancel_bytes(server, stream.order, user))
                else:
                    connection.send(orders.pay_bytes(server, stream.order, f"payment-{number}"))
            for number, (stream, user) in enumerate(streams):
                status = connection.read_response().status
                assert status in (200, 503), status
                if status == 503:  # the store stood still for its 2 s: asked again
                    again.append((number, stream.order, user))
        for number, order, user in again:
            if number % 2:
                orders.cancelled(server, order, user)
            else:
                orders.paid(server, order, f"payment-{number}")
        for number, (stream, _) in enumerate(streams):
            told = stream.rest()
            assert told[-1] == ("cancelled" if number % 2 else "paid"), told
    finally:
        stop.set()
        crowd.join()
        for stream, _ in streams:
            stream.close()
    assert statuses == {202}
    contract.check_audit(server.audit(sale), sold=(buyers + 1) // 2)


def open_files(server) -> int:
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))


def test_streams_whose_clients_have_gone_leave_nothing_behind(make_server):
    server = make_server()
    order, user = due_order(server)
    for _ in range(3):
        assert server.order(order, user).status == 200
    before = open_files(server)
    for _ in range(3):
        streams = [EventStream(server, order, user) for _ in range(100)]
        assert open_files(server) >= before + 90  # some files come and go by themselves
        for stream in streams:
            stream.close()
        eventually(lambda: open_files(server) <= before, "the connections are closed")


def test_one_stream_too_many_is_told_to_come_again(make_server):
    server = make_server(settings={"server.streams_max": 5})
    order, user = due_order(server)
    streams = [EventStream(server, order, user) for _ in range(5)]
    answer = server.call("GET", f"/v1/orders/{order}/events", {"X-User-Id": user})
    contract.expect(answer, 503, "overloaded")
    contract.retry_after_of(answer)
    with server.connect() as connection:  # takes no place
        connection.send(events_bytes(server, order, user, method="HEAD"))
        check_head(connection.read_response("HEAD"))
    streams.pop().close()

    def opened():
        try:
            return EventStream(server, order, user)
        except AssertionError:
            return None
    streams.append(eventually(opened, "the place is free again"))
    orders.paid(server, order)
    for stream in streams:
        assert stream.rest() == ["confirmed", "paid"]
        stream.close()


# -- the server's end ---------------------------------------------------------------------------

def test_a_stop_ends_the_streams_and_they_can_be_opened_again(make_server):
    server = make_server()
    order, user = due_order(server)
    streams = [EventStream(server, order, user) for _ in range(50)]
    silent = [server.connect() for _ in range(50)]  # never read
    for connection in silent:
        connection.send(events_bytes(server, order, user))
    old = EventStream(server, order, user, version="1.0")
    try:
        assert server.terminate(SHUTDOWN_S) == 0
        for stream in (*streams, old):
            assert stream.rest() == ["confirmed"]
    finally:
        for connection in (*(stream.connection for stream in streams), old.connection, *silent):
            connection.close()
    server.start()
    with EventStream(server, order, user) as stream:
        assert stream.next()["status"] == "confirmed"
        orders.paid(server, order)
        assert stream.rest() == ["confirmed", "paid"]


def test_a_crash_breaks_a_stream_off_where_it_was(make_server):
    server = make_server()
    order, user = due_order(server)
    with EventStream(server, order, user) as stream:
        stream.next()
        server.kill()
        with pytest.raises(Closed):
            stream.next()
