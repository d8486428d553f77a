"""Hooks of the edge suite; everything of substance is in tests/harness."""

import pathlib
import sys

import pytest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness import plugin  # noqa: E402
from harness.edge import Edge, require_nginx  # noqa: E402
from harness.gate import Gate  # noqa: E402
from harness.plugin import Servers, server, shared_server  # noqa: E402,F401


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    plugin.configure(config, "edge")


def pytest_sessionfinish(session, exitstatus):
    plugin.session_finish(session, exitstatus)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport():
    outcome = yield
    plugin.add_server_logs(outcome.get_result())


PROXIED = '[server]\ntrusted_proxies = ["127.0.0.1"]\n'


class Edges:
    """Makes servers with nginx before them, and ends what it made."""

    def __init__(self, folder):
        self._folder = folder
        self._servers = Servers(folder)
        self._edges = []

    def __call__(self, config: str = PROXIED, gate: bool = False, **options) -> Edge:
        server = self._servers(config=config, **options)
        edge = Edge(self._folder / f"edge-{len(self._edges) + 1}", server,
                    Gate(server.port) if gate else None)
        self._edges.append(edge)
        plugin._running.append(edge)
        return edge.start()

    def finish(self) -> None:
        for edge in self._edges:
            plugin._running.remove(edge)
            edge.stop()
            if edge.gate is not None:
                edge.gate.close()
        self._servers.finish(judge=True)


@pytest.fixture
def make_edge(tmp_path):
    """An edge for one test: make_edge(config=...)."""
    require_nginx()
    edges = Edges(tmp_path)
    yield edges
    edges.finish()


@pytest.fixture(scope="module")
def edge(tmp_path_factory):
    """nginx before a server with default settings, for tests that hurt nobody."""
    require_nginx()
    edges = Edges(tmp_path_factory.mktemp("edge"))
    yield edges()
    edges.finish()
