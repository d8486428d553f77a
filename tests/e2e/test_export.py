"""Exports: every order once, oldest first, safe to open in a spreadsheet."""

import csv
import io
import json

import pytest

from harness import contract
from harness.server import fresh_name, run_command
from harness.settings import BOUND_S, scaled
from harness.swarm import run_all


def export(server, sale: str, form: str, source) -> bytes:
    result = run_command("export", "orders", "--sale", sale, "--format", form, *source,
                         folder=server.folder, bound_s=BOUND_S, binary_output=True)
    assert result.status == 0, result
    return result.stdout


def sources(server) -> dict:
    return {"url": ("--url", server.url), "data": ("--data", server.data)}


def rows_of(data: bytes) -> list:
    return list(csv.DictReader(io.StringIO(data.decode("utf-8"), newline="")))


@pytest.mark.parametrize("source", ["url", "data"])
def test_every_order_is_exported_right_after_its_yes(server, source):
    sale = server.create_sale(10_000, per_user_limit=3)
    bought = {}

    def on_answer(_tag, status, _head, body):
        assert status == 202
        order = json.loads(body)
        bought[order["order_id"]] = order

    run_all(server, ((None, server.purchase_bytes(sale, f"buyer-{number}", 1 + number % 3))
                     for number in range(scaled(500))), on_answer)
    # At once: some orders are still in the log alone.
    rows = rows_of(export(server, sale, "csv", sources(server)[source]))
    assert len(rows) == len(bought)
    for row in rows:
        order = bought[row["order_id"]]
        assert row["sale_id"] == sale and row["user_id"] == order["user_id"]
        assert int(row["quantity"]) == order["quantity"]
        assert row["status"] in ("queued", "confirmed")
        contract.time_of(row["created_at"])
        assert row["expires_at"] == row["paid_at"] == row["payment_ref"] == ""
    times = [contract.time_of(row["created_at"]) for row in rows]
    assert times == sorted(times), "oldest first"

    lines = export(server, sale, "ndjson", sources(server)[source]).decode("utf-8").splitlines()
    items = [json.loads(line) for line in lines]
    assert sorted(item["order_id"] for item in items) == sorted(bought)
    for item in items:
        order = bought[item["order_id"]]
        assert item["user_id"] == order["user_id"] and item["quantity"] == order["quantity"]


@pytest.mark.parametrize("source", ["url", "data"])
def test_a_spreadsheet_runs_nothing(server, source):
    sale = server.create_sale(100)
    dangerous = ["=1+1", "+49123", "-2", "@SUM(A1)", '=HYPERLINK("http://x";"y")']
    harmless = ["a=b", "1+1", "x-2", "user@example.org", "it's", 'say "hi"', "a,b", "a;b"]
    for user in (*dangerous, *harmless):
        server.bought(sale, user)
    data = export(server, sale, "csv", sources(server)[source])
    users = [row["user_id"] for row in rows_of(data)]
    assert sorted(users) == sorted([f"'{user}" for user in dangerous] + harmless)

    lines = export(server, sale, "ndjson", sources(server)[source]).decode("utf-8").splitlines()
    assert sorted(json.loads(line)["user_id"] for line in lines) == \
        sorted(dangerous + harmless), "JSON needs no guard"


def test_csv_is_rfc_4180(server):
    sale = server.create_sale(10)
    data = export(server, sale, "csv", sources(server)["data"])
    assert data == contract.CSV_HEADER.encode() + b"\r\n", "no orders: the header alone"
    server.bought(sale, 'a,"b"')
    data = export(server, sale, "csv", sources(server)["data"])
    assert data.startswith(contract.CSV_HEADER.encode() + b"\r\n")
    assert data.endswith(b"\r\n") and data.count(b"\n") == data.count(b"\r\n") == 2
    assert b'"a,""b"""' in data


def test_exports_only_the_sale_that_was_asked_for(server):
    first, second = server.create_sale(10), server.create_sale(10)
    order = server.bought(first, fresh_name("buyer"))["order_id"]
    server.bought(second, fresh_name("buyer"))
    for source in sources(server).values():
        rows = rows_of(export(server, first, "csv", source))
        assert [row["order_id"] for row in rows] == [order]


def test_exports_of_a_stopped_server(make_server):
    server = make_server()
    sale = server.create_sale(10)
    order = server.bought(sale, "buyer")["order_id"]
    for end in (server.stop, lambda: (server.start(), server.kill())):
        end()
        before = {file.name: file.read_bytes() for file in server.data.iterdir()
                  if file.name.endswith((".db", ".mark"))}
        rows = rows_of(export(server, sale, "csv", sources(server)["data"]))
        assert [row["order_id"] for row in rows] == [order]
        after = {file.name: file.read_bytes() for file in server.data.iterdir()
                 if file.name.endswith((".db", ".mark"))}
        assert after == before, "reading changes nothing"


def test_exports_that_cannot_be(server):
    for arguments, status in (
            (("--sale", "no-such-sale", "--format", "csv", "--url", server.url), (1,)),
            (("--sale", "no-such-sale", "--format", "csv", "--data", server.data), (1,)),
            (("--sale", "x", "--format", "xml", "--url", server.url), (2,)),
            (("--format", "csv", "--url", server.url), (2,)),
            (("--sale", "x", "--format", "csv", "--data", server.folder / "nowhere"), (1, 2))):
        result = run_command("export", "orders", *arguments, folder=server.folder)
        assert result.status in status and result.stderr, result
    assert not (server.folder / "nowhere").exists(), "reading makes no folders"
