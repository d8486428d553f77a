"""Hooks of the fault suite; everything of substance is in tests/harness."""

import pathlib
import sys

import pytest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness import plugin  # noqa: E402
from harness.plugin import make_server, server, shared_server  # noqa: E402,F401


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    plugin.configure(config, "fault")


def pytest_sessionfinish(session, exitstatus):
    plugin.session_finish(session, exitstatus)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport():
    outcome = yield
    plugin.add_server_logs(outcome.get_result())
