"""The real servers behind the cluster shape, for tests: found, started, killed, paused, emptied.

Everything goes through tools/services. The shared servers are those of ./test (the folder that
DOORBUSTER_SERVICES_DIR names); tests that hurt a server take private ones:

    def test_something(private_services, make_server):
        redis = private_services.start("redis")
        redis.kill()
        redis.start()      # comes back on its port, with its data

What a test starts is owned by its process: it ends with it, even after SIGKILL.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import uuid

import pytest

from .gate import Gate
from .settings import ROOT
from .waiting import eventually

sys.path.insert(0, str(ROOT / "tools"))
from engines.kafka_wire import Kafka, KafkaError  # noqa: E402
from engines.process import Process  # noqa: E402
from engines.redis_wire import Redis, RedisError  # noqa: E402

TOOL = ROOT / "tools" / "services"
TOOL_S = 900.0  # a first start may download Kafka; tools/services has bounds of its own
GONE_S = 30.0
NOT_FETCHED = 3  # the status of tools/services when Maven Central did not give Kafka
DATABASE_KINDS = ("postgresql", "mariadb")

__all__ = ["Kafka", "KafkaError", "Node", "Redis", "RedisError", "Service", "Services",
           "ServicesFailed", "private_services", "require", "shared"]


class ServicesFailed(Exception):
    """tools/services ended with `status`; the text is what it said."""

    def __init__(self, status: int, text: str):
        super().__init__(f"tools/services: status {status}: {text}")
        self.status = status


@dataclasses.dataclass
class Node:
    """One server process, as it was when its service was last looked at."""

    name: str
    port: int
    process: Process  # None: not running
    data: pathlib.Path
    log: pathlib.Path
    gated_port: int = None  # Kafka: see Service.gate
    gate_port: int = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return self.process.pid

    def kill(self) -> None:
        """kill -9, and waits until it is gone."""
        self.end(signal.SIGKILL)

    def end(self, number=signal.SIGTERM, bound_s: float = GONE_S) -> None:
        self.process.signal(number)
        assert self.process.wait(bound_s), f"{self.name} did not end by signal {number}"

    def pause(self) -> None:
        """SIGSTOP, and waits until it is in force."""
        self.process.signal(signal.SIGSTOP)
        eventually(lambda: self.process.paused, f"{self.name} is paused", GONE_S)

    def resume(self) -> None:
        self.process.signal(signal.SIGCONT)

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.alive


class Service:
    """One service, with the addresses and processes of its last start. Made by Services."""

    def __init__(self, services, name: str):
        self._services = services
        self.name = name
        self.refresh()

    def refresh(self):
        """Looks at the processes anew."""
        shown = json.loads(self._services.run("show", self.name, "--json"))
        self.status = shown["status"]
        self.url = shown["url"]
        self.variable = shown["variable"]
        self.nodes = [self._node(one) for one in shown["nodes"]]
        return self

    @staticmethod
    def _node(shown: dict) -> Node:
        process = None
        if shown["pid"] is not None:
            process = Process(shown["pid"], shown["start_time"])
        return Node(shown["name"], shown["port"], process, pathlib.Path(shown["data"]),
                    pathlib.Path(shown["log"]), shown.get("gated_port"), shown.get("gate_port"))

    @property
    def node(self) -> Node:
        """The only one, or the first: the primary."""
        return self.nodes[0]

    @property
    def addresses(self) -> str:
        """As `redis.nodes` and `kafka.brokers` want them, apart from quotes."""
        return ",".join(node.address for node in self.nodes)

    # -- life -----------------------------------------------------------------------------

    def start(self):
        """Brings back what was killed, on its ports and with its data."""
        self._services.run("start", self.name)
        return self.refresh()

    def restart(self, empty: bool = False):
        """A clean end and a new start; `empty`: with no data."""
        self._services.run("restart", self.name, *(["--empty"] if empty else []))
        return self.refresh()

    def stop(self) -> None:
        """Ends it, paused or not, and deletes its data."""
        self._services.run("stop", self.name)

    def kill(self) -> None:
        """kill -9 of every node, and waits until they are gone."""
        for node in self.nodes:
            node.process.signal(signal.SIGKILL)
        for node in self.nodes:
            node.kill()

    def pause(self) -> None:
        for node in self.nodes:
            node.pause()

    def resume(self) -> None:
        for node in self.nodes:
            node.resume()

    @contextlib.contextmanager
    def paused(self):
        """SIGSTOP for the length of a `with` block."""
        self.pause()
        try:
            yield self
        finally:
            self.resume()

    # -- faults of the network ------------------------------------------------------------

    def gate(self, node: Node = None) -> Gate:
        """A gate in front of a node, which the test closes.

        Kafka's clients connect to the addresses that the brokers name, so they must come in by a
        listener that names the gate: give them `gate.address` as broker, and gate every node.
        """
        node = node or self.node
        if node.gated_port is not None:
            return Gate(node.gated_port, port=node.gate_port)
        return Gate(node.port)

    # -- something fresh for each test ----------------------------------------------------

    @contextlib.contextmanager
    def database(self):
        """The URL of a new, empty database, which goes when the `with` block ends."""
        assert self.name in DATABASE_KINDS, self.name
        name = f"test_{uuid.uuid4().hex[:12]}"
        self.sql(f"CREATE DATABASE {name}")
        try:
            yield self.url.rsplit("/", 1)[0] + "/" + name
        finally:
            force = " WITH (FORCE)" if self.name == "postgresql" else ""
            # The test may have left the server dead.
            with contextlib.suppress(ServicesFailed):
                self.sql(f"DROP DATABASE {name}{force}")

    def sql(self, statement: str, database: str = None) -> list:
        """Runs one statement; the rows, each a list of texts."""
        database = database or self.url.rsplit("/", 1)[1]
        if self.name == "postgresql":
            command = ["psql", "-X", "-A", "-t", "-q", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-c",
                       statement, self.url.rsplit("/", 1)[0] + "/" + database]
        else:
            command = ["mariadb", "--no-defaults", "-h", "127.0.0.1", "-P", str(self.node.port),
                       "-u", "root", "-N", "-B", "-e", statement, database]
        finished = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True,
                                  timeout=TOOL_S, check=False)
        if finished.returncode != 0:
            raise ServicesFailed(finished.returncode, finished.stderr.decode("utf-8", "replace"))
        lines = finished.stdout.decode("utf-8").splitlines()
        return [line.split("\t") for line in lines]

    def redis(self, node: Node = None) -> Redis:
        """A connection to a node; use it as a `with` block."""
        return Redis((node or self.node).port)

    def flush(self) -> None:
        """Redis: removes every key of every primary, and every script."""
        for node in self.nodes:
            with self.redis(node) as redis:
                if redis.info("replication")["role"] == "master":
                    redis.command("FLUSHALL", "SYNC")
                    redis.command("SCRIPT", "FLUSH", "SYNC")

    def kafka(self, node: Node = None) -> Kafka:
        """A connection to a broker; use it as a `with` block."""
        return Kafka((node or self.node).port)

    def topic(self, partitions: int = 1, create: bool = True, **settings) -> str:
        """The name of a new topic; with `create` false there is none by that name yet."""
        name = f"test-{uuid.uuid4().hex[:12]}"
        if create:
            with self.kafka() as kafka:
                kafka.create_topic(name, partitions, len(self.nodes), **settings)
            eventually(lambda: self._has_leaders(name, partitions), f"{name} has its leaders",
                       GONE_S)
        return name

    def _has_leaders(self, topic: str, partitions: int) -> bool:
        """Every broker knows a leader of every partition."""
        for node in self.nodes:
            with self.kafka(node) as kafka:
                leaders = kafka.metadata([topic]).topics.get(topic, {})
            if len(leaders) != partitions or min(leaders.values()) < 0:
                return False
        return True

    def end_offsets(self, topic: str) -> list:
        """How many records each partition has ever got, transactions' marks included."""
        ports = {int(node.name): node.port for node in self.nodes}
        with self.kafka() as kafka:
            leaders = kafka.metadata([topic]).topics[topic]
        offsets = []
        for partition in sorted(leaders):
            with Kafka(ports[leaders[partition]]) as leader:
                offsets.append(leader.end_offset(topic, partition))
        return offsets


class Services:
    """The services of one folder."""

    def __init__(self, folder=None):
        """No folder: the shared one."""
        self._environment = dict(os.environ)
        if folder is not None:
            self._environment["DOORBUSTER_SERVICES_DIR"] = str(folder)

    def run(self, *arguments) -> str:
        """tools/services with these arguments; what it printed. Raises ServicesFailed."""
        finished = subprocess.run([str(TOOL), *arguments], env=self._environment,
                                  stdin=subprocess.DEVNULL, capture_output=True, timeout=TOOL_S,
                                  check=False)
        if finished.returncode != 0:
            raise ServicesFailed(finished.returncode,
                                 finished.stderr.decode("utf-8", "replace").strip())
        return finished.stdout.decode("utf-8")

    def start(self, name: str) -> Service:
        """Running and ready: started now, or before."""
        self.run("start", name, "--owner", str(os.getpid()))
        return Service(self, name)

    def find(self, name: str) -> Service:
        """As it is, running or not."""
        return Service(self, name)

    def stop(self) -> None:
        """Ends everything of the folder and deletes its data."""
        self.run("stop")


shared = Services()


def require(name: str, services: Services = shared) -> Service:
    """A service that runs, started if need be. Where that is impossible the test is skipped; with
    CI=true it fails."""
    try:
        return services.start(name)
    except ServicesFailed as failure:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(failure))


@pytest.fixture
def private_services(tmp_path):
    """Services of this test alone, which it may hurt. Their logs stay with the test's files."""
    services = Services(tmp_path / "services")
    yield services
    services.stop()
