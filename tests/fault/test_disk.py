"""A disk that fails to sync, is full, or hangs: nobody hears a yes that is not durable."""

import collections
import json
import threading
import time

import pytest

from harness import contract
from harness.disk import Disk, build_library
from harness.server import fresh_name
from harness.settings import BOUND_S
from harness.swarm import Swarm
from harness.waiting import eventually
from harness.wire import Closed


@pytest.fixture(name="library", scope="module")
def _library(tmp_path_factory):
    return build_library(tmp_path_factory.mktemp("library"))


class Shop:
    """A server on a disk that can fail, with a sale and the orders that were promised."""

    def __init__(self, make_server, folder, library, **options):
        self.disk = Disk(folder, library)
        self.server = make_server(environment=self.disk.environment, **options)
        self.sale = self.server.create_sale(100_000, per_user_limit=5)
        self.promised = {}
        self.log = self.server.data / "log.db"
        self.store = self.server.data / "orders.db"
        for _ in range(30):
            self.keep(self.server.buy(self.sale, fresh_name("before"), 2, "key"))

    def keep(self, response) -> None:
        """Remembers an order that was promised; another answer must be a 503."""
        if response.status == 202:
            order = response.json()
            self.promised[order["order_id"]] = order
        else:
            assert response.status == 503, response

    def attempt(self):
        """One purchase attempt; its status, or None when the server hung up or is gone."""
        try:
            response = self.server.buy(self.sale, fresh_name("attempt"), 1, "key")
        except (Closed, OSError):
            return None
        self.keep(response)
        return response.status

    def check_nothing_lost(self) -> None:
        """Every promised order is there, is replayed by its key, and the books balance."""
        server = self.server
        for order in self.promised.values():
            shown = contract.expect(server.order(order["order_id"], order["user_id"]), 200)
            assert shown["quantity"] == order["quantity"]
            again = server.buy(self.sale, order["user_id"], order["quantity"], "key")
            assert contract.expect(again, 202) == order

        def stored():  # a list waits 2 s for what is on its way to the store, no longer
            listed = server.list_all(f"/v1/sales/{self.sale}/orders")
            return listed if set(self.promised) <= {one["order_id"] for one in listed} else None
        listed = eventually(stored, "every promised order is in the store")
        counts = collections.Counter(order["user_id"] for order in listed)
        assert max(counts.values()) == 1, "one key is one order"
        contract.check_audit(server.audit(self.sale))
        server.bought(self.sale, fresh_name("after"))


@pytest.fixture(name="make_shop")
def _make_shop(make_server, tmp_path, library):
    shops = []

    def make(**options):
        shops.append(Shop(make_server, tmp_path, library, **options))
        return shops[-1]

    yield make
    for shop in shops:
        shop.disk.heal()


@pytest.fixture(name="shop")
def _shop(make_shop):
    return make_shop()


def rush(shop, count: int = 300, after: int = None, then=None) -> collections.Counter:
    """Purchases over several connections until the server ends or all are answered.

    Calls `then()` when `after` of them were accepted.
    """
    statuses = collections.Counter()

    def on_answer(_tag, status, _head, body):
        statuses[status] += 1
        if status == 202:
            order = json.loads(body)
            shop.promised[order["order_id"]] = order
            if statuses[202] == after:
                then()

    try:
        with Swarm(shop.server.port, 8) as swarm:
            swarm.run(((None, shop.server.purchase_bytes(shop.sale, fresh_name("rush"), 1, "key"))
                       for _ in range(count)), on_answer)
    except OSError:
        eventually(lambda: not shop.server.alive, "only a server that has ended refuses to talk")
    return statuses


def test_a_failed_sync_of_the_log_ends_the_process_and_loses_nothing(shop):
    shop.disk.fail(("sync", "eio", shop.log))
    statuses = rush(shop)
    assert statuses[202] == 0, "a yes without a sync"
    assert shop.disk.hits >= 1
    status = shop.server.process.wait(BOUND_S)
    assert status == 1, f"exit status {status}\n{shop.server.output()}"
    words = shop.server.output().lower()
    assert "log" in words and ("sync" in words or "input/output" in words), words
    shop.disk.heal()
    shop.server.start()
    shop.check_nothing_lost()


def test_a_failed_sync_in_the_middle_of_a_rush_loses_nothing(shop):
    for turn in range(3):
        rush(shop, 200_000, after=100 + 70 * turn,
             then=lambda: shop.disk.fail(("sync", "eio", shop.log)))
        status = shop.server.process.wait(BOUND_S)
        assert status == 1, f"exit status {status}\n{shop.server.output()}"
        shop.disk.heal()
        shop.server.start()
    shop.check_nothing_lost()


def test_a_failed_sync_of_the_store_loses_nothing(shop):
    shop.disk.fail(("sync", "eio", shop.store))
    rush(shop)
    shop.disk.heal()
    if shop.server.alive:
        shop.server.kill()
    shop.server.start()
    shop.check_nothing_lost()


def test_a_disk_without_room_for_the_log_says_no_until_there_is_room(shop):
    shop.disk.fail(("write", "enospc", shop.log))
    for _ in range(3):
        assert shop.attempt() in (503, None), "a yes without room"
    assert shop.disk.hits >= 1
    if shop.server.alive:
        assert shop.server.call("GET", "/livez").status == 200
        shop.server.sale(shop.sale)
    shop.disk.heal()
    if shop.server.alive:
        eventually(lambda: shop.attempt() == 202, "sells again when there is room")
    else:
        shop.server.start()
    shop.check_nothing_lost()
    shop.server.kill()
    shop.server.start()
    shop.check_nothing_lost()


def test_a_disk_without_room_for_the_store_delays_it_and_loses_nothing(shop):
    shop.disk.fail(("write", "enospc", shop.store))
    statuses = rush(shop, 100)
    assert set(statuses) <= {202, 503}, statuses
    shop.disk.heal()
    if not shop.server.alive:
        shop.server.start()
    shop.check_nothing_lost()
    order = next(reversed(shop.promised.values()))
    shop.server.confirmed(order["order_id"], order["user_id"])


def test_a_disk_without_room_for_anything_loses_nothing(shop):
    shop.disk.fail(("write", "enospc", shop.server.data))
    for _ in range(2):
        assert shop.attempt() in (503, None)
    shop.server.kill()  # the worst moment for it
    shop.disk.heal()
    shop.server.start()
    shop.check_nothing_lost()


def test_a_start_on_a_full_disk_is_said_clearly_and_loses_nothing(shop):
    shop.server.kill()
    shop.disk.fail(("write", "enospc", shop.server.data))
    shop.server.spawn()
    # It may stop with a message, or wait and say that it is not ready.
    eventually(lambda: not shop.server.alive or b"" != shop.server.output_file.read_bytes(),
               "says something")
    if shop.server.alive:
        shop.server.kill()
    else:
        assert shop.server.process.returncode > 0, shop.server.output()
    shop.disk.heal()
    shop.server.start()
    shop.check_nothing_lost()


def test_no_yes_leaves_before_the_logs_sync_has_returned(shop):
    """The plainest test of the promise: while the sync hangs, nobody may hear 202."""
    server = shop.server
    for _ in range(3):
        hits = shop.disk.hits
        shop.disk.fail(("sync", "hang", shop.log))
        user = fresh_name("patient")
        with server.connect() as connection:
            asked = time.monotonic()
            connection.send(server.purchase_bytes(shop.sale, user, 1, "key"))
            eventually(lambda hits=hits: shop.disk.hits > hits, "the log is being synced")
            server.sale(shop.sale)  # others are served meanwhile
            connection.socket.settimeout(0.3)
            with pytest.raises(TimeoutError):
                connection.socket.recv(1)
            connection.socket.settimeout(BOUND_S)
            shop.disk.heal()
            response = connection.read_response()
            if response.status == 503 and time.monotonic() - asked > 4.5:
                # This machine stood still until the 5 s of its wait were over.
                response = eventually(lambda user=user: by_key(shop, user), "the order comes")
            contract.expect(response, 202)
            shop.keep(response)
    shop.check_nothing_lost()


def by_key(shop, user: str):
    """What a client does behind a 503: asks with its key. None while it is neither yes nor no."""
    again = shop.server.buy(shop.sale, user, 1, "key")
    return None if again.status == 503 else again


def test_an_unknown_outcome_names_the_order_that_may_still_come(shop):
    """When the disk hangs for longer than a buyer may wait: 503, and the order's id with it."""
    server = shop.server
    shop.disk.fail(("sync", "hang", shop.log))
    user = fresh_name("unlucky")
    response = server.buy(shop.sale, user, 1, "key")
    shop.disk.heal()
    problem = contract.expect(response, 503)
    assert problem["order_id"], response
    again = eventually(lambda: by_key(shop, user), "the order comes")
    assert contract.expect(again, 202)["order_id"] == problem["order_id"]
    contract.expect(server.order(problem["order_id"], user), 200)
    shop.check_nothing_lost()


def test_a_disk_that_hangs_sheds_what_is_too_much(make_shop):
    shop = make_shop(settings={"server.in_flight_max": 8})
    server = shop.server
    shop.disk.fail(("sync", "hang", shop.log))
    answers = collections.Counter()

    def on_answer(_tag, status, head, body):
        if status == 202:
            order = json.loads(body)
            shop.promised[order["order_id"]] = order
            answers["accepted"] += 1
            return
        assert status == 503, (head, body)
        assert b"retry-after:" in head.lower(), head
        answers[json.loads(body)["code"]] += 1
        shop.disk.heal()  # the first that is turned away has shown it; the rest may go on

    with Swarm(server.port, 60) as swarm:
        swarm.run(((None, server.purchase_bytes(shop.sale, fresh_name("crowd"), 1, "key"))
                   for _ in range(60)), on_answer, BOUND_S)
    assert sum(answers.values()) == 60
    assert answers["overloaded"] >= 1, answers
    shop.check_nothing_lost()


def test_a_kill_while_the_disk_hangs_loses_nothing(shop):
    for _ in range(3):
        hits = shop.disk.hits
        shop.disk.fail(("sync", "hang", shop.log))

        def kill_when_hanging(hits=hits):
            eventually(lambda: shop.disk.hits > hits, "the log is being synced")
            shop.server.process.kill()

        def no_yes(_tag, status, _head, body):
            # A killer that comes after the 5 s of their wait lets them hear that nobody knows.
            assert status == 503 and json.loads(body)["order_id"], f"while the disk hangs: {body}"

        killer = threading.Thread(target=kill_when_hanging)
        killer.start()
        with Swarm(shop.server.port, 16) as swarm:
            swarm.run(((None, shop.server.purchase_bytes(shop.sale, fresh_name("hanging"), 1,
                                                         "key")) for _ in range(16)),
                      no_yes, BOUND_S)
        killer.join()
        shop.server.process.wait()
        shop.disk.heal()
        shop.server.start()
    shop.check_nothing_lost()


def test_orders_that_only_the_log_holds_reach_the_store_after_a_kill(shop):
    shop.disk.fail(("sync", "hang", shop.store), ("write", "hang", shop.store))
    statuses = rush(shop, 200)
    assert statuses[202] > 0
    shop.server.kill()
    shop.disk.heal()
    shop.server.start()
    shop.check_nothing_lost()
    for order in list(shop.promised.values())[-20:]:
        shop.server.confirmed(order["order_id"], order["user_id"])
