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

# A start takes seconds, a first download of Kafka minutes.
TOOL_SECONDS_MAX = 600
QUESTION_SECONDS_MAX = 120


class Services:
    """Entered: they run, on free ports, and end with this process, however that happens."""

    def __init__(self, folder, names, count_statements):
        self.folder = pathlib.Path(folder)
        self.names = names
        self.count_statements = count_statements
        self.nodes = {}

    def __enter__(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        try:
            self._tool("start", *self.names, "--owner", str(os.getpid()))
            if self.count_statements:
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
        return [pid for name in self.names for pid in self.pids_of(name)]

    def pids_of(self, name):
        """The engine's process, and PostgreSQL's sessions, which are processes of their own."""
        pids = [self.nodes[name]["pid"]]
        for pid in servers.children_of(pids[0]):
            with contextlib.suppress(OSError):
                title = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
                # Those come and go, as does the child in which Redis rewrites its file.
                if name != "redis" and b"autovacuum worker" not in title:
                    pids.append(pid)
        return pids

    def psql(self, database, question):
        address = (f"host=127.0.0.1 port={self.port('postgresql')} user=doorbuster "
                   f"dbname={database}")
        return _ask("psql", "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-c", question,
                    address)

    def mariadb(self, database, question, delimiter=";"):
        return _ask("mariadb", "--no-defaults", "-h", "127.0.0.1", "-P",
                    str(self.port("mariadb")), "-u", "root", "-N", "-B",
                    f"--delimiter={delimiter}", "-e", question, database)


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
