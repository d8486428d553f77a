"""What holds for every call: methods, HEAD, request ids, health, metrics, the published API."""

import re

import pytest

from harness import contract
from harness.server import fresh_name
from harness.waiting import eventually
from harness.wire import build_request

METRICS = [
    "doorbuster_purchases_total", "doorbuster_purchase_duration_seconds",
    "doorbuster_stock_remaining", "doorbuster_rate_limited_total", "doorbuster_log_append_seconds",
    "doorbuster_log_lag_records", "doorbuster_writer_batch_orders",
    "doorbuster_writer_batch_seconds", "doorbuster_store_conflicts_total",
    "doorbuster_store_connections", "doorbuster_backend_up", "doorbuster_orders",
]


@pytest.fixture(name="paths", scope="module")
def _paths(shared_server):
    """Every path of part one with the methods that the contract gives it."""
    server = shared_server.get()
    sale = server.create_sale(50)
    order = server.bought(sale, "buyer")["order_id"]
    return {
        "/v1/sales": {"GET", "POST"},
        f"/v1/sales/{sale}": {"GET", "PATCH"},
        f"/v1/sales/{sale}/purchases": {"POST"},
        f"/v1/sales/{sale}/stock": {"POST"},
        f"/v1/sales/{sale}/close": {"POST"},
        f"/v1/sales/{sale}/orders": {"GET"},
        f"/v1/sales/{sale}/audit": {"GET"},
        f"/v1/orders/{order}": {"GET"},
        f"/v1/orders/{order}/events": {"GET"},
        "/livez": {"GET"}, "/readyz": {"GET"}, "/metrics": {"GET"}, "/openapi.yaml": {"GET"},
    }


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS",
                                    "TRACE"])
def test_wrong_methods_are_told_the_right_ones(server, paths, method):
    for path, allowed in paths.items():
        if method in allowed or method == "HEAD" and "GET" in allowed:
            continue
        response = server.call(method, path, {"X-User-Id": "buyer"})
        assert response.status == 405, f"{method} {path}: {response}"
        offered = {name.strip() for name in response.header("allow").split(",")}
        expected = allowed | ({"HEAD"} if "GET" in allowed else set())
        assert expected <= offered, f"{method} {path}: {response}"
        assert method not in offered, f"{method} {path}: {response}"


@pytest.mark.parametrize("method", ["BREW", "get", "PROPFIND", "M-SEARCH"])
def test_unknown_methods_are_refused(server, method):
    response = server.call(method, "/v1/sales", check=False)
    assert response.status in (400, 405, 501), response


def test_head_works_wherever_get_does(server, paths):
    for path, allowed in paths.items():
        if "GET" not in allowed:
            continue
        with server.connect() as connection:
            got = connection.request("GET", path, {"X-User-Id": "buyer"})
            head = connection.request("HEAD", path, {"X-User-Id": "buyer"})
            assert head.status == got.status == 200, path
            assert head.header("content-type") == got.header("content-type"), path
            # Would read the body of the HEAD as the next answer if there were one.
            assert connection.request("GET", "/livez").status == 200, path


def test_head_of_what_is_missing(server):
    with server.connect() as connection:
        assert connection.request("HEAD", "/v1/sales/no-such-sale").status == 404
        assert connection.request("HEAD", "/no/such/path").status == 404
        assert connection.request("GET", "/livez").status == 200


@pytest.mark.parametrize("path", ["/nope", "/v1", "/v1/", "/v1/sale", "/v1/sales/a/b/c/d",
                                  "/v1/orders", "/v2/sales", "//v1/sales", "/v1/sales/x/nope",
                                  "/livez/x", "/metrics/", "/V1/SALES"])
def test_unknown_paths(server, path):
    contract.expect(server.call("GET", path), 404, "not_found")


def test_a_query_does_not_change_the_path(server):
    sale = server.create_sale(1)
    contract.expect(server.call("GET", f"/v1/sales/{sale}?utm_source=mail&x=%20"), 200)


def test_a_long_target_is_refused(server):
    with server.connect() as connection:
        connection.send_tolerant(build_request("GET", "/v1/sales/" + "a" * 200_000, server.host))
        contract.expect(contract.check_answer(connection.read_response()), 414, "uri_too_long")


@pytest.mark.parametrize("headers", [
    {"X-Long": "a" * 200_000}, {f"X-Header-{number}": "a" * 100 for number in range(5_000)}])
def test_headers_that_are_too_large_are_refused(server, headers):
    with server.connect() as connection:
        connection.send_tolerant(build_request("GET", "/livez", server.host, headers))
        contract.expect(contract.check_answer(connection.read_response()), 431,
                        "headers_too_large")


@pytest.mark.parametrize("request_id", ["a", "A-b_c.9", "x" * 128])
def test_a_request_id_is_echoed(server, request_id):
    for path in ("/v1/sales/no-such-sale", "/livez", "/v1/sales"):
        response = server.call("GET", path, {"X-Request-Id": request_id})
        assert response.header("x-request-id") == request_id, response


@pytest.mark.parametrize("status, path, more, sent", [
    (400, "/v1/sales", {"X-User-Id": "a b", "Host": "a b"}, b""),
    (400, "/v1/sales", {"Content-Length": "-1"}, b""),
    (413, "/v1/sales", {"Content-Length": "65537"}, b""),
    (413, "/v1/sales", {"Transfer-Encoding": "chunked"}, b"10001\r\n"),
    (414, "/" + "a" * 9_000, {}, b""),
    (431, "/v1/sales", {"X-Long": "a" * 20_000}, b"")])
def test_a_request_id_is_echoed_where_the_request_is_not_read(server, status, path, more, sent):
    fields = {"Host": server.host, "X-Request-Id": "mine-1", **more}
    head = f"POST {path} HTTP/1.1\r\n" + "".join(f"{n}: {v}\r\n" for n, v in fields.items())
    with server.connect() as connection:
        connection.send_tolerant(head.encode() + b"\r\n" + sent)
        response = contract.check_answer(connection.read_response())
        contract.expect(response, status)
        assert response.header("x-request-id") == "mine-1", response


@pytest.mark.parametrize("request_id", ["", "x" * 129, "a b", "a/b", "ä", "<script>", "a,b"])
def test_a_malformed_request_id_is_replaced(server, request_id):
    response = server.call("GET", "/livez", {"X-Request-Id": request_id})
    assert response.header("x-request-id") != request_id


def test_request_ids_differ(server):
    ids = {server.call("GET", "/livez").header("x-request-id") for _ in range(50)}
    assert len(ids) == 50


def test_no_cors_headers_even_when_asked(server):
    sale = server.create_sale(5)
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST",
               "X-User-Id": "buyer"}
    for method, path in (("OPTIONS", f"/v1/sales/{sale}/purchases"), ("GET", f"/v1/sales/{sale}"),
                         ("POST", f"/v1/sales/{sale}/purchases"), ("GET", "/metrics")):
        server.call(method, path, headers)  # every call checks that there are none


def test_livez_and_readyz(server):
    assert server.call("GET", "/livez").status == 200
    response = server.call("GET", "/readyz")
    assert response.status == 200
    assert "log" in response.text and "store" in response.text, "names each backend"


def test_the_api_description_is_served(server):
    response = server.call("GET", "/openapi.yaml")
    assert response.status == 200
    assert re.search(r"^openapi:\s*[\"']?3\.1", response.text, re.MULTILINE)
    for path in ("/v1/sales/{sale}/purchases", "/v1/orders/{order_id}", "/v1/sales/{sale}/audit"):
        assert path in response.text, path


def test_metrics_count_what_happens(make_server):
    server = make_server(settings={"limits.per_user_per_second": 1})
    sale = server.create_sale(1_000, per_user_limit=100)
    server.bought(sale, "first")
    eventually(lambda: server.audit(sale)["orders"].get("confirmed", 0) == 1,
               "the order writer has stored the first order")
    server.bought(sale, "second")
    statuses = {server.buy(sale, "keen").status for _ in range(30)}
    assert 429 in statuses, statuses
    server.buy(sale, "greedy", 101)
    response = server.call("GET", "/metrics")
    assert response.status == 200
    assert response.header("content-type").startswith("text/plain"), response.headers
    for name in METRICS:
        assert re.search(rf"^{name}(_bucket|_sum|_count)?(\{{|\s)", response.text,
                         re.MULTILINE), f"{name} is missing"
    for line in response.text.splitlines():
        assert line.startswith("#") or line == "" or re.fullmatch(
            r'[a-zA-Z_:][\w:]*(\{([a-z_]\w*="[^"]*",?)*\})? \S+( \d+)?', line), line

    def total(pattern: str) -> float:
        return sum(float(value) for value in
                   re.findall(rf"^{pattern} (\S+)$", response.text, re.MULTILINE))

    purchases = r'doorbuster_purchases_total\{[^}]*sale="%s"[^}]*\}' % sale
    assert total(purchases) >= 4
    assert total(r'doorbuster_stock_remaining\{[^}]*sale="%s"[^}]*\}' % sale) == \
        server.sale(sale)["remaining"]
    assert total(r"doorbuster_rate_limited_total\{[^}]*\}") >= 1
    assert total(r"doorbuster_backend_up\{[^}]*\}") >= 1


def test_a_hostile_name_cannot_break_the_metrics(server):
    for name in ("a%22%7D", "a%0Aevil_metric%201"):
        server.buy(name, fresh_name("buyer"))
    assert "evil" not in server.call("GET", "/metrics").text


def test_connections_are_kept_alive(server):
    with server.connect() as connection:
        for _ in range(50):
            assert connection.request("GET", "/livez").status == 200


def test_connection_close_is_honoured(server):
    with server.connect() as connection:
        assert connection.request("GET", "/livez", {"Connection": "close"}).status == 200
        assert connection.at_end()
