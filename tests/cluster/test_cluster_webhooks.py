"""Webhooks of a shop of many processes: one node sends, the others take over when it is gone.

Every receiver checks signatures, the order of an order's events, and that a copy is the same.
"""

import collections
import concurrent.futures
import contextlib
import itertools
import time

from harness import orders
from harness.cluster import Cluster, Engines
from harness.services import require
from harness.settings import BOUND_S, scaled
from harness.waiting import eventually
from harness.webhook_receiver import WebhookReceiver


@contextlib.contextmanager
def shop_with_receiver(folder, receiver):
    """Two serve and one write that send to the receiver."""
    engines = Engines(require("postgresql"), require("redis"), require("kafka"))
    extra = f"[webhooks]\nallow_private = true\nendpoints = [{receiver.endpoint()}]\n"
    with Cluster(folder, engines, writes=1, extra=extra) as cluster:
        yield cluster


def paid_on(node, sale: str, user: str) -> set:
    """An order of the user's, paid; the ids of its two events. The node may be in trouble."""
    def bought():
        answer = node.buy(sale, user, key=user)
        return answer.json()["order_id"] if answer.status == 202 else None
    order = eventually(bought, f"{user} buys")
    eventually(lambda: orders.pay(node, order, user).status == 200, f"{user} pays")
    return {f"{order}.1", f"{order}.2"}


def paid_orders(cluster, sale: str, names) -> set:
    """One paid order for each name, by turns on all nodes and many at a time; their events."""
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        work = [pool.submit(paid_on, node, sale, name)
                for name, node in zip(names, itertools.cycle(cluster.nodes))]
        return set().union(*(one.result() for one in work))


def leads(node) -> bool:
    """Does it send the events? By what it said last."""
    log = node.log()
    return log.rfind("this process sends them now") >= log.rfind("another process sends them")


def leader_of(cluster):
    return eventually(lambda: next(iter([node for node in cluster.nodes
                                         if node.alive and leads(node)]), None), "a node leads")


def test_every_event_is_delivered_by_one_node_only(tmp_path, capsys):
    count = scaled(100, 20)
    with WebhookReceiver() as receiver, shop_with_receiver(tmp_path, receiver) as cluster:
        sale = cluster.create_sale(count, payment_timeout_s=600)
        expected = paid_orders(cluster, sale, (f"user-{number}" for number in range(count)))
        paid_at = time.monotonic()
        receiver.wait_for_ids(expected, BOUND_S)
        with capsys.disabled():
            print(f"\nthe last of {len(expected)} events came "
                  f"{max(one.arrival for one in receiver.deliveries()) - paid_at:.2f} s after the "
                  "last payment", flush=True)
        receiver.check()
        ids = [delivery.id for delivery in receiver.deliveries()]
        assert len(ids) == len(set(ids)) == 2 * count, "each event once"

        # Its node goes away without a word: another one goes on, nothing is left out.
        for gone in cluster.nodes:
            gone.kill()
            rest = next(node for node in cluster.nodes if node is not gone)
            rest.restock(sale, 1)
            expected |= paid_on(rest, sale, f"behind-{gone.port}")
            receiver.wait_for_ids(expected, BOUND_S)
            receiver.check()
            gone.start()


def test_the_sending_node_is_killed_half_way(tmp_path):
    """Twice: the node that sends has requests in flight that the receiver has taken and not yet
    answered. Nobody noted them, so the next node sends them again, under the same ids."""
    count = scaled(100, 30)
    with WebhookReceiver() as receiver, shop_with_receiver(tmp_path, receiver) as cluster:
        sale = cluster.create_sale(count, payment_timeout_s=600)
        receiver.behave(delay_s=1)  # slower than orders come: 16 requests are in flight
        expected = paid_orders(cluster, sale, (f"user-{number}" for number in range(count)))
        for _ in range(2):
            seen = len(receiver.accepted())
            receiver.wait_for(lambda seen=seen: len(receiver.accepted()) >= seen + 10, "events")
            victim = leader_of(cluster)
            in_flight = kill_with_requests_in_flight(victim, receiver)
            assert len(receiver.accepted_ids()) < len(expected), "it was done before the kill"
            other = next(node for node in cluster.nodes if node is not victim)
            other.says("this process sends them now")
            receiver.wait_for(lambda ids=in_flight: all_came_twice(receiver, ids),
                              "what nobody noted comes again")
            victim.start()
            victim.says("another process sends them")
        receiver.behave()
        receiver.wait_for_ids(expected, BOUND_S)
        receiver.check()
        assert receiver.accepted_ids() == expected, "events of nobody's order"
        for order in {one.rpartition(".")[0] for one in expected}:
            assert receiver.types_of(order) == ["order.confirmed", "order.paid"], order
        assert cluster.audits(sale)["orders"]["paid"] == count


def kill_with_requests_in_flight(node, receiver) -> set:
    """SIGKILL while requests wait for their answers; their ids."""
    def waiting():
        return {one.id for one in receiver.deliveries() if not one.answered}
    eventually(waiting, "requests are in flight")
    node.pause()  # takes no answer any more
    found = waiting()
    node.kill()
    assert found, "all were answered meanwhile"
    return found


def all_came_twice(receiver, ids: set) -> bool:
    times = collections.Counter(one.id for one in receiver.deliveries())
    return all(times[one] >= 2 for one in ids)
