"""Runs the tools that come with a server: to their end, with a bound, and never past a signal."""

import os
import signal
import subprocess
import time

from . import process
from .service import Failure, pause

TOOL_S = 120.0


def run(what: str, command, log, bound_s: float = TOOL_S, folder="/", environment=None) -> None:
    """Appends its output to the log. Raises Failure when it ends with a status, or not at all."""
    with open(log, "ab") as output:
        child = subprocess.Popen(
            command, cwd=folder, env=environment or process.server_environment(),
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            start_new_session=True)
    try:
        deadline = time.monotonic() + bound_s
        while child.poll() is None:
            if time.monotonic() > deadline:
                raise Failure(f"{what} did not end within {bound_s:.0f} s; its log: {log}")
            pause()
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    if child.returncode != 0:
        raise Failure(f"{what} failed with status {child.returncode}; its log: {log}")


def ask(command, bound_s: float = 10.0):
    """The output of a short question to a server, or None when it failed."""
    pause(0)
    try:
        answer = subprocess.run(command, env=process.server_environment(), cwd="/",
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.DEVNULL, timeout=bound_s, check=False)
    except subprocess.TimeoutExpired:
        return None
    return answer.stdout.decode("utf-8", "replace").strip() if answer.returncode == 0 else None
