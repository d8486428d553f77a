"""One shop of many processes: what happens on one node is in force on the others."""

import concurrent.futures
import itertools
import json
import random

import pytest

from harness import contract, orders
from harness.cluster import Cluster, Engines
from harness.events import EventStream
from harness.services import require
from harness.settings import scaled
from harness.swarm import run_all
from harness.waiting import eventually

ENGINES = ("order_log", "order_store", "inventory")


def sells_until_sold_out(cluster, sale: str, units: int) -> None:
    """By turns on the nodes: each unit once, then a no on both."""
    for number, node in zip(range(units), itertools.cycle(cluster.nodes)):
        node.bought(sale, f"{sale}-after-{number}")
    for node in cluster.nodes:
        contract.expect(node.buy(sale, f"{sale}-too-late"), 409, "sold_out")


def bought_soon(node, sale: str, user: str) -> dict:
    """A purchase on a node that may not have attached itself to the sale yet: 503 until it has."""
    def look():
        answer = node.buy(sale, user, key=user)
        return None if answer.status == 503 else contract.expect(answer, 202)
    return eventually(look, f"{sale} sells on {node.folder.name}")


def test_a_sale_made_on_one_node_sells_on_the_other(cluster):
    first, second = cluster.nodes
    for _ in range(10):
        sale = first.create_sale(2)
        bought_soon(second, sale, "ann")
        bought_soon(first, sale, "bob")
        for node in cluster.nodes:
            contract.expect(node.buy(sale, "eve"), 409, "sold_out")
    assert {one["id"] for one in second.list_all("/v1/sales")} \
        == {one["id"] for one in first.list_all("/v1/sales")}


def test_a_limit_holds_across_the_nodes(cluster):
    first, second = cluster.nodes
    sale = cluster.create_sale(100, per_user_limit=2)
    ann = first.bought(sale, "ann", quantity=2)
    problem = contract.expect(second.buy(sale, "ann"), 409, "limit_reached")
    assert problem["order_id"] == ann["order_id"], problem


def test_what_an_operator_does_on_one_node_takes_effect_on_the_other(cluster):
    first, second = cluster.nodes
    sale = cluster.create_sale(3)

    first.set_state(sale, "paused")
    eventually(lambda: second.buy(sale, "early").code == "paused", "paused on the other node")
    second.set_state(sale, "open")
    eventually(lambda: first.buy(sale, "ann").status == 202, "open again on the first node")

    second.restock(sale, 2)
    cluster.everywhere(lambda node: node.sale(sale)["remaining"] == 4, "four remain")
    first.restock(sale, -1)
    cluster.everywhere(lambda node: node.sale(sale)["remaining"] == 3, "three remain")
    contract.expect(second.admin("POST", f"/v1/sales/{sale}/stock", {"add": -4}), 409,
                    "below_sold")
    sells_until_sold_out(cluster, sale, 3)

    second.restock(sale, 1)
    eventually(lambda: first.buy(sale, "late").status == 202, "a unit more on the first node")
    second.close_sale(sale)
    eventually(lambda: first.buy(sale, "later").code == "closed", "closed on the first node")
    assert cluster.audits(sale)["stock"] == 5


def test_a_key_is_replayed_on_every_node_and_in_every_state_of_the_sale(cluster):
    first, second = cluster.nodes
    sale = cluster.create_sale(1)
    order = first.bought(sale, "ann", key="once")
    for _ in range(2):  # sold out, then closed
        for node in cluster.nodes:
            answer = node.buy(sale, "ann", key="once")
            assert contract.expect(answer, 202) == order
            assert answer.header("idempotency-replayed") == "true", answer
            contract.expect(node.buy(sale, "ann", 2, "once"), 422, "idempotency_mismatch")
        second.close_sale(sale)
    assert cluster.audits(sale)["sold"] == 1


def test_one_key_from_all_sides_at_once_is_one_order(cluster):
    sale = cluster.create_sale(50, per_user_limit=10)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for number in range(scaled(10, 3)):
            def buy(node, number=number):
                return node.bought(sale, "ann", key=f"key-{number}")
            found = list(pool.map(buy, cluster.nodes * 4))
            assert all(order == found[0] for order in found), found
    assert cluster.audits(sale)["sold"] == scaled(10, 3)


def test_an_order_can_be_read_on_the_other_node_right_after_the_yes(cluster):
    first, second = cluster.nodes
    count = scaled(300, 50)
    sale = cluster.create_sale(2 * count)
    for node, other in ((first, second), (second, first)):
        with node.connect() as buying, other.connect() as reading:
            for number in range(count):
                user = f"{sale}-{other.port}-{number}"
                buying.send(node.purchase_bytes(sale, user))
                order = contract.expect(buying.read_response(), 202)
                reading.send(other.order_bytes(order["order_id"], user))
                shown = contract.expect(reading.read_response(), 200)
                for name in ("order_id", "sale_id", "user_id", "quantity", "created_at"):
                    assert shown[name] == order[name], (shown, order)
                assert shown["status"] in ("queued", "confirmed"), shown
    contract.expect(second.order(order["order_id"], "somebody else"), 404, "not_found")


def test_an_order_bought_here_is_paid_and_cancelled_there(cluster):
    first, second = cluster.nodes
    sale = cluster.create_sale(2, payment_timeout_s=600)
    ann, bob = (node.bought(sale, user)["order_id"]
                for node, user in zip(cluster.nodes, ("ann", "bob")))
    paid = orders.paid(second, ann, "ref-1")
    assert orders.paid(first, ann, "ref-1") == paid
    contract.expect(first.buy(sale, "eve"), 409, "sold_out")

    orders.cancelled(first, bob, "bob")
    orders.check_refusal(orders.pay(second, bob, "ref-2"), "not_payable", bob, "cancelled")
    for node in cluster.nodes:
        orders.has_remaining(node, sale, 1)
    second.bought(sale, "eve")
    contract.expect(first.buy(sale, "bob"), 409, "sold_out")
    assert cluster.audits(sale)["orders"]["cancelled"] == 1


def test_what_nobody_pays_for_expires_once_and_is_sold_again_on_both(cluster):
    first, second = cluster.nodes
    units = 20
    sale = cluster.create_sale(units, payment_timeout_s=1)
    bought = [(node.bought(sale, f"first-{number}")["order_id"], f"first-{number}")
              for number, node in zip(range(units), itertools.cycle(cluster.nodes))]
    for order, user in bought:
        cluster.order_everywhere(order, user, "expired")
    for node in cluster.nodes:
        orders.has_remaining(node, sale, units)
    for number, node in zip(range(units), itertools.cycle(cluster.nodes)):
        orders.paid(node, node.bought(sale, f"second-{number}")["order_id"], f"ref-{number}")
    for node in cluster.nodes:
        contract.expect(node.buy(sale, "eve"), 409, "sold_out")
    audit = cluster.audits(sale)
    assert (audit["orders"]["expired"], audit["orders"]["paid"]) == (units, units), audit


def test_lowering_on_one_node_under_load_of_both_takes_no_promised_unit(cluster):
    first, second = cluster.nodes
    units = scaled(400, 100)
    sale = cluster.create_sale(units)
    accepted = []

    def load(node):
        def on_answer(user, status, _head, body):
            if status == 202:
                accepted.append(json.loads(body)["order_id"])
            else:
                assert json.loads(body)["code"] in ("sold_out", "overloaded", "unavailable"), body
        users = (f"{sale}-{node.port}-{number}" for number in range(units))
        run_all(node, ((user, node.purchase_bytes(sale, user)) for user in users), on_answer, 8)

    lowered = 0
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        loads = [pool.submit(load, node) for node in cluster.nodes]
        for node in itertools.islice(itertools.cycle((second, first)), 8):
            answer = node.admin("POST", f"/v1/sales/{sale}/stock", {"add": -10})
            if answer.status == 200:
                lowered += 10
            else:
                contract.expect(answer, 409, "below_sold")
        for one in loads:
            one.result()
    audit = cluster.audits(sale)
    assert audit["stock"] == units - lowered and audit["sold"] == len(accepted), audit
    assert len(set(accepted)) == len(accepted) <= units - lowered


def test_the_list_of_orders_and_the_export_are_the_same_on_every_node(cluster):
    sale = cluster.create_sale(60, payment_timeout_s=600)
    bought = [node.bought(sale, f"user-{number}")["order_id"]
              for number, node in zip(range(60), itertools.cycle(cluster.nodes))]
    orders.paid(cluster.nodes[1], bought[0], "ref")
    cluster.audits(sale)
    lists = [node.list_all(f"/v1/sales/{sale}/orders", limit=25) for node in cluster.nodes]
    assert lists[0] == lists[1]
    assert sorted(order["order_id"] for order in lists[0]) == sorted(bought)
    paid = cluster.nodes[0].list_all(f"/v1/sales/{sale}/orders", status="paid")
    assert [order["order_id"] for order in paid] == bought[:1]
    exports = [node.cli("export", "orders", "--sale", sale, "--format", "csv",
                        json_output=False).stdout for node in cluster.nodes]
    assert exports[0] == exports[1] and len(exports[0].splitlines()) == 61


def test_the_books_can_be_read_without_any_process(cluster):
    sale = cluster.create_sale(10, payment_timeout_s=600)
    for number, node in zip(range(4), itertools.cycle(cluster.nodes)):
        node.bought(sale, f"user-{number}")
    audit = cluster.audits(sale)
    offline = cluster.offline_audit(sale)
    assert offline["inventory_remaining"] is None, offline
    for name in ("stock", "sold", "remaining", "orders", "log_accepted_units"):
        assert offline[name] == audit[name], (name, offline, audit)


def test_events_of_an_order_come_from_any_node(cluster):
    first, second = cluster.nodes
    sale = cluster.create_sale(1, payment_timeout_s=600)
    order = first.bought(sale, "ann")["order_id"]
    with EventStream(second, order, "ann") as stream:
        first.confirmed(order, "ann")
        orders.paid(first, order, "ref")
        assert stream.rest()[-1] == "paid"


@pytest.mark.parametrize("seed", [1])
def test_processes_start_in_any_order_before_their_engines(tmp_path, services, seed):
    """Each process is started while every engine is away; it says what it waits for, and is ready
    by itself when they have come, whatever the order."""
    names = ["postgresql", "redis", "kafka"]
    servers = {name: require(name, services) for name in names}
    engines = Engines(servers["postgresql"], servers["redis"], servers["kafka"])
    dice = random.Random(seed)
    with Cluster(tmp_path, engines, start=False) as cluster:
        for service in servers.values():
            service.kill()
        order = dice.sample(cluster.processes, 4)
        for process in order[:3]:
            process.spawn()
        for process in order[:3]:
            process.says("waiting:")
        comes_back = dice.sample(names, 3)
        for name in comes_back[:2]:
            servers[name].start()
        order[3].spawn()  # one comes late, before the last engine
        for node in cluster.nodes:
            answer = node.readiness()
            assert answer is None or answer.status == 503, answer
        servers[comes_back[2]].start()
        for process in cluster.processes:
            process.wait_ready()
        sale = cluster.create_sale(6)
        sells_until_sold_out(cluster, sale, 6)
        assert cluster.audits(sale)["sold"] == 6


def test_readyz_names_every_backend(cluster):
    for node in cluster.nodes:
        shown = node.backends()
        assert set(shown) >= set(ENGINES), shown
        assert {shown[name] for name in ENGINES} == {"up"}, shown


def test_a_clean_stop_of_one_node_in_the_middle_loses_nothing(cluster):
    first, second = cluster.nodes
    sale = cluster.create_sale(100)
    for number in range(20):
        first.bought(sale, f"first-{number}")
    first.stop()
    for number in range(20):
        second.bought(sale, f"second-{number}")
    first.start()
    sells_until_sold_out(cluster, sale, 60)
    assert cluster.audits(sale)["sold"] == 100
