"""Where the binary is, how big the tests are, how long they wait. Read once at import."""

import os
import pathlib
import resource

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("DOORBUSTER_BIN", ROOT / "build" / "release" / "doorbuster"))
if not BINARY.is_absolute():
    BINARY = pathlib.Path.cwd() / BINARY
SCRATCH = ROOT / "build" / "test-scratch"

SLOW = os.environ.get("DOORBUSTER_SLOW", "0") not in ("", "0")

# Upper bounds on waiting for something that normally takes milliseconds. They only decide how
# long a hanging server takes to be called hanging; no test measures speed with them.
BOUND_S = 300.0 if SLOW else 60.0
READY_S = 300.0 if SLOW else 60.0
# The contract promises 10 s; a machine of CI, shared as it is, gets more, and sanitizers tenfold.
SHUTDOWN_S = 100.0 if SLOW else 30.0 if os.environ.get("CI") == "true" else 10.0
LOAD_S = 900.0 if SLOW else 180.0


def scaled(count: int, floor: int = 1) -> int:
    """`count`, or a tenth of it (not below `floor`) when the build under test is slow."""
    return max(floor, count // 10) if SLOW else count


def raise_open_file_limit() -> None:
    """The suites open more than 1,000 sockets; the server inherits the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 16384
    if soft != resource.RLIM_INFINITY and soft < wanted:
        ceiling = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (ceiling, hard))


def clean_environment(extra=None) -> dict:
    """This process's environment without settings of doorbuster, plus `extra`.

    DOORBUSTER_BIN and DOORBUSTER_SLOW are the tests' own: a server that is strict about unknown
    settings would have to refuse them.
    """
    environment = {name: value for name, value in os.environ.items()
                   if not name.startswith("DOORBUSTER_")}
    environment["NO_COLOR"] = "1"
    environment.update(extra or {})
    return environment
