"""The gate of tests/harness against a server that sends everything back."""

import errno
import socket
import sys
import threading
import time

import pytest

from conftest import BOUND_S, ROOT, eventually

sys.path.insert(0, str(ROOT / "tests"))
from harness.gate import QUEUE_BYTES_MAX, Fault, Gate  # noqa: E402

SILENCE_S = 0.3  # how long nothing must come, where the gate keeps something back


class Echo:
    """Counts what it received, and sends it back."""

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.received = b""
        self.endings = []  # how connections ended, in turn
        self._threads = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with connection:
            try:
                while data := connection.recv(65536):
                    self.received += data
                    connection.sendall(data)
                self.endings.append("end")
            except OSError:
                self.endings.append("reset")

    def close(self):
        if self._listener.fileno() >= 0:
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
            self._listener.close()


@pytest.fixture
def echo():
    server = Echo()
    yield server
    server.close()


@pytest.fixture
def gate(echo):
    with Gate(echo.port) as made:
        yield made


@pytest.fixture
def client(gate):
    with connect(gate) as connection:
        connection.sendall(b"hello")
        assert exactly(connection, 5) == b"hello"
        yield connection


def connect(gate):
    return socket.create_connection(("127.0.0.1", gate.port), BOUND_S)


def exactly(connection, size):
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        assert part, f"the connection ended after {data!r}"
        data += part
    return data


def silent(connection):
    connection.settimeout(SILENCE_S)
    try:
        return connection.recv(1) is None
    except TimeoutError:
        return True
    finally:
        connection.settimeout(BOUND_S)


def is_reset(connection):
    try:
        return connection.recv(1) is None
    except ConnectionResetError:
        return True


def refused(gate):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", gate.port)) == errno.ECONNREFUSED


def test_it_passes_bytes_both_ways_and_counts_them(gate, client, echo):
    client.sendall(b"x" * 100_000)
    assert exactly(client, 100_000) == b"x" * 100_000
    assert echo.received == b"hello" + b"x" * 100_000
    assert (gate.accepted, gate.open) == (1, 1)
    eventually(lambda: gate.request_bytes == gate.reply_bytes == 100_005, "all is counted")
    assert gate.fault is Fault.PASS


def test_an_end_is_passed_on_and_the_rest_still_comes_back(gate, client, echo):
    client.sendall(b"last")
    client.shutdown(socket.SHUT_WR)
    assert exactly(client, 4) == b"last"
    assert client.recv(1) == b""
    eventually(lambda: echo.endings == ["end"], "the server saw the end")
    eventually(lambda: gate.open == 0, "the gate has forgotten the connection")


def test_a_reset_is_passed_on(client, echo):
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    eventually(lambda: echo.endings == ["reset"], "the server saw the reset")


def test_more_than_all_buffers_hold_arrives_in_order(gate, client):
    size = 8 * QUEUE_BYTES_MAX
    sent = bytes(range(256)) * (size // 256)
    writer = threading.Thread(target=client.sendall, args=(sent,))
    writer.start()
    assert exactly(client, size) == sent
    writer.join(BOUND_S)


def test_a_delay_holds_every_byte_back_each_way(gate, client):
    gate.delay(100)
    before = time.monotonic()
    client.sendall(b"a")
    assert exactly(client, 1) == b"a"
    assert time.monotonic() - before >= 0.2
    client.sendall(b"b")
    gate.heal()
    client.sendall(b"c")
    assert exactly(client, 2) == b"bc"


def test_a_swallowed_reply_was_executed_and_never_comes(gate, client, echo):
    gate.swallow_replies()
    client.sendall(b"order")
    eventually(lambda: echo.received.endswith(b"order"), "the server has the request")
    assert silent(client)
    eventually(lambda: gate.swallowed_bytes == 5, "the reply was swallowed")
    gate.heal()
    assert is_reset(client)
    eventually(lambda: echo.endings == ["reset"], "the server's side is reset, too")


def test_a_connection_that_lost_nothing_survives_the_swallowing(gate, client):
    gate.swallow_replies()
    gate.heal()
    client.sendall(b"again")
    assert exactly(client, 5) == b"again"


def test_a_swallowed_request_is_not_executed(gate, client, echo):
    gate.swallow_requests()
    client.sendall(b"order")
    eventually(lambda: gate.swallowed_bytes == 5, "the request was swallowed")
    gate.heal()
    assert is_reset(client)
    assert echo.received == b"hello"


def test_a_new_connection_is_swallowed_from_as_well(gate, echo):
    gate.swallow_replies()
    with connect(gate) as client:
        client.sendall(b"order")
        eventually(lambda: echo.received == b"order", "the server has the request")
        assert silent(client)


def test_a_cut_resets_and_refuses_until_it_is_healed(gate, client, echo):
    gate.cut()
    assert is_reset(client)
    assert refused(gate)
    gate.cut()
    assert refused(gate)
    assert gate.open == 0
    eventually(lambda: echo.endings == ["reset"], "the server's side is reset, too")
    gate.heal()
    with connect(gate) as fresh:
        fresh.sendall(b"back")
        assert exactly(fresh, 4) == b"back"


def test_a_cut_reaches_connections_that_nobody_has_accepted(gate):
    gate.black_hole()
    with connect(gate) as waiting:
        gate.cut()
        assert is_reset(waiting)


def test_a_black_hole_keeps_everything_and_loses_nothing(gate, client, echo):
    gate.black_hole()
    client.sendall(b"order")
    with connect(gate) as late:
        late.sendall(b"late")
        assert silent(client)
        assert echo.received == b"hello"
        gate.heal()
        assert exactly(client, 5) == b"order"
        assert exactly(late, 4) == b"late"


def test_a_black_hole_keeps_what_was_delayed(gate, client):
    gate.delay(50)
    client.sendall(b"late")
    gate.black_hole()
    assert silent(client)
    gate.heal()
    assert exactly(client, 4) == b"late"


def test_connections_can_be_dropped_once(gate, client):
    gate.drop_connections()
    assert is_reset(client)
    with connect(gate) as fresh:
        fresh.sendall(b"back")
        assert exactly(fresh, 4) == b"back"


def test_a_server_that_is_away_is_a_reset(gate, echo):
    echo.close()
    try:
        with connect(gate) as client:
            assert is_reset(client)
    except ConnectionResetError:
        pass  # so soon that connect() has noticed


def test_gates_do_not_know_each_other(echo):
    with Gate(echo.port) as one, Gate(echo.port) as other:
        one.cut()
        with connect(other) as client:
            client.sendall(b"here")
            assert exactly(client, 4) == b"here"


def test_closing_gives_the_port_back(echo):
    gate = Gate(echo.port)
    with connect(gate) as client:
        gate.close()
        assert is_reset(client)
    gate.close()
    with Gate(echo.port, port=gate.port) as again:
        assert again.port == gate.port


def test_a_taken_port_is_an_error(echo):
    with pytest.raises(OSError):
        Gate(echo.port, port=echo.port)


def test_many_connections_share_a_gate(gate):
    clients = [connect(gate) for _ in range(100)]
    try:
        for number, client in enumerate(clients):
            client.sendall(b"%4d" % number)
        for number, client in enumerate(clients):
            assert exactly(client, 4) == b"%4d" % number
    finally:
        for client in clients:
            client.close()
    eventually(lambda: gate.open == 0, "all have ended")
