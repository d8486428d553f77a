"""SIGKILL at random moments while orders live: bought, paid, cancelled, expired, and told about.

Two sales with short payment timeouts, one that always has units and one whose few units go round
and round. Buyers purchase, pay and cancel, operators add to the stock and take from it, a receiver
of webhooks listens and misbehaves; in the middle of it the process is killed and started again.

What must hold, whatever the moment: a 202 is there; a change that was answered stays; a status
that was once shown as the last one stays; who heard no answer finds it either done or not; the
books balance; stock that was answered is in effect. At the end every change of every order has
arrived as an event, the same event each time, in the order of its order's versions.

DOORBUSTER_CRASH_SEED repeats a run's choices, DOORBUSTER_CRASH_LIFE_ROUNDS changes their number.
"""

import collections
import json
import os
import random
import time

from harness import contract, orders
from harness.promises import (Books, Kill, Purchase, check_replays, exported, is_replay,
                              settle_doubts)
from harness.server import run_command
from harness.settings import LOAD_S, scaled
from harness.swarm import run_all
from harness.waiting import eventually
from harness.webhook_receiver import Answer, WebhookReceiver
from harness.wire import build_request

ROUNDS = int(os.environ.get("DOORBUSTER_CRASH_LIFE_ROUNDS", scaled(110, 20)))
SEED = int(os.environ.get("DOORBUSTER_CRASH_SEED", time.time_ns() % 1_000_000))
CONNECTIONS = 32
LIMIT = 3
BIG, SMALL = "life-big", "life-small"  # never sold out; sold out again and again
STOCK = {BIG: 5_000, SMALL: 20}
TIMEOUT_S = {BIG: 2, SMALL: 1}
FULL_CHECK_EVERY = 10
REFUSALS = {"sold_out", "limit_reached", "overloaded", "unavailable"}


class Life:
    """What the clients know of one order: what they asked of it, and what they were told."""

    __slots__ = ("id", "purchase", "refs", "cancel_asked", "status", "shown", "version")

    def __init__(self, purchase: Purchase):
        self.id = purchase.order["order_id"]
        self.purchase = purchase
        self.refs = set()  # of the payments that were sent, answered or not
        self.cancel_asked = False
        self.status = None  # the status it ended with, once anyone was told
        self.shown = None  # the whole order in that status
        self.version = 0

    def ended(self, status: str) -> None:
        assert status in ("paid", "cancelled", "expired"), f"{self.id} is {status}"
        assert self.status in (None, status), f"{self.id} was {self.status} and is {status}"
        assert status != "paid" or self.refs, f"{self.id} is paid, and nobody paid"
        assert status != "cancelled" or self.cancel_asked, f"nobody cancelled {self.id}"
        self.status = status

    def see(self, order: dict, known: tuple, complete: bool = True) -> None:
        """The order as the server shows it, or as it is exported (then without its version).

        `known` is what was told() when it was asked for: answers may overtake each other.
        """
        version, status = known
        if complete:
            orders.check_order(order, TIMEOUT_S[self.purchase.sale])
            assert order["version"] >= version, f"{order} after version {version}"
            self.version = max(self.version, order["version"])
        if order["status"] not in orders.ENDED:
            assert status is None, f"{self.id} was {status}: {order}"
            return
        self.ended(order["status"])
        if order["status"] == "paid":
            assert order["payment_ref"] in self.refs, f"{order}, paid with {self.refs}"
        if self.shown is None:
            self.shown = order if complete else None
        else:
            for name in order:
                assert order[name] == self.shown[name], f"{order} was {self.shown}"

    def told(self) -> tuple:
        return self.version, self.status


class Stock:
    """A sale's stock as its operators know it, who change it one after the other."""

    def __init__(self, units: int):
        self.possible = {units}  # without the change that is pending
        self.pending = None  # (sale, add, key): asked, with no answer that says what became of it
        self.in_flight = False
        self.last_done = None  # the last change with a key that was answered

    def next_change(self, change: tuple) -> tuple:
        """What is asked next: what is still pending, if it has a key, else `change`."""
        if self.pending is not None and self.pending[2] is None:
            self.possible |= self._afterwards()
            self.pending = None
        if self.pending is None:
            self.pending = change
        self.in_flight = True
        return self.pending

    def answered(self, status: int, answer: dict) -> None:
        self.in_flight = False
        if status == 200:
            assert answer["stock"] in self._afterwards(), \
                f"{answer} after {self.pending} must have a stock of {self._afterwards()}"
            self.possible = {answer["stock"]}
            self.last_done = self.pending if self.pending[2] is not None else self.last_done
        elif status == 409:
            assert answer["code"] == "below_sold" and self.pending[1] < 0, (self.pending, answer)
        else:
            assert status == 503, (self.pending, status, answer)
            return
        self.pending = None

    def after_start(self, server, sale: str) -> None:
        """Finds out what became of the change that was in flight at the kill. With its key it is
        asked again, and so is one that was answered: they count once."""
        self.in_flight = False
        shown = server.sale(sale)["stock"]
        if self.pending is None:
            assert shown in self.possible, f"{sale}: {shown} must be one of {self.possible}"
            self.possible = {shown}
        else:
            assert shown in self.possible | self._afterwards(), \
                f"{sale}: {shown} must be one of {self.possible}, or so after {self.pending}"
            if self.pending[2] is None or shown in self.possible:
                self.possible = {shown}
            if self.pending[2] is None:
                self.pending = None
            else:
                response = self._ask(server, self.pending)
                self.answered(response.status, response.json())
                assert self.pending is None, f"nobody else is there: {response}"
        if self.last_done is not None:
            again = contract.expect(self._ask(server, self.last_done), 200)["stock"]
            assert {again} == self.possible, f"{self.last_done} counts once: {self.possible}"

    @staticmethod
    def _ask(server, change: tuple):
        sale, add, key = change
        return server.admin("POST", f"/v1/sales/{sale}/stock", {"add": add},
                            {"Idempotency-Key": key})

    def _afterwards(self) -> set:
        return {units + self.pending[1] for units in self.possible}


class Clients:
    """Everyone who talks to the server: buyers, the shop's cashier, operators, an auditor."""

    def __init__(self, server, dice: random.Random):
        self.server = server
        self.dice = dice
        self.books = Books()
        self.lives = {}  # order id -> Life
        self.open = []  # lives whose end nobody has been told of
        self.closed = []
        self.stock = {sale: Stock(units) for sale, units in STOCK.items()}
        self.answers = collections.Counter()
        self.in_doubt = []  # payments and cancellations in flight at the last kill
        self.kill = None
        self.counts = None  # the kind of answer that the kill waits for
        self.counted = 0
        self._number = 0

    # -- what is asked --------------------------------------------------------------------

    def requests(self, number: int):
        """Requests without end, as (tag, bytes)."""
        dice = self.dice
        crowd = [f"r{number}-crowd-{i}" for i in range(40)]
        while True:
            kind = dice.random()
            if kind < 0.50 or not self.lives:
                yield from self._purchases(number, crowd)
            elif kind < 0.90:
                life = self._some_life()
                yield self._change(life, *self._some_change(life))
            elif kind < 0.94:
                yield self._look(self._some_life())
            elif kind < 0.96:
                sale = dice.choice((BIG, SMALL))
                yield (("audit", sale), orders.audit_bytes(self.server, sale))
            else:
                yield from self._stock_changes()

    def _purchases(self, number: int, crowd: list):
        dice = self.dice
        self._number += 1
        sale = SMALL if dice.random() < 0.25 else BIG
        kind = dice.random()
        if kind < 0.45:  # one buyer, one key
            user = f"r{number}-keyed-{self._number}"
            purchase = Purchase(sale, user, dice.randint(1, LIMIT), f"key of {user}")
            for _ in range(dice.choice((1, 1, 1, 1, 2))):  # some press the button twice
                yield (("buy", purchase), purchase.bytes_for(self.server))
            return
        user = f"r{number}-single-{self._number}" if kind < 0.75 else dice.choice(crowd)
        purchase = Purchase(sale, user, dice.randint(1, LIMIT), None)
        yield (("buy", purchase), purchase.bytes_for(self.server))

    def _some_life(self) -> Life:
        """Mostly one of the youngest that may still change."""
        if self.open and self.dice.random() < 0.9:
            return self.open[-1 - int(self.dice.expovariate(1 / 60)) % len(self.open)]
        return self.dice.choice(self.closed or self.open)

    def _some_change(self, life: Life) -> tuple:
        if self.dice.random() < 0.35:
            return "cancel", None
        return "pay", f"{'second' if self.dice.random() < 0.15 else 'first'}-{life.id}"

    def _change(self, life: Life, action: str, ref: str) -> tuple:
        if action == "cancel":
            life.cancel_asked = True
            data = orders.cancel_bytes(self.server, life.id, life.purchase.user)
        else:
            life.refs.add(ref)
            data = orders.pay_bytes(self.server, life.id, ref)
        return ((action, life, ref), data)

    def _look(self, life: Life) -> tuple:
        return (("look", life, life.told()), self.server.order_bytes(life.id, life.purchase.user))

    def _stock_changes(self):
        """One at a time for each sale, so that its outcome is known."""
        sale = self.dice.choice((BIG, SMALL))
        stock = self.stock[sale]
        if stock.in_flight:
            return
        self._number += 1
        add = self.dice.randint(1, 12) * self.dice.choice((1, -1))
        if sale == SMALL and max(stock.possible) > 60:
            add = -abs(add)
        key = f"stock-{self._number}" if self.dice.random() < 0.7 else None
        change = stock.next_change((sale, add, key))
        headers = {} if change[2] is None else {"Idempotency-Key": change[2]}
        yield (("stock", sale),
               build_request("POST", f"/v1/sales/{sale}/stock", self.server.host, headers,
                             b'{"add":%d}' % change[1]))

    # -- what is answered -----------------------------------------------------------------

    def on_answer(self, tag, status, head, body):
        answer = json.loads(body)
        kind = tag[0]
        self.answers[f"{kind} {status} {answer.get('code', '')}".strip()] += 1
        if kind == "buy":
            self._on_purchase(tag[1], status, head, answer)
        elif kind == "look":
            assert status == 200, f"promised and gone: {tag[1].purchase.order}: {answer}"
            self.books.check_promise(answer)
            tag[1].see(answer, tag[2])
        elif kind == "audit":
            assert status in (200, 503), answer
            if status == 200:
                contract.check_audit(answer)
        elif kind == "stock":
            self.stock[tag[1]].answered(status, answer)
        else:
            self._on_change(tag, status, answer)
        if self.kill is not None and f"{kind} {status}" == self.counts:
            self.counted += 1
            self.kill.counted(self.counted)

    def _on_purchase(self, purchase, status, head, answer):
        if status != 202:
            assert answer["code"] in REFUSALS, (purchase.user, answer)
            named = answer.get("order_id")
            if answer["code"] == "limit_reached" and named in self.lives:
                assert self.lives[named].purchase.user == purchase.user, answer
            return
        if self.books.promise(purchase, answer, is_replay(head)):
            self.accepted(purchase)

    def accepted(self, purchase) -> None:
        life = Life(purchase)
        self.lives[life.id] = life
        self.open.append(life)

    def _on_change(self, tag, status, answer):
        action, life, ref = tag
        done = "paid" if action == "pay" else "cancelled"
        if status == 200:
            assert answer["status"] == done, (tag, answer)
            assert action == "cancel" or answer["payment_ref"] == ref, (tag, answer)
            self.books.check_promise(answer)
            life.see(answer, (0, None))
        elif status == 409:
            code = "not_payable" if action == "pay" else "not_cancellable"
            assert answer["code"] == code and answer["order_id"] == life.id, (tag, answer)
            life.ended(answer["order_status"])
            # A refused payment of a paid order was another one's, which was sent, too.
            assert answer["order_status"] != "paid" or action == "cancel" \
                or life.refs - {ref}, (tag, answer)
            assert answer["order_status"] != "cancelled" or action == "pay", (tag, answer)
        else:
            assert status == 503, (tag, status, answer)

    # -- a round --------------------------------------------------------------------------

    def rush_until_killed(self, number: int) -> int:
        """Returns how many requests were in flight at the kill."""
        self.counts = self.dice.choice(("buy 202", "pay 200", "pay 200", "cancel 200",
                                        "cancel 200", "stock 200"))
        answers_max = {"buy": 400, "pay": 150, "cancel": 80, "stock": 8}
        self.kill = Kill(self.server, self.dice, answers_max[self.counts.split()[0]])
        self.counted = 0
        in_flight = self.kill.rush(self.requests(number), self.on_answer, CONNECTIONS)
        self.kill = None
        self.books.in_doubt = [tag[1] for tag in in_flight
                               if tag[0] == "buy" and tag[1].key is not None]
        self.in_doubt = [tag for tag in in_flight if tag[0] in ("pay", "cancel")]
        return len(in_flight)

    def check_after_start(self) -> None:
        for sale, stock in self.stock.items():
            stock.after_start(self.server, sale)
        for purchase in settle_doubts(self.server, self.books):
            self.accepted(purchase)
        # Who heard nothing asks, or says it again: half of them each.
        again = [tag for tag in self.in_doubt if self.dice.random() < 0.5]
        self._ask(self._change(*life_first(tag)) for tag in again)
        sample = self.closed if len(self.closed) < 50 else self.dice.sample(self.closed, 50)
        self._ask(self._look(life) for life in self.open + sample)
        self.sort_out()
        for sale, stock in self.stock.items():
            units, = stock.possible
            contract.check_audit(self.server.audit(sale), stock=units)

    def _ask(self, requests) -> None:
        run_all(self.server, requests, self.on_answer, connections=8, depth=4)

    def sort_out(self) -> None:
        self.closed += [life for life in self.open if life.status is not None]
        self.open = [life for life in self.open if life.status is None]

    # -- all of it ------------------------------------------------------------------------

    def check_everything(self) -> dict:
        """When nothing changes any more: the books of all clients against the server's."""
        for sale in STOCK:
            eventually(lambda sale=sale: self._is_quiet(sale), f"all orders of {sale} have ended")
        listed = {}
        for sale, stock in self.stock.items():
            live = 0
            per_user = collections.Counter()
            for order in exported(self.server, sale):
                assert order["order_id"] not in listed, f"there twice: {order}"
                listed[order["order_id"]] = order
                self._check_listed(order)
                if order["status"] in orders.LIVE:
                    live += order["quantity"]
                    per_user[order["user_id"]] += order["quantity"]
            units, = stock.possible
            assert live <= units, f"{sale} is oversold: {live} > {units}"
            assert max(per_user.values(), default=0) <= LIMIT, per_user.most_common(3)
            contract.check_audit(self.server.audit(sale), stock=units, sold=live,
                                 inventory_remaining=units - live)
        missing = [life.id for life in self.lives.values() if life.id not in listed]
        assert not missing, f"{len(missing)} promised orders are gone, such as {missing[:3]}"
        self.sort_out()
        assert not self.open
        return listed

    def _is_quiet(self, sale: str) -> bool:
        counts = contract.check_audit(self.server.audit(sale))["orders"]
        return counts.get("queued", 0) == 0 and counts.get("confirmed", 0) == 0

    def _check_listed(self, order: dict) -> None:
        life = self.lives.get(order["order_id"])
        if life is None:  # its buyer was never answered and had no key: nobody paid for it
            assert order["status"] == "expired", order
            return
        self.books.check_promise(order)
        life.see(order, life.told(), complete=False)
        assert life.status is not None, order


def life_first(tag) -> tuple:
    action, life, ref = tag
    return life, action, ref


def misbehave(receiver: WebhookReceiver, dice: random.Random) -> None:
    """What the receiver does in the next round; mostly it listens."""
    receiver.start()
    receiver.behave()
    mood = dice.random()
    if mood < 0.1:
        receiver.stop()
    elif mood < 0.2:
        receiver.behave(status=dice.choice((500, 503, 302)))
    elif mood < 0.5:
        receiver.script(*(dice.choice((Answer(500), Answer(close="unanswered"),
                                       Answer(close="halfway"), Answer(close="after"),
                                       Answer(delay_s=0.05), Answer()))
                          for _ in range(dice.randint(1, 30))))


def check_events(receiver: WebhookReceiver, listed: dict) -> None:
    """Two events of every order, as its status says, and none of anything else."""
    expected = {}
    for order in listed.values():
        expected[f"{order['order_id']}.1"] = "confirmed"
        expected[f"{order['order_id']}.2"] = order["status"]
    receiver.wait_for_ids(expected, LOAD_S)
    receiver.check()
    for delivery in receiver.deliveries():
        status = expected.get(delivery.id)
        assert delivery.type == f"order.{status}", f"{delivery.id} is {delivery.type}, not {status}"
        told = orders.check_order(delivery.event["data"])
        order = listed[delivery.order]
        if status == "confirmed":  # as it was then
            order = {**order, "status": status, "paid_at": None, "payment_ref": None}
        assert told == {**order, "version": delivery.version}, (told, order)


def test_no_change_of_an_order_is_lost_by_kills_at_random_moments(make_server, capsys):
    dice = random.Random(SEED)
    with capsys.disabled():
        print(f"\ncrash test of orders' lives: {ROUNDS} rounds, DOORBUSTER_CRASH_SEED={SEED}",
              flush=True)
    with WebhookReceiver() as receiver:
        server = make_server(config="[webhooks]\nallow_private = true\n"
                                    f"endpoints = [{receiver.endpoint()}]\n")
        clients = Clients(server, dice)
        for sale, units in STOCK.items():
            server.create_sale(units, sale=sale, per_user_limit=LIMIT,
                               payment_timeout_s=TIMEOUT_S[sale])
        kills = run_rounds(server, clients, receiver, dice)
        receiver.start()
        receiver.behave()
        listed = clients.check_everything()
        check_replays(server, dice.sample(clients.books.keyed,
                                          min(2_000, len(clients.books.keyed))))
        check_events(receiver, listed)
        assert clients.check_everything() == listed, "what has ended stays as it is"
        for sale in STOCK:
            offline = run_command("audit", "--data", server.data, "--sale", sale, "--json")
            assert offline.status == 0, offline
            contract.check_audit(offline.json()[0])
        by_status = collections.Counter(order["status"] for order in listed.values())
        assert min(by_status[status] for status in ("paid", "cancelled", "expired")) > 0
        with capsys.disabled():
            print(f"crash test of orders' lives: {kills} kills; {len(clients.lives)} orders were "
                  f"promised, {len(listed)} exist: {dict(by_status)}; "
                  f"{len(receiver.deliveries())} deliveries of {2 * len(listed)} events; "
                  f"answers: {dict(sorted(clients.answers.items()))}", flush=True)


def run_rounds(server, clients: Clients, receiver: WebhookReceiver, dice: random.Random) -> int:
    """Returns the number of kills."""
    counted = number = 0
    while counted < ROUNDS:
        # A kill that every request had outrun shows nothing: it is checked and not counted.
        assert number < 4 * ROUNDS, f"only {counted} of {number} kills met requests in flight"
        number += 1
        misbehave(receiver, dice)
        counted += clients.rush_until_killed(number) > 0
        if dice.random() < 0.15:
            time.sleep(dice.uniform(0.0, 1.5))  # random: what comes due while nobody runs
        if dice.random() < 0.25:
            server.spawn()
            time.sleep(dice.uniform(0.0, 0.3))  # random: the moment of a kill in the recovery
            server.kill()
        server.start()
        clients.check_after_start()
        for sale, least in STOCK.items():
            refill(server, clients.stock[sale], sale, least, f"refill-{number}")
        if number % FULL_CHECK_EVERY == 0:
            clients.check_everything()
    return number


def refill(server, stock: Stock, sale: str, least: int, key: str) -> None:
    """Units that were paid for are gone for good: keeps something for sale."""
    remaining = server.sale(sale)["remaining"]
    if remaining >= least // 2:
        return
    stock.next_change((sale, least, key))
    stock.answered(200, server.restock(sale, least, key))


def test_an_expiry_of_many_that_is_killed_again_and_again_gives_back_each_unit_once(make_server):
    """Orders that come due together; the process is killed each time that it got somewhat on."""
    count, kills = scaled(20_000, 2_000), 5
    server = make_server()
    sale = server.create_sale(count, payment_timeout_s=4)
    kept, paid = {}, {}
    for number in range(10):  # paid for at once: the others take a while on a slow machine
        order = server.bought(sale, f"payer-{number}")["order_id"]
        kept[order], paid[order] = f"payer-{number}", f"of {order}"
        orders.paid(server, order, paid[order])

    def on_answer(user, status, _head, body):
        assert status == 202, (user, body)
        if len(kept) < 50:
            kept[json.loads(body)["order_id"]] = user

    run_all(server, ((user, server.purchase_bytes(sale, user))
                     for user in (f"buyer-{number}" for number in range(count - len(paid)))),
            on_answer, connections=32, depth=4)

    for kill in range(kills):
        def got_on(target=count * kill // kills):
            audit = contract.check_audit(server.audit(sale), stock=count)
            return audit["orders"].get("expired", 0) > target
        eventually(got_on, "the expiry gets on", pause_s=0.001)
        server.kill()
        server.start()
    orders.has_remaining(server, sale, count - len(paid))
    audit = contract.check_audit(server.audit(sale), sold=len(paid), log_accepted_units=count)
    assert audit["orders"] == {**audit["orders"], "paid": len(paid), "confirmed": 0,
                               "expired": count - len(paid)}, audit
    for order, user in kept.items():
        shown = orders.shown_to(server, order, user)
        assert shown["status"] == ("paid" if order in paid else "expired"), shown
        assert shown["payment_ref"] == paid.get(order), shown
