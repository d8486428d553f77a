"""A disk that fails on request: the tester's side of tests/fault/disk_fault.c."""

import mmap
import os
import pathlib
import subprocess

from .settings import ROOT

_SOURCE = ROOT / "tests" / "fault" / "disk_fault.c"
_HITS = slice(8, 16)
_RULES_AT = 64


def build_library(folder) -> pathlib.Path:
    """The preload library: the one that DOORBUSTER_DISK_FAULT names, else a fresh one."""
    if "DOORBUSTER_DISK_FAULT" in os.environ:
        return pathlib.Path(os.environ["DOORBUSTER_DISK_FAULT"]).resolve()
    library = pathlib.Path(folder) / "disk_fault.so"
    subprocess.run([os.environ.get("CC", "cc"), "-std=c11", "-O1", "-fPIC", "-shared", "-o",
                    str(library), str(_SOURCE), "-ldl"], check=True, capture_output=True)
    return library


class Disk:
    """Rules for one server process at a time. Give `environment` to the server."""

    def __init__(self, folder, library):
        self._file = pathlib.Path(folder) / "disk-control"
        self._file.write_bytes(bytes(4096))
        with open(self._file, "r+b") as control:
            self._page = mmap.mmap(control.fileno(), 4096)
        sanitizers = os.environ.get("ASAN_OPTIONS", "")
        self.environment = {
            "LD_PRELOAD": str(library), "DISK_FAULT_CONTROL": str(self._file),
            # AddressSanitizer wants to be the first library; being second only costs it ours.
            "ASAN_OPTIONS": f"{sanitizers}:verify_asan_link_order=0".lstrip(":")}

    @property
    def hits(self) -> int:
        """How many calls were failed or delayed so far."""
        return int.from_bytes(self._page[_HITS], "little")

    def fail(self, *rules) -> None:
        """Rules are triples (operation, action, path prefix), see disk_fault.c."""
        self.heal()
        text = "".join(f"{operation} {action} {os.path.realpath(prefix)}\n"
                       for operation, action, prefix in rules).encode()
        self._page[_RULES_AT:_RULES_AT + len(text) + 1] = text + b"\0"
        self._page[0] = 1

    def heal(self) -> None:
        self._page[0] = 0
