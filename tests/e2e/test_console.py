"""The addresses of the pages, and the stream that feeds the console. What the pages do in a browser
is tested in tests/web."""

import json
import re

import pytest

from harness import contract
from harness.plugin import Servers
from harness.server import fresh_name
from harness.waiting import eventually
from harness.wire import build_request

TOKEN = "correct-horse-battery-staple"
VIEWERS_MAX = 256  # ConsoleFeed::kViewersMax


class Console:
    """One stream of figures, from its head on."""

    def __init__(self, server, sale: str = None, headers=None):
        self.connection = server.connect()
        path = "/v1/admin/events" + (f"?sale={sale}" if sale else "")
        self.connection.send(build_request("GET", path, server.host, headers))
        self.head = self.connection.take_until(b"\r\n\r\n").decode("latin-1").lower()
        self.status = int(self.head.split()[1])
        self._text = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def next(self):
        """(name, data) of the next event; None at the end."""
        while b"\n\n" not in self._text:
            size = int(self.connection.take_until(b"\r\n"), 16)
            self._text += self.connection.take(size)
            assert self.connection.take(2) == b"\r\n", "a chunk ends with CRLF"
            if size == 0:
                return None
        block, self._text = self._text.split(b"\n\n", 1)
        name, data = block.decode("utf-8").split("\n")
        assert name.startswith("event: ") and data.startswith("data: "), block
        return name[len("event: "):], json.loads(data[len("data: "):])

    def figures(self, of: str, condition):
        """The first figures of a sale that fulfil the condition; polls by reading on."""
        for _ in range(1_000):
            name, data = self.next()
            for sale in data["sales"] if name == "figures" else []:
                if sale["id"] == of and condition(sale):
                    return sale, data
        raise AssertionError(f"no such figures of {of}")


# -- the pages --------------------------------------------------------------------------------

@pytest.mark.parametrize("path", ["/", "/shop/demo", "/shop/there-is-none?user=ada"])
def test_the_pages_are_there_or_said_not_to_be(server, path):
    page = server.call("GET", path, check=False)
    assert page.status == 200, page
    assert page.header("content-type") == "text/html; charset=utf-8", page
    assert "default-src 'none'" in page.header("content-security-policy"), page
    if "pages were not built" in page.text:
        assert page.header("cache-control") == "no-store", page
        return
    assert page.header("cache-control") == "no-cache", page
    head = server.call("HEAD", path, check=False)
    assert head.header("content-length") == str(len(page.body))
    same = server.call("GET", path, {"If-None-Match": page.header("etag")}, check=False)
    assert same.status == 304 and same.body == b"", same
    for asset in re.findall(r'"(/assets/[^"]+)"', page.text):
        loaded = server.call("GET", asset, check=False)
        assert loaded.status == 200, loaded
        assert "immutable" in loaded.header("cache-control"), loaded


@pytest.mark.parametrize("path", ["/shop", "/shop/", "/shop/UPPER", "/shop/a/b", "/assets/",
                                  "/assets/nothing.js", "/assets/..%2f..%2fetc%2fpasswd",
                                  "/index.html", "/favicon.ico"])
def test_other_addresses_are_unknown(server, path):
    contract.expect(server.call("GET", path), 404, "not_found")


def test_pages_are_only_read(server):
    for path in ("/", "/shop/demo", "/v1/admin/events"):
        response = server.call("POST", path)
        contract.expect(response, 405, "method_not_allowed")
        assert response.header("allow") == "GET, HEAD", response


# -- the stream -------------------------------------------------------------------------------

def test_the_figures_are_those_of_the_sale(server):
    sale = server.create_sale(3)
    with Console(server, sale) as console:
        assert console.status == 200
        assert "content-type: text/event-stream" in console.head
        assert "cache-control: no-store" in console.head
        name, opening = console.next()
        assert name == "figures" and opening["complete"]
        for number in range(5):
            server.buy(sale, f"buyer-{number}")
        seen, data = console.figures(sale, lambda s: s["attempts"] == 5 and s["stored"] == 3)
        assert seen["remaining"] == 0 and seen["stock"] == 3
        assert seen["outcomes"]["accepted"] == 3 and seen["outcomes"]["sold_out"] == 2
        assert seen["admitted"] == seen["reserved"] == 3
        assert seen["orders"]["confirmed"] == 3
        assert data["process"]["backends"] == {"inventory": "up", "order_log": "up",
                                               "order_store": "up"}
        assert data["process"]["latency_ms"]["all"]["count"] >= 5


def test_a_late_viewer_is_told_how_it_went(server):
    sale = server.create_sale(3)
    server.bought(sale, "buyer")
    with Console(server) as early:
        early.figures(sale, lambda s: s["stored"] == 1)
    with Console(server, sale) as console:
        events = [console.next() for _ in range(3)]
    assert [name for name, _ in events] == ["figures", "process_history", "sale_history"]
    history = events[2][1]
    assert history["sale"] == sale
    for table in history["history"].values():
        assert len({len(column) for column in table.values()}) == 1, table
        assert table["accepted"][-1] == 1 and table["remaining"][-1] == 2


def test_a_strategy_without_a_log_is_shown_as_such(make_server):
    server = make_server(settings={"purchase.strategy": "optimistic"})
    sale = server.create_sale(3)
    with Console(server, sale) as console:
        for buyer in ("ann", "bob"):
            server.bought(sale, buyer)
        seen, data = console.figures(
            sale, lambda s: s["stored"] == s["outcomes"]["accepted"] == 2)
    assert seen["counted"] and seen["last_look"] and seen["remaining"] == 1, seen
    process = data["process"]
    assert not process["has_log"] and process["writes_here"], process
    assert process["written_orders"] == 2 and process["log_lag_records"] == 0, process


def test_what_operators_do_is_seen_at_once(server):
    sale = server.create_sale(3)
    with Console(server) as console:
        server.admin("PATCH", f"/v1/sales/{sale}", {"state": "paused"})
        console.figures(sale, lambda s: s["state"] == "paused")
        server.admin("POST", f"/v1/sales/{sale}/stock", {"add": 4})
        console.figures(sale, lambda s: s["stock"] == 7 and s["remaining"] == 7)
        server.admin("POST", f"/v1/sales/{sale}/close")
        seen, _ = console.figures(sale, lambda s: s["state"] == "closed")
        assert seen["closed_at"] is not None


def test_a_sale_that_ends_by_itself_is_seen_too(server):
    sale = fresh_name("ends")
    server.create_sale(1, sale, ends_at=contract.seconds_from_now(4))
    with Console(server) as console:
        console.figures(sale, lambda s: s["state"] == "closed")


def test_only_administrators_look_on(tmp_path):
    servers = Servers(tmp_path)
    server = servers(admin_token=TOKEN)
    try:
        for headers in (None, {"Authorization": "Bearer wrong"}, {"X-User-Id": "admin"}):
            refused = server.call("GET", "/v1/admin/events", headers)
            contract.expect(refused, 401, "unauthorized")
        with Console(server, headers={"Authorization": f"Bearer {TOKEN}"}) as console:
            assert console.status == 200 and console.next()[0] == "figures"
    finally:
        servers.finish(judge=True)


@pytest.mark.parametrize("headers", [{"Host": "evil.example"},
                                     {"Origin": "http://evil.example"}])
def test_other_sites_do_not_look_on(server, headers):
    contract.expect(server.call("GET", "/v1/admin/events", headers), 403, "forbidden")


def test_there_is_a_bound_for_viewers_and_places_come_back(server):
    consoles = []
    try:
        for _ in range(VIEWERS_MAX):
            consoles.append(Console(server))
            assert consoles[-1].status == 200, len(consoles)
        contract.expect(server.call("GET", "/v1/admin/events"), 503, "overloaded")
    finally:
        for console in consoles:
            console.connection.close()

    def is_free():
        with Console(server) as console:
            return console.status == 200
    eventually(is_free, "the places come back")


def test_head_and_wrong_queries(server):
    head = server.call("HEAD", "/v1/admin/events", check=False)
    assert head.status == 200 and head.header("content-type") == "text/event-stream"
    for query in ("?sale=UPPER", "?sale=", "?other=1", "?sale=a&sale=b"):
        contract.expect(server.call("GET", "/v1/admin/events" + query), 400, "invalid_request")


def test_a_stop_ends_the_streams(make_server):
    server = make_server()
    server.create_sale(1)
    with Console(server) as console:
        console.next()
        assert server.terminate() == 0
        while console.next() is not None:
            pass
