"""PostgreSQL: durable as a real one (fsync is on), open to everyone on loopback."""

import glob
import os
import pathlib
import shutil
import signal
import subprocess

from . import process, tool
from .service import Failure, Node, Service, need_programs

DATABASE = "doorbuster"
ACCOUNT = "postgres"  # the package's: the server refuses to run as root

# TCP only: the path of a unix socket has a limit of 107 bytes, which a folder may exceed. Shared
# memory (rare: parallel queries) in files of the data folder: a killed server leaves those of
# /dev/shm behind, where nobody could say whose they are.
SETTINGS = """\
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
max_connections = 200
fsync = on
dynamic_shared_memory_type = mmap
timezone = 'UTC'
log_line_prefix = '%m [%p] '
log_checkpoints = off
"""


class PostgreSql(Service):
    name = "postgresql"
    node_names = ("postgresql",)
    program = "postgres"
    variable = "DOORBUSTER_TEST_POSTGRESQL"
    stop_signal = signal.SIGINT  # the fast shutdown: clients are sent away
    discard_signal = signal.SIGQUIT  # at once, but its shared memory is given back
    taken_texts = ("Address already in use", "could not create any TCP/IP sockets")

    def check_installed(self) -> None:
        need_programs(self.name, program("initdb"), program("postgres"), "psql")

    def initialise(self, node: Node) -> None:
        # Not synced: this data need not survive the machine, and what follows is synced again.
        self._run_as_account(node, "initdb", [
            program("initdb"), "--pgdata", str(self.data_folder(node)), "--username", DATABASE,
            "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync",
            "--no-instructions"])
        file = self.data_folder(node) / "postgresql.conf"
        with open(file, "a", encoding="utf-8") as settings:
            settings.write(SETTINGS.format(port=node.port))

    def _run_as_account(self, node: Node, what: str, command) -> None:
        prefix = self._become_account(node)
        tool.run(what, [*prefix, *command], self.log_file(node))

    def _become_account(self, node: Node) -> list:
        """What comes before a command that must not run as root."""
        if os.geteuid() != 0:
            return []
        folder = self.data_folder(node)
        os.chmod(folder, 0o700)
        shutil.chown(folder, ACCOUNT, ACCOUNT)
        plain = ["setpriv", f"--reuid={ACCOUNT}", f"--regid={ACCOUNT}", "--init-groups"]
        # A checkout below /root: the account may not pass through the folders above, unless it
        # keeps root's capability to do so.
        passing = [*plain, "--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
        for prefix in (plain, passing):
            if can_use(prefix, folder):
                return [*prefix, "--"]
        raise Failure(f"{self.name} runs as the user {ACCOUNT}, who cannot reach {folder}: name "
                      "a folder that everyone may pass in DOORBUSTER_SERVICES_DIR")

    def command(self, node: Node) -> list:
        # Of a killed server. Whether its processes have ended is known here better than there.
        (self.data_folder(node) / "postmaster.pid").unlink(missing_ok=True)
        return [*self._become_account(node), program("postgres"), "-D",
                str(self.data_folder(node))]

    def node_is_ready(self, node: Node, running: process.Process) -> bool:
        try:
            text = (self.data_folder(node) / "postmaster.pid").read_text(encoding="utf-8")
        except FileNotFoundError:
            return False
        lines = text.split("\n")
        # This process, on this port, accepts connections ("starting" and "stopping" do not).
        if len(lines) < 8 or lines[0] != str(running.pid) or lines[7].strip() != "ready":
            return False
        return self._ask(node, "postgres", "select 1") == "1"

    def join(self) -> None:
        node = self.nodes[0]
        if self._ask(node, "postgres", f"create database {DATABASE}") is None:
            raise Failure(f"{self.name}: could not create the database {DATABASE}; the log: "
                          f"{self.log_file(node)}")

    def is_ready(self) -> bool:
        return self._ask(self.nodes[0], DATABASE, "select 1") == "1"

    def _ask(self, node: Node, database: str, question: str):
        return tool.ask(["psql", "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-c", question,
                         f"host=127.0.0.1 port={node.port} user={DATABASE} dbname={database} "
                         "connect_timeout=5"])

    def discard(self, node: Node) -> None:
        self._free_shared_memory(node)
        super().discard(node)

    def _free_shared_memory(self, node: Node) -> None:
        """A killed server leaves a System V segment of 56 bytes, which its next start removes."""
        try:
            lines = (self.data_folder(node) / "postmaster.pid").read_text("utf-8").split("\n")
            identifier = str(int(lines[6].split()[1]))
        except (OSError, IndexError, ValueError):
            return
        subprocess.run(["ipcrm", "-m", identifier], check=False, stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def url(self) -> str:
        return f"postgresql://{DATABASE}@{self.nodes[0].address}/{DATABASE}"


def program(name: str) -> str:
    """Debian keeps the server's programs out of the PATH, by version; the newest counts."""
    def version(path: str) -> int:
        number = pathlib.Path(path).parts[-3]
        return int(number) if number.isdigit() else 0

    found = max(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"), key=version, default=None)
    return found or name


def can_use(prefix, folder) -> bool:
    """Tried out: access(2), with which test(1) asks, does not count such a capability."""
    probe = folder / "doorbuster-probe"
    tried = subprocess.run([*prefix, "--", "touch", str(probe)], check=False, cwd="/",
                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL)
    probe.unlink(missing_ok=True)  # initdb wants an empty folder
    return tried.returncode == 0
