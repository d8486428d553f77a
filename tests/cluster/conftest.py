"""Hooks of the cluster suite; everything of substance is in tests/harness."""

import pathlib
import sys

import pytest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness import plugin  # noqa: E402
from harness.cluster import Cluster, Engines  # noqa: E402
from harness.plugin import make_server  # noqa: E402,F401
from harness.services import Services, require  # noqa: E402


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    plugin.configure(config, "cluster")


def pytest_sessionfinish(session, exitstatus):
    plugin.session_finish(session, exitstatus)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport():
    outcome = yield
    plugin.add_server_logs(outcome.get_result())


@pytest.fixture(scope="session")
def services(tmp_path_factory):
    """Engines that tests may kill, for all of them in turn: each finds them dead or alive."""
    mine = Services(tmp_path_factory.mktemp("engines"))
    yield mine
    mine.stop()


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """Two serve and two write on the shared engines, for tests that hurt nobody."""
    engines = Engines(require("postgresql"), require("redis"), require("kafka"))
    with Cluster(tmp_path_factory.mktemp("cluster"), engines) as running:
        yield running
