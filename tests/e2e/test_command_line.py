"""The command line: exit statuses, one JSON document for programs, settings and their order."""

import contextlib
import json
import socket
import sqlite3

import pytest

from harness import contract
from harness.server import fresh_name, free_port, run_command
from harness.settings import READY_S

TOKEN = "a-token-that-nobody-may-see-printed"
SECRET = "a-secret-that-nobody-may-see-printed-either"


# -- help and exit statuses -------------------------------------------------------------------

@pytest.mark.parametrize("arguments", [
    ("--help",), ("--version",), ("serve", "--help"), ("sale", "--help"),
    ("sale", "create", "--help"), ("sale", "list", "--help"), ("sale", "show", "--help"),
    ("sale", "pause", "--help"), ("sale", "resume", "--help"), ("sale", "close", "--help"),
    ("sale", "restock", "--help"), ("load", "--help"), ("bench", "--help"), ("audit", "--help"),
    ("export", "--help"), ("config", "--help"), ("config", "check", "--help"),
    ("config", "show", "--help")])
def test_help_is_there(arguments):
    result = run_command(*arguments)
    assert result.status == 0 and result.stdout.strip(), result


def test_help_names_every_command():
    text = run_command("--help").stdout
    for command in ("serve", "sale", "load", "bench", "audit", "export", "config"):
        assert command in text, command


@pytest.mark.parametrize("arguments", [
    ("nonsense",), ("serve", "--nonsense"), ("--nonsense",), ("sale",), ("sale", "nonsense"),
    ("sale", "create", "--url", "http://127.0.0.1:1"), ("load", "--url", "http://127.0.0.1:1"),
    ("sale", "create", "--id", "Not A Slug", "--title", "t", "--stock", "1",
     "--url", "http://127.0.0.1:1"),
    ("sale", "create", "--id", "x", "--title", "t", "--stock", "many",
     "--url", "http://127.0.0.1:1"),
    ("sale", "restock", "x", "--url", "http://127.0.0.1:1"),
    ("load", "--url", "nonsense://x", "--sale", "x", "--buyers", "5"),
    ("serve", "--listen", "nonsense"), ("serve", "--listen", "127.0.0.1:99999"),
    ("serve", "--config", "no-such-file.toml"), ("config", "check", "--config", "no-such.toml"),
    ("export", "orders"), ("config", "nonsense")])
def test_a_wrong_command_line_is_status_2(arguments, tmp_path):
    result = run_command(*arguments, folder=tmp_path, bound_s=READY_S)
    assert result.status == 2, result
    assert result.stderr.strip(), "says what is wrong"


def test_a_server_that_is_not_there_is_status_1(tmp_path):
    url = f"http://127.0.0.1:{free_port()}"
    for arguments in (("audit",), ("sale", "list"), ("sale", "show", "x"), ("sale", "pause", "x"),
                      ("load", "--sale", "x", "--buyers", "5"),
                      ("export", "orders", "--sale", "x", "--format", "csv")):
        result = run_command(*arguments, "--url", url, folder=tmp_path)
        assert result.status == 1 and result.stderr.strip(), result


def test_a_taken_port_is_said_clearly(make_server):
    server = make_server(start=False)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", server.port))
        taken.listen()
        result = run_command("serve", "--listen", f"127.0.0.1:{server.port}", "--data",
                             server.data, folder=server.folder, bound_s=READY_S)
    assert result.status == 1, result
    assert str(server.port) in result.stderr, result


def test_a_port_taken_by_another_doorbuster_is_said_clearly(server, tmp_path):
    result = run_command("serve", "--listen", f"127.0.0.1:{server.port}", "--data",
                         tmp_path / "data", folder=tmp_path, bound_s=READY_S)
    assert result.status == 1, result
    assert str(server.port) in result.stderr, result


# -- sale ---------------------------------------------------------------------------------------

def test_a_sales_whole_life_on_the_command_line(server):
    sale = fresh_name("cli")
    created = server.cli("sale", "create", "--id", sale, "--title", "From the shell", "--stock", 5,
                         "--per-user-limit", 2, "--starts-at", "now", "--price", 1999,
                         "--currency", "EUR", "--payment-timeout", 0)
    assert created.status == 0, created
    shown = created.json()
    assert shown["id"] == sale and shown["stock"] == 5 and shown["per_user_limit"] == 2
    assert shown["price"] == 1999 and shown["currency"] == "EUR"
    again = server.cli("sale", "create", "--id", sale, "--title", "Another", "--stock", 5)
    assert again.status == 1 and again.stderr, again
    order = server.bought(sale, "buyer")["order_id"]
    for arguments, expected in (
            (("show", sale), {"remaining": 4, "state": "open"}),
            (("pause", sale), {"state": "paused"}), (("resume", sale), {"state": "open"}),
            (("restock", sale, "--add", 3), {"stock": 8, "remaining": 7}),
            (("close", sale), {"state": "closed"}), (("close", sale), {"state": "closed"})):
        result = server.cli("sale", *arguments)
        assert result.status == 0, result
        shown = result.json()
        journal = {"journal"} if arguments[0] == "show" else set()
        assert set(shown) == contract.SALE_FIELDS | journal, result
        assert {name: shown[name] for name in expected} == expected, result
    listed = server.cli("sale", "list")
    assert listed.status == 0 and sale in json.dumps(listed.json()), listed
    audit = server.cli("audit", "--sale", sale)
    assert audit.status == 0, audit
    books = audit.json()
    assert isinstance(books, list) and len(books) == 1, audit
    contract.check_audit(books[0], sale_id=sale, sold=1)
    assert order


def test_sale_commands_print_for_people_too(server):
    sale = fresh_name("cli")
    for arguments in (("create", "--id", sale, "--title", "For people", "--stock", 5),
                      ("show", sale), ("list",), ("pause", sale), ("resume", sale),
                      ("restock", sale, "--add", 1), ("close", sale)):
        result = server.cli("sale", *arguments, json_output=False)
        assert result.status == 0 and sale in result.stdout, result
        assert "\x1b[" not in result.stdout + result.stderr, "NO_COLOR is honoured"


def test_sale_commands_that_fail_are_status_1(server):
    for arguments in (("show", "no-such-sale"), ("pause", "no-such-sale"),
                      ("restock", "no-such-sale", "--add", 1), ("close", "no-such-sale")):
        result = server.cli("sale", *arguments)
        assert result.status == 1 and result.stderr.strip(), result


def test_a_payment_step_on_the_command_line(server):
    for text, seconds in (("90s", 90), ("15m", 900), ("0", 0)):
        result = server.cli("sale", "create", "--id", fresh_name("cli"), "--title", "t",
                            "--stock", 5, "--payment-timeout", text)
        assert result.status == 0 and result.json()["payment_timeout_s"] == seconds, result
    result = server.cli("sale", "create", "--id", fresh_name("cli"), "--title", "t", "--stock", 5,
                        "--payment-timeout", "soon")
    assert result.status == 2 and "soon" in result.stderr, result


def test_a_scheduled_sale_on_the_command_line(server):
    sale = fresh_name("cli")
    result = server.cli("sale", "create", "--id", sale, "--title", "t", "--stock", 5,
                        "--starts-at", contract.seconds_from_now(3600),
                        "--ends-at", contract.seconds_from_now(7200))
    assert result.status == 0 and result.json()["state"] == "scheduled", result


# -- audit --------------------------------------------------------------------------------------

def test_the_audit_of_all_sales(server):
    sales = {server.create_sale(5): 5, server.create_sale(7): 7}
    for sale in sales:
        server.bought(sale, "buyer")
    for source in (("--url", server.url), ("--data", server.data)):
        result = run_command("audit", *source, "--json", folder=server.folder)
        assert result.status == 0, result
        books = {book["sale_id"]: book for book in result.json()}
        for sale, stock in sales.items():
            contract.check_audit(books[sale], stock=stock, sold=1)
            if source[0] == "--data":
                assert books[sale]["inventory_remaining"] is None
        text = run_command("audit", *source, folder=server.folder)
        assert text.status == 0 and all(sale in text.stdout for sale in sales), text


def test_the_audit_of_a_stopped_server(make_server):
    server = make_server(config='[store]\nurl = "sqlite:orders.db"\n')
    sale = server.create_sale(5)
    server.bought(sale, "buyer")
    server.kill()
    for source in (("--data", server.data),
                   ("--config", server.config_file)):
        environment = {"DOORBUSTER_SERVER_DATA": str(server.data)}
        result = run_command("audit", *source, "--sale", sale, "--json", folder=server.folder,
                             environment=environment)
        assert result.status == 0, result
        contract.check_audit(result.json()[0], sold=1, inventory_remaining=None)


@pytest.mark.parametrize("damage", [
    "DELETE FROM orders WHERE id = :order", "UPDATE orders SET quantity = 2 WHERE id = :order",
    "UPDATE sales SET sold = sold + 1"])
def test_an_audit_finds_books_that_do_not_balance(make_server, damage):
    """The one test here that knows the store's tables: somebody has edited them by hand."""
    server = make_server()
    sale = server.create_sale(50, per_user_limit=5)
    orders = [server.bought(sale, f"buyer-{number}") for number in range(3)]
    for order in orders:
        server.confirmed(order["order_id"], order["user_id"])
    server.stop()
    with contextlib.closing(sqlite3.connect(server.data / "orders.db")) as store, store:
        changed = store.execute(damage, {"order": orders[1]["order_id"]}
                                if ":order" in damage else {}).rowcount
    assert changed == 1
    result = run_command("audit", "--data", server.data, "--sale", sale, "--json")
    assert result.status == 1, result
    book = result.json()[0]
    assert book["balanced"] is False and book["violations"], result
    assert all(isinstance(violation, str) for violation in book["violations"]), result
    assert run_command("audit", "--data", server.data).status == 1


def test_audits_that_cannot_be(server, tmp_path):
    missing = run_command("audit", "--url", server.url, "--sale", "no-such-sale")
    assert missing.status == 1 and missing.stderr, missing
    nowhere = run_command("audit", "--data", tmp_path / "nowhere")
    assert nowhere.status in (1, 2) and nowhere.stderr, nowhere
    assert not (tmp_path / "nowhere").exists(), "reading makes no folders"


# -- load ---------------------------------------------------------------------------------------

def test_load_prints_a_table_for_people(server):
    sale = server.create_sale(50)
    result = server.cli("load", "--sale", sale, "--buyers", 200, "--connections", 8,
                        json_output=False)
    assert result.status == 0 and result.stdout.strip(), result
    contract.check_audit(server.audit(sale), sold=50)


def test_load_on_a_sale_that_is_not_there_fails(server):
    result = server.cli("load", "--sale", "no-such-sale", "--buyers", 20)
    assert result.status == 1, result


# -- settings -----------------------------------------------------------------------------------

def config_file(folder, text: str):
    file = folder / "shop.toml"
    file.write_text(text, encoding="utf-8")
    return file


def check(folder, text: str, environment=None):
    return run_command("config", "check", "--config", config_file(folder, text), folder=folder,
                       environment=environment)


def test_good_settings_pass(tmp_path):
    text = ('[server]\nlisten = "127.0.0.1:9000"\nthreads = 2\n[limits]\nper_second = 100\n'
            'burst = 200\nstatus = 429\n[identity]\nmode = "header"\n[output]\n'
            'log_level = "warn"\nlog_format = "json"\n[purchase]\nstrategy = "reserve"\n')
    result = check(tmp_path, text)
    assert result.status == 0, result
    assert run_command("config", "check", folder=tmp_path).status == 0, "no file is needed"
    result = run_command("config", "check", "--json", folder=tmp_path)
    assert result.status == 0
    result.json()


@pytest.mark.parametrize("text,wrong,nearest", [
    ("[server]\nlistne = '127.0.0.1:1'\n", "listne", "listen"),
    ("[limits]\nper_sec = 5\n", "per_sec", "per_second"),
    ("[identity]\njwt_key = ['x']\n", "jwt_key", "jwt_keys"),
    ("[sever]\nlisten = '127.0.0.1:1'\n", "sever", "server")])
def test_an_unknown_key_names_the_nearest_known_one(tmp_path, text, wrong, nearest):
    for command in ("check", "show"):
        result = run_command("config", command, "--config", config_file(tmp_path, text))
        assert result.status == 2, result
        assert wrong in result.stderr and nearest in result.stderr, result
    result = run_command("serve", "--config", config_file(tmp_path, text), folder=tmp_path,
                         bound_s=READY_S)
    assert result.status == 2 and nearest in result.stderr, result


@pytest.mark.parametrize("text,name", [
    ("[server]\nlisten = 5\n", "listen"), ("[server]\nlisten = 'x'\n", "listen"),
    ("[server]\nthreads = -1\n", "threads"), ("[server]\nthreads = 'two'\n", "threads"),
    ("[identity]\nmode = 'cookie'\n", "mode"), ("[limits]\nstatus = 99\n", "status"),
    ("[limits]\nper_second = -5\n", "per_second"), ("[output]\nlog_level = 'loud'\n", "log_level"),
    ("[purchase]\nstrategy = 'guess'\n", "strategy"),
    ("[server]\ntls_cert = 'only-half.pem'\n", "tls_"),
    ("[server]\ntrusted_proxies = ['nonsense']\n", "trusted_proxies"),
    ("[identity]\nmode = 'jwt'\n", "jwt_keys"), ("[server\n", ""), ("= 5\n", "")])
def test_wrong_settings_are_refused_by_name(tmp_path, text, name):
    result = check(tmp_path, text)
    assert result.status == 2, result
    assert name in result.stderr and result.stderr.strip(), result


def test_flags_win_over_the_environment_over_the_file(make_server, tmp_path):
    ports = [free_port() for _ in range(2)]
    text = f'[server]\nlisten = "127.0.0.1:{ports[0]}"\n'
    shown = run_command("config", "show", "--config", config_file(tmp_path, text))
    assert shown.status == 0 and f"127.0.0.1:{ports[0]}" in shown.stdout, shown
    shown = run_command("config", "show", "--config", config_file(tmp_path, text),
                        environment={"DOORBUSTER_SERVER_LISTEN": f"127.0.0.1:{ports[1]}"})
    assert f"127.0.0.1:{ports[1]}" in shown.stdout and str(ports[0]) not in shown.stdout, shown
    server = make_server(config=text, settings={"server.listen": f"127.0.0.1:{ports[1]}"})
    assert server.call("GET", "/livez").status == 200  # on the port of its flag


def test_secrets_are_masked(tmp_path):
    text = (f'[admin]\ntoken = "{TOKEN}"\n[identity]\nmode = "jwt"\n'
            f'jwt_keys = ["hs256:{SECRET}"]\n')
    for extra in ((), ("--json",)):
        result = run_command("config", "show", "--config", config_file(tmp_path, text), *extra)
        assert result.status == 0, result
        assert TOKEN not in result.stdout + result.stderr
        assert SECRET not in result.stdout + result.stderr
        if extra:
            result.json()
    result = run_command("config", "show", environment={"DOORBUSTER_ADMIN_TOKEN": TOKEN})
    assert result.status == 0 and TOKEN not in result.stdout, result


def test_every_section_of_the_settings_is_shown():
    text = run_command("config", "show").stdout
    for name in ("listen", "threads", "data", "trusted_proxies", "connections_max",
                 "in_flight_max", "strategy", "per_second", "burst", "per_user_per_second",
                 "per_ip_per_second", "jwt_issuer", "log_level", "log_format"):
        assert name in text, name


def test_logs_can_be_json(make_server):
    server = make_server(settings={"output.log_format": "json"})
    server.stop()
    lines = server.output_file.read_text("utf-8").splitlines()
    assert lines
    for line in lines:
        assert isinstance(json.loads(line), dict), line
