"""What a reader must know about the machine to weigh a figure. No names of hosts or users."""

import datetime
import os
import pathlib
import platform
import re
import statistics
import subprocess
import time

SYNC_PROBES = 100
SYNC_BYTES = 4096


def _output(*command, cwd=None):
    try:
        done = subprocess.run(
            [str(word) for word in command], cwd=cwd, capture_output=True, text=True,
            timeout=30, check=False,
        )
    except OSError:
        return ""
    # wrk prints its version and ends with 1; nginx prints its own on stderr.
    return (done.stdout + done.stderr).strip()


def _first(pattern, text, otherwise="unknown"):
    found = re.search(pattern, text, re.MULTILINE)
    return found.group(1).strip() if found else otherwise


def cores():
    return os.cpu_count() or 1


def cpu_seconds():
    """Processor time so far: what all processes used, and what the hypervisor gave to others."""
    first = pathlib.Path("/proc/stat").read_text().splitlines()[0].split()
    user, nice, system, _idle, _iowait, irq, softirq, steal = (int(word) for word in first[1:9])
    ticks = os.sysconf("SC_CLK_TCK")
    return {"busy": (user + nice + system + irq + softirq) / ticks, "stolen": steal / ticks}


def sync_ms(folder):
    """Median time of a 4 KiB append and its fdatasync: what durability costs on this disk."""
    path = folder / "sync-probe"
    times = []
    try:
        with open(path, "wb", buffering=0) as file:
            for _ in range(SYNC_PROBES):
                started = time.perf_counter()
                file.write(b"\0" * SYNC_BYTES)
                os.fdatasync(file.fileno())
                times.append((time.perf_counter() - started) * 1e3)
    finally:
        path.unlink(missing_ok=True)
    return round(statistics.median(times), 3)


def _commit(root):
    commit = _output("git", "rev-parse", "--short=10", "HEAD", cwd=root)
    if not re.fullmatch(r"[0-9a-f]{10,}", commit):
        return None
    # Results of earlier runs that wait for their commit do not change what is measured.
    changes = _output(
        "git", "status", "--porcelain", "--", ".", ":(exclude)bench/results", cwd=root
    )
    return commit + ("-dirty" if changes else "")


def facts(root, scratch, options, kinds):
    info = pathlib.Path("/proc/cpuinfo").read_text()
    memory_kib = int(_first(r"^MemTotal:\s+(\d+)", pathlib.Path("/proc/meminfo").read_text(), "0"))
    versions = {
        "nginx": _first(r"nginx/(\S+)", _output("nginx", "-v")),
        "nginx Lua module": _output(
            "dpkg-query", "-W", "-f", "${Version}", "libnginx-mod-http-lua") or "unknown",
        "redis": _first(r"v=(\S+)", _output("redis-server", "--version")),
        "wrk": _first(r"^wrk (\S+)", _output("wrk", "-v")),
    }
    if any(kind.needs_binary for kind in kinds):
        versions["doorbuster"] = _first(
            r"^(?:doorbuster )?(.+)$", _output(options.binary, "--version"))
    for kind in kinds:
        versions.update(kind.versions())
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "commit": _commit(root),
        "cpu": _first(r"^model name\s*:\s*(.+)$", info, platform.machine()),
        "cores": cores(),
        "memory_gib": round(memory_kib / 2**20, 1),
        "kernel": f"{platform.system()} {platform.release()}",
        "file_system": _output("findmnt", "-n", "-o", "FSTYPE", "-T", scratch) or "unknown",
        "sync_ms": sync_ms(scratch),
        "load_average_before": round(os.getloadavg()[0], 2),
        "versions": versions,
        "rounds": options.rounds,
        "seconds": options.seconds,
        "wrk_threads": options.threads,
        "server_threads": options.workers,
    }
