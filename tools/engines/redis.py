"""Redis 7: one, a primary with a replica, a cluster of three."""

from . import process
from .redis_wire import Redis, RedisError
from .service import Node, Service, need_programs

SLOTS = 16384
ANSWER_S = 2.0  # to one question while it starts; then it is asked again

# everysec and noeviction are what doorbuster asks of a real Redis. No delay before a replica's
# first copy: the default of 5 s waits for more replicas, which never come here. DEBUG is for the
# fault tests (DEBUG SLEEP). shutdown-timeout would wait for a replica that a test has paused.
SETTINGS = """\
bind 127.0.0.1
port {port}
dir {data}
daemonize no
save ""
appendonly yes
appendfsync everysec
maxmemory-policy noeviction
repl-diskless-sync yes
repl-diskless-sync-delay 0
enable-debug-command local
shutdown-timeout 0
"""


class RedisService(Service):
    name = "redis"
    node_names = ("redis",)
    program = "redis-server"
    variable = "DOORBUSTER_TEST_REDIS"

    def check_installed(self) -> None:
        need_programs(self.name, "redis-server")

    def command(self, node: Node) -> list:
        file = self.folder / f"{node.name}.conf"
        file.write_text(self.settings(node), encoding="utf-8")
        return ["redis-server", str(file)]

    def settings(self, node: Node) -> str:
        # Quoted: a folder's name may hold a space.
        return SETTINGS.format(port=node.port, data=quoted(self.data_folder(node)))

    def node_is_ready(self, node: Node, running: process.Process) -> bool:
        try:
            with Redis(node.port, timeout_s=ANSWER_S) as redis:
                # Another Redis on this port would answer, too, but with another process id.
                return (redis.command("PING") == b"PONG"
                        and int(redis.info("server")["process_id"]) == running.pid)
        except (OSError, RedisError):
            return False

    def url(self) -> str:
        return f"redis://{self.nodes[0].address}"


class RedisReplica(RedisService):
    name = "redis-replica"
    node_names = ("primary", "replica")
    variable = "DOORBUSTER_TEST_REDIS_REPLICA"

    def settings(self, node: Node) -> str:
        text = super().settings(node)
        primary = self.nodes[0]
        if node.name != primary.name:
            text += f"replicaof {primary.address.replace(':', ' ')}\n"
        return text

    def is_ready(self) -> bool:
        """The replica follows, or is a replica no longer, since a test has promoted it."""
        try:
            with Redis(self.nodes[1].port) as redis:
                state = redis.info("replication")
        except (OSError, RedisError):
            return False
        return state["role"] == "master" or (
            state["master_link_status"] == "up" and state["master_sync_in_progress"] == "0")

    def url(self) -> str:
        return ",".join(node.address for node in self.nodes)


class RedisCluster(RedisService):
    name = "redis-cluster"
    node_names = ("1", "2", "3")
    ports_per_node = 2  # clients, and the nodes among themselves
    variable = "DOORBUSTER_TEST_REDIS_CLUSTER"

    def settings(self, node: Node) -> str:
        return super().settings(node) + (
            "cluster-enabled yes\n"
            "cluster-config-file nodes.conf\n"
            "cluster-node-timeout 2000\n"
            "cluster-announce-ip 127.0.0.1\n"
            f"cluster-port {node.ports[1]}\n")

    def join(self) -> None:
        """What `redis-cli --cluster create` does, without its pauses."""
        nodes = self.nodes
        for index, node in enumerate(nodes):
            first = SLOTS * index // len(nodes)
            last = SLOTS * (index + 1) // len(nodes) - 1
            with Redis(node.port) as redis:
                redis.command("CLUSTER", "ADDSLOTSRANGE", first, last)
                # Distinct epochs from the start: no conflict has to be settled later.
                redis.command("CLUSTER", "SET-CONFIG-EPOCH", index + 1)
        for node in nodes[1:]:
            with Redis(nodes[0].port) as redis:
                redis.command("CLUSTER", "MEET", "127.0.0.1", node.ports[0], node.ports[1])

    def is_ready(self) -> bool:
        return all(self._sees_all(node) for node in self.nodes)

    def _sees_all(self, node: Node) -> bool:
        try:
            with Redis(node.port) as redis:
                state = redis.command("CLUSTER", "INFO").decode()
                lines = redis.command("CLUSTER", "NODES").decode().splitlines()
        except (OSError, RedisError):
            return False
        connected = [line for line in lines if line.split()[7] == "connected"
                     and not {"fail", "fail?", "handshake"} & set(line.split()[2].split(","))]
        return ("cluster_state:ok" in state and f"cluster_slots_ok:{SLOTS}" in state
                and len(connected) == len(self.nodes))

    def url(self) -> str:
        return ",".join(node.address for node in self.nodes)


def quoted(path) -> str:
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'
