"""Bytes that no honest client sends. After each the server goes on selling.

Where HTTP leaves a choice, so does the test: refuse or close, but never do what the hidden
request says.
"""

import contextlib
import random
import socket
import struct
import threading
import time

import pytest

from harness import contract
from harness.plugin import Servers
from harness.server import fresh_name
from harness.settings import BOUND_S, scaled
from harness.waiting import eventually
from harness.wire import Closed, build_request

CRLF = "\r\n"


@pytest.fixture(name="sale")
def _sale(server):
    """A sale of its own; afterwards it must still sell, and the books must balance."""
    sale = server.create_sale(1_000_000, per_user_limit=1_000_000)
    yield sale
    server.bought(sale, fresh_name("after"))
    contract.check_audit(server.audit(sale))


def raw_purchase(server, sale, *lines: str, body: bytes = b"", version: str = "HTTP/1.1",
                 user: str = "hidden", host: bool = True) -> bytes:
    """A purchase whose framing is the given lines and nothing else."""
    head = [f"POST /v1/sales/{sale}/purchases {version}", f"X-User-Id: {user}",
            "Content-Type: application/json"]
    if host:
        head.append(f"Host: {server.host}")
    return (CRLF.join([*head, *lines]) + CRLF * 2).encode("latin-1") + body


def sold(server, sale) -> int:
    return server.audit(sale)["sold"]


def check_refused(server, data: bytes, statuses=(400,), may_close_silently: bool = False) -> None:
    """The bytes are answered by one of the statuses and a close, and by nothing else."""
    with server.connect() as connection:
        connection.send_tolerant(data)
        with contextlib.suppress(OSError):
            connection.socket.shutdown(socket.SHUT_WR)
        response = connection.answer_or_close()
        if response is None:
            assert may_close_silently, "closed without an answer"
            return
        assert response.status in statuses, response
        contract.check_answer(response)
        assert connection.at_end(), f"more answers than requests: {connection.buffer[:300]!r}"


# -- smuggling ----------------------------------------------------------------------------------

SMUGGLED = {
    "two lengths": (["Content-Length: 0", "Content-Length: {all}"], "hidden"),
    "two lengths the other way": (["Content-Length: {all}", "Content-Length: 0"], "hidden"),
    "lengths in one line": (["Content-Length: 0, {all}"], "hidden"),
    "length then chunked": (["Content-Length: {all}", "Transfer-Encoding: chunked"], "chunked"),
    "chunked then length": (["Transfer-Encoding: chunked", "Content-Length: {all}"], "chunked"),
    "chunked then zero length": (["Transfer-Encoding: chunked", "Content-Length: 0"], "chunked"),
    "a signed length": (["Content-Length: +0"], "hidden"),
    "a negative length": (["Content-Length: -1"], "hidden"),
    "a hexadecimal length": (["Content-Length: 0x0"], "hidden"),
    "an empty length": (["Content-Length:"], "hidden"),
    "a length with a space inside": (["Content-Length: 0 0"], "hidden"),
    "a length as text": (["Content-Length: none"], "hidden"),
    "a length out of range": (["Content-Length: 18446744073709551616"], "hidden"),
    "a length of many digits": (["Content-Length: " + "9" * 40], "hidden"),
    "chunked not last": (["Transfer-Encoding: chunked, identity"], "chunked"),
    "chunked twice": (["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"], "chunked"),
    "an unknown coding": (["Transfer-Encoding: xchunked"], "chunked"),
    "another coding": (["Transfer-Encoding: gzip"], "chunked"),
    "a coding before chunked": (["Transfer-Encoding: gzip, chunked"], "chunked"),
    "a coding with a vertical tab": (["Transfer-Encoding: \x0bchunked"], "chunked"),
    "a space before the colon": (["Content-Length : 0"], "hidden"),
    "a space before the coding's colon": (["Transfer-Encoding : chunked"], "chunked"),
    "a folded length": (["X-Fold: a", " Content-Length: 0"], "hidden"),
    "a folded coding": (["Transfer-Encoding:", " chunked"], "chunked"),
    "a bare CR in a header": (["X-Bare: a\rContent-Length: 0"], "hidden"),
    "a NUL in a header": (["X-Nul: a\0b", "Content-Length: 0"], "hidden"),
    "a NUL in a name": (["X-N\0ul: a", "Content-Length: 0"], "hidden"),
    "a header without a colon": (["NoColonHere", "Content-Length: 0"], "hidden"),
    "a header without a name": ([": value", "Content-Length: 0"], "hidden"),
    "a bad character in a name": (["X(y): value", "Content-Length: 0"], "hidden"),
}


@pytest.mark.parametrize("name", SMUGGLED)
def test_ambiguous_framing_is_refused_and_nothing_hidden_runs(server, sale, name):
    lines, kind = SMUGGLED[name]
    hidden = raw_purchase(server, sale, "Content-Length: 0")
    body = hidden if kind == "hidden" else b"0" + CRLF.encode() * 2 + hidden
    lines = [line.format(all=len(body)) for line in lines]
    check_refused(server, raw_purchase(server, sale, *lines, body=body),
                  statuses=(400, 411, 413, 501))
    assert sold(server, sale) == 0


def test_chunked_in_http_1_0_is_refused(server, sale):
    hidden = raw_purchase(server, sale, "Content-Length: 0")
    check_refused(server, raw_purchase(server, sale, "Transfer-Encoding: chunked",
                                       body=b"0\r\n\r\n" + hidden, version="HTTP/1.0"),
                  statuses=(400, 411, 501, 505), may_close_silently=True)
    assert sold(server, sale) == 0


BAD_CHUNKS = {
    "no number": b"zz\r\n{}\r\n0\r\n\r\n", "a negative size": b"-2\r\n{}\r\n0\r\n\r\n",
    "a signed size": b"+2\r\n{}\r\n0\r\n\r\n", "a prefixed size": b"0x2\r\n{}\r\n0\r\n\r\n",
    "an empty size": b"\r\n{}\r\n0\r\n\r\n", "a space as size": b" \r\n{}\r\n0\r\n\r\n",
    "a size out of range": b"10000000000000002\r\n{}\r\n0\r\n\r\n",
    "a size of many digits": b"f" * 200 + b"\r\n{}\r\n0\r\n\r\n",
    "too much data": b"1\r\n{}\r\n0\r\n\r\n", "too little data": b"3\r\n{}\r\n0\r\n\r\n",
    "no line end after data": b"2\r\n{}0\r\n\r\n",
}


@pytest.mark.parametrize("name", BAD_CHUNKS)
def test_malformed_chunks_are_refused(server, sale, name):
    check_refused(server, raw_purchase(server, sale, "Transfer-Encoding: chunked",
                                       body=BAD_CHUNKS[name]),
                  statuses=(400, 413), may_close_silently=True)
    assert sold(server, sale) == 0


def test_well_formed_chunks_are_taken(server, sale):
    body = b'{"quantity":3}'
    for chunks in (b"e\r\n" + body + b"\r\n0\r\n\r\n", b"0\r\n\r\n",
                   b"E;name=value\r\n" + body + b"\r\n0\r\n\r\n",
                   b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n",
                   b"e\r\n" + body + b"\r\n0\r\nX-Trailer: x\r\n\r\n"):
        with server.connect() as connection:
            connection.send(raw_purchase(server, sale, "Transfer-Encoding: chunked",
                                         body=chunks))
            contract.expect(connection.read_response(), 202)
            assert connection.request("GET", "/livez").status == 200
    assert sold(server, sale) == 13


def test_chunks_that_add_up_to_too_much_are_refused(server, sale):
    with server.connect() as connection:
        connection.send(raw_purchase(server, sale, "Transfer-Encoding: chunked"))
        chunk = b"1000\r\n" + b" " * 4096 + b"\r\n"
        for _ in range(64):
            connection.send_tolerant(chunk)
        contract.expect(contract.check_answer(connection.read_response()), 413,
                        "payload_too_large")
    assert sold(server, sale) == 0


def test_an_endless_chunk_extension_is_cut_off(server, sale):
    with server.connect() as connection:
        connection.send(raw_purchase(server, sale, "Transfer-Encoding: chunked", body=b"1;"))
        for _ in range(300):
            connection.send_tolerant(b"x" * 4096)
        response = connection.answer_or_close("POST")
        assert response is None or response.status in (400, 413, 431), response


def test_endless_trailers_are_cut_off(server, sale):
    with server.connect() as connection:
        connection.send(raw_purchase(server, sale, "Transfer-Encoding: chunked", body=b"0\r\n"))
        for number in range(300):
            connection.send_tolerant(b"X-%d: " % number + b"x" * 4096 + b"\r\n")
        response = connection.answer_or_close("POST")
        assert response is None or response.status in (400, 413, 431), response


# -- the request line and Host ------------------------------------------------------------------

@pytest.mark.parametrize("line", [
    "", "GET", "GET /livez", "GET /livez HTTP", "GET /livez HTTP/", "GET  /livez HTTP/1.1",
    "GET /livez  HTTP/1.1", "GET /livez HTTP/1.1 ", "GET\t/livez\tHTTP/1.1", " GET /livez HTTP/1.1",
    "GET /li vez HTTP/1.1", "GET livez HTTP/1.1", "G\0T /livez HTTP/1.1", "GET /\0 HTTP/1.1",
    "GET /livez HTTP/1.x", "GET /livez HTTP/11", "GET /livez http/1.1", "GET /livez FTP/1.1",
    "(GET) /livez HTTP/1.1", "GET /\x7f HTTP/1.1", "GET /\x01 HTTP/1.1", "\x16\x03\x01 / HTTP/1.1"])
def test_malformed_request_lines_are_refused(server, sale, line):
    data = f"{line}\r\nHost: {server.host}\r\n\r\n".encode("latin-1")
    check_refused(server, data, statuses=(400, 404, 501, 505), may_close_silently=True)


@pytest.mark.parametrize("line", ["GET /livez HTTP/2.0", "GET /livez HTTP/0.9",
                                  "GET /livez HTTP/3", "GET /livez HTTP/9.9",
                                  "PRI * HTTP/2.0"])
def test_other_versions_are_refused(server, sale, line):
    data = f"{line}\r\nHost: {server.host}\r\n\r\n".encode()
    check_refused(server, data, statuses=(400, 404, 405, 426, 505), may_close_silently=True)


@pytest.mark.parametrize("target", ["/%", "/%zz", "/%0", "/v1/sales/%00", "/v1/sales/%2e%2e/x",
                                    "/../../etc/passwd", "/..%2f..%2fetc/passwd", "/\\..\\x",
                                    "/v1/sales/%c0%ae", "/" + "a/" * 500, "/?" + "a=b&" * 500,
                                    "/v1/sales?limit=1&limit=2"])
def test_odd_targets_are_answered(server, sale, target):
    response = server.call("GET", target)
    assert response.status in (200, 400, 404, 414), response


@pytest.mark.parametrize("target", ["*", "http://127.0.0.1/livez", "http://evil.example/v1/sales",
                                    "127.0.0.1:80"])
@pytest.mark.parametrize("method", ["GET", "OPTIONS", "CONNECT"])
def test_odd_target_forms_do_no_harm(server, sale, method, target):
    with server.connect() as connection:
        connection.send(build_request(method, target, server.host))
        response = connection.answer_or_close()
        assert response is None or response.status < 600


def test_a_request_without_host_is_refused(server, sale):
    check_refused(server, raw_purchase(server, sale, "Content-Length: 0", host=False))
    check_refused(server, b"GET /livez HTTP/1.1\r\n\r\n")
    assert sold(server, sale) == 0


def test_a_request_with_two_hosts_is_refused(server, sale):
    for second in (server.host, "evil.example"):
        check_refused(server, raw_purchase(server, sale, f"Host: {second}", "Content-Length: 0"))
    assert sold(server, sale) == 0


def test_http_1_0_needs_no_host_and_closes(server, sale):
    with server.connect() as connection:
        connection.send(b"GET /livez HTTP/1.0\r\n\r\n")
        assert connection.read_response().status == 200
        assert connection.at_end()


def test_folded_headers_are_refused(server, sale):
    for fold in ("X-Folded: one\r\n two", "X-Folded: one\r\n\ttwo", "X-Folded:\r\n one"):
        check_refused(server, raw_purchase(server, sale, fold, "Content-Length: 0"))
    assert sold(server, sale) == 0


def test_bare_line_feeds_do_no_harm(server, sale):
    for data in (f"GET /livez HTTP/1.1\nHost: {server.host}\n\n",
                 f"GET /livez HTTP/1.1\r\nHost: {server.host}\n\r\n",
                 f"GET /livez HTTP/1.1\r\nHost: {server.host}\r\n\n"):
        with server.connect() as connection:
            connection.send(data.encode())
            connection.socket.shutdown(socket.SHUT_WR)
            response = connection.answer_or_close()
            assert response is None or response.status in (200, 400, 408), response


@pytest.mark.parametrize("lines", [
    ("X-User-Id: first", "X-User-Id: second"), ("X-User-Id: ", "X-User-Id: second")])
def test_two_buyers_in_one_request_buy_nothing(server, sale, lines):
    data = (f"POST /v1/sales/{sale}/purchases HTTP/1.1\r\nHost: {server.host}\r\n"
            f"{CRLF.join(lines)}\r\nContent-Length: 0\r\n\r\n").encode()
    with server.connect() as connection:
        connection.send(data)
        response = contract.check_answer(connection.read_response())
        assert response.status in (400, 401), response
    assert sold(server, sale) == 0


def test_two_idempotency_keys_in_one_request_buy_nothing(server, sale):
    with server.connect() as connection:
        connection.send(raw_purchase(server, sale, "Idempotency-Key: a", "Idempotency-Key: b",
                                     "Content-Length: 0"))
        contract.expect(contract.check_answer(connection.read_response()), 400)
    assert sold(server, sale) == 0


@pytest.mark.parametrize("lines,field", [
    (["X-User-Id: other"], "X-User-Id"), (["Idempotency-Key: a"] * 2, "Idempotency-Key"),
    (["Content-Type: application/json"], "Content-Type"), (["Host: other"], "Host"),
    (["Content-Length: 0"] * 2, "Content-Length"), (["Content-Length: x"], "Content-Length"),
    (["Transfer-Encoding: gzip"], "Transfer-Encoding"),
    (["idempotency-key: \a"], "Idempotency-Key"), (["X-Odd: \a"], "X-Odd")])
def test_a_header_that_is_wrong_is_named(server, sale, lines, field):
    with server.connect() as connection:
        connection.send(raw_purchase(server, sale, *lines))
        response = contract.check_answer(connection.read_response())
        problem = contract.expect(response, 400, "invalid_request")
        assert problem["field"] == field, problem
        assert problem["detail"].startswith(f"{field} must "), problem


def test_an_empty_line_before_a_request_is_skipped(server, sale):
    with server.connect() as connection:
        for _ in range(3):
            connection.send(b"\r\n" + build_request("GET", "/livez", server.host))
            assert connection.read_response().status == 200


# -- broken connections -----------------------------------------------------------------------

def test_truncated_requests_do_no_harm(server, sale):
    data = server.purchase_bytes(sale, "cut", 1)
    for length in range(0, len(data), 3):
        with server.connect() as connection:
            connection.send(data[:length])
            connection.socket.shutdown(socket.SHUT_WR)
            response = connection.answer_or_close("POST")
            assert response is None or 400 <= response.status < 500, response
    assert sold(server, sale) == 0


def test_connections_reset_in_the_middle_do_no_harm(server, sale):
    data = server.purchase_bytes(sale, "reset", 1)
    abort = struct.pack("ii", 1, 0)
    for number in range(200):
        with server.connect() as connection:
            connection.send(data[:1 + number % len(data)])
            connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, abort)


def test_clients_that_leave_before_the_answer_do_no_harm(server, sale):
    for number in range(200):
        with server.connect() as connection:
            connection.send(server.purchase_bytes(sale, f"leaver-{number}"))
    eventually(lambda: sold(server, sale) <= 200, "the books stay sane")


def test_half_closed_connections_get_their_answers(server, sale):
    with server.connect() as connection:
        connection.send(server.purchase_bytes(sale, "half", 2))
        connection.socket.shutdown(socket.SHUT_WR)
        contract.expect(connection.read_response(), 202)
        assert connection.at_end()
    with server.connect() as connection:
        connection.send(b"".join(server.purchase_bytes(sale, f"half-{number}")
                                 for number in range(10)))
        connection.socket.shutdown(socket.SHUT_WR)
        for number in range(10):
            assert contract.expect(connection.read_response(), 202)["user_id"] == \
                f"half-{number}"
        assert connection.at_end()
    assert sold(server, sale) == 12


def test_a_request_may_come_byte_by_byte(server, sale):
    with server.connect() as connection:
        for byte in server.purchase_bytes(sale, "slow", 2):
            connection.send(bytes([byte]))
        assert contract.expect(connection.read_response(), 202)["quantity"] == 2


def test_tls_and_noise_on_a_plain_port_do_no_harm(server, sale):
    dice = random.Random(443)
    hello = bytes.fromhex("16030100c8010000c40303") + dice.randbytes(190)
    for data in (hello, b"\0" * 1000, b"\r\n" * 1000, dice.randbytes(5000), b"\xff" * 100,
                 b"SSH-2.0-OpenSSH_9.2\r\n", b"*1\r\n$4\r\nPING\r\n", b"\x80\x2e\x01\x00\x02"):
        with server.connect() as connection:
            connection.send_tolerant(data)
            with contextlib.suppress(OSError):
                connection.socket.shutdown(socket.SHUT_WR)
            response = connection.answer_or_close()
            assert response is None or 400 <= response.status < 600, response


# -- pipelines ----------------------------------------------------------------------------------

def test_a_hundred_requests_in_one_write_are_answered_in_order(server, sale):
    requests, methods = [], []
    for number in range(100):
        request_id = {"X-Request-Id": f"pipelined-{number}"}
        buyer = {**request_id, "X-User-Id": f"buyer-{number}"}
        method, target, headers, body = [
            ("GET", f"/v1/sales/{sale}", request_id, b""),
            ("HEAD", f"/v1/sales/{sale}", request_id, b""),
            ("POST", f"/v1/sales/{sale}/purchases", buyer, b'{"quantity":2}'),
            ("GET", "/v1/sales/no-such-sale", request_id, b""),
            ("POST", f"/v1/sales/{sale}/purchases", buyer, b"{"),
        ][number % 5]
        methods.append(method)
        requests.append(build_request(method, target, server.host, headers, body))
    with server.connect() as connection:
        connection.send(b"".join(requests))
        statuses = []
        for number, method in enumerate(methods):
            response = contract.check_answer(connection.read_response(method), method)
            assert response.header("x-request-id") == f"pipelined-{number}"
            statuses.append(response.status)
    assert statuses == [200, 200, 202, 404, 400] * 20
    assert sold(server, sale) == 40


def test_a_pipeline_ends_where_it_becomes_noise(server, sale):
    with server.connect() as connection:
        connection.send(server.purchase_bytes(sale, "before") + b"\0\1\2 noise\r\n\r\n"
                        + server.purchase_bytes(sale, "behind"))
        contract.expect(connection.read_response(), 202)
        response = connection.answer_or_close()
        assert response is None or response.status == 400
        assert connection.at_end()
    assert sold(server, sale) == 1


def test_requests_behind_a_close_are_not_done(server, sale):
    with server.connect() as connection:
        connection.send(raw_purchase(server, sale, "Connection: close", "Content-Length: 0")
                        + server.purchase_bytes(sale, "behind"))
        contract.expect(connection.read_response(), 202)
        assert connection.at_end()
    assert sold(server, sale) == 1


def test_a_client_that_reads_late_gets_everything_in_order(server, sale):
    count = scaled(5_000)
    with server.connect() as connection:
        def send():
            for number in range(count):
                connection.send(build_request("GET", f"/v1/sales/{sale}", server.host,
                                              {"X-Request-Id": f"late-{number}"}))
        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        sender.join(1.0)  # long enough to fill the buffers on the way; nothing depends on it
        for number in range(count):
            response = connection.read_response()
            assert response.header("x-request-id") == f"late-{number}"
        sender.join(BOUND_S)
        assert not sender.is_alive()


# -- Expect -------------------------------------------------------------------------------------

def test_expect_100_continue_is_told_to_go_on(server, sale):
    body = b'{"quantity":2}'
    with server.connect() as connection:
        connection.send(raw_purchase(server, sale, "Expect: 100-continue",
                                     f"Content-Length: {len(body)}"))
        assert connection.read_response(interim=True).status == 100
        connection.send(body)
        assert contract.expect(connection.read_response(), 202)["quantity"] == 2
        assert connection.request("GET", "/livez").status == 200


def test_expect_100_continue_without_waiting_works_too(server, sale):
    body = b'{"quantity":2}'
    with server.connect() as connection:
        connection.send(raw_purchase(server, sale, "Expect: 100-continue",
                                     f"Content-Length: {len(body)}", body=body))
        contract.expect(connection.read_response(), 202)
        assert connection.request("GET", "/livez").status == 200


def test_expect_100_continue_for_too_much_is_refused_at_once(server, sale):
    with server.connect() as connection:
        connection.send(raw_purchase(server, sale, "Expect: 100-continue",
                                     "Content-Length: 1000000"))
        response = connection.read_response(interim=True)
        contract.expect(response, 413, "payload_too_large")


# -- time -----------------------------------------------------------------------------------------

@pytest.fixture(name="hasty", scope="module")
def _hasty(tmp_path_factory):
    """A server that waits one second for a header, a body, the next request."""
    servers = Servers(tmp_path_factory.mktemp("hasty"))
    server = servers(settings={"server.header_timeout_s": 1, "server.body_timeout_s": 1,
                               "server.idle_timeout_s": 1})
    yield server, server.create_sale(1000)
    servers.finish(judge=True)


def dribble(connection, data: bytes) -> None:
    """Sends a byte now and then until the peer hangs up or the data is used up."""
    deadline = time.monotonic() + BOUND_S
    connection.socket.settimeout(0.2)
    for byte in data:
        assert time.monotonic() < deadline, "a slow client may go on for ever"
        try:
            connection.socket.sendall(bytes([byte]))
            received = connection.socket.recv(65536)
        except (socket.timeout, TimeoutError):
            continue
        except OSError:
            break
        connection.buffer += received
        break
    connection.socket.settimeout(BOUND_S)


def test_a_slow_header_times_out(hasty):
    server, sale = hasty
    for data in (b"GET /livez HT", b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "):
        with server.connect() as connection:
            connection.send(data)
            response = connection.answer_or_close()
            if response is not None:
                contract.expect(contract.check_answer(response), 408, "timeout")
            assert connection.at_end()
    server.bought(sale, fresh_name("after"))


def test_a_header_that_trickles_in_times_out(hasty):
    server, sale = hasty
    with server.connect() as connection:
        connection.send(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
        dribble(connection, b"x" * 100_000)
        response = connection.answer_or_close()
        assert response is None or response.status == 408, response
    server.bought(sale, fresh_name("after"))


def test_a_slow_body_times_out(hasty):
    server, sale = hasty
    with server.connect() as connection:
        connection.send(raw_purchase(server, sale, "Content-Length: 14", body=b'{"quan'))
        contract.expect(contract.check_answer(connection.read_response()), 408, "timeout")
        assert connection.at_end()
    contract.check_audit(server.audit(sale))


def test_a_body_that_trickles_in_times_out(hasty):
    server, sale = hasty
    with server.connect() as connection:
        connection.send(raw_purchase(server, sale, "Content-Length: 60000", body=b'{'))
        dribble(connection, b" " * 59_999)
        response = connection.answer_or_close("POST")
        assert response is None or response.status == 408, response
    server.bought(sale, fresh_name("after"))


def test_an_idle_connection_is_closed(hasty):
    server, _ = hasty
    with server.connect() as connection:
        assert connection.request("GET", "/livez").status == 200
        assert connection.at_end(), "closed without a word"
    with server.connect() as connection:
        response = connection.answer_or_close()
        assert response is None or response.status == 408, response


def test_a_thousand_idle_connections_do_not_stop_the_sale(server, sale):
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(server.connect()) for _ in range(1_000)]
        for number in range(50):
            server.bought(sale, f"buyer-{number}")
        for connection in idle[::100]:
            try:
                assert connection.request("GET", "/livez").status == 200
            except (Closed, OSError):
                pass  # an idle time-out is allowed to have come
    assert sold(server, sale) == 50


def test_a_thousand_half_sent_requests_do_not_stop_the_sale(server, sale):
    with contextlib.ExitStack() as stack:
        for number in range(1_000):
            connection = stack.enter_context(server.connect())
            connection.send(server.purchase_bytes(sale, "half", 1)[:20 + number % 100])
        for number in range(50):
            server.bought(sale, f"buyer-{number}")
    assert sold(server, sale) == 50


def test_too_many_connections_do_not_stop_the_sale(make_server):
    server = make_server(settings={"server.connections_max": 50})
    sale = server.create_sale(100)
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(server.connect()) for _ in range(100)]
        served = 0
        for connection in held:
            with contextlib.suppress(Closed, OSError, AssertionError):
                connection.socket.settimeout(0.1)
                served += connection.request("GET", "/livez").status == 200
        assert 1 <= served <= 60, f"{served} connections are served at once"

    def sells():
        try:
            return server.buy(sale, "buyer").status == 202
        except (Closed, OSError, AssertionError):
            return False

    eventually(sells, "the server sells again when the crowd has left")


# -- mutations --------------------------------------------------------------------------------

def test_random_mutations_do_no_harm(server, sale):
    dice = random.Random(1_009)
    templates = [server.purchase_bytes(sale, "mutant", 1, "key"),
                 build_request("GET", f"/v1/sales/{sale}", server.host),
                 raw_purchase(server, sale, "Transfer-Encoding: chunked",
                              body=b'e\r\n{"quantity":1}\r\n0\r\n\r\n')]
    for number in range(scaled(600)):
        data = bytearray(dice.choice(templates))
        for _ in range(dice.randint(1, 6)):
            at = dice.randrange(len(data))
            change = dice.randrange(4)
            if change == 0:
                data[at] = dice.randrange(256)
            elif change == 1:
                del data[at:at + dice.randint(1, 8)]
            elif change == 2:
                data[at:at] = dice.choice([b"\r\n", b"\0", b" ", b"\n", b":", b"%", b"\xff"])
            else:
                data[at:at] = data[at:at + dice.randint(1, 40)]
            if not data:
                data = bytearray(b"\r")
        with server.connect() as connection:
            connection.send_tolerant(bytes(data))
            with contextlib.suppress(OSError):
                connection.socket.shutdown(socket.SHUT_WR)
            response = connection.answer_or_close()
            assert response is None or response.status in range(200, 500) or \
                response.status in (501, 503, 505), (number, bytes(data), response)
