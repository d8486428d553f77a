"""Several `doorbuster serve` and `doorbuster write` on real engines: one shop of many processes.

    with Cluster(tmp_path, engines) as cluster:         # 2 serve + 2 write, started and ready
        sale = cluster.nodes[0].create_sale(100)
        cluster.nodes[1].bought(sale, "ann")
        cluster.writers[0].kill()
        cluster.writers[0].start()

Every cluster has a database, a topic, a group and a prefix of its own, so that clusters one after
the other share engines. Rush is its load: buyers who ask again elsewhere, with the same key, until
they hear yes or no, while a test hurts the cluster; and what they were promised is checked.
"""

import collections
import contextlib
import dataclasses
import itertools
import json
import random
import signal
import threading
import time
import uuid

from . import contract, plugin, server as one_server
from .gate import Gate
from .promises import Books, Purchase, exported, is_replay
from .server import Server, ServerExited
from .services import Service
from .settings import BINARY, BOUND_S, LOAD_S, READY_S, SHUTDOWN_S
from .swarm import Swarm
from .waiting import eventually
from .wire import Closed

WRITING = "writing orders of log"
# How long a shop may take to be well again after a fault: an idle session of Kafka's group (45 s by
# default, SESSION_MS here), a back-off of librdkafka, a rebuild.
WELL_S = LOAD_S / 2
SESSION_MS = 6_000  # of the writers' group: who is gone, or paused, loses its partitions
RETRY_S = (0.05, 0.4)  # pauses of a buyer who was told to come back
CUT_OFF = (OSError, Closed)


@dataclasses.dataclass
class Engines:
    """The three servers behind a cluster, and the addresses by which it reaches them."""

    store: Service
    redis: Service
    kafka: Service
    redis_url: str = None  # None: the service's own; else that of a gate
    redis_nodes: str = None  # of a Redis cluster, instead
    brokers: str = None
    store_port: int = None  # of a gate

    def config(self, database: str, topic: str, name: str, extra: str) -> str:
        if self.store_port is not None:
            database = database.replace(f":{self.store.node.port}/", f":{self.store_port}/")
        brokers = ",".join(f'"{one}"' for one in
                           (self.brokers or self.kafka.addresses).split(","))
        redis = f'url = "{self.redis_url or self.redis.url}"'
        if self.redis_nodes is not None:
            redis = "nodes = [" + ",".join(f'"{one}"' for one in self.redis_nodes.split(",")) + "]"
        return (f'[inventory]\nbackend = "redis"\n[log]\nbackend = "kafka"\n'
                f'[store]\nurl = "{database}"\n'
                f'[redis]\n{redis}\n'
                f'prefix = "{name}"\n'
                f'[kafka]\nbrokers = [{brokers}]\ntopic = "{topic}"\ngroup = "{name}"\n'
                f'partitions = 4\n'
                f'[kafka.properties]\n"session.timeout.ms" = "{SESSION_MS}"\n'
                f'[writer]\nenabled = false\n{extra}')


class Process(Server):
    """What serve and write have in common: signals by pid."""

    def pause(self) -> None:
        """SIGSTOP, and waits until it is in force."""
        self.process.send_signal(signal.SIGSTOP)
        eventually(lambda: self.state == "T", f"process {self.process.pid} is paused")

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    @property
    def state(self) -> str:
        """The letter of /proc: R, S, T, ..."""
        with open(f"/proc/{self.process.pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0]

    @contextlib.contextmanager
    def paused(self):
        self.pause()
        try:
            yield self
        finally:
            self.resume()

    def log(self) -> str:
        """Everything it has said since its last start."""
        return self.output(lines=1_000_000)

    def says(self, text: str, bound_s: float = BOUND_S) -> None:
        """Waits until its log has the text."""
        eventually(lambda: text in self.log(), f"the log says {text!r}:\n{self.output(20)}",
                   bound_s)


class Node(Process):
    """One `doorbuster serve`."""

    def readiness(self):
        """What /readyz answers, or None while nobody does."""
        try:
            with self.connect(timeout_s=5.0) as connection:
                return connection.request("GET", "/readyz")
        except (*CUT_OFF, AssertionError):
            return None

    def wait_ready(self, bound_s: float = READY_S) -> None:
        """Until it can sell: every backend is up and every sale sells."""
        def look():
            status = self.process.poll()
            if status is not None:
                raise ServerExited(status, self.output())
            answer = self.readiness()
            return answer is not None and answer.status == 200
        try:
            eventually(look, f"/readyz answers 200 on port {self.port}", bound_s)
        except AssertionError as failure:
            answer = self.readiness()
            raise AssertionError(f"{failure}; it says {answer!r}") from None

    def backends(self) -> dict:
        answer = self.readiness()
        return {} if answer is None else answer.json()["backends"]


class Writer(Process):
    """One `doorbuster write`."""

    def arguments(self) -> list:
        return [str(BINARY), "write", "--config", str(self.config_file)]

    def start(self, bound_s: float = READY_S):
        self.spawn()
        self.wait_ready(bound_s)
        return self

    def wait_ready(self, bound_s: float = READY_S) -> None:
        def look():
            status = self.process.poll()
            if status is not None:
                raise ServerExited(status, self.output())
            return WRITING in self.log()
        eventually(look, f"the writer writes\n{self.output()}", bound_s)


class Cluster:
    """`serves` nodes and `writes` writers with scratch names. As a `with` block: started, ready,
    and in the end stopped, cleanly where they still run."""

    def __init__(self, folder, engines: Engines, serves: int = 2, writes: int = 2,
                 extra: str = "", start: bool = True, topic: str = None):
        self.name = f"test-{uuid.uuid4().hex[:12]}"
        self.topic = topic or self.name
        self.engines = engines
        self._folder = folder / self.name
        self._counts = (serves, writes)
        self._extra = extra
        self._starts = start
        self._leave = contextlib.ExitStack()
        self.nodes = []
        self.writers = []

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self.database = stack.enter_context(self.engines.store.database())
            stack.callback(self._end)
            config = self.engines.config(self.database, self.topic, self.name, self._extra)
            self.nodes = [self._make(Node, f"serve-{number + 1}", config)
                          for number in range(self._counts[0])]
            self.writers = [self._make(Writer, f"write-{number + 1}", config)
                            for number in range(self._counts[1])]
            if self._starts:
                self.start()
            self._leave = stack.pop_all()
        return self

    def __exit__(self, kind, *_):
        with self._leave:
            if kind is None:
                self.stop()

    def _make(self, kind, name: str, config: str):
        made = kind(self._folder / name, config=config)
        plugin._running.append(made)
        return made

    def _end(self) -> None:
        for process in self.processes:
            if process.process is not None:
                process.kill()
                process.check_output()
        for process in self.processes:
            plugin._running.remove(process)

    @property
    def processes(self) -> list:
        return [*self.nodes, *self.writers]

    @property
    def config_file(self):
        return self.writers[0].config_file if self.writers else self.nodes[0].config_file

    # -- life -----------------------------------------------------------------------------

    def start(self) -> None:
        """All at once, and waits for all."""
        for process in self.processes:
            process.spawn()
        for process in self.processes:
            process.wait_ready()

    def stop(self) -> None:
        """SIGTERM to all at once; each that ran must end with 0 in the time that is promised."""
        running = [process for process in self.processes if process.alive]
        for process in running:
            process.process.send_signal(signal.SIGTERM)
        for process in running:
            # Not its own terminate(): a second signal means "at once".
            status = process.process.wait(SHUTDOWN_S)
            process.check_output()
            assert status == 0, f"exit status {status} after SIGTERM\n{process.output()}"

    def wait_well(self, bound_s: float = WELL_S) -> None:
        """Until every node sells, by itself."""
        for node in self.nodes:
            node.wait_ready(bound_s)

    def create_sale(self, stock: int, **fields) -> str:
        """A sale that sells on every node when this returns, as after a moment's patience."""
        sale = one_server.fresh_name("sale")
        body = {"id": sale, "title": sale, "stock": stock, **fields}
        eventually(lambda: self.nodes[0].admin("POST", "/v1/sales", body).status in (200, 201),
                   f"{sale} is created")
        self.everywhere(lambda node: node.buy(sale, "asks for too much", stock + 1).status == 409,
                        f"{sale} sells")
        return sale

    def epoch(self, sale: str) -> int:
        """How often the sale's inventory was built: a higher one means that it was not believed."""
        database = self.database.rsplit("/", 1)[1]
        rows = self.engines.store.sql(f"SELECT epoch FROM sales WHERE id = '{sale}'", database)
        return int(rows[0][0])

    # -- all nodes ------------------------------------------------------------------------

    def everywhere(self, look, what: str, bound_s: float = BOUND_S) -> None:
        """Waits until `look(node)` is true on every node."""
        for node in self.nodes:
            eventually(lambda node=node: look(node), f"on {node.folder.name}: {what}", bound_s)

    def order_everywhere(self, order: str, user: str, status: str) -> dict:
        """Waits until every node shows the order with this status; the order."""
        def look(node):
            shown = contract.expect(node.order(order, user), 200)
            return shown if shown["status"] == status else None
        for node in self.nodes:
            shown = eventually(lambda node=node: look(node), f"{order} is {status}")
        return shown

    def audits(self, sale: str, bound_s: float = WELL_S) -> dict:
        """The books once nothing is queued: complete, balanced, the same on every node."""
        found = []
        for node in self.nodes:
            def look(node=node):
                answer = node.admin("GET", f"/v1/sales/{sale}/audit")
                if answer.status == 503:
                    return None
                try:
                    audit = contract.check_audit(contract.expect(answer, 200))
                except AssertionError as failure:
                    time.sleep(5)  # poll: is it still so? That tells a leak from a wrong look
                    later = node.admin("GET", f"/v1/sales/{sale}/audit")
                    raise AssertionError(f"{failure}; 5 s later: {later.body!r}") from None
                done = audit["orders"].get("queued", 0) == 0 \
                    and audit["inventory_remaining"] == audit["remaining"]
                return audit if done else None
            try:
                found.append(eventually(look, f"{sale} is balanced on {node.folder.name}", bound_s))
            except AssertionError as failure:
                last = node.admin("GET", f"/v1/sales/{sale}/audit")
                raise AssertionError(f"{failure}; the last: {last.body!r}") from None
        assert all(audit == found[0] for audit in found), found
        return found[0]

    def offline_audit(self, sale: str) -> dict:
        """`doorbuster audit --config`: store and log alone, without any process of ours."""
        result = one_server.run_command("audit", "--config", self.config_file, "--sale", sale,
                                        "--json")
        assert result.status == 0, result
        audit, = result.json()
        return contract.check_audit(audit)


class Rush:
    """Buyers who want one unit each and ask until they hear yes or no, on whichever node answers.

    One thread a node sends; a test does its harm meanwhile. Most have a key: when an answer is
    lost, or says 503, the same purchase goes to another node with the same key. Those without one
    ask again, too; `limit_reached` then tells them of the order that they already have.
    """

    CONNECTIONS = 16

    def __init__(self, cluster: Cluster, sale: str, buyers: int, keyless: float = 0.1,
                 seed: int = 1):
        self.cluster = cluster
        self.sale = sale
        self.books = Books()
        self.answers = collections.Counter()
        self.told = {}  # user -> the order that limit_reached named
        self.named = {}  # order named by a 503 -> Purchase
        self._dice = random.Random(seed)
        self._lock = threading.RLock()
        self._due = collections.deque()  # (time, Purchase): come back then
        self._fresh = iter([Purchase(sale, f"{sale}-{number}", 1,
                                     None if self._dice.random() < keyless else f"key-{number}")
                            for number in range(buyers)])
        self.purchases = {}  # by user, of all that were sent
        self._left = buyers  # who have not heard yes or no
        self._let_in = 0
        self._failures = []
        self._ending = False
        self._threads = []
        self.settled_at = []  # when each was settled, for waiting

    def __enter__(self):
        for node in self.cluster.nodes:
            thread = threading.Thread(target=self._send, args=(node,), daemon=True)
            self._threads.append(thread)
            thread.start()
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            self._ending = True
        for thread in self._threads:
            thread.join(LOAD_S)
        if kind is None and self._failures:
            raise self._failures[0]

    # -- the test's side ------------------------------------------------------------------

    @property
    def accepted(self) -> int:
        return len(self.books.promised)

    def let_in(self, more: int = None):
        """So many new buyers begin to ask; None: all the others."""
        with self._lock:
            self._let_in = self._let_in + more if more is not None else len(self.purchases) + 10**9
        return self

    def wait_for(self, accepted: int = None, settled: int = None, bound_s: float = WELL_S) -> None:
        """Until so many heard yes, or an answer; fails at once when a sender has failed."""
        def look():
            if self._failures:
                raise self._failures[0]
            return (accepted is None or self.accepted >= accepted) and (
                settled is None or len(self.settled_at) >= settled)
        try:
            eventually(look, f"{accepted} accepted, {settled} settled", bound_s)
        except AssertionError as failure:
            raise AssertionError(f"{failure}; {self.accepted} accepted, {self._left} wait; "
                                 f"{dict(self.answers)}") from None

    def wait_until(self, condition, what: str, bound_s: float = WELL_S) -> None:
        """The test's condition; fails at once when a sender has failed."""
        def look():
            if self._failures:
                raise self._failures[0]
            return condition()
        eventually(look, what, bound_s)

    def serve(self, more: int, bound_s: float = WELL_S) -> None:
        """So many new buyers, and waits until all but a few of those that came are answered."""
        self.let_in(more)
        self.wait_for(settled=self._let_in - more // 4, bound_s=bound_s)

    def wait_for_all(self, bound_s: float = WELL_S) -> None:
        """Until everybody who was let in so far has heard yes or no: the shop is well."""
        self.wait_for(settled=self._let_in, bound_s=bound_s)

    def finish(self, bound_s: float = WELL_S) -> None:
        """Until everybody has heard yes or no."""
        try:
            eventually(lambda: self._failures or self._left == 0, "everybody is answered", bound_s)
        except AssertionError as failure:
            self._ending = True
            raise AssertionError(f"{failure}; {self._left} wait; {dict(self.answers)}") from None
        if self._failures:
            raise self._failures[0]

    def stop_coming(self) -> None:
        """No new buyers, whatever was said; those that came are served."""
        with self._lock:
            self._let_in = len(self.purchases)
            self._left -= sum(1 for _ in self._fresh)

    # -- the senders ----------------------------------------------------------------------

    def __iter__(self):
        return self

    def _take(self):
        """The next purchase that is due, or None."""
        now = time.monotonic()
        with self._lock:
            if self._due and self._due[0][0] <= now:
                return self._due.popleft()[1]
            if len(self.purchases) >= self._let_in:
                return None
            purchase = next(self._fresh, None)
            if purchase is not None:
                self.purchases[purchase.user] = purchase
            return purchase

    def _later(self, purchase) -> None:
        with self._lock:
            self._due.append((time.monotonic() + self._dice.uniform(*RETRY_S), purchase))

    def _send(self, node: Node) -> None:
        rush = self

        class Due:
            def __iter__(self):
                return self

            def __next__(self):
                purchase = None if rush._ending else rush._take()
                if purchase is None:
                    raise StopIteration
                return purchase, purchase.bytes_for(node)

        try:
            while not self._ending and self._left > 0:
                self._send_some(node, Due())
                time.sleep(0.02)  # poll: who is due next
        except BaseException as failure:  # raised again by the test's side
            self._failures.append(failure)
            self._ending = True

    def _send_some(self, node: Node, due) -> None:
        try:
            swarm = Swarm(node.port, self.CONNECTIONS)
        except OSError:
            return  # it is down: others serve
        with swarm:
            while swarm.connected and not self._ending and self._left > 0:
                swarm.run(due, self._on_answer, LOAD_S)
                time.sleep(0.01)  # poll: who is due next
            for purchase in swarm.unanswered:
                self.answers["none"] += 1
                self._later(purchase)

    def _on_answer(self, purchase, status, head, body) -> None:
        answer = json.loads(body)
        with self._lock:
            code = answer.get("code", "")
            self.answers[f"{status} {code}".strip()] += 1
            if status == 202:
                self.books.promise(purchase, answer, is_replay(head))
            elif status == 503:
                assert code in ("unavailable", "overloaded"), answer
                if "order_id" in answer:
                    self.named[answer["order_id"]] = purchase
                self._later(purchase)
                return
            elif code == "limit_reached":
                assert purchase.key is None, f"the key's answer was due: {answer}"
                assert answer.get("order_id"), answer
                self.told[purchase.user] = answer["order_id"]
            else:
                assert code == "sold_out", (purchase.user, status, answer)
                assert purchase.order is None, f"yes, then no: {purchase.order} {answer}"
            self._left -= 1
            self.settled_at.append(time.monotonic())

    # -- what must hold in the end --------------------------------------------------------

    def check(self, stock: int = None, sold_out: bool = None) -> dict:
        """Every promise is kept exactly once, nobody has more, the books balance on every node.
        Returns the audit."""
        audit = self.cluster.audits(self.sale)
        listed = {}
        units = collections.Counter()
        for order in exported(self.cluster.nodes[0], self.sale):
            assert order["order_id"] not in listed, f"there twice: {order}"
            listed[order["order_id"]] = order
            purchase = self.purchases.get(order["user_id"])
            assert purchase is not None, f"nobody asked for it: {order}"
            assert order["status"] != "refused", f"the store's last guard fired: {order}"
            if order["status"] in ("queued", "confirmed", "paid"):
                units[order["user_id"]] += order["quantity"]
            if order["order_id"] in self.books.promised:
                self.books.check_promise(order)
            elif purchase.key is not None and purchase.order is not None:
                raise AssertionError(f"a second order of one key: {order} {purchase.order}")
        gone = [order for order in self.books.promised if order not in listed]
        assert not gone, f"{len(gone)} promised orders are lost, such as {gone[:3]}: {self.answers}"
        for user, order in self.told.items():
            assert listed[order]["user_id"] == user, (user, order, listed[order])
        assert max(units.values(), default=0) <= 1, units.most_common(3)
        assert sum(units.values()) == audit["sold"], (sum(units.values()), audit)
        if stock is not None:
            assert audit["stock"] == stock, audit
        if sold_out:
            assert audit["sold"] == audit["stock"] == len(listed), (audit, len(listed))
        self.check_replays()
        return audit

    def check_replays(self, count: int = 50) -> None:
        """Some of the keys, asked again on every node, get the same 202."""
        some = self._dice.sample(self.books.keyed, min(count, len(self.books.keyed)))
        for purchase, node in zip(some, itertools.cycle(self.cluster.nodes)):
            answer = node.buy(self.sale, purchase.user, 1, purchase.key)
            assert contract.expect(answer, 202) == purchase.order, (answer, purchase.order)
            assert answer.header("idempotency-replayed") == "true", answer


def lasts(seconds: float) -> None:
    """Returns when a fault has lasted so long. What is checked never depends on its length, only
    whether the fault is met by much or by little."""
    end = time.monotonic() + seconds
    eventually(lambda: time.monotonic() >= end, f"{seconds} s have gone", seconds + BOUND_S)


class MovingGate(Gate):
    """A gate that can lead to another server: what a client sees of a failover."""

    def lead_to(self, port: int) -> None:
        """New connections go there; those that are open are reset."""
        def turn():
            self._target = (self._target[0], port)
            self._reset_all()
        self._command(turn)


@contextlib.contextmanager
def under_load(cluster: Cluster, stock: int = 5_000, wave: int = 60, buyers: int = 100_000,
               well_s: float = WELL_S, **fields):
    """A new sale with buyers on every node, for the fault that the `with` block does. After it the
    shop must sell again by itself, and every promise of the sale is checked."""
    sale = cluster.create_sale(stock, **fields)
    with Rush(cluster, sale, buyers) as rush:
        rush.serve(wave)
        rush.let_in(wave)  # these meet the fault
        yield rush
        rush.wait_for_all(well_s)
        cluster.wait_well(well_s)
        rush.serve(wave)
        rush.stop_coming()
        rush.finish()
    rush.check()
