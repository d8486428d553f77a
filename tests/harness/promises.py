"""What the clients of a server that is killed again and again were promised, and what they check.

A rush keeps many connections busy until the kill; its clients' books say what every buyer was
told. After each start the books are held against what the server says.
"""

import itertools
import json
import random
import threading

from . import contract
from .server import run_command
from .settings import LOAD_S
from .swarm import Swarm, run_all


class Purchase:
    """One request: what was asked, and what it was promised (None: unknown or refused)."""

    __slots__ = ("sale", "user", "quantity", "key", "order")

    def __init__(self, sale, user, quantity, key):
        self.sale = sale
        self.user = user
        self.quantity = quantity
        self.key = key
        self.order = None

    def bytes_for(self, server) -> bytes:
        return server.purchase_bytes(self.sale, self.user, self.quantity, self.key)


class Books:
    """What the clients know of their purchases."""

    def __init__(self):
        self.promised = {}  # order id -> Purchase
        self.keyed = []  # purchases with a key whose outcome is known to be a yes
        self.in_doubt = []  # keyed purchases that were in flight at the last kill

    def promise(self, purchase: Purchase, order: dict, replay: bool) -> bool:
        """Notes a 202; whether it was news."""
        assert order["sale_id"] == purchase.sale and order["user_id"] == purchase.user, order
        assert order["quantity"] == purchase.quantity, order
        if purchase.key is None:
            assert not replay, "a replay without a key"
            assert order["order_id"] not in self.promised, f"given out twice: {order}"
        elif purchase.order is not None:
            assert order == purchase.order, f"one key, two answers: {order} {purchase.order}"
            return False
        purchase.order = order
        known = self.promised.setdefault(order["order_id"], purchase)
        assert known is purchase, f"given out to two buyers: {order}"
        if purchase.key is not None:
            self.keyed.append(purchase)
        return True

    def check_promise(self, order: dict) -> None:
        """The order, as it is shown or exported, is what its buyer was promised."""
        promise = self.promised[order["order_id"]].order
        for name in ("order_id", "sale_id", "user_id", "quantity", "created_at"):
            assert order[name] == promise[name], (order, promise)


class Kill:
    """Kills the server once, at a moment of the dice's choice.

    "behind an answer": right behind the nth of the answers that count. "by the clock": a random
    time after that one. "burst": at the first byte of the answers to requests that were sent all
    at once, so that whatever is answered early has had no time to be written.
    """

    def __init__(self, server, dice: random.Random, answers_max: int = 400):
        self._server = server
        self._dice = dice
        self.moment = dice.choice(("behind an answer", "behind an answer", "by the clock",
                                   "burst", "burst"))
        self.after = dice.randint(1, answers_max)
        self._depth = dice.choice((1, 1, 2, 4, 8))
        self._warm_up = dice.randint(50, 400)
        self._timer = None

    def counted(self, number: int) -> None:
        """The nth answer that counts has come."""
        if number != self.after:
            return
        if self.moment == "behind an answer":
            self._server.process.kill()
        elif self.moment == "by the clock":
            self._timer = threading.Timer(self._dice.uniform(0.0, 0.15),
                                          self._server.process.kill)
            self._timer.start()

    def rush(self, requests, on_answer, connections: int) -> list:
        """Sends requests without end until the process is gone; the tags of those that were in
        flight then."""
        with Swarm(self._server.port, connections, self._depth) as swarm:
            if self.moment == "burst":
                swarm.run(itertools.islice(requests, self._warm_up), on_answer, LOAD_S)
                swarm.burst(requests, self._server.process.kill)
                swarm.run((), on_answer, LOAD_S)
            else:
                swarm.run(requests, on_answer, LOAD_S)
            in_flight = list(swarm.unanswered)
        if self._timer is not None:
            self._timer.join()
        self._server.process.wait()
        return in_flight


def is_replay(head: bytes) -> bool:
    return b"idempotency-replayed: true" in head.lower()


def check_replays(server, purchases) -> None:
    """Every one of these keys answers the same 202 again."""
    def on_answer(purchase, status, head, body):
        assert status == 202, f"promised and refused: {purchase.order}: {status} {body!r}"
        assert json.loads(body) == purchase.order, (body, purchase.order)
        assert is_replay(head), head

    run_all(server, ((purchase, purchase.bytes_for(server)) for purchase in purchases),
            on_answer, connections=8, depth=4)


def settle_doubts(server, books: Books) -> list:
    """Who never heard an answer asks again with the key, twice: one order, or a no. Returns the
    purchases that were accepted."""
    accepted = []
    for purchase in dict.fromkeys(books.in_doubt):
        responses = [server.buy(purchase.sale, purchase.user, purchase.quantity, purchase.key)
                     for _ in range(2)]
        if responses[0].status == 202:
            if books.promise(purchase, responses[0].json(),
                             responses[0].header("idempotency-replayed") == "true"):
                accepted.append(purchase)
            assert contract.expect(responses[1], 202) == purchase.order
        else:
            contract.expect(responses[0], 409, "sold_out")
    books.in_doubt = []
    return accepted


def exported(server, sale: str) -> list:
    result = run_command("export", "orders", "--sale", sale, "--format", "ndjson", "--url",
                         server.url, bound_s=LOAD_S)
    assert result.status == 0, result
    return [json.loads(line) for line in result.stdout.splitlines()]
