"""What the suites' conftest files share: scratch folders, server fixtures, logs on failure."""

import os
import shutil

import pytest

from .settings import BINARY, SCRATCH, raise_open_file_limit
from .server import Server

_running = []  # every server of this run that was not stopped yet, for reports and clean-up


def configure(config, suite: str) -> None:
    """Call from pytest_configure: everything the tests write stays inside the checkout."""
    raise_open_file_limit()
    if not os.access(BINARY, os.X_OK):
        raise pytest.UsageError(
            f"no binary at {BINARY}: build it, or name one in DOORBUSTER_BIN")
    if config.option.basetemp is None:
        SCRATCH.mkdir(parents=True, exist_ok=True)
        config.option.basetemp = str(SCRATCH / f"{suite}-{os.getpid()}")
        config.doorbuster_own_scratch = config.option.basetemp


def session_finish(session, status: int) -> None:
    """Ends what is left, and keeps the scratch folder only when something failed."""
    for server in list(_running):
        server.kill()
    scratch = getattr(session.config, "doorbuster_own_scratch", None)
    if scratch is not None and int(status) in (0, 5):
        shutil.rmtree(scratch, ignore_errors=True)


def add_server_logs(report) -> None:
    """Call with a finished report: shows the servers' last words next to a failure."""
    if report.failed:
        for server in _running:
            report.sections.append(
                (f"server on port {server.port}, folder {server.folder}, "
                 f"{'alive' if server.alive else 'ended'}", server.output()))


class Servers:
    """Makes servers in one scratch folder and ends whatever it made."""

    def __init__(self, folder):
        self._folder = folder
        self._made = []

    def __call__(self, start: bool = True, **options) -> Server:
        server = Server(self._folder / f"server-{len(self._made) + 1}", **options)
        self._made.append(server)
        _running.append(server)
        if start:
            server.start()
        return server

    def finish(self, judge: bool) -> None:
        """Stops the servers; with `judge` a server that does not stop cleanly is a failure.

        Servers that have ended already (killed by the test, or refused to start) are not judged.
        """
        try:
            for server in self._made:
                if server.alive and judge:
                    server.stop()
                elif server.process is not None:
                    server.kill()
                    server.check_output()
        finally:
            for server in self._made:
                if server.process is not None:
                    server.kill()
                _running.remove(server)
            self._made.clear()


@pytest.fixture
def make_server(tmp_path):
    """Starts servers for one test: `make_server(settings={...}, config="...")`."""
    servers = Servers(tmp_path)
    yield servers
    servers.finish(judge=True)


class SharedServer:
    """One server for a whole suite, replaced when a test has killed it."""

    def __init__(self, folder):
        self._folder = folder
        self._generation = 0
        self._servers = None
        self._server = None

    def get(self) -> Server:
        if self._server is None or not self._server.alive:
            self._generation += 1
            self._servers = Servers(self._folder / f"generation-{self._generation}")
            self._server = self._servers()
        return self._server

    def finish(self) -> None:
        if self._servers is not None:
            self._servers.finish(judge=True)


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory):
    shared = SharedServer(tmp_path_factory.mktemp("shared"))
    yield shared
    shared.finish()


@pytest.fixture
def server(shared_server):
    """The suite's embedded server with default settings. Tests make sales of their own."""
    running = shared_server.get()
    yield running
    assert running.alive, f"the server has ended during this test\n{running.output()}"
