"""SIGTERM and SIGINT under load: a clean end, and nothing that was promised is lost."""

import json
import signal
import subprocess
import time

import pytest

from harness import contract
from harness.settings import BINARY, BOUND_S, SHUTDOWN_S, clean_environment, scaled
from harness.swarm import Swarm
from harness.waiting import eventually


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_stopped_under_load_loses_nothing(make_server, number):
    server = make_server()
    sale = server.create_sale(10_000_000)
    for turn in range(3):
        accepted = {}

        def requests(turn=turn):
            for buyer in range(10_000_000):
                user = f"buyer-{turn}-{buyer}"
                yield user, server.purchase_bytes(sale, user, None, user)

        def on_answer(user, status, _head, body, accepted=accepted):
            if status == 202:
                accepted[user] = json.loads(body)
                if len(accepted) == scaled(500, 50):
                    server.process.send_signal(number)
            else:  # what comes in during the shutdown may be turned away
                assert status == 503, (status, body)

        with Swarm(server.port, 32, depth=2) as swarm:
            swarm.run(requests(), on_answer)
            assert swarm.partial_answers == 0, "an answer was cut in two"
        # Not asked again: a second signal would end it at once.
        assert server.process.wait(SHUTDOWN_S) == 0, server.output()
        server.check_output()
        assert len(accepted) >= scaled(500, 50)

        server.start()
        with server.connect() as connection:
            for user, order in accepted.items():
                connection.send(server.order_bytes(order["order_id"], user))
                shown = contract.expect(connection.read_response(), 200)
                assert shown["user_id"] == user and shown["quantity"] == 1
        contract.check_audit(server.audit(sale))
        user, order = next(iter(accepted.items()))
        assert contract.expect(server.buy(sale, user, None, user), 202) == order


def test_a_second_signal_exits_at_once(make_server):
    server = make_server()
    sale = server.create_sale(5)
    with server.connect() as half:  # for this request a stop waits
        half.send(server.purchase_bytes(sale, "half", 1)[:40])
        server.call("GET", "/livez")  # by now the server has read it
        server.process.send_signal(signal.SIGTERM)
        # Two signals that wait for a process that stands still are one to it.
        eventually(lambda: "stopping" in server.output(), "the first signal has been heard")
        asked = time.monotonic()
        # Sooner it would be the first one's echo.
        eventually(lambda: time.monotonic() > asked + 0.3, "0.3 s pass")
        assert server.alive, server.output()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(2.0 if SHUTDOWN_S <= 10 else SHUTDOWN_S) == 1, server.output()
    assert "second signal" in server.output()


def test_a_stopped_server_accepts_nobody(make_server):
    server = make_server()
    server.stop()
    with pytest.raises(ConnectionRefusedError):
        server.connect()


def test_idle_and_half_sent_connections_do_not_delay_the_end(make_server):
    server = make_server()
    sale = server.create_sale(5)
    idle = [server.connect() for _ in range(50)]
    half = [server.connect() for _ in range(50)]
    for connection in half:
        connection.send(server.purchase_bytes(sale, "half", 1)[:40])
    try:
        assert server.terminate(SHUTDOWN_S) == 0
    finally:
        for connection in (*idle, *half):
            connection.close()


def test_an_echo_of_the_signal_is_no_second_one(make_server):
    """`timeout`, or a terminal and a script, signal the process and its group: one wish."""
    server = make_server()
    sale = server.create_sale(5)
    server.bought(sale, "buyer")
    for _ in range(5):
        server.process.send_signal(signal.SIGINT)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(SHUTDOWN_S) == 0, server.output()
        server.check_output()
        server.start()
    contract.check_audit(server.audit(sale), sold=1)


def test_an_echo_of_the_signal_leaves_a_load_run_its_report(make_server):
    server = make_server()
    sale = server.create_sale(1_000_000)
    command = [str(BINARY), "load", "--url", server.url, "--sale", sale, "--rate", "200",
               "--buyers", "1000000", "--json"]
    for turn in range(3):
        begun = [*command, "--user-prefix", f"turn-{turn}-"]
        sold = server.audit(sale)["sold"]
        with subprocess.Popen(begun, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              env=clean_environment()) as load:
            eventually(lambda sold=sold: server.audit(sale)["sold"] > sold, "it has begun")
            load.send_signal(signal.SIGINT)
            load.send_signal(signal.SIGTERM)
            report, errors = load.communicate(timeout=BOUND_S)
        assert json.loads(report)["accepted"] > 0, errors
        assert b"second signal" not in errors, errors


def test_a_signal_during_the_start_ends_cleanly(make_server):
    server = make_server()
    sale = server.create_sale(5)
    server.bought(sale, "buyer")
    server.stop()
    for _ in range(5):
        server.spawn()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(SHUTDOWN_S) in (0, -signal.SIGTERM)
    server.start()
    contract.check_audit(server.audit(sale), sold=1)
