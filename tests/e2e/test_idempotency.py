"""One key, one order: at the same time, later, in any state of the sale, after a crash."""

import concurrent.futures
import threading

import pytest

from harness import contract
from harness.server import fresh_name
from harness.settings import BOUND_S

KEY = "key-1"


def replayed(response) -> bool:
    return (response.header("idempotency-replayed") or "false").lower() == "true"


def check_replay(response, first: dict) -> None:
    assert contract.expect(response, 202) == first
    assert replayed(response), response
    assert response.header("location") == f"/v1/orders/{first['order_id']}", response


def test_one_key_from_fifty_connections_at_once_is_one_order(server):
    for _ in range(5):
        sale = server.create_sale(100, per_user_limit=50)
        request = server.purchase_bytes(sale, "buyer", 2, KEY)
        connections = [server.connect() for _ in range(50)]
        together = threading.Barrier(len(connections))

        def send(connection, request=request, together=together):
            with connection:
                together.wait(BOUND_S)
                connection.send(request)
                return contract.check_answer(connection.read_response())

        with concurrent.futures.ThreadPoolExecutor(len(connections)) as threads:
            responses = list(threads.map(send, connections))
        bodies = [contract.expect(response, 202) for response in responses]
        assert all(body == bodies[0] for body in bodies)
        assert sum(not replayed(response) for response in responses) == 1
        contract.check_audit(server.audit(sale), sold=2)
        assert len(server.list_all(f"/v1/sales/{sale}/orders")) == 1


def test_pipelined_retries_of_one_key_are_one_order(server):
    sale = server.create_sale(10, per_user_limit=10)
    with server.connect() as connection:
        connection.send(server.purchase_bytes(sale, "buyer", 1, KEY) * 20)
        responses = [connection.read_response() for _ in range(20)]
    bodies = [contract.expect(response, 202) for response in responses]
    assert all(body == bodies[0] for body in bodies)
    assert [replayed(response) for response in responses] == [False] + [True] * 19
    contract.check_audit(server.audit(sale), sold=1)


def test_the_first_answer_is_not_called_a_replay(server):
    sale = server.create_sale(10)
    assert not replayed(server.buy(sale, "buyer", 1, KEY))


def test_a_retry_answers_the_same_whatever_happened_to_the_sale(server):
    sale = server.create_sale(2, per_user_limit=2)
    first = server.bought(sale, "buyer", 1, KEY)
    check_replay(server.buy(sale, "buyer", 1, KEY), first)
    server.confirmed(first["order_id"], "buyer")
    check_replay(server.buy(sale, "buyer", 1, KEY), first)

    server.bought(sale, "other", 1)
    contract.expect(server.buy(sale, "third", 1), 409, "sold_out")
    check_replay(server.buy(sale, "buyer", 1, KEY), first)

    server.set_state(sale, "paused")
    check_replay(server.buy(sale, "buyer", 1, KEY), first)

    server.close_sale(sale)
    contract.expect(server.buy(sale, "third", 1), 410, "closed")
    check_replay(server.buy(sale, "buyer", 1, KEY), first)
    contract.check_audit(server.audit(sale), sold=2)


def test_a_retry_answers_the_same_after_crashes_in_every_state(make_server):
    server = make_server()
    keys = {}
    for state in ("open", "sold_out", "paused", "closed"):
        sale = server.create_sale(1 if state == "sold_out" else 5)
        keys[state] = (sale, server.bought(sale, "buyer", 1, KEY))
        if state == "paused":
            server.set_state(sale, "paused")
        elif state == "closed":
            server.close_sale(sale)
    for _ in range(2):
        server.kill()
        server.start()
        for state, (sale, first) in keys.items():
            check_replay(server.buy(sale, "buyer", 1, KEY), first)
            contract.expect(server.buy(sale, "buyer", 2, KEY), 422, "idempotency_mismatch")
            assert server.sale(sale)["state"] == ("open" if state == "sold_out" else state)
            contract.check_audit(server.audit(sale), sold=1)


def test_a_retry_answers_the_same_after_a_clean_restart(make_server):
    server = make_server()
    sale = server.create_sale(5)
    first = server.bought(sale, "buyer", 1, KEY)
    server.restart()
    check_replay(server.buy(sale, "buyer", 1, KEY), first)


def test_a_key_with_another_quantity_is_a_mismatch_in_every_state(server):
    sale = server.create_sale(1, per_user_limit=5)
    first = server.bought(sale, "buyer", 1, KEY)
    for change in (lambda: None, lambda: server.set_state(sale, "paused"),
                   lambda: server.close_sale(sale)):
        change()
        contract.expect(server.buy(sale, "buyer", 2, KEY), 422, "idempotency_mismatch")
        check_replay(server.buy(sale, "buyer", 1, KEY), first)


def test_an_empty_body_and_quantity_one_are_the_same_purchase(server):
    sale = server.create_sale(5, per_user_limit=5)
    first = server.bought(sale, "buyer", None, KEY)
    check_replay(server.buy(sale, "buyer", 1, KEY), first)


def test_a_refusal_does_not_bind_its_key(server):
    sale = server.create_sale(2, per_user_limit=2)
    server.set_state(sale, "paused")
    contract.expect(server.buy(sale, "buyer", 1, KEY), 409, "paused")
    server.set_state(sale, "open")
    server.bought(sale, "hoarder", 2)
    contract.expect(server.buy(sale, "buyer", 1, KEY), 409, "sold_out")
    server.restock(sale, 5)
    contract.expect(server.buy(sale, "buyer", 3, KEY), 409, "limit_reached")
    response = server.buy(sale, "buyer", 2, KEY)
    first = contract.expect(response, 202)
    assert not replayed(response)
    check_replay(server.buy(sale, "buyer", 2, KEY), first)


def test_a_bound_key_is_not_stopped_by_the_limit(server):
    sale = server.create_sale(5, per_user_limit=1)
    first = server.bought(sale, "buyer", 1, KEY)
    problem = contract.expect(server.buy(sale, "buyer", 1, "key-2"), 409, "limit_reached")
    assert problem["order_id"] == first["order_id"]
    check_replay(server.buy(sale, "buyer", 1, KEY), first)


def test_keys_belong_to_one_user_and_one_sale(server):
    sales = [server.create_sale(5) for _ in range(2)]
    orders = {server.bought(sale, user, 1, KEY)["order_id"]
              for sale in sales for user in ("anna", "berta")}
    assert len(orders) == 4


def test_without_a_key_every_accepted_request_is_a_new_order(server):
    sale = server.create_sale(5, per_user_limit=2)
    first = server.bought(sale, "buyer")
    second = server.bought(sale, "buyer")
    assert first["order_id"] != second["order_id"]
    problem = contract.expect(server.buy(sale, "buyer"), 409, "limit_reached")
    assert problem["order_id"] == second["order_id"], "the latest order"


@pytest.mark.parametrize("key", ["k", "x" * 255, "a b", "~!@#$%^&*()_+{}|:\"<>?", "7" * 36,
                                 "Zoë 漢字", "\U0001f389" * 255])
def test_keys_of_printable_characters_are_taken(server, key):
    sale = server.create_sale(5)
    first = server.bought(sale, "buyer", 1, key)
    check_replay(server.buy(sale, "buyer", 1, key), first)


@pytest.mark.parametrize("key", ["", "x" * 256, "\U0001f389" * 256, "tab\there", "bell\a",
                                 "next\x85line"])
def test_other_keys_are_refused_by_name(server, key):
    sale = server.create_sale(5)
    response = server.buy(sale, "buyer", headers={"Idempotency-Key": key})
    contract.expect(response, 400)
    if key.isprintable() or "\t" in key:  # else no header of HTTP at all, and refused as such
        assert "idempotency" in response.text.lower(), response
    contract.check_audit(server.audit(sale), sold=0)


def test_many_keys_of_one_user_each_make_one_order(server):
    sale = server.create_sale(1000, per_user_limit=500)
    keys = [fresh_name("key") for _ in range(100)]
    orders = [server.bought(sale, "buyer", 1, key) for key in keys]
    assert len({order["order_id"] for order in orders}) == 100
    for key, order in zip(keys, orders):
        check_replay(server.buy(sale, "buyer", 1, key), order)
    contract.check_audit(server.audit(sale), sold=100)
