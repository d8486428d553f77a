"""The peers of bench/cluster: bench/peers' own nginx + Lua + Redis, and doorbuster's cluster."""

import itertools
import re

import servers
import services
from engines.kafka_wire import Kafka
from engines.redis_wire import Redis

TEMPLATE = """\
[inventory]
backend = "redis"
[log]
backend = "kafka"
[store]
url = "postgresql://doorbuster@{postgresql}/{name}"
[redis]
url = "redis://{redis}"
[kafka]
brokers = ["{kafka}"]
topic = "{name}"
group = "{name}"
[writer]
enabled = false
"""

BUCKET = re.compile(r'^doorbuster_log_append_seconds_bucket\{le="([^"]+)"\} (\S+)$', re.MULTILINE)


def command_counts(redis):
    """Commands that Redis has executed, also those within scripts, by name."""
    counts = {}
    for name, figures in redis.info("commandstats").items():
        counts["redis " + name.removeprefix("cmdstat_")] = int(
            re.search(r"calls=(\d+)", figures).group(1))
    return counts


class LuaRedis(servers.NginxRedis):
    """As in bench/peers, and counted."""

    def counts(self):
        with Redis(self.redis_port) as redis:
            counts = command_counts(redis)
        for server in self.servers:
            counts["cpu " + server.name] = servers.cpu_seconds(server.pids())
        return counts


class Cluster(servers.Doorbuster):
    """serve and write over Redis, Kafka and PostgreSQL: the engines run on from measurement to
    measurement, with an empty Redis, a new topic and a new database for each."""

    name = "cluster"
    title = "doorbuster `serve` and `write` over Redis, Kafka and PostgreSQL, durable"
    engines = None  # services.Services of the run
    _numbers = itertools.count(1)

    @staticmethod
    def versions():
        engines = Cluster.engines
        return {"PostgreSQL": engines.psql("postgres", "show server_version")} if engines else {}

    def start(self):
        self.store_name = f"bench-{next(self._numbers)}"
        engines = self.engines
        with Redis(engines.port("redis")) as redis:
            redis.command("FLUSHALL")
        engines.psql("postgres", f'create database "{self.store_name}"')
        addresses = {name: engines.address(name) for name in engines.names}
        config = self.scratch / "doorbuster.toml"
        config.write_text(TEMPLATE.format(name=self.store_name, **addresses))
        self.port = servers.free_port()
        for name, words in (
            ("serve", ["--listen", f"127.0.0.1:{self.port}", "--data", self.scratch / "data"]),
            ("write", []),
        ):
            command = [self.options.binary, name, *words, "--config", config]
            self.servers.append(servers.Server(
                f"{self.name} ({name})", command, self.scratch / f"{name}.log", self._is_ready
                if name == "serve" else lambda: True, env=self._environment(),
                cwd=self.scratch,
            ))

    def _stop_all(self, check):
        try:
            super()._stop_all(check)
        finally:
            # What PostgreSQL still has to write is not the next peer's to wait for.
            self.engines.psql("postgres", f'drop database "{self.store_name}" with (force)')
            self.engines.psql("postgres", "checkpoint")
            with Kafka(self.engines.port("kafka")) as kafka:
                if kafka.metadata([self.store_name]).topics:
                    kafka.delete_topic(self.store_name)

    def pids(self):
        return [*super().pids(), *self.engines.pids()]

    def _cpu_seconds(self):
        """By process, PostgreSQL's sessions in one."""
        used = {server.name: servers.cpu_seconds(server.pids()) for server in self.servers}
        for name in self.engines.names:
            used[name] = servers.cpu_seconds(self.engines.pids_of(name))
        return used

    def counts(self):
        with Redis(self.engines.port("redis")) as redis:
            counts = command_counts(redis)
        with Kafka(self.engines.port("kafka")) as kafka:
            topic = kafka.metadata([self.store_name]).topics[self.store_name]
            counts["kafka records"] = sum(
                kafka.end_offset(self.store_name, partition) for partition in topic)
        counts["sql statements"] = int(self.engines.psql(
            "postgres",
            "select coalesce(sum(calls), 0) from pg_stat_statements s join pg_database d "
            f"on d.oid = s.dbid where d.datname = '{self.store_name}'"))
        counts["sql commits"] = int(self.engines.psql(
            "postgres",
            f"select xact_commit from pg_stat_database where datname = '{self.store_name}'"))
        counts |= {"cpu " + name: seconds for name, seconds in self._cpu_seconds().items()}
        page = self.request("GET", "/metrics")[2].decode()
        for bound, value in BUCKET.findall(page):
            counts["log seconds <= " + bound] = float(value)
        return counts


PEERS = {kind.name: kind for kind in (LuaRedis, Cluster)}
