"""A small project with our scripts, a fake doorbuster and three fake tests, for each test."""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

import pytest

ROOT = pathlib.Path(__file__).parent.parent.parent
BOUND_S = 30

PRESETS = """{"version": 4, "configurePresets": [
  {"name": "release", "generator": "Ninja", "binaryDir": "${sourceDir}/build/release"},
  {"name": "dev", "inherits": "release", "binaryDir": "${sourceDir}/build/dev"},
  {"name": "tsan", "inherits": "release", "binaryDir": "${sourceDir}/build/tsan"},
  {"name": "fuzz", "inherits": "release", "binaryDir": "${sourceDir}/build/fuzz"}]}
"""
CMAKE = """cmake_minimum_required(VERSION 3.23)
project(fake NONE)
add_custom_target(doorbuster ALL COMMAND ${CMAKE_COMMAND} -E copy
    ${CMAKE_SOURCE_DIR}/fake_doorbuster.py ${CMAKE_BINARY_DIR}/doorbuster)
enable_testing()
add_test(NAME good COMMAND true)
add_test(NAME slow COMMAND /bin/sh -c "echo $$ > slow.pid; exec sleep 1000")
add_test(NAME bad COMMAND false)
add_test(NAME settings COMMAND /bin/sh -c
    "! env | grep -v -e DOORBUSTER_TEST_ -e DOORBUSTER_SERVICES_DIR | grep DOORBUSTER_")
set_tests_properties(good PROPERTIES LABELS "unit;quick.ish")
set_tests_properties(slow PROPERTIES LABELS slow)
set_tests_properties(bad PROPERTIES LABELS broken)
set_tests_properties(settings PROPERTIES LABELS unit)
"""
SERVICES = """#!/bin/sh
# Stands for the real servers.
if [ "$1" = env ]; then echo "export DOORBUSTER_TEST_REDIS=redis://127.0.0.1:1"; fi
"""


def eventually(condition, what):
    deadline = time.monotonic() + BOUND_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {BOUND_S} s: {what}"
        time.sleep(0.02)  # poll: the condition


def is_alive(pid):
    """Whether the process runs; a zombie that nobody has reaped yet does not."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rsplit(")", 1)[1].split()[0] != "Z"


class Project:
    def __init__(self, root):
        self.root = root
        self.log = root / "fake.log"
        for name in ["run", "test", "tools/common.sh", "tools/build", "tools/install-packages"]:
            (root / name).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, root / name)
        services = root / "tools/services"
        services.write_text(SERVICES, encoding="utf-8")
        services.chmod(0o755)
        shutil.copy(ROOT / "tools/tests/fake_doorbuster.py", root)
        (root / "fake_doorbuster.py").chmod(0o755)
        (root / "CMakePresets.json").write_text(PRESETS, encoding="utf-8")
        (root / "CMakeLists.txt").write_text(CMAKE, encoding="utf-8")
        self.started = []

    def start(self, *command, stdout=None, **environment):
        """Starts a script the way a terminal does: in a process group of its own."""
        out = stdout or open(self.root / "output", "w", encoding="utf-8")
        # ./test around us has settings of its own.
        ours = {k: v for k, v in os.environ.items() if not k.startswith("DOORBUSTER_")}
        process = subprocess.Popen(
            [self.root / command[0], *command[1:]],
            env={**ours, "DOORBUSTER_SKIP_INSTALL": "1", "FAKE_LOG": str(self.log)} | environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def finish(self, *command, **environment):
        """Exit status and output of a script."""
        process = self.start(*command, **environment)
        return process.wait(BOUND_S), self.output()

    def output(self):
        return (self.root / "output").read_text(encoding="utf-8")

    def calls(self):
        return self.log.read_text(encoding="utf-8").splitlines() if self.log.exists() else []

    def call(self, word):
        """The words of the first noted call that starts with word, once there is one."""
        return next((line.split() for line in self.calls() if line.split()[0] == word), None)

    def clean_up(self):
        for process in self.started:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                process.wait(BOUND_S)


@pytest.fixture
def project(tmp_path):
    made = Project(tmp_path)
    yield made
    made.clean_up()


@pytest.fixture
def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
