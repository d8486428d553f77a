"""Processes that outlive the command that started them, and are found again without doubt.

A process is known by its id together with its start time, since ids are used again. Signals go
through a pidfd that was opened before the start time was compared, so they cannot hit another.
"""

import dataclasses
import json
import os
import pathlib
import select
import shutil
import signal
import subprocess
import time

KILL_WAIT_S = 10.0  # a process that got SIGKILL and is still there after this hangs in the kernel
LEFTOVER_WAIT_S = 5.0  # PostgreSQL's children end within one second of their parent's death


class ProcessStays(Exception):
    """A process did not end even after SIGKILL."""


@dataclasses.dataclass(frozen=True)
class Process:
    pid: int
    start_time: int  # clock ticks since boot, field 22 of /proc/PID/stat

    @staticmethod
    def of(pid: int):
        """The process that has this id now, or None; a zombie has ended."""
        found = _stat(pid)
        if found is None:
            return None
        state, start_time, threads = found
        # The first thread may be gone while others, in their last moments, keep ports and files.
        return None if state in "ZX" and threads <= 1 else Process(pid, start_time)

    @property
    def alive(self) -> bool:
        return Process.of(self.pid) == self

    @property
    def paused(self) -> bool:
        """Whether SIGSTOP holds it."""
        found = _stat(self.pid)
        return found is not None and found[:2] == ("T", self.start_time)

    def signal(self, *numbers) -> None:
        """Sends signals in turn; nothing happens to a process that has ended."""
        descriptor = self._open()
        if descriptor is None:
            return
        try:
            for number in numbers:
                signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            pass
        finally:
            os.close(descriptor)

    def wait(self, bound_s: float) -> bool:
        """Whether it ended within the bound."""
        descriptor = self._open()
        if descriptor is None:
            return True
        try:
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            return bool(poll.poll(bound_s * 1000))
        finally:
            os.close(descriptor)

    def _open(self):
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return None
        if self.alive:
            return descriptor
        os.close(descriptor)
        return None


def _stat(pid: int):
    """State letter, start time, number of threads."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rsplit(")", 1)[1].split()
    return fields[0], int(fields[19]), int(fields[17])


def spawn(command, folder, log, record) -> tuple:
    """Starts a server in a session of its own; the Popen and the Process, already on record."""
    with open(log, "ab") as output:
        child = subprocess.Popen(command, cwd=folder, env=server_environment(),
                                 stdin=subprocess.DEVNULL, stdout=output,
                                 stderr=subprocess.STDOUT, start_new_session=True)
    process = Process.of(child.pid)
    if process is not None:
        write_record(record, process)
    return child, process


def server_environment() -> dict:
    """What a server sees of the caller's environment: nothing that could be a setting of it."""
    kept = ("PATH", "HOME", "JAVA_HOME", "TMPDIR", "TZ")
    return {name: os.environ[name] for name in kept if name in os.environ} | {"LANG": "C.UTF-8"}


def write_atomically(file, text: str) -> None:
    file = pathlib.Path(file)
    part = file.with_name(file.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(file)


def write_record(file, process: Process) -> None:
    write_atomically(file, json.dumps(dataclasses.asdict(process)) + "\n")


def read_record(file):
    """The process of a record if it still runs, else None."""
    try:
        process = Process(**json.loads(pathlib.Path(file).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    return process if process.alive else None


def end_all(processes, number, bound_s: float) -> bool:
    """Ends them with this signal; with SIGKILL what has not ended within the bound.

    Returns whether none needed SIGKILL.
    """
    gently = number != signal.SIGKILL
    for one in processes:
        # SIGCONT after it: a paused process would not see the signal.
        one.signal(number, signal.SIGCONT)
    deadline = time.monotonic() + bound_s
    for one in processes:
        if not one.wait(max(0.0, deadline - time.monotonic())):
            gently = False
            one.signal(signal.SIGKILL)
            if not one.wait(KILL_WAIT_S):
                raise ProcessStays(f"process {one.pid} does not end, not even by SIGKILL")
    return gently


def in_folder(folder, program: str) -> list:
    """Running processes of a program whose working folder is exactly this one.

    Finds what no record names: children of a server that was killed, and a server whose starter
    was killed before it could write the record.
    """
    # Debian's redis-server, for one, is a symbolic link to another of its names.
    name = os.path.basename(os.path.realpath(shutil.which(program) or program))
    wanted = os.path.realpath(folder)
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            if (os.readlink(f"/proc/{entry}/cwd") == wanted
                    and _program_of(entry) == name):
                process = Process.of(int(entry))
                if process is not None:
                    found.append(process)
        except OSError:
            continue  # ended meanwhile, or another user's
    return found


def _program_of(pid: str) -> str:
    """Also of a program that an update has replaced meanwhile."""
    return os.path.basename(os.readlink(f"/proc/{pid}/exe").removesuffix(" (deleted)"))


def end_leftovers(folder, program: str) -> None:
    """Waits for the children of a killed server, and ends those that stay."""
    found = in_folder(folder, program)
    # SIGCONT is no end for anyone: a paused child cannot notice that its parent has died.
    end_all(found, signal.SIGCONT, LEFTOVER_WAIT_S)
