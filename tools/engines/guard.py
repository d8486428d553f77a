"""The process behind `start --owner PID`: ends the owner's services when the owner has ended.

It works however the owner ends, SIGKILL included. It ends by itself when the owner's services are
gone, so that a plain `stop` leaves no process behind either.
"""

import os
import pathlib
import subprocess
import sys
import threading

from . import process

CHECK_S = 1.0  # how soon it notices that nothing is left to guard


class Guarding:
    """Starts one guard for all that a call creates, and none if it creates nothing."""

    def __init__(self, folder, owner):
        self._folder = folder
        self._owner = owner  # None: nobody's
        self._lock = threading.Lock()

    def ensure(self) -> None:
        """Call before a service is created, so that no moment is unguarded. From any thread."""
        with self._lock:
            if self._owner is not None:
                _spawn(self._folder, self._owner)
                self._owner = None


def _spawn(folder, owner: process.Process) -> None:
    starter = process.Process.of(os.getpid())
    numbers = [owner.pid, owner.start_time, starter.pid, starter.start_time]
    subprocess.Popen([sys.executable, "-B", "-m", "engines", "guard", str(folder),
                      *map(str, numbers)], cwd="/", stdin=subprocess.DEVNULL,
                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


def run(kinds, root, arguments) -> int:
    folder = pathlib.Path(arguments[0])
    numbers = [int(text) for text in arguments[1:5]]
    owner, starter = process.Process(*numbers[:2]), process.Process(*numbers[2:])
    while not owner.wait(CHECK_S):
        if not starter.alive and not _owned(kinds, root, folder, owner):
            return 0
    # A start that is still under way may create more.
    while True:
        last = not starter.alive
        for found in _owned(kinds, root, folder, owner):
            found.stop(instance=found.state["instance"])
        if last:
            break
        starter.wait(CHECK_S)
    return 0


def _owned(kinds, root, folder, owner) -> list:
    wanted = {"pid": owner.pid, "start_time": owner.start_time}
    found = [kind(root, folder) for kind in kinds.values()]
    for one in found:
        one.load()
    return [one for one in found if one.state is not None and one.state["owner"] == wanted]
