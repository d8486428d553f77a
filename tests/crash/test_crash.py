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
import itertools
import json
import os
import random
import threading
import time

from harness import contract
from harness.server import run_command
from harness.settings import BOUND_S, LOAD_S, scaled
from harness.swarm import Swarm, run_all
from harness.waiting import eventually

ROUNDS = int(os.environ.get("DOORBUSTER_CRASH_ROUNDS", scaled(120, 50)))
SEED = int(os.environ.get("DOORBUSTER_CRASH_SEED", time.time_ns() % 1_000_000))
CONNECTIONS = 32
LIMIT = 3
BIG, SMALL = "crash-big", "crash-small"  # never sold out; sold out in most rounds
FULL_CHECK_EVERY = 10


class Purchase:
    """One request: what was asked, and what it was promised (None: unknown or refused)."""

    __slots__ = ("sale", "user", "quantity", "key", "order")

    def __init__(self, sale, user, quantity, key):
        self.sale = sale
        self.user = user
        self.quantity = quantity
        self.key = key
        self.order = None


class Books:
    """What the clients know, to be compared with what the server says."""

    def __init__(self):
        self.promised = {}  # order id -> Purchase
        self.keyed = []  # purchases with a key whose outcome is known to be a yes
        self.stock = {BIG: 0, SMALL: 0}
        self.in_doubt = []  # keyed purchases that were in flight at the last kill

    def promise(self, purchase: Purchase, order: dict, replay: bool) -> None:
        assert order["sale_id"] == purchase.sale and order["user_id"] == purchase.user, order
        assert order["quantity"] == purchase.quantity, order
        if purchase.key is None:
            assert not replay, "a replay without a key"
            assert order["order_id"] not in self.promised, f"given out twice: {order}"
        elif purchase.order is not None:
            assert order == purchase.order, f"one key, two answers: {order} {purchase.order}"
            return
        purchase.order = order
        known = self.promised.setdefault(order["order_id"], purchase)
        assert known is purchase, f"given out to two buyers: {order}"
        if purchase.key is not None:
            self.keyed.append(purchase)


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

    def finish(self, books: Books) -> None:
        server, sale, add, key = self._arguments
        if self._thread.ident is not None:  # the kill may have come before it began
            self._thread.join(BOUND_S)
        shown = server.restock(sale, add, key)
        books.stock[sale] += add
        assert shown["stock"] == books.stock[sale], "a delivery counts once"


def rush_until_killed(server, books: Books, dice: random.Random, number: int) -> tuple:
    """One round; returns how many were promised, how many were in flight at the kill, and the
    delivery that the kill may have interrupted (or None)."""
    promised_before = len(books.promised)
    codes = collections.Counter()
    new_promises = []
    kill_after = dice.randint(1, 400)
    moment = dice.choice(("behind a yes", "behind a yes", "by the clock", "burst", "burst"))
    timer = restock = None
    restock_after = dice.randint(max(1, kill_after - 20), kill_after)
    if dice.random() < 0.3:
        restock = Restock(server, dice.choice((BIG, SMALL)), dice.randint(1, 50),
                          f"delivery-in-flight-{number}")

    def on_answer(purchase, status, head, body):
        nonlocal timer
        answer = json.loads(body)
        if status != 202:
            codes[answer["code"]] += 1
            return
        new_promises.append((purchase, answer, b"replayed: true" in head.lower()))
        if len(new_promises) == restock_after and restock is not None:
            restock.begin()
        if len(new_promises) == kill_after:
            if moment == "behind a yes":
                server.process.kill()
            elif moment == "by the clock":
                timer = threading.Timer(dice.uniform(0.0, 0.15), server.process.kill)
                timer.start()

    requests = ((purchase, server.purchase_bytes(purchase.sale, purchase.user, purchase.quantity,
                                                 purchase.key))
                for purchase in attempts(dice, number))
    with Swarm(server.port, CONNECTIONS, depth=dice.choice((1, 1, 2, 4, 8))) as swarm:
        if moment == "burst":
            # All at once, killed at the first answer's first byte: whatever is answered early
            # has had no time to be written.
            swarm.run(itertools.islice(requests, dice.randint(50, 400)), on_answer, LOAD_S)
            swarm.burst(requests, server.process.kill)
            swarm.run((), on_answer, LOAD_S)
        else:
            swarm.run(requests, on_answer, LOAD_S)
        in_flight = list(swarm.unanswered)
    if timer is not None:
        timer.join()
    server.process.wait()
    for purchase, answer, replay in new_promises:
        books.promise(purchase, answer, replay)
    books.in_doubt = [purchase for purchase in in_flight if purchase.key is not None]
    unexpected = set(codes) - {"sold_out", "limit_reached", "unavailable", "overloaded"}
    assert not unexpected, f"answers that nobody expects: {codes}"
    return len(books.promised) - promised_before, len(in_flight), restock


def check_promised(server, purchases) -> None:
    """Every one of these orders can be read by its buyer, as it was promised."""
    def on_answer(purchase, status, _head, body):
        assert status == 200, f"promised and gone: {purchase.order}: {status} {body!r}"
        shown = json.loads(body)
        for name in ("order_id", "sale_id", "user_id", "quantity", "created_at"):
            assert shown[name] == purchase.order[name], (shown, purchase.order)
        assert shown["status"] in ("queued", "confirmed"), shown

    run_all(server, ((purchase, server.order_bytes(purchase.order["order_id"], purchase.user))
                     for purchase in purchases), on_answer, connections=8, depth=8)


def check_replays(server, purchases) -> None:
    """Every one of these keys answers the same 202 again."""
    def on_answer(purchase, status, head, body):
        assert status == 202, f"promised and refused: {purchase.order}: {status} {body!r}"
        assert json.loads(body) == purchase.order, (body, purchase.order)
        assert b"idempotency-replayed: true" in head.lower(), head

    run_all(server, ((purchase, server.purchase_bytes(purchase.sale, purchase.user,
                                                      purchase.quantity, purchase.key))
                     for purchase in purchases), on_answer, connections=8, depth=4)


def settle_doubts(server, books: Books) -> None:
    """Who never heard an answer asks again with the key, twice: one order, or a no."""
    for purchase in dict.fromkeys(books.in_doubt):
        responses = [server.buy(purchase.sale, purchase.user, purchase.quantity, purchase.key)
                     for _ in range(2)]
        if responses[0].status == 202:
            books.promise(purchase, responses[0].json(),
                          responses[0].header("idempotency-replayed") == "true")
            assert contract.expect(responses[1], 202) == purchase.order
        else:
            contract.expect(responses[0], 409, "sold_out")
    books.in_doubt = []


def exported(server, sale: str) -> list:
    result = run_command("export", "orders", "--sale", sale, "--format", "ndjson", "--url",
                         server.url, bound_s=LOAD_S)
    assert result.status == 0, result
    return [json.loads(line) for line in result.stdout.splitlines()]


def check_everything(server, books: Books) -> int:
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
        assert units <= books.stock[sale], f"{sale} is oversold: {units} > {books.stock[sale]}"
        over = {user: count for user, count in per_user.items() if count > LIMIT}
        assert not over, f"more than {LIMIT} units: {over}"
        contract.check_audit(server.audit(sale), stock=books.stock[sale], sold=units,
                             inventory_remaining=books.stock[sale] - units)
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


def deliver(server, books: Books, sale: str, add: int, key: str) -> None:
    restock = Restock(server, sale, add, key)
    restock.begin()
    restock.finish(books)


def test_no_promise_is_lost_by_kills_at_random_moments(make_server, capsys):
    dice = random.Random(SEED)
    with capsys.disabled():
        print(f"\ncrash test: {ROUNDS} rounds, DOORBUSTER_CRASH_SEED={SEED}", flush=True)
    server = make_server()
    books = Books()
    for sale, stock in ((BIG, 5_000), (SMALL, 20)):
        server.create_sale(stock, sale=sale, per_user_limit=LIMIT)
        books.stock[sale] = stock

    counted = number = 0
    while counted < ROUNDS:
        # A kill that every request had outrun shows nothing: it is checked and not counted.
        assert number < 4 * ROUNDS, f"only {counted} of {number} kills met requests in flight"
        number += 1
        known = len(books.promised)
        deliver(server, books, BIG, 5_000, f"delivery-{number}")
        deliver(server, books, SMALL, dice.randint(1, 30), f"small-delivery-{number}")
        promised, in_flight, restock = rush_until_killed(server, books, dice, number)
        assert promised > 0, f"round {number}: nothing was promised since the last kill"
        counted += in_flight > 0

        if dice.random() < 0.2:  # a crash during the recovery
            server.spawn()
            time.sleep(dice.uniform(0.0, 0.05))  # random: the moment of the second kill
            server.kill()
        server.start()
        if restock is not None:
            restock.finish(books)
        settle_doubts(server, books)
        recent = list(books.promised.values())[known:]
        check_promised(server, recent)
        keyed = [purchase for purchase in recent if purchase.key is not None]
        check_replays(server, keyed)
        for sale in (BIG, SMALL):
            contract.check_audit(server.audit(sale), stock=books.stock[sale])
        if number % FULL_CHECK_EVERY == 0:
            check_everything(server, books)

    total = check_everything(server, books)
    check_replays(server, dice.sample(books.keyed, min(2_000, len(books.keyed))))
    for sale in (BIG, SMALL):
        eventually(lambda sale=sale: server.audit(sale)["orders"].get("queued", 0) == 0,
                   f"all orders of {sale} are in the store")
        offline = run_command("audit", "--data", server.data, "--sale", sale, "--json")
        assert offline.status == 0, offline
        contract.check_audit(offline.json()[0], stock=books.stock[sale])
    assert check_everything(server, books) == total
    audit = server.audit(BIG)
    assert audit["orders"].get("refused", 0) == 0, "the store's guard never has to stop an order"
    with capsys.disabled():
        print(f"crash test: {len(books.promised)} orders were promised, {total} exist, "
              f"after {number} kills, {counted} of them with requests in flight", flush=True)
