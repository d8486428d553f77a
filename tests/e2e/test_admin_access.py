"""Who is an administrator: nobody from outside without a token, nobody with a wrong one."""

import pytest

from harness import contract
from harness.plugin import Servers
from harness.server import ServerExited, run_command
from harness.settings import READY_S

TOKEN = "correct-horse-battery-staple"
BODY = {"id": "from-outside", "title": "t", "stock": 1}


def admin_calls(server) -> list:
    sale = server.create_sale(5)
    return [("POST", "/v1/sales", {**BODY, "id": f"{sale}-x"}), ("GET", "/v1/sales", None),
            ("PATCH", f"/v1/sales/{sale}", {"title": "changed"}),
            ("POST", f"/v1/sales/{sale}/stock", {"add": 1}),
            ("GET", f"/v1/sales/{sale}/orders", None), ("GET", f"/v1/sales/{sale}/audit", None),
            ("POST", f"/v1/sales/{sale}/close", None)]


# -- without a token ------------------------------------------------------------------------

@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1.evil.example",
                                  "localhost.evil.example", "10.0.0.1:{port}", "127.0.0.1@evil",
                                  "0.0.0.0.evil.example:{port}"])
def test_a_host_that_is_not_loopback_is_no_administrator(server, host):
    host = host.format(port=server.port)
    for method, path, body in admin_calls(server):
        response = server.call(method, path, {"Host": host}, body)
        assert response.status in (400, 401, 403), f"{method} {path}: {response}"
    contract.expect(server.call("GET", "/v1/sales/from-outside"), 404)


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1",
                                    "https://127.0.0.1:{port}.evil.example",
                                    "http://127.0.0.1.evil.example:{port}"])
def test_a_foreign_origin_is_no_administrator(server, origin):
    origin = origin.format(port=server.port)
    for method, path, body in admin_calls(server):
        response = server.call(method, path, {"Origin": origin}, body)
        assert response.status in (401, 403), f"{method} {path}: {response}"


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "LocalHost:{port}"])
def test_loopback_names_and_the_own_origin_are_fine(server, host):
    host = host.format(port=server.port)
    for headers in ({"Host": host}, {"Host": host, "Origin": f"http://{host}"}):
        contract.expect(server.call("GET", "/v1/sales", headers), 200)


def test_buyers_need_no_loopback_host(server):
    sale = server.create_sale(5)
    headers = {"Host": "shop.example", "Origin": "https://shop.example"}
    contract.expect(server.buy(sale, "buyer", headers=headers), 202)
    contract.expect(server.call("GET", f"/v1/sales/{sale}", headers), 200)


def test_loopback_alone_makes_no_administrator_of_a_buyer(server):
    sale = server.create_sale(5)
    order = server.bought(sale, "buyer")["order_id"]
    contract.expect(server.order(order, "someone-else"), 404, "not_found")


@pytest.mark.parametrize("listen", ["0.0.0.0", "[::]"])
def test_other_listeners_need_a_token(make_server, listen):
    server = make_server(start=False)
    result = run_command("serve", "--listen", f"{listen}:{server.port}", "--data", server.data,
                         folder=server.folder, bound_s=READY_S)
    assert result.status == 2, result
    assert "token" in result.stderr, result


def test_other_listeners_start_with_a_token(make_server):
    server = make_server(start=False, admin_token=TOKEN)
    server.listen = "0.0.0.0"
    try:
        server.start()
    except ServerExited as error:
        raise AssertionError(f"a token must be enough: {error}") from None
    server.create_sale(1)


# -- with a token -----------------------------------------------------------------------------

@pytest.fixture(name="guarded", scope="module")
def _guarded(tmp_path_factory):
    servers = Servers(tmp_path_factory.mktemp("guarded"))
    yield servers(admin_token=TOKEN)
    servers.finish(judge=True)


@pytest.mark.parametrize("authorization", [
    None, "Bearer wrong", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", "Bearer ", "Bearer",
    f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN.upper()}", "Bearer " + "x" * 5000])
def test_without_the_token_nobody_is_an_administrator(guarded, authorization):
    headers = {} if authorization is None else {"Authorization": authorization}
    for method, path, body in admin_calls(guarded):
        response = guarded.call(method, path, {**headers, "X-User-Id": "admin"}, body)
        assert response.status in (401, 403), f"{method} {path}: {response}"
        if authorization is None:
            contract.expect(response, 401, "unauthorized")


def test_with_the_token_every_admin_call_works(guarded):
    for method, path, body in admin_calls(guarded):
        assert guarded.admin(method, path, body).status in (200, 201), f"{method} {path}"


def test_an_administrator_sees_any_order(guarded):
    sale = guarded.create_sale(5)
    order = guarded.bought(sale, "buyer")["order_id"]
    shown = contract.expect(guarded.admin("GET", f"/v1/orders/{order}"), 200)
    assert shown["user_id"] == "buyer"
    both = guarded.admin("GET", f"/v1/orders/{order}", headers={"X-User-Id": "someone-else"})
    contract.expect(both, 200)
    wrong = guarded.call("GET", f"/v1/orders/{order}",
                         {"Authorization": "Bearer wrong", "X-User-Id": "someone-else"})
    assert wrong.status in (401, 404), wrong


def test_an_administrator_still_needs_a_buyer_to_buy(guarded):
    sale = guarded.create_sale(5)
    response = guarded.admin("POST", f"/v1/sales/{sale}/purchases")
    contract.expect(response, 401, "unauthorized")
    response = guarded.admin("POST", f"/v1/sales/{sale}/purchases",
                             headers={"X-User-Id": "buyer"})
    contract.expect(response, 202)


def test_the_command_line_takes_the_token_as_a_flag(guarded):
    sale = guarded.create_sale(5)
    result = run_command("sale", "show", sale, "--url", guarded.url, "--admin-token", TOKEN,
                         "--json")
    assert result.status == 0 and result.json()["id"] == sale, result
    result = run_command("sale", "list", "--url", guarded.url, "--admin-token", "wrong")
    assert result.status == 1, result
    assert TOKEN not in result.stderr + result.stdout


def test_the_token_may_come_from_the_file(make_server):
    server = make_server(config=f'[admin]\ntoken = "{TOKEN}"\n')
    assert server.call("GET", "/v1/sales").status == 401
    server.admin_token = TOKEN
    contract.expect(server.admin("GET", "/v1/sales"), 200)


def test_the_token_is_never_logged(make_server):
    server = make_server(admin_token=TOKEN, settings={"output.log_level": "debug"})
    server.create_sale(1)
    server.stop()
    assert TOKEN not in server.output_file.read_text("utf-8", "replace")
