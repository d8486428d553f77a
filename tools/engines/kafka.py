"""Apache Kafka in KRaft mode, from Maven Central: one broker, or three.

Every node is a broker and a controller.
"""

import base64
import os
import shutil
import signal
import uuid

from . import maven, process, tool
from .kafka_wire import Kafka as Client
from .service import Failure, Node, Service, need_programs

# A small machine's broker: few threads and small maps, so that three of them and everything else
# fit on two cores. The defaults of what it promises (flushing, election) are left as they are.
SETTINGS = """\
process.roles=broker,controller
node.id={id}
listeners=PLAINTEXT://{address},CONTROLLER://{controller},GATED://{gated}
# Who comes in by the last one is told the address of a test's gate in front of it.
advertised.listeners=PLAINTEXT://{address},GATED://{gate}
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,GATED:PLAINTEXT
controller.quorum.voters={voters}
log.dirs={data}
auto.create.topics.enable=false
default.replication.factor={replicas}
min.insync.replicas={in_sync}
offsets.topic.replication.factor={replicas}
offsets.topic.num.partitions=4
transaction.state.log.replication.factor={replicas}
transaction.state.log.min.isr={in_sync}
transaction.state.log.num.partitions=4
group.initial.rebalance.delay.ms=0
num.network.threads=2
num.io.threads=4
background.threads=2
num.recovery.threads.per.data.dir=1
log.cleaner.dedupe.buffer.size=4194304
# So long after its death a killed broker loses its partitions, and may come back.
broker.session.timeout.ms={session_ms}
broker.heartbeat.interval.ms={heartbeat_ms}
"""


class Kafka(Service):
    name = "kafka"
    node_names = ("1",)
    # Clients; controllers; clients that come through a gate; the gate, which a test opens. Clients
    # connect where the broker's metadata sends them, so that no gate can be put in between later.
    ports_per_node = 4
    program = "java"
    variable = "DOORBUSTER_TEST_KAFKA"
    heap_mb = 512
    # Nobody takes over from a single broker: a long session only delays its return.
    session_ms = 2000

    # -- the jars -------------------------------------------------------------------------

    @property
    def _project(self):
        return self.root / "tools" / "kafka" / "pom.xml"

    @property
    def _jars(self):
        return maven.folder_of(self._project, self.root / "build" / "kafka")

    def check_installed(self) -> None:
        need_programs(self.name, "java")
        if not self._jars.is_dir():
            need_programs(self.name, "mvn")

    def prepare(self) -> None:
        maven.fetch("Kafka", self._project, self._jars)

    def _java(self, *arguments) -> list:
        jars = sorted(str(jar) for jar in self._jars.glob("*.jar"))
        if not jars:
            raise Failure(f"there are no jars in {self._jars}: delete it and start again")
        settings = self.root / "tools" / "kafka" / "log4j.properties"
        return ["java", "-XX:+UseSerialGC", "-Xshare:auto", "-XX:-UsePerfData",
                "-XX:+IgnoreUnrecognizedVMOptions", f"-Dlog4j.configuration={settings.as_uri()}",
                "-cp", ":".join(jars), *arguments]

    # -- the archive of loaded classes ----------------------------------------------------
    # A broker spends 3.5 s of processor time on its start, a third of which goes into loading
    # classes. The first broker that ends by itself writes them down; later ones map that file.

    @property
    def _archive(self):
        """Of one Java only: another would refuse it."""
        java = os.stat(shutil.which("java") or "/")
        return self._jars / f"classes-{java.st_mtime_ns:x}-{java.st_size:x}.jsa"

    def _learned(self, node: Node):
        return self.data_folder(node) / "classes.jsa"

    @property
    def discard_signal(self):
        return signal.SIGKILL if self._archive.exists() else signal.SIGTERM

    def ended(self, node: Node, gently: bool) -> None:
        learned, archive = self._learned(node), self._archive
        if gently and learned.exists() and not archive.exists():
            part = archive.with_name(f"{archive.name}.{os.getpid()}.part")
            shutil.copyfile(learned, part)
            part.replace(archive)
        learned.unlink(missing_ok=True)

    # -- a node ---------------------------------------------------------------------------

    def _settings_file(self, node: Node):
        file = self.folder / f"{node.name}.properties"
        count = len(self.nodes)
        controller, gated, gate = (f"127.0.0.1:{port}" for port in node.ports[1:])
        text = SETTINGS.format(
            id=node.name, address=node.address, controller=controller, gated=gated, gate=gate,
            voters=",".join(f"{one.name}@127.0.0.1:{one.ports[1]}" for one in self.nodes),
            data=self.data_folder(node) / "log", replicas=count, in_sync=(count + 1) // 2,
            session_ms=self.session_ms, heartbeat_ms=self.session_ms // 6)
        file.write_text(text, encoding="utf-8")
        return file

    def initialise(self, node: Node) -> None:
        # Short-lived: what the first compiler makes is good enough.
        command = self._java("kafka.tools.StorageTool", "format", "--cluster-id", self._cluster(),
                             "--config", str(self._settings_file(node)))
        command[1:1] = ["-XX:TieredStopAtLevel=1"]
        tool.run("kafka.tools.StorageTool", command, self.log_file(node),
                 folder=self.data_folder(node))

    def _cluster(self) -> str:
        """The cluster's id, the same for all its nodes."""
        return base64.urlsafe_b64encode(uuid.UUID(self.state["instance"]).bytes)[:22].decode()

    def command(self, node: Node) -> list:
        command = self._java("kafka.Kafka", str(self._settings_file(node)))
        archive = self._archive
        if archive.exists():
            command.insert(1, f"-XX:SharedArchiveFile={archive}")
        elif node.name == self.node_names[0]:
            command.insert(1, f"-XX:ArchiveClassesAtExit={self._learned(node)}")
        command[1:1] = [f"-Xmx{self.heap_mb}m", f"-Xms{self.heap_mb // 2}m",
                        "-XX:+ExitOnOutOfMemoryError"]
        return command

    def describe_node(self, node: Node) -> dict:
        return {"gated_port": node.ports[2], "gate_port": node.ports[3]}

    def node_is_ready(self, node: Node, running: process.Process) -> bool:
        """It knows all brokers and the controller, and is one of our cluster."""
        try:
            with Client(node.port, timeout_s=3.0) as client:
                metadata = client.metadata()
        except OSError:
            return False
        wanted = {int(one.name): ("127.0.0.1", one.port) for one in self.nodes}
        return (metadata.cluster == self._cluster() and metadata.brokers == wanted
                and metadata.controller in wanted)


class Kafka3(Kafka):
    name = "kafka3"
    node_names = ("1", "2", "3")
    variable = "DOORBUSTER_TEST_KAFKA3"
    heap_mb = 256
    stop_s = 5.0  # without their quorum they would look for it for half a minute
    # Nearer to the 9 s of a real cluster, since on two busy cores a short one ends by mistake.
    session_ms = 6000
