"""Units that are not paid for in time are sold again and again, until every one of them is paid.

Five buyers for each unit, who try until the sale is sold out for good; of those who get a unit,
half do not pay, and some who pay come late. Audits are asked for all the while.
"""

import collections
import heapq
import json
import random
import time

from harness import contract, orders
from harness.orders import CLOCK_STEP
from harness.settings import LOAD_S, scaled
from harness.swarm import run_all
from harness.waiting import eventually

STOCK = scaled(1_000)
BUYERS = scaled(5_000)
WANTING_MAX = 1_500  # a pass
TIMEOUT_S = 2
SEED = 20_261


class Buyer:
    """`order` is the last one that was accepted; a buyer without one wants one."""

    __slots__ = ("name", "order", "ref", "accepted_at", "ends_at")

    def __init__(self, name: str):
        self.name = name
        self.order = None
        self.ref = None
        self.accepted_at = None
        self.ends_at = None  # by this time of the clock its order has ended, unless it is paid


class Rush:
    """All buyers against one sale, in passes: everyone who has something to say says it once."""

    def __init__(self, server, sale: str):
        self.server = server
        self.sale = sale
        self.dice = random.Random(SEED)
        self.buyers = [Buyer(f"buyer-{number}") for number in range(BUYERS)]
        self.wanting = list(self.buyers)
        self.due = []  # heap of (time, number, action, buyer)
        self.paid = {}  # order id -> buyer
        self.late = set()  # orders whose payment was refused
        self.spans = []  # (accepted at, surely alive until, order id), by the clients' clock
        self.audits = []
        self.codes = collections.Counter()
        self._number = 0

    def later(self, moment: float, action: str, buyer: Buyer) -> None:
        self._number += 1
        heapq.heappush(self.due, (moment, self._number, action, buyer))

    def one_pass(self) -> None:
        now = time.time()
        payments, requests = [], []
        while self.due and self.due[0][0] <= now:
            _, _, action, buyer = heapq.heappop(self.due)
            if action == "want":
                self.wanting.append(buyer)
            else:
                payments.append((("pay", buyer),
                                 orders.pay_bytes(self.server, buyer.order, buyer.ref)))
        # A part of them each time: what is due behind a pass that took seconds would be too late.
        wanting, self.wanting = self.wanting[:WANTING_MAX], self.wanting[WANTING_MAX:]
        requests += [(("buy", buyer), self.server.purchase_bytes(self.sale, buyer.name))
                     for buyer in wanting]
        requests += [(("audit", None), orders.audit_bytes(self.server, self.sale))
                     for _ in range(self.dice.randint(1, 4))]
        self.dice.shuffle(requests)
        run_all(self.server, payments + requests, self._on_answer, connections=32)

    def _on_answer(self, tag, status, _head, body):
        action, buyer = tag
        answer = json.loads(body)
        if action == "audit":
            assert status == 200, (status, body)
            self.audits.append(contract.check_audit(answer, stock=STOCK))
        elif action == "buy":
            self._on_purchase(buyer, status, answer)
        else:
            self._on_payment(buyer, status, answer)

    def _on_purchase(self, buyer, status, answer):
        if status != 202:
            assert answer["code"] in ("sold_out", "limit_reached"), answer
            self.codes[answer["code"]] += 1
            # Whoever still has an order here let it end: the limit frees up behind it.
            assert answer["code"] == "sold_out" or answer["order_id"] == buyer.order, answer
            self.wanting.append(buyer)
            return
        now = time.time()
        self.codes["accepted"] += 1
        assert answer["order_id"] != buyer.order, "an order is given out once"
        buyer.order, buyer.accepted_at = answer["order_id"], now
        # Stored after it was created, it lives for the timeout at least.
        alive_until = contract.time_of(answer["created_at"]).timestamp() + TIMEOUT_S
        self.spans.append((now, alive_until - CLOCK_STEP.total_seconds(), buyer.order))
        if self.dice.random() < 0.5:
            buyer.ref = f"payment of {buyer.order}"
            pays_after = self.dice.uniform(0.0, 1.0)
            if self.dice.random() < 0.1:
                pays_after = self.dice.uniform(1.8, 2.2)  # about when it expires
            self.later(now + pays_after, "pay", buyer)
        else:
            self.later(now + TIMEOUT_S, "want", buyer)

    def _on_payment(self, buyer, status, answer):
        if status == 200:
            orders.check_order(answer, TIMEOUT_S)
            assert answer["order_id"] == buyer.order and answer["payment_ref"] == buyer.ref
            self.paid[buyer.order] = buyer
        elif status == 503:
            self.codes["pay again"] += 1
            self.later(time.time(), "pay", buyer)
        else:
            assert status == 409 and answer["code"] == "not_payable", (status, answer)
            assert answer["order_id"] == buyer.order and answer["order_status"] == "expired"
            self.late.add(buyer.order)
            self.wanting.append(buyer)

    def check_never_oversold(self) -> None:
        """Counts the orders that were surely alive at one time, by what the clients were told."""
        events = []
        for accepted, until, order in self.spans:
            events.append((accepted, 1))
            if order not in self.paid and until > accepted:
                events.append((until, -1))
            elif order not in self.paid:
                events.pop()
        alive = most = 0
        for _, change in sorted(events):
            alive += change
            most = max(most, alive)
        assert most <= STOCK, f"{most} orders were alive at once"


def test_unpaid_units_are_sold_again_until_all_are_paid(make_server):
    server = make_server()
    sale = server.create_sale(STOCK, payment_timeout_s=TIMEOUT_S)
    rush = Rush(server, sale)
    deadline = time.monotonic() + LOAD_S
    while len(rush.paid) < STOCK:
        assert time.monotonic() < deadline, \
            f"{len(rush.paid)} of {STOCK} paid; {rush.codes}; {server.audit(sale)}"
        rush.one_pass()
        if not rush.wanting:
            time.sleep(0.01)  # poll: nobody has anything to say yet
    rush.check_never_oversold()
    assert max(audit["sold"] for audit in rush.audits) <= STOCK
    assert len(rush.audits) > 10, "audits were asked for all the while"

    orders.has_remaining(server, sale, 0)
    contract.expect(server.buy(sale, "much-too-late"), 409, "sold_out")
    listed = server.list_all(f"/v1/sales/{sale}/orders")
    by_status = collections.Counter(order["status"] for order in listed)
    assert set(by_status) == {"paid", "expired"} and by_status["paid"] == STOCK, by_status
    assert len(listed) == rush.codes["accepted"], "every order was promised to someone"
    for order in listed:
        orders.check_order(order, TIMEOUT_S)
        assert order["quantity"] == 1
        assert (order["status"] == "paid") is (order["order_id"] in rush.paid), order
        if order["status"] == "paid":
            buyer = rush.paid[order["order_id"]]
            assert (order["user_id"], order["payment_ref"]) == (buyer.name, buyer.ref), order
    assert len({order["user_id"] for order in listed if order["status"] == "paid"}) == STOCK
    assert rush.late <= {order["order_id"] for order in listed if order["status"] == "expired"}
    audit = contract.check_audit(server.audit(sale), stock=STOCK, sold=STOCK,
                                 inventory_remaining=0, log_accepted_units=len(listed))
    assert audit["orders"] == {**audit["orders"], **by_status}, audit


def test_everything_that_nobody_pays_for_comes_back_together(server):
    """One wave after another: all units are sold, all expire, and all are for sale again."""
    sale = server.create_sale(STOCK, payment_timeout_s=1)
    for wave in range(3):
        accepted = collections.Counter()

        def sold_out(wave=wave, accepted=accepted):
            names = [f"wave-{wave}-{sum(accepted.values())}-{number}" for number in range(STOCK)]

            def on_answer(_tag, status, _head, _body):
                accepted[status] += 1

            run_all(server, ((None, server.purchase_bytes(sale, name)) for name in names),
                    on_answer, connections=32, depth=2)
            return accepted[202] >= STOCK

        eventually(sold_out, f"all units of wave {wave} are sold")
        assert set(accepted) <= {202, 409}, accepted
        contract.check_audit(server.audit(sale), stock=STOCK)
        orders.has_remaining(server, sale, STOCK)
    audit = contract.check_audit(server.audit(sale), sold=0, inventory_remaining=STOCK)
    assert audit["orders"]["expired"] == audit["log_accepted_units"] >= 3 * STOCK, audit
