"""SIGKILL at random moments, again and again: what was promised is there once, and no more.

Every round keeps many connections busy with purchases, kills the process while requests are in
flight, reads what had still left it, starts it again on the same folder, and asks for every order
that was promised since the last kill. At the end the books of all rounds are compared with the
export, order by order.

SIGKILL keeps the kernel's page cache, so only what the process still had in its own memory is
lost: a yes that left before its commit was written. To catch it most kills come right behind a
202, or at the first byte of an answer to a burst; the others come at a random time.

DOORBUSTER_CRASH_SEED repeats a run's choices, DOORBUSTER_CRASH_ROUNDS changes their number.
"""

import collections
import json
import os
import random
import threading
import time

from harness import contract
from harness.promises import (Books, Kill, Purchase, check_replays, exported, is_replay,
                              settle_doubts)
from harness.server import run_command
from harness.settings import BOUND_S, scaled
from harness.swarm import run_all
from harness.waiting import eventually

ROUNDS = int(os.environ.get("DOORBUSTER_CRASH_ROUNDS", scaled(120, 50)))
SEED = int(os.environ.get("DOORBUSTER_CRASH_SEED", time.time_ns() % 1_000_000))
CONNECTIONS = 32
LIMIT = 3
BIG, SMALL = "crash-big", "crash-small"  # never sold out; sold out in most rounds
FULL_CHECK_EVERY = 10


def attempts(dice: random.Random, number: int):
    """Purchases without end: keyed and not, single users and users who try again and again."""
    crowd = [f"r{number}-crowd-{i}" for i in range(40)]
    count = 0
    while True:
        count += 1
        sale = SMALL if dice.random() < 0.1 else BIG
        kind = dice.random()
        if kind < 0.45:  # one buyer, one key
            user = f"r{number}-keyed-{count}"
            purchase = Purchase(sale, user, dice.randint(1, LIMIT), f"key of {user}")
            for _ in range(dice.choice((1, 1, 1, 1, 2))):  # some press the button twice
                yield purchase
        elif kind < 0.75:  # one buyer, no key
            yield Purchase(sale, f"r{number}-single-{count}", dice.randint(1, LIMIT), None)
        else:  # a few who want more than they may have
            yield Purchase(sale, dice.choice(crowd), dice.randint(1, LIMIT), None)


class Restock:
    """A delivery that a crash may interrupt; its key makes it count once."""

    def __init__(self, server, sale: str, add: int, key: str):
        self._arguments = (server, sale, add, key)
        self._thread = threading.Thread(target=self._try, daemon=True)

    def begin(self) -> None:
        self._thread.start()

    def _try(self) -> None:
        server, sale, add, key = self._arguments
        try:
            server.restock(sale, add, key)
        except Exception:  # pylint: disable=broad-except
            pass  # the server was killed meanwhile; finish() tries again

    def finish(self, stock: dict) -> None:
        server, sale, add, key = self._arguments
        if self._thread.ident is not None:  # the kill may have come before it began
            self._thread.join(BOUND_S)
        shown = server.restock(sale, add, key)
        stock[sale] += add
        assert shown["stock"] == stock[sale], "a delivery counts once"


def rush_until_killed(server, books: Books, dice: random.Random, number: int) -> tuple:
    """One round; returns how many were promised, how many were in flight at the kill, and the
    delivery that the kill may have interrupted (or None)."""
    promised_before = len(books.promised)
    codes = collections.Counter()
    new_promises = []
    kill = Kill(server, dice)
    restock = None
    restock_after = dice.randint(max(1, kill.after - 20), kill.after)
    if dice.random() < 0.3:
        restock = Restock(server, dice.choice((BIG, SMALL)), dice.randint(1, 50),
                          f"delivery-in-flight-{number}")

    def on_answer(purchase, status, head, body):
        answer = json.loads(body)
        if status != 202:
            codes[answer["code"]] += 1
            return
        new_promises.append((purchase, answer, is_replay(head)))
        if len(new_promises) == restock_after and restock is not None:
            restock.begin()
        kill.counted(len(new_promises))

    requests = ((purchase, purchase.bytes_for(server)) for purchase in attempts(dice, number))
    in_flight = kill.rush(requests, on_answer, CONNECTIONS)
    for purchase, answer, replay in new_promises:
        books.promise(purchase, answer, replay)
    books.in_doubt = [purchase for purchase in in_flight if purchase.key is not None]
    unexpected = set(codes) - {"sold_out", "limit_reached", "unavailable", "overloaded"}
    assert not unexpected, f"answers that nobody expects: {codes}"
    return len(books.promised) - promised_before, len(in_flight), restock


def check_promised(server, books: Books, purchases) -> None:
    """Every one of these orders can be read by its buyer, as it was promised."""
    def on_answer(purchase, status, _head, body):
        assert status == 200, f"promised and gone: {purchase.order}: {status} {body!r}"
        shown = json.loads(body)
        books.check_promise(shown)
        assert shown["status"] in ("queued", "confirmed"), shown

    run_all(server, ((purchase, server.order_bytes(purchase.order["order_id"], purchase.user))
                     for purchase in purchases), on_answer, connections=8, depth=8)


def check_everything(server, books: Books, stock: dict) -> int:
    """The clients' books against the server's, order by order; how many orders there are."""
    orders = {}
    for sale in (BIG, SMALL):
        listed = exported(server, sale)
        units = sum(order["quantity"] for order in listed)
        per_user = collections.Counter()
        for order in listed:
            assert order["order_id"] not in orders, f"there twice: {order}"
            orders[order["order_id"]] = order
            per_user[order["user_id"]] += order["quantity"]
        assert units <= stock[sale], f"{sale} is oversold: {units} > {stock[sale]}"
        over = {user: count for user, count in per_user.items() if count > LIMIT}
        assert not over, f"more than {LIMIT} units: {over}"
        contract.check_audit(server.audit(sale), stock=stock[sale], sold=units,
                             inventory_remaining=stock[sale] - units)
    missing = [purchase.order for order, purchase in books.promised.items()
               if order not in orders]
    assert not missing, f"{len(missing)} promised orders are gone, such as {missing[:3]}"
    for identifier, purchase in books.promised.items():
        order = orders[identifier]
        assert (order["user_id"], order["quantity"], order["sale_id"]) == \
            (purchase.user, purchase.quantity, purchase.sale), order
    per_key_user = collections.Counter(order["user_id"] for order in orders.values()
                                       if "-keyed-" in order["user_id"])
    twice = [user for user, count in per_key_user.items() if count > 1]
    assert not twice, f"one key and several orders: {twice[:3]}"
    return len(orders)


def deliver(server, stock: dict, sale: str, add: int, key: str) -> None:
    restock = Restock(server, sale, add, key)
    restock.begin()
    restock.finish(stock)


def test_no_promise_is_lost_by_kills_at_random_moments(make_server, capsys):
    dice = random.Random(SEED)
    with capsys.disabled():
        print(f"\ncrash test: {ROUNDS} rounds, DOORBUSTER_CRASH_SEED={SEED}", flush=True)
    server = make_server()
    books = Books()
    stock = {BIG: 5_000, SMALL: 20}
    for sale in (BIG, SMALL):
        server.create_sale(stock[sale], sale=sale, per_user_limit=LIMIT)

    counted = number = 0
    while counted < ROUNDS:
        # A kill that every request had outrun shows nothing: it is checked and not counted.
        assert number < 4 * ROUNDS, f"only {counted} of {number} kills met requests in flight"
        number += 1
        known = len(books.promised)
        deliver(server, stock, BIG, 5_000, f"delivery-{number}")
        deliver(server, stock, SMALL, dice.randint(1, 30), f"small-delivery-{number}")
        promised, in_flight, restock = rush_until_killed(server, books, dice, number)
        assert promised > 0, f"round {number}: nothing was promised since the last kill"
        counted += in_flight > 0

        if dice.random() < 0.2:  # a crash during the recovery
            server.spawn()
            time.sleep(dice.uniform(0.0, 0.05))  # random: the moment of the second kill
            server.kill()
        server.start()
        if restock is not None:
            restock.finish(stock)
        settle_doubts(server, books)
        recent = list(books.promised.values())[known:]
        check_promised(server, books, recent)
        keyed = [purchase for purchase in recent if purchase.key is not None]
        check_replays(server, keyed)
        for sale in (BIG, SMALL):
            contract.check_audit(server.audit(sale), stock=stock[sale])
        if number % FULL_CHECK_EVERY == 0:
            check_everything(server, books, stock)

    total = check_everything(server, books, stock)
    check_replays(server, dice.sample(books.keyed, min(2_000, len(books.keyed))))
    for sale in (BIG, SMALL):
        eventually(lambda sale=sale: server.audit(sale)["orders"].get("queued", 0) == 0,
                   f"all orders of {sale} are in the store")
        offline = run_command("audit", "--data", server.data, "--sale", sale, "--json")
        assert offline.status == 0, offline
        contract.check_audit(offline.json()[0], stock=stock[sale])
    assert check_everything(server, books, stock) == total
    audit = server.audit(BIG)
    assert audit["orders"].get("refused", 0) == 0, "the store's guard never has to stop an order"
    with capsys.disabled():
        print(f"crash test: {len(books.promised)} orders were promised, {total} exist, "
              f"after {number} kills, {counted} of them with requests in flight", flush=True)
