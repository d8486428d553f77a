"""Files that are damaged, mixed up, locked or too new: either every promised order is there, or
the server refuses to start, says which file is wrong, and changes nothing."""

import contextlib
import hashlib
import json
import shutil
import signal
import sqlite3

import pytest

from harness import contract
from harness.disk import Disk, build_library
from harness.plugin import Servers
from harness.server import ServerExited, fresh_name
from harness.settings import scaled
from harness.swarm import run_all
from harness.waiting import eventually

FILES = ("log.db", "log.mark", "orders.db")


def sell(server, sale: str, count: int) -> dict:
    """Sells `count` units to as many buyers; the promised orders by id."""
    promised = {}

    def on_answer(_tag, status, _head, body):
        assert status == 202, body
        order = json.loads(body)
        promised[order["order_id"]] = order

    run_all(server, ((None, server.purchase_bytes(sale, fresh_name("buyer"), 1, "key"))
                     for _ in range(count)), on_answer, connections=16)
    return promised


def check_all_there(server, sale: str, promised: dict) -> None:
    with server.connect() as connection:
        for order in promised.values():
            connection.send(server.order_bytes(order["order_id"], order["user_id"]))
            contract.expect(connection.read_response(), 200)
            connection.send(server.purchase_bytes(sale, order["user_id"], 1, "key"))
            assert contract.expect(connection.read_response(), 202) == order
    contract.check_audit(server.audit(sale), sold=len(promised))


def fingerprint(folder) -> dict:
    """What the files of log and store hold; SQLite's shared memory and an empty write-ahead log
    are no content."""
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest()
            for file in sorted(folder.iterdir())
            if file.name.startswith(("log", "orders")) and not file.name.endswith("-shm")
            and not (file.name.endswith("-wal") and file.stat().st_size == 0)}


def check_refuses(server, *words: str) -> str:
    """The start fails with a status and a message that has one of the words; nothing changes."""
    before = fingerprint(server.data)
    with pytest.raises(ServerExited) as refusal:
        server.start()
    assert refusal.value.status > 0, "a refusal, not a crash"
    server.check_output()
    output = refusal.value.output
    assert any(word in output for word in words), f"none of {words} in: {output}"
    assert fingerprint(server.data) == before, f"the files were changed: {output}"
    return output


def check_refuses_or_has_all(server, sale: str, promised: dict) -> str:
    before = fingerprint(server.data)
    try:
        server.start()
    except ServerExited as refusal:
        assert refusal.status > 0, f"a refusal, not a crash: {refusal}"
        server.check_output()
        assert any(word in refusal.output for word in FILES), refusal
        assert fingerprint(server.data) == before, f"the files were changed: {refusal}"
        return "refused"
    check_all_there(server, sale, promised)
    server.bought(sale, fresh_name("after"))
    return "all there"


# -- damage -----------------------------------------------------------------------------------

def cut(file, count: int) -> None:
    data = file.read_bytes()
    file.write_bytes(data[:max(0, len(data) - count)])


def flip(file, at: float, count: int = 16) -> None:
    """Inverts bytes at that fraction of the file."""
    data = bytearray(file.read_bytes())
    start = min(int(len(data) * at), max(0, len(data) - count))
    for index in range(start, min(len(data), start + count)):
        data[index] ^= 0xFF
    file.write_bytes(bytes(data))


def append_noise(file) -> None:
    with open(file, "ab") as end:
        end.write(b"\xa5" * 5000)


DAMAGE = {
    "the last byte of the write-ahead log is gone": lambda data: cut(data / "log.db-wal", 1),
    "the last frame is torn": lambda data: cut(data / "log.db-wal", 2000),
    "the last frames are gone": lambda data: cut(data / "log.db-wal", 60_000),
    "the write-ahead log is empty": lambda data: cut(data / "log.db-wal", 1 << 40),
    "the write-ahead log is missing": lambda data: (data / "log.db-wal").unlink(),
    "the last frame is rotten": lambda data: flip(data / "log.db-wal", 0.999),
    "a frame in the middle is rotten": lambda data: flip(data / "log.db-wal", 0.5),
    "the first frame is rotten": lambda data: flip(data / "log.db-wal", 0.02),
    "the write-ahead log's header is rotten": lambda data: flip(data / "log.db-wal", 0.0),
    "noise follows the write-ahead log": lambda data: append_noise(data / "log.db-wal"),
    "the log's header is rotten": lambda data: flip(data / "log.db", 0.0),
    "the log's middle is rotten": lambda data: flip(data / "log.db", 0.5, 64),
    "the log's end is rotten": lambda data: flip(data / "log.db", 1.0, 64),
    "the log is cut in half": lambda data: cut(data / "log.db",
                                               (data / "log.db").stat().st_size // 2),
    "the log is empty": lambda data: cut(data / "log.db", 1 << 40),
    "the log is missing but not its write-ahead log": lambda data: (data / "log.db").unlink(),
    "the watermark is missing": lambda data: (data / "log.mark").unlink(),
    "the watermark is empty": lambda data: cut(data / "log.mark", 1 << 40),
    "the watermark is rotten": lambda data: flip(data / "log.mark", 0.0, 8),
}


class Original:
    """A killed server's folder and what it had promised, made once and copied for each test."""

    def __init__(self, folder, sale, promised):
        self.folder = folder
        self.sale = sale
        self.promised = promised

    def copy_to(self, server):
        shutil.copytree(self.folder, server.data)
        return server


def make_original(folder, stored: bool, clean: bool = False) -> Original:
    """`stored`: whether the orders have reached the store, or are in the log alone."""
    folder.mkdir(exist_ok=True)
    servers = Servers(folder)
    try:
        disk = Disk(folder, build_library(folder))
        server = servers(environment=disk.environment)
        sale = server.create_sale(1_000_000)
        promised = sell(server, sale, scaled(500, 100))
        if not stored:
            last = list(promised.values())[-1]
            server.confirmed(last["order_id"], last["user_id"])
            disk.fail(("sync", "hang", server.data / "orders.db"),
                      ("write", "hang", server.data / "orders.db"))
            promised.update(sell(server, sale, scaled(500, 100)))
        else:
            eventually(lambda: server.audit(sale)["orders"].get("queued", 0) == 0,
                       "all orders are in the store")
        if clean:
            server.stop()
        else:
            server.kill()
        disk.heal()
        kept = folder / "original"
        shutil.copytree(server.data, kept)
        return Original(kept, sale, promised)
    finally:
        servers.finish(judge=False)


@pytest.fixture(name="stored", scope="module")
def _stored(tmp_path_factory):
    return make_original(tmp_path_factory.mktemp("stored"), stored=True)


@pytest.fixture(name="unstored", scope="module")
def _unstored(tmp_path_factory):
    return make_original(tmp_path_factory.mktemp("unstored"), stored=False)


@pytest.fixture(name="clean", scope="module")
def _clean(tmp_path_factory):
    return make_original(tmp_path_factory.mktemp("clean"), stored=True, clean=True)


def test_undamaged_copies_start_with_everything(make_server, stored, unstored, clean):
    for original in (stored, unstored, clean):
        server = original.copy_to(make_server(start=False))
        assert check_refuses_or_has_all(server, original.sale, original.promised) == "all there"


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_log_of_stored_orders(make_server, stored, name):
    server = stored.copy_to(make_server(start=False))
    with contextlib.suppress(FileNotFoundError):
        DAMAGE[name](server.data)
    check_refuses_or_has_all(server, stored.sale, stored.promised)


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_log_of_orders_that_nothing_else_holds(make_server, unstored, name):
    server = unstored.copy_to(make_server(start=False))
    with contextlib.suppress(FileNotFoundError):
        DAMAGE[name](server.data)
    check_refuses_or_has_all(server, unstored.sale, unstored.promised)


def test_a_lost_tail_is_refused_in_words(make_server, unstored):
    server = unstored.copy_to(make_server(start=False))
    cut(server.data / "log.db-wal", 1 << 40)
    output = check_refuses(server, "log.db")
    assert "acknowledged" in output or "lost" in output or "missing" in output, output
    # Putting the file back is all it takes.
    shutil.copy(unstored.folder / "log.db-wal", server.data / "log.db-wal")
    server.start()
    check_all_there(server, unstored.sale, unstored.promised)


@pytest.mark.parametrize("at", [0.0, 0.3, 0.6, 1.0])
def test_a_rotten_store_never_sells_what_it_does_not_know(make_server, clean, at):
    server = clean.copy_to(make_server(start=False))
    for name in ("orders.db-wal", "orders.db"):
        if (server.data / name).exists() and (server.data / name).stat().st_size:
            flip(server.data / name, at, 256)
            break
    try:
        server.start()
    except ServerExited as refusal:
        assert refusal.status > 0 and "store" in refusal.output, refusal


# -- files that do not belong together ------------------------------------------------------------

def replace_database(source, target, name: str) -> None:
    for suffix in ("", "-wal", "-shm"):
        (target / (name + suffix)).unlink(missing_ok=True)
        if (source / (name + suffix)).exists():
            shutil.copy(source / (name + suffix), target / (name + suffix))


@pytest.mark.parametrize("with_mark", [False, True])
def test_the_log_of_another_folder_is_refused(make_server, tmp_path, clean, with_mark):
    other = make_original(tmp_path / "other", stored=True, clean=True)
    server = clean.copy_to(make_server(start=False))
    replace_database(other.folder, server.data, "log.db")
    if with_mark:
        shutil.copy(other.folder / "log.mark", server.data / "log.mark")
    output = check_refuses(server, "log")
    assert "store" in output or "acknowledged" in output, output
    replace_database(clean.folder, server.data, "log.db")
    shutil.copy(clean.folder / "log.mark", server.data / "log.mark")
    server.start()
    check_all_there(server, clean.sale, clean.promised)


def test_an_older_copy_of_the_log_is_refused(make_server, clean):
    server = clean.copy_to(make_server(start=False))
    server.start()
    sell(server, clean.sale, 50)
    server.stop()
    replace_database(clean.folder, server.data, "log.db")
    check_refuses(server, "log.db")
    shutil.copy(clean.folder / "log.mark", server.data / "log.mark")
    check_refuses(server, "log")


def test_a_store_without_its_log_is_refused(make_server, clean, stored):
    for original in (clean, stored):
        for also_mark in (False, True):
            server = original.copy_to(make_server(start=False))
            for file in server.data.glob("log.db*"):
                file.unlink()
            if also_mark:
                (server.data / "log.mark").unlink()
            check_refuses(server, "log")


def test_a_log_without_its_store_is_refused(make_server, clean, unstored):
    for original in (clean, unstored):
        server = original.copy_to(make_server(start=False))
        for file in server.data.glob("orders.db*"):
            file.unlink()
        check_refuses(server, "store", "orders.db")


# -- versions and locks -----------------------------------------------------------------------

def raise_format(database) -> bool:
    """Writes a format of a far future wherever the database keeps its own; False if nowhere."""
    found = False
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        tables = [row[0] for row in connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            columns = [row[1] for row in connection.execute(f'PRAGMA table_info("{table}")')]
            for column in columns:
                if column in ("format", "format_version", "schema_version") or \
                        column == "version" and "schema" in table:
                    found |= connection.execute(
                        f'UPDATE "{table}" SET "{column}" = 999').rowcount > 0
            if {"name", "value"} <= set(columns):
                found |= connection.execute(
                    f"UPDATE \"{table}\" SET value = '999' WHERE name IN "
                    "('format', 'format_version', 'schema_version', 'version')").rowcount > 0
        if connection.execute("PRAGMA user_version").fetchone()[0] != 0:
            connection.execute("PRAGMA user_version = 999")
            found = True
    return found


@pytest.mark.parametrize("name", ["log.db", "orders.db"])
def test_a_folder_of_a_newer_version_is_refused(make_server, clean, name):
    server = clean.copy_to(make_server(start=False))
    assert raise_format(server.data / name), f"{name} says nowhere which format it has"
    output = check_refuses(server, "version", "format", "newer")
    assert name in output or {"log.db": "log", "orders.db": "store"}[name] in output, output


def test_a_second_process_on_the_same_folder_is_refused(make_server):
    first = make_server()
    sale = first.create_sale(100)
    second = make_server(start=False)
    second.data = first.data
    with pytest.raises(ServerExited) as refusal:
        second.start()
    assert refusal.value.status == 1, refusal.value
    assert "lock" in refusal.value.output.lower(), refusal.value
    first.bought(sale, "buyer")
    first.kill()
    second.start()  # the lock goes with its process
    second.bought(sale, "other")
    contract.check_audit(second.audit(sale), sold=2)


def test_a_paused_process_is_still_in_charge(make_server):
    first = make_server()
    sale = first.create_sale(100)
    second = make_server(start=False)
    second.data = first.data
    first.process.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(ServerExited) as refusal:
            second.start()
        assert refusal.value.status == 1, refusal.value
    finally:
        first.process.send_signal(signal.SIGCONT)
    first.bought(sale, "buyer")


def test_a_folder_that_cannot_be_written_is_said_clearly(make_server, tmp_path):
    server = make_server(start=False)
    server.data = tmp_path / "a-file"
    server.data.write_text("not a folder")
    with pytest.raises(ServerExited) as refusal:
        server.start()
    assert refusal.value.status in (1, 2) and "a-file" in refusal.value.output, refusal.value
