"""The engines of the cluster shape for a benchmark: tools/services starts them, once a run."""

import contextlib
import json
import os
import pathlib
import shutil
import subprocess

import servers

ROOT = servers.HERE.parents[1]
TOOL = ROOT / "tools" / "services"

# PostgreSQL with its shared library Kafka's JVM and MariaDB's first data: seconds; a first
# download of Kafka: minutes.
TOOL_SECONDS_MAX = 600
QUESTION_SECONDS_MAX = 120


class Services:
    """Entered: they run, on free ports, and end with this process, however that happens."""

    def __init__(self, folder, names):
        self.folder = pathlib.Path(folder)
        self.names = names
        self.nodes = {}

    def __enter__(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        try:
            self._tool("start", *self.names, "--owner", str(os.getpid()))
            if "postgresql" in self.names:
                self._load_statement_counter()
            for name in self.names:
                self.nodes[name] = json.loads(self._tool("show", name, "--json"))["nodes"][0]
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        with contextlib.suppress(servers.Failure):
            self._tool("stop")
        shutil.rmtree(self.folder, ignore_errors=True)

    def _tool(self, *words):
        environment = os.environ | {"DOORBUSTER_SERVICES_DIR": str(self.folder)}
        try:
            done = subprocess.run(
                [TOOL, *words], env=environment, capture_output=True, text=True,
                timeout=TOOL_SECONDS_MAX, check=False, stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired:
            raise servers.Failure(f"tools/services {' '.join(words)} does not end") from None
        if done.returncode != 0:
            raise servers.Failure(f"tools/services {' '.join(words)}: {done.stdout}{done.stderr}")
        return done.stdout

    def _load_statement_counter(self):
        """pg_stat_statements counts each statement that the server executes, whoever sends it."""
        port = json.loads(self._tool("show", "postgresql", "--json"))["nodes"][0]["port"]
        self.nodes["postgresql"] = {"port": port}
        self.psql("postgres", "alter system set shared_preload_libraries = 'pg_stat_statements'")
        self._tool("restart", "postgresql")
        self.psql("postgres", "create extension pg_stat_statements")

    def port(self, name):
        return self.nodes[name]["port"]

    def address(self, name):
        return f"127.0.0.1:{self.port(name)}"

    def pids(self):
        """Their processes, and PostgreSQL's sessions, which are processes of their own."""
        pids = [node["pid"] for node in self.nodes.values()]
        if "postgresql" in self.nodes:
            for pid in servers.children_of(self.nodes["postgresql"]["pid"]):
                with contextlib.suppress(OSError):
                    title = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
                    # Those come and go.
                    if b"autovacuum worker" not in title and b"127.0.0.1" in title \
                            or b"writer" in title or b"checkpointer" in title:
                        pids.append(pid)
        return pids

    def psql(self, database, question):
        address = (f"host=127.0.0.1 port={self.port('postgresql')} user=doorbuster "
                   f"dbname={database}")
        return _ask("psql", "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-c", question,
                    address)

    def mariadb(self, question):
        return _ask("mariadb", "--no-defaults", "-h", "127.0.0.1", "-P",
                    str(self.port("mariadb")), "-u", "root", "-N", "-B", "-e", question)


def _ask(*command):
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=QUESTION_SECONDS_MAX, check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        raise servers.Failure(f"{command[0]} does not end") from None
    if done.returncode != 0:
        raise servers.Failure(f"{command[0]}: {done.stderr.strip()}")
    return done.stdout.strip()
