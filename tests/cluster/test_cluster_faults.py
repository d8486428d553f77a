"""Faults of a cluster, each under load: the rows of docs/faults.md that need several processes.

Every test ends with the same questions: does the shop sell again by itself, is every yes in the
store exactly once, has nobody more than one unit, do log, store and inventory agree on every node?

One cluster (2 serve, 2 write) serves most tests. It reaches each engine through a gate.
"""

import contextlib
import json
import os
import pathlib
import random
import subprocess
import threading
import time

import pytest

from harness import contract, orders
from harness.cluster import (SESSION_MS, Cluster, Engines, MovingGate, Rush, lasts,
                             under_load)
from harness.services import require
from harness.settings import scaled
from harness.swarm import run_all
from harness.waiting import eventually

PAST_SESSION_S = SESSION_MS / 1000 + 3  # past every time-out that gives work to somebody else
SLEEP_S = 30.0  # of a process that resumes as if nothing had happened


class Shop:
    """The cluster, its engines, and the gates between them."""

    def __init__(self, folder, services):
        self.services = services
        self._stack = contextlib.ExitStack()
        self.store, self.redis, self.kafka = (
            require(name, services) for name in ("postgresql", "redis", "kafka"))
        gate = self._stack.enter_context
        self.redis_gate = gate(MovingGate(self.redis.node.port))
        self.kafka_gate = gate(self.kafka.gate())
        self.store_gate = gate(self.store.gate())
        engines = Engines(self.store, self.redis, self.kafka,
                          redis_url=f"redis://{self.redis_gate.address}",
                          brokers=self.kafka_gate.address, store_port=self.store_gate.port)
        self.cluster = gate(Cluster(folder, engines))

    def __enter__(self):
        self._stack.__enter__()
        return self

    def __exit__(self, *details):
        return self._stack.__exit__(*details)

    def heal(self) -> None:
        """Whatever a test has left."""
        for gate in (self.redis_gate, self.kafka_gate, self.store_gate):
            gate.heal()
        for engine in (self.store, self.redis, self.kafka):
            engine.refresh()
            if not engine.node.alive:
                engine.start()
        for process in self.cluster.processes:
            if process.alive and process.state == "T":
                process.resume()
            if not process.alive:
                process.spawn()
        for process in self.cluster.processes:
            process.wait_ready()


@pytest.fixture(scope="module")
def whole_shop(tmp_path_factory, services):
    with Shop(tmp_path_factory.mktemp("cluster"), services) as made:
        yield made


@pytest.fixture
def shop(whole_shop):
    whole_shop.heal()
    return whole_shop


def some_answers(rush: Rush, more: int = 20) -> None:
    """Some requests have been answered since, whatever the answer."""
    seen = sum(rush.answers.values())
    rush.let_in(more)
    rush.wait_until(lambda: sum(rush.answers.values()) > seen + more // 2, "answers")


# -- processes of ours: rows 9, 10, 16, 17, 29 ----------------------------------------------------

@pytest.mark.parametrize("kind", ["nodes", "writers"])
def test_kills_of_serve_and_write_at_random_moments(shop, kind):
    """Rows 9, 10 (serve: between hold and log, between log and answer) and 16 (write: between the
    store's commit and the next batch). Holds that a dead node left are finished by the others."""
    dice = random.Random(7)
    with under_load(shop.cluster) as rush:
        for _ in range(scaled(6, 3)):
            victim = dice.choice(getattr(shop.cluster, kind))
            rush.let_in(40)
            time.sleep(dice.uniform(0.0, 0.2))  # random: the moment of the kill
            victim.kill()
            if dice.random() < 0.5:
                some_answers(rush)
            victim.start()


def test_every_process_of_ours_killed_at_once(shop):
    """Nobody is left who remembers: log, store and inventory know it all."""
    with under_load(shop.cluster) as rush:
        for process in shop.cluster.processes:
            process.kill()
        shop.cluster.start()
        rush.wait_for_all()


def writer_of(shop, rush: Rush):
    """The writer that has the partition of the rush's sale: without it the store stands still."""
    database = shop.cluster.database.rsplit("/", 1)[1]
    def position() -> int:
        rows = shop.store.sql("SELECT next FROM log_positions JOIN sales USING (log_partition) "
                              f"WHERE id = '{rush.sale}'", database)
        return int(rows[0][0])
    first, second = shop.cluster.writers
    with first.paused():
        before = position()
        rush.let_in(10)
        rush.wait_for_all()  # they are in the log
        try:
            eventually(lambda: position() > before, "the other writer stores them", 2.0)
            return second
        except AssertionError:
            return first


def stored_all(shop, rush: Rush) -> bool:
    audit = shop.cluster.nodes[1].admin("GET", f"/v1/sales/{rush.sale}/audit")
    return audit.status == 200 and audit.json()["orders"].get("queued", 0) == 0


def test_a_paused_writer_that_wakes_up_changes_nothing(shop):
    """Rows 17, 29: the group takes its partitions away, the other writer goes on from where the
    store is; what the sleeper had in hand is applied twice, and counts once."""
    with under_load(shop.cluster) as rush:
        with writer_of(shop, rush).paused():
            rush.let_in(60)
            lasts(PAST_SESSION_S)  # past the session: the other one has its partitions
            rush.wait_for_all()
            eventually(lambda: stored_all(shop, rush), "the other writer has stored everything")


def test_a_node_and_a_writer_that_slept_for_half_a_minute_change_nothing(shop):
    """Row 29: a serve with purchases in hand and the sale's writer stop at the same moment. In
    their sleep Redis loses all, the sale is rebuilt without the node's holds, the other serve and
    the other write sell and store. Then they go on as if nothing had happened."""
    first, second = shop.cluster.nodes
    with under_load(shop.cluster) as rush:
        writer = writer_of(shop, rush)
        epoch = shop.cluster.epoch(rush.sale)
        rush.let_in(80)
        with first.paused(), writer.paused():
            wakes_at = time.monotonic() + SLEEP_S
            with shop.redis.redis() as redis:
                redis.command("FLUSHALL")
            eventually(lambda: shop.cluster.epoch(rush.sale) > epoch, "the other node rebuilds")
            second.wait_ready()
            seen = rush.accepted
            rush.let_in(80)
            rush.wait_until(lambda: rush.accepted >= seen + 40, "the other node sells")
            eventually(lambda: stored_all(shop, rush), "the other writer stores")
            lasts(max(0.0, wakes_at - time.monotonic()))
        rush.wait_for_all()


# -- Redis: rows 1, 2, 3, 5, 6, 7 -----------------------------------------------------------------

def test_redis_killed_and_back(shop):
    """Row 3, with nothing lost: another life of the server is not trusted."""
    with under_load(shop.cluster) as rush:
        epoch = shop.cluster.epoch(rush.sale)
        shop.redis.kill()
        some_answers(rush)
        shop.redis.start()
        rush.wait_for_all()
        assert shop.cluster.epoch(rush.sale) > epoch, "what it read from its disk was believed"


def test_redis_restarted_empty(shop):
    """Row 2: missing state is never full stock. The few units are sold before: nothing may come."""
    cluster = shop.cluster
    sale = cluster.create_sale(40)
    with Rush(cluster, sale, 400) as rush:
        rush.let_in(30)
        rush.wait_for_all()
        shop.redis.restart(empty=True)
        rush.let_in()
        rush.finish()
    cluster.wait_well()
    rush.check(stock=40, sold_out=True)


def test_redis_loses_the_tail_of_its_file(shop):
    """Row 3: everysec; the last writes are gone after a kill."""
    with under_load(shop.cluster) as rush:
        with shop.redis.redis() as redis:
            before = redis.info("persistence")
        assert before["aof_enabled"] == "1"
        shop.redis.kill()
        file = max(pathlib.Path(shop.redis.node.data).rglob("*.incr.aof"),
                   key=lambda one: one.stat().st_mtime)
        size = file.stat().st_size
        assert size > 0
        os.truncate(file, size - min(size, 4_000))
        some_answers(rush)
        epoch = shop.cluster.epoch(rush.sale)
        shop.redis.start()
        rush.wait_for_all()
        assert shop.cluster.epoch(rush.sale) > epoch, "what it read from its disk was believed"


def test_a_flushed_redis_sells_nothing_that_was_sold(shop):
    """FLUSHALL by mistake, again and again: as row 2, without a restart to notice."""
    cluster = shop.cluster
    sale = cluster.create_sale(60)
    with Rush(cluster, sale, 600) as rush:
        for _ in range(3):
            rush.let_in(15)
            rush.wait_for(settled=rush.let_in(0)._let_in - 10)
            epoch = cluster.epoch(sale)
            with shop.redis.redis() as redis:
                redis.command("FLUSHALL", "SYNC")
            rush.wait_for_all()
            eventually(lambda epoch=epoch: cluster.epoch(sale) > epoch, "it is rebuilt")
        rush.let_in()
        rush.finish()
    cluster.wait_well()
    rush.check(stock=60, sold_out=True)


def test_flushed_scripts_come_back_by_themselves(shop):
    """Row 7: no buyer sees it."""
    with under_load(shop.cluster) as rush:
        before = rush.answers["503 unavailable"]
        for _ in range(5):
            rush.let_in(20)
            with shop.redis.redis() as redis:
                redis.command("SCRIPT", "FLUSH", "SYNC")
            rush.wait_for_all()
        assert rush.answers["503 unavailable"] == before, rush.answers


@pytest.mark.parametrize("fault", ["swallow_replies", "swallow_requests", "black_hole", "cut",
                                   "delay"])
def test_a_bad_network_between_serve_and_redis(shop, fault):
    """Row 5: the call was made or not, nobody knows; the question is asked again by order id."""
    with under_load(shop.cluster) as rush:
        for _ in range(2):
            rush.let_in(40)
            if fault == "delay":
                shop.redis_gate.delay(100)
                rush.wait_for_all()
            else:
                troubled = rush.answers["503 unavailable"]
                getattr(shop.redis_gate, fault)()
                some_answers(rush)
                assert rush.answers["503 unavailable"] > troubled, "nobody met the fault"
            shop.redis_gate.heal()
            rush.wait_for_all()


def test_a_redis_that_evicts_is_refused_in_words(shop):
    """Row 6: a unit that is held must not be forgotten for want of memory."""
    first = shop.cluster.nodes[0]
    first.stop()
    try:
        with shop.redis.redis() as redis:
            redis.command("CONFIG", "SET", "maxmemory", "200mb")
            redis.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        first.spawn()
        first.says("maxmemory-policy")
        answer = first.readiness()
        assert answer is None or answer.status == 503, answer
    finally:
        with shop.redis.redis() as redis:
            redis.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
            redis.command("CONFIG", "SET", "maxmemory", "0")
    first.wait_ready()


def test_a_full_redis_holds_nothing_and_loses_nothing(shop):
    """Row 6: writes are refused; what is there stays."""
    with under_load(shop.cluster) as rush:
        with shop.redis.redis() as redis:
            redis.command("CONFIG", "SET", "maxmemory", "1")
            rush.let_in(20)
            rush.wait_until(lambda: rush.answers["503 unavailable"] > 0, "a full Redis is told")
            redis.command("CONFIG", "SET", "maxmemory", "0")


# -- Kafka: rows 12, 15, 18 -----------------------------------------------------------------------

def test_the_broker_killed_and_back(shop):
    """Rows 11, 15: nobody takes the records; 503 with the order that may still come."""
    with under_load(shop.cluster) as rush:
        shop.kafka.kill()
        some_answers(rush)
        shop.kafka.start()


@pytest.mark.parametrize("fault", ["swallow_replies", "cut"])
def test_a_bad_network_to_the_broker_makes_no_second_order(shop, fault):
    """Row 12: written and not answered. The node that produced dies before it hears of it, and the
    others produce what it left again."""
    swallowed = shop.kafka_gate.swallowed_bytes
    with under_load(shop.cluster) as rush:
        for victim in shop.cluster.nodes:
            rush.let_in(40)
            getattr(shop.kafka_gate, fault)()
            lasts(0.5)  # lets records pile up
            victim.kill()
            shop.kafka_gate.heal()
            victim.start()
            rush.wait_for_all()
        assert fault == "cut" or shop.kafka_gate.swallowed_bytes > swallowed, "nothing was lost"


def test_poison_in_the_log_blocks_nothing(shop):
    """Row 18: garbage in every partition, from a producer that is none of ours."""
    cluster = shop.cluster
    poison = [b"", b"\x00", b"garbage", os.urandom(300), b"{}" * 40_000]
    with under_load(cluster) as rush:
        for partition in range(4):
            for bytes_ in poison:
                # A message a call: kcat's own separators could lie in the bytes.
                file = pathlib.Path(cluster._folder) / "poison"
                file.write_bytes(bytes_ or b"\n")
                subprocess.run(["kcat", "-P", "-b", shop.kafka.addresses, "-t", cluster.topic,
                                "-p", str(partition), str(file)], check=True, timeout=60,
                               capture_output=True)
        rush.wait_for_all()
        database = cluster.database.rsplit("/", 1)[1]
        def dead():
            return int(shop.store.sql("SELECT count(*) FROM dead_letters", database)[0][0])
        eventually(lambda: dead() >= 4 * len(poison), "every one is a dead letter")
        causes = shop.store.sql("SELECT DISTINCT cause FROM dead_letters", database)
        assert all(cause[0] for cause in causes), causes


# -- PostgreSQL: rows 20, 21, 22 ------------------------------------------------------------------

def test_the_store_killed_and_back(shop):
    """Row 20: the log keeps the orders; selling goes on as far as the design says."""
    with under_load(shop.cluster) as rush:
        shop.store.kill()
        some_answers(rush)
        shop.store.start()


def test_the_store_paused(shop):
    """Row 20: it takes connections and answers nothing. Nobody waits for it without an end."""
    cluster = shop.cluster
    node = cluster.nodes[0]
    sale = cluster.create_sale(1, payment_timeout_s=600)
    order = node.bought(sale, "payer")["order_id"]
    cluster.order_everywhere(order, "payer", "confirmed")
    with under_load(cluster) as rush:
        shop.store_gate.black_hole()
        some_answers(rush)
        # Each call has the harness' patience, which is far shorter than a driver's.
        contract.expect(orders.pay(node, order, "in time"), 503, "unavailable")
        contract.expect(node.call("GET", f"/v1/orders/{order}", {"X-User-Id": "payer"}),
                        503, "unavailable")
        eventually(lambda: node.call("GET", "/readyz").status == 503, "the store is not up")
        lasts(5)  # the writers' calls may end by their own bounds meanwhile
        shop.store_gate.heal()
    orders.paid(node, order, "in time")


@pytest.mark.parametrize("fault", ["swallow_replies", "cut"])
def test_commits_of_unknown_outcome(shop, fault):
    """Row 21: the store has committed, or not; the writer reads the position back."""
    swallowed = shop.store_gate.swallowed_bytes
    with under_load(shop.cluster) as rush:
        for _ in range(scaled(4, 2)):
            rush.let_in(40)
            getattr(shop.store_gate, fault)()
            lasts(0.3)  # lets batches run into it
            shop.store_gate.drop_connections()
            shop.store_gate.heal()
            rush.wait_for_all()
        assert fault == "cut" or shop.store_gate.swallowed_bytes > swallowed, "nothing was lost"


def test_a_storm_of_changes_on_one_stock_row(shop):
    """Row 22: payments and cancellations on every node beside the writer, all on one sale."""
    cluster = shop.cluster
    count = scaled(300, 60)
    sale = cluster.create_sale(count, payment_timeout_s=600)
    bought = [(node.bought(sale, f"{sale}-{number}")["order_id"], f"{sale}-{number}")
              for number in range(count // 2) for node in [cluster.nodes[number % 2]]]
    outcomes = {order: [] for order, _ in bought}

    def storm(node):
        def on_answer(tag, status, _head, body):
            assert status in (200, 409, 503), (tag, status, body)
            outcomes[tag[0]].append((tag[1], status, json.loads(body)))
        requests = []
        for order, user in bought:
            requests.append(((order, "pay"), orders.pay_bytes(node, order, "ref")))
            requests.append(((order, "cancel"), orders.cancel_bytes(node, order, user)))
        random.Random(node.port).shuffle(requests)
        run_all(node, requests, on_answer, connections=16)

    threads = [threading.Thread(target=storm, args=(node,)) for node in cluster.nodes]
    for thread in threads:
        thread.start()
    rest = [cluster.nodes[number % 2].bought(sale, f"late-{number}")["order_id"]
            for number in range(count // 4)]
    for thread in threads:
        thread.join()
    paid = 0
    for order, user in bought:
        shown = orders.shown_to(cluster.nodes[0], order, user)
        won = {action for action, status, _ in outcomes[order] if status == 200}
        assert won == {{"paid": "pay", "cancelled": "cancel"}[shown["status"]]}, \
            (shown, outcomes[order])
        paid += shown["status"] == "paid"
    audit = cluster.audits(sale)
    assert audit["sold"] == paid + len(rest), (audit, paid)
    assert audit["orders"]["cancelled"] == len(bought) - paid, audit


# -- a shop in trouble: rows 32, 38 ---------------------------------------------------------------

def test_a_no_in_trouble_is_fast_and_says_when_to_come_back(shop):
    """Row 32: Redis is away; hundreds ask at once, and are told at once, at different times."""
    cluster = shop.cluster
    sale = cluster.create_sale(1_000)
    shop.redis_gate.cut()
    waits, started = set(), time.monotonic()

    def on_answer(user, status, head, body):
        assert status == 503 and json.loads(body)["code"] == "unavailable", body
        line, = [one for one in head.lower().split(b"\r\n") if one.startswith(b"retry-after:")]
        waits.add(int(line.split(b":")[1]))

    eventually(lambda: cluster.nodes[0].buy(sale, "first").status == 503, "503")
    for node in cluster.nodes:
        run_all(node, ((user, node.purchase_bytes(sale, user)) for user in
                       (f"{sale}-{number}" for number in range(500))), on_answer)
    assert len(waits) > 1, f"all come back together: {waits}"
    assert time.monotonic() - started < 20, "a no waits for nothing"
    shop.redis_gate.heal()
    cluster.wait_well()
    eventually(lambda: cluster.nodes[1].buy(sale, "later").status == 202, "it sells again")
    assert cluster.audits(sale)["sold"] <= 2


# -- clusters of their own: rows 1, 38 ------------------------------------------------------------

def test_a_replica_is_promoted_without_the_last_writes(services, tmp_path):
    """Row 1: the last holds are unknown to the new primary, their orders are in the log."""
    redis = require("redis-replica", services)
    primary, replica = redis.nodes
    store, kafka = (require(name, services) for name in ("postgresql", "kafka"))
    with MovingGate(primary.port) as gate:
        engines = Engines(store, redis, kafka, redis_url=f"redis://{gate.address}")
        with Cluster(tmp_path, engines, writes=1) as cluster:
            sale = cluster.create_sale(150)
            with Rush(cluster, sale, 1_500) as rush:
                rush.let_in(40)
                rush.wait_for_all()
                with redis.redis(replica) as follower:
                    # It hears no more of its primary. (A pause would not do: what the primary has
                    # sent waits in the kernel.)
                    follower.command("REPLICAOF", "127.0.0.1", "1")
                    rush.let_in(40)
                    rush.wait_for(settled=70)
                    primary.kill()
                    some_answers(rush)
                    follower.command("REPLICAOF", "NO", "ONE")
                epoch = cluster.epoch(sale)
                gate.lead_to(replica.port)
                rush.wait_for_all()
                assert cluster.epoch(sale) > epoch, "the new primary was believed"
                rush.let_in()
                rush.finish()
            cluster.wait_well()
            rush.check(stock=150, sold_out=True)


def test_the_limits_stay_when_their_store_is_away(services, tmp_path):
    """Row 38: a node goes on with its own share; there is never no limit."""
    store, redis, kafka = (require(name, services) for name in ("postgresql", "redis", "kafka"))
    with MovingGate(redis.node.port) as gate:
        engines = Engines(store, redis, kafka, redis_url=f"redis://{gate.address}")
        limits = '[limits]\nbackend = "redis"\nper_user_per_second = 5\n'
        with Cluster(tmp_path, engines, serves=2, writes=1, extra=limits) as cluster:
            node = cluster.nodes[0]
            sale = eventually(lambda: cluster.create_sale(10), "a sale")
            order = eventually(lambda: node.buy(sale, "ann", key="k").json().get("order_id"), "yes")

            def asked_quickly() -> dict:
                answers = [node.order(order, "ann").status for _ in range(100)]
                return {status: answers.count(status) for status in set(answers)}

            assert asked_quickly().get(429, 0) > 0, "limited while Redis is there"
            gate.cut()
            answers = asked_quickly()
            assert answers.get(429, 0) > 0 and set(answers) <= {200, 429}, answers
            eventually(lambda: node.order(order, "ann").status == 200, "her share comes back")
            gate.heal()
            cluster.wait_well()


def test_a_slot_moves_to_another_node_of_redis(services, tmp_path):
    """Row 8: the sale's keys move while it sells. On the new node they are those of another server,
    so they are not trusted: the sale is rebuilt there."""
    redis = require("redis-cluster", services)
    store, kafka = (require(name, services) for name in ("postgresql", "kafka"))
    engines = Engines(store, redis, kafka, redis_nodes=redis.addresses)
    with Cluster(tmp_path, engines, writes=1) as cluster:
        with under_load(cluster):
            for _ in range(2):
                move_slot(redis, cluster.name)


def move_slot(redis, prefix: str) -> None:
    """Moves the slot of the keys that begin with `prefix` to the next node, as redis-cli does."""
    with contextlib.ExitStack() as stack:
        nodes = [stack.enter_context(redis.redis(node)) for node in redis.nodes]
        names = [node.command("CLUSTER", "MYID") for node in nodes]
        keys = [node.command("KEYS", f"{prefix}*") for node in nodes]
        source = next(number for number, found in enumerate(keys) if found)
        target = (source + 1) % len(nodes)
        slot = nodes[source].command("CLUSTER", "KEYSLOT", keys[source][0])
        nodes[target].command("CLUSTER", "SETSLOT", slot, "IMPORTING", names[source])
        nodes[source].command("CLUSTER", "SETSLOT", slot, "MIGRATING", names[target])
        while found := nodes[source].command("CLUSTER", "GETKEYSINSLOT", slot, 100):
            for key in found:
                nodes[source].command("MIGRATE", "127.0.0.1", redis.nodes[target].port, key, 0,
                                      5_000)
        for node in (nodes[target], nodes[source], *nodes):
            node.command("CLUSTER", "SETSLOT", slot, "NODE", names[target])
