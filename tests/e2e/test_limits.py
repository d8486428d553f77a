"""Rate limits in memory: the whole system, one user, one address; what they say and spare."""

import collections
import re
import time

import pytest

from harness import contract
from harness.plugin import Servers
from harness.swarm import run_all
from harness.waiting import eventually

POLICY = re.compile(r'"[\w.-]+";\s*q=\d+(;\s*[a-z]+=("[^"]*"|\d+|:[^:]*:))*')
STATE = re.compile(r'"[\w.-]+";\s*r=\d+(;\s*[a-z]+=("[^"]*"|\d+|:[^:]*:))*')


def check_limited(response, status: int = 429) -> None:
    contract.expect(response, status, "rate_limited")
    contract.retry_after_of(response)
    for name, pattern in (("ratelimit-policy", POLICY), ("ratelimit", STATE)):
        value = response.header(name)
        assert value is not None, f"{name} is missing: {response}"
        for item in re.split(r",\s*(?=\")", value):
            assert pattern.fullmatch(item), f"{name}: {value!r}"


def until_limited(attempt, attempts_max: int = 5_000):
    """Calls `attempt()` until it is refused by a limit; the refusal and the tries before it."""
    for tries in range(attempts_max):
        response = attempt()
        if response.code == "rate_limited":
            return response, tries
        assert response.status < 400, response
    raise AssertionError(f"no limit within {attempts_max} attempts")


def test_nothing_is_limited_by_default(server):
    sale = server.create_sale(1000, per_user_limit=1000)
    with server.connect() as connection:
        for _ in range(300):
            connection.send(server.purchase_bytes(sale, "keen"))
            contract.expect(connection.read_response(), 202)


def test_the_whole_system_has_a_limit(make_server):
    server = make_server(settings={"limits.per_second": 10, "limits.burst": 20})
    sale = server.create_sale(100_000)
    counts = collections.Counter()
    began = time.monotonic()
    run_all(server, ((None, server.purchase_bytes(sale, f"user-{number}"))
                     for number in range(500)),
            lambda _tag, status, _head, _body: counts.update([status]), connections=8)
    elapsed = time.monotonic() - began
    assert set(counts) == {202, 429}, counts
    assert 1 <= counts[202] <= 20 + 10 * elapsed + 2, (counts, elapsed)
    refused, _ = until_limited(lambda: server.buy(sale, "another"))
    check_limited(refused)
    for _ in range(30):  # only purchases count
        server.sale(sale)
        contract.check_audit(server.audit(sale))


def test_a_limit_lets_through_again_after_a_while(make_server):
    server = make_server(settings={"limits.per_second": 2, "limits.burst": 2})
    sale = server.create_sale(100_000, per_user_limit=100_000)
    until_limited(lambda: server.buy(sale, "buyer"))
    eventually(lambda: server.buy(sale, "buyer").status == 202, "the limit lets through again")


@pytest.mark.parametrize("status", [503, 420, 403])
def test_the_status_of_a_limited_purchase_is_a_setting(make_server, status):
    server = make_server(settings={"limits.per_second": 1, "limits.burst": 1,
                                   "limits.status": status})
    sale = server.create_sale(1000, per_user_limit=1000)
    refused, _ = until_limited(lambda: server.buy(sale, "buyer"))
    check_limited(refused, status)


def test_each_user_has_a_limit(make_server):
    server = make_server(settings={"limits.per_user_per_second": 2})
    sale = server.create_sale(100_000, per_user_limit=100_000)
    order = server.bought(sale, "reader")["order_id"]
    refused, _ = until_limited(lambda: server.buy(sale, "keen"))
    check_limited(refused)
    for number in range(20):
        server.bought(sale, f"other-{number}")
    refused, _ = until_limited(lambda: server.order(order, "reader"))
    check_limited(refused)
    for _ in range(20):
        server.sale(sale)


def forwarded(server, sale, address: str, user: str = "buyer"):
    return server.buy(sale, user, headers={"X-Forwarded-For": address})


PROXIED = '[server]\ntrusted_proxies = ["127.0.0.1"]\n[limits]\nper_ip_per_second = 1\n'


def test_each_address_behind_a_trusted_proxy_has_a_limit(make_server):
    server = make_server(config=PROXIED)
    sale = server.create_sale(100_000, per_user_limit=100_000)
    refused, _ = until_limited(lambda: forwarded(server, sale, "203.0.113.1"))
    check_limited(refused)
    for number in range(2, 12):
        contract.expect(forwarded(server, sale, f"203.0.113.{number}"), 202)


def test_an_address_that_a_client_made_up_is_not_believed(make_server):
    server = make_server(config=PROXIED)
    sale = server.create_sale(100_000, per_user_limit=100_000)
    numbers = iter(range(100_000))

    def attempt():  # the proxy appends what it saw; what stood before is the client's own words
        number = next(numbers)
        made_up = f"198.51.{number // 250 % 250}.{number % 250 + 1}"
        return forwarded(server, sale, f"{made_up}, 203.0.113.77")

    check_limited(until_limited(attempt)[0])


def test_without_a_trusted_proxy_the_header_means_nothing(make_server):
    server = make_server(config="[limits]\nper_ip_per_second = 1\n")
    sale = server.create_sale(100_000, per_user_limit=100_000)
    numbers = iter(range(100_000))

    def attempt():
        number = next(numbers)
        return forwarded(server, sale, f"198.51.{number // 250 % 250}.{number % 250 + 1}")

    check_limited(until_limited(attempt)[0])


def test_an_ipv6_network_of_64_bits_is_one_address(make_server):
    server = make_server(config=PROXIED)
    sale = server.create_sale(100_000, per_user_limit=100_000)
    numbers = iter(range(1, 100_000))
    refused, _ = until_limited(
        lambda: forwarded(server, sale, f"2001:db8:1:1:{next(numbers):x}::1"))
    check_limited(refused)
    for number in range(2, 12):
        contract.expect(forwarded(server, sale, f"2001:db8:1:{number:x}::1"), 202)


@pytest.mark.parametrize("value", ["", "garbage", "1.2.3", "999.1.1.1", ", ,", "::::", "x" * 2000,
                                   "[2001:db8::1]:443", "203.0.113.9:1234", "unknown"])
def test_odd_forwarding_headers_do_no_harm(make_server_once, value):
    server, sale = make_server_once
    response = forwarded(server, sale, value, user="odd")
    assert response.status in (202, 400, 429), response


@pytest.fixture(name="make_server_once", scope="module")
def _make_server_once(tmp_path_factory):
    servers = Servers(tmp_path_factory.mktemp("proxied"))
    server = servers(config=PROXIED)
    yield server, server.create_sale(100_000, per_user_limit=100_000)
    servers.finish(judge=True)


# -- what comes before a limit --------------------------------------------------------------

def test_a_bound_key_and_the_sales_state_win_over_the_limit(make_server):
    server = make_server(settings={"limits.per_second": 1, "limits.burst": 3})
    sale = server.create_sale(100_000, per_user_limit=100_000)
    paused, single, closed = server.create_sale(5), server.create_sale(1), server.create_sale(5)
    first = server.bought(sale, "buyer", 1, "key")
    server.bought(single, "winner")
    server.set_state(paused, "paused")
    server.close_sale(closed)
    for _ in range(20):
        refused, _ = until_limited(lambda: server.buy(sale, "other"))
        check_limited(refused)
        assert contract.expect(server.buy(sale, "buyer", 1, "key"), 202) == first
        contract.expect(server.buy(sale, "buyer", 2, "key"), 422)
        contract.expect(server.buy(paused, "other"), 409, "paused")
        contract.expect(server.buy(single, "other"), 409, "sold_out")
        contract.expect(server.buy(closed, "other"), 410, "closed")
        contract.expect(server.buy("no-such-sale", "other"), 404)
        contract.expect(server.buy(sale), 401)


def test_the_rate_wins_over_the_per_user_limit(make_server):
    server = make_server(settings={"limits.per_second": 1, "limits.burst": 2})
    sale = server.create_sale(100, per_user_limit=1)
    codes = collections.Counter()
    for _ in range(200):
        codes[server.buy(sale, "buyer").code] += 1
    assert codes["rate_limited"] > 0 and set(codes) <= {None, "rate_limited", "limit_reached"}


def test_a_limited_purchase_takes_no_stock_and_binds_no_key(make_server):
    server = make_server(settings={"limits.per_second": 1, "limits.burst": 1})
    sale = server.create_sale(1000, per_user_limit=1000)
    accepted = 0
    while True:
        response = server.buy(sale, "buyer", 1, f"key-{accepted}")
        if response.status != 202:
            break
        accepted += 1
    check_limited(response)
    contract.check_audit(server.audit(sale), sold=accepted)
    response = eventually(
        lambda: (lambda answer: answer if answer.status == 202 else None)(
            server.buy(sale, "buyer", 2, f"key-{accepted}")), "the key is still free")
    assert response.header("idempotency-replayed") in (None, "false")
    contract.check_audit(server.audit(sale), sold=accepted + 2)
