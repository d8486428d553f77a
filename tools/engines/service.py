"""What all services have in common: their folder, start, stop, and waiting until ready."""

import contextlib
import dataclasses
import fcntl
import json
import os
import pathlib
import shutil
import signal
import threading
import time
import uuid

from . import ports, process

READY_S = 120.0  # from a process's start until it answers; a loaded machine needs half a minute
POLL_S = 0.03
LOCK_S = 300.0  # a first start of kafka by somebody else may download for minutes
PORT_TRIES = 5  # first starts that find a port taken that was free a moment ago
LOG_LINES = 15

cancelled = threading.Event()  # set by a signal; every wait of this package looks at it


class Failure(Exception):
    """Something that the user must know, in one line."""

    status = 1


class Cancelled(Exception):
    """A signal ended the command."""


class PortTaken(Failure):
    """Another process was quicker on a port that was free."""


def pause(seconds: float = POLL_S) -> None:
    if cancelled.wait(seconds):
        raise Cancelled()


@dataclasses.dataclass
class Node:
    """One server process. `ports`: the one for clients first."""

    name: str
    ports: list

    @property
    def port(self) -> int:
        return self.ports[0]

    @property
    def address(self) -> str:
        return f"{ports.LOOPBACK}:{self.port}"


class Service:
    """Subclasses say which nodes there are, how one starts, and when all are ready."""

    name = ""
    node_names = ()
    ports_per_node = 1
    program = ""  # file name of the server's executable, as /proc/PID/exe shows it
    variable = ""  # the environment variable by which tests find it
    # Data that is kept needs a clean end; data that is deleted anyway needs none.
    stop_signal = signal.SIGTERM
    discard_signal = signal.SIGKILL
    # A server with much to write needs seconds. Then SIGKILL, which its data must survive.
    stop_s = 30.0
    taken_texts = ("Address already in use",)

    def __init__(self, root, folder):
        self.root = pathlib.Path(root)
        self.services_folder = pathlib.Path(folder)
        self.folder = self.services_folder / self.name
        self.state = None  # service.json
        self.children = {}  # node name -> Popen of this command's own children

    # -- what subclasses fill in ----------------------------------------------------------

    def check_installed(self) -> None:
        """Raises Failure when a program is missing."""

    def prepare(self) -> None:
        """Before anything of the service exists; may take minutes."""

    def initialise(self, node: Node) -> None:
        """Makes the first data of a node in its (empty, existing) data folder."""

    def command(self, node: Node) -> list:
        """The server's command line. It must not fork into the background."""
        raise NotImplementedError

    def node_is_ready(self, node: Node, running: process.Process) -> bool:
        """Whether this very process answers a real question."""
        raise NotImplementedError

    def join(self) -> None:
        """After all nodes answer for the first time: makes them one."""

    def is_ready(self) -> bool:
        """Whether the nodes work together. Asked after every start of a node."""
        return True

    def url(self) -> str:
        """How doorbuster's tests name it."""
        return ",".join(node.address for node in self.nodes)

    # -- state ----------------------------------------------------------------------------

    @property
    def state_file(self):
        return self.folder / "service.json"

    @property
    def nodes(self) -> list:
        return [Node(**one) for one in self.state["nodes"]] if self.state else []

    def data_folder(self, node: Node):
        return self.folder / node.name

    def log_file(self, node: Node):
        return self.folder / f"{node.name}.log"

    def record_file(self, node: Node):
        return self.folder / f"{node.name}.process"

    def running(self, node: Node):
        """The node's process, or None."""
        return process.read_record(self.record_file(node))

    def load(self) -> None:
        try:
            self.state = json.loads(self.state_file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            self.state = None

    def save(self) -> None:
        process.write_atomically(self.state_file, json.dumps(self.state, indent=1) + "\n")

    @contextlib.contextmanager
    def locked(self):
        """One start or stop of a service at a time."""
        self.services_folder.mkdir(parents=True, exist_ok=True)
        with open(self.services_folder / f"{self.name}.lock", "w", encoding="utf-8") as file:
            lock(file, f"another start or stop of {self.name}")
            self.load()
            yield

    # -- start ----------------------------------------------------------------------------

    def start(self, owner=None, before_creation=lambda: None) -> bool:
        """Starts what does not run and waits until it is ready; whether it started anything.

        `owner`: the process with which a service that is created here shall end;
        `before_creation` is called if one is.
        """
        with self.locked():
            if self.state is None:
                self.check_installed()
                self.prepare()
                before_creation()
                self._start_first(owner)
                return True
            return self._start_missing()

    def _start_first(self, owner) -> None:
        for attempt in range(PORT_TRIES):
            try:
                self._create(owner)
                self._start_missing()
                return
            except PortTaken:
                self._end(discard=True)
                if attempt + 1 == PORT_TRIES:
                    raise
            except BaseException:
                self._end(discard=True)
                raise

    def _create(self, owner) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        numbers = ports.free_ports(len(self.node_names) * self.ports_per_node)
        width = self.ports_per_node
        self.state = {
            "name": self.name, "instance": uuid.uuid4().hex, "joined": False,
            "owner": dataclasses.asdict(owner) if owner else None,
            "nodes": [{"name": name, "ports": numbers[index * width:(index + 1) * width]}
                      for index, name in enumerate(self.node_names)]}
        self.save()
        for node in self.nodes:
            self.data_folder(node).mkdir()

    def _start_missing(self) -> bool:
        started = []
        try:
            for node in self.nodes:
                running = self.running(node)
                if running is None:
                    started.append(node)
                    if len(started) == 1:
                        self.check_installed()
                elif running.paused:
                    raise Failure(f"{self.name}: {node.name} (process {running.pid}) is paused by "
                                  "SIGSTOP; SIGCONT wakes it")
            self._initialise_all(started)
            for node in started:
                self._launch(node)
            self._wait(self._nodes_are_ready)
            if not self.state["joined"]:
                self.join()
                self.state["joined"] = True
                self.save()
            if started:
                self._wait(self.is_ready)
        except BaseException:
            # What ran before this call is left as it was.
            self._end_nodes(started, self.stop_signal)
            raise
        return bool(started)

    def _initialise_all(self, nodes) -> None:
        done = self.state.setdefault("initialised", [])
        for node in nodes:
            if node.name not in done:
                self.initialise(node)
                done.append(node.name)
                self.save()

    def _launch(self, node: Node) -> None:
        process.end_leftovers(self.data_folder(node), self.program)
        child, _ = process.spawn(self.command(node), self.data_folder(node), self.log_file(node),
                                 self.record_file(node))
        self.children[node.name] = child

    def _nodes_are_ready(self) -> bool:
        return all(self._node_is_ready(node) for node in self.nodes)

    def _node_is_ready(self, node: Node) -> bool:
        child = self.children.get(node.name)
        if child is not None and child.poll() is not None:
            self._explain_end(node, child.returncode)
        running = self.running(node)
        if running is None:
            raise Failure(f"{self.name}: {node.name} has ended; its log: {self.log_file(node)}")
        return self.node_is_ready(node, running)

    def _explain_end(self, node: Node, status: int) -> None:
        tail = last_lines(self.log_file(node), LOG_LINES)
        if any(text.lower() in tail.lower() for text in self.taken_texts):
            raise PortTaken(f"{self.name}: another process has one of the ports "
                            f"{', '.join(map(str, node.ports))} of {ports.LOOPBACK}: stop it, or "
                            f"begin anew with tools/services stop {self.name}")
        how = f"status {status}" if status >= 0 else f"signal {-status}"
        raise Failure(f"{self.name}: {node.name} ended with {how} while it started; the end of "
                      f"{self.log_file(node)}:\n{tail}")

    def _wait(self, condition) -> None:
        deadline = time.monotonic() + READY_S
        while not condition():
            if time.monotonic() > deadline:
                raise Failure(f"{self.name} was not ready within {READY_S:.0f} s; its logs: "
                              + ", ".join(str(self.log_file(node)) for node in self.nodes))
            pause()

    # -- stop -----------------------------------------------------------------------------

    def stop(self, keep_data: bool = False, instance=None) -> bool:
        """Ends the processes; whether there were any. `instance`: only if it is still this one."""
        with self.locked():
            if self.state is None or instance not in (None, self.state["instance"]):
                return False
            return self._end(discard=not keep_data)

    def restart(self, empty: bool = False) -> None:
        """Ends and starts all nodes on the same ports; `empty`: without their data."""
        with self.locked():
            if self.state is None:
                raise Failure(f"{self.name} was not started: tools/services start {self.name}")
            self.check_installed()
            self._end_nodes(self.nodes, self.discard_signal if empty else self.stop_signal)
            if empty:
                for node in self.nodes:
                    self.discard(node)
                    self.data_folder(node).mkdir()
                self.state |= {"joined": False, "initialised": []}
                self.save()
            self._start_missing()

    def _end(self, discard: bool) -> bool:
        ended = self._end_nodes(self.nodes, self.discard_signal if discard else self.stop_signal)
        if discard:
            for node in self.nodes:
                self.discard(node)
            self.state_file.unlink(missing_ok=True)
            self.state = None
        return ended

    def _end_nodes(self, nodes, number) -> bool:
        """All at once: the last ones of a cluster cannot end in peace when the others are gone."""
        found = []
        for node in nodes:
            running = self.running(node)
            # Without its record a server is found by its folder.
            found += ([running] if running is not None
                      else process.in_folder(self.data_folder(node), self.program))
        gently = process.end_all(found, number, self.stop_s)
        for node in nodes:
            child = self.children.pop(node.name, None)
            if child is not None:
                child.wait()
            process.end_leftovers(self.data_folder(node), self.program)
            self.record_file(node).unlink(missing_ok=True)
            self.ended(node, gently)
        return bool(found)

    def ended(self, node: Node, gently: bool) -> None:
        """After a node's end, which may have been long ago; not gently: by SIGKILL."""

    def discard(self, node: Node) -> None:
        """Deletes a node's data."""
        shutil.rmtree(self.data_folder(node), ignore_errors=True)

    # -- what there is --------------------------------------------------------------------

    def status(self) -> str:
        """running, partly (some of its nodes), stopped (its data is there), or absent."""
        if self.state is None:
            return "absent"
        alive = [self.running(node) is not None for node in self.nodes]
        if all(alive):
            return "running"
        return "partly" if any(alive) else "stopped"

    def describe_node(self, node: Node) -> dict:
        """What a node has that others have not."""
        del node
        return {}

    def describe(self) -> dict:
        """Everything a test wants to know, as JSON."""
        nodes = []
        for node in self.nodes:
            running = self.running(node)
            nodes.append({
                "name": node.name, "host": ports.LOOPBACK, "port": node.port,
                "ports": node.ports, "pid": running.pid if running else None,
                "start_time": running.start_time if running else None,
                "paused": bool(running and running.paused),
                "data": str(self.data_folder(node)), "log": str(self.log_file(node)),
                **self.describe_node(node)})
        tool = str(self.root / "tools" / "services")
        return {"name": self.name, "status": self.status(), "folder": str(self.folder),
                "instance": self.state["instance"] if self.state else None,
                "owner": self.state["owner"] if self.state else None,
                "variable": self.variable, "url": self.url() if self.state else None,
                "nodes": nodes, "start": [tool, "start", self.name],
                "restart": [tool, "restart", self.name], "stop": [tool, "stop", self.name],
                "environment": {"DOORBUSTER_SERVICES_DIR": str(self.services_folder)}}


def lock(file, what: str) -> None:
    """Takes the lock of an open file; the file's closing gives it back."""
    deadline = time.monotonic() + LOCK_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise Failure(f"{what} does not end ({LOCK_S:.0f} s)") from None
            pause(0.1)


def need_programs(service: str, *programs) -> None:
    for program in programs:
        if shutil.which(program) is None and not os.access(program, os.X_OK):
            raise Failure(f"{service} needs {program}, which is not installed: "
                          "tools/install-packages services")


def last_lines(file, count: int) -> str:
    try:
        text = pathlib.Path(file).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-count:])
