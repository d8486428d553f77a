"""The command line of tools/services."""

import argparse
import concurrent.futures
import json
import os
import pathlib
import shlex
import signal
import sys
import time

from . import guard, process, service
from .kafka import Kafka, Kafka3
from .mariadb import MariaDb
from .postgresql import PostgreSql
from .redis import RedisCluster, RedisReplica, RedisService
from .service import Cancelled, Failure

ROOT = pathlib.Path(__file__).resolve().parents[2]
KINDS = {kind.name: kind for kind in (PostgreSql, MariaDb, RedisService, RedisReplica,
                                      RedisCluster, Kafka, Kafka3)}
ALL = ("postgresql", "mariadb", "redis", "redis-cluster", "kafka")

HELP = """\
usage: tools/services start NAME... [--owner PID]
       tools/services stop [NAME...] [--keep]
       tools/services restart NAME... [--empty]
       tools/services status | env
       tools/services show NAME [--json]
       tools/services logs NAME

Starts and stops real servers on free ports of 127.0.0.1, with scratch data.

  postgresql      PostgreSQL, database and superuser doorbuster
  mariadb         MariaDB, database doorbuster, users root and doorbuster
  redis           one Redis
  redis-replica   a primary and its replica
  redis-cluster   three nodes that share the slots
  kafka           Apache Kafka, one broker in KRaft mode
  kafka3          three brokers
  all             postgresql mariadb redis redis-cluster kafka

start    starts what does not run, waits until it answers, prints the addresses. What was killed
         comes back on its port with its data. --owner PID: a service that this call creates ends,
         and its data goes, when the process PID has ended, however that happens.
stop     ends exactly the processes that start began, and deletes their data; logs stay until the
         next start. Without names: everything. --keep leaves data and ports for the next start.
restart  ends the servers cleanly and starts them on the same ports with their data, or, with
         --empty, without.
status   what there is, with addresses and process ids.
env      the addresses of what runs, as lines for a shell: eval "$(tools/services env)"
show     addresses, process ids, folders; --json for programs.
logs     the end of each server's log.

Everything is kept in build/services, or in the folder that DOORBUSTER_SERVICES_DIR names.
Exit status: 0 done; 1 failed; 2 wrong command line; 3 only Kafka failed, because it could not be
fetched from Maven Central; 128 + N ended by signal N (what the call had begun is ended, too).
"""


class Parser(argparse.ArgumentParser):
    def error(self, message):
        complain(f"{message} (tools/services --help says what there is)")
        sys.exit(2)


def complain(text: str) -> None:
    print(f"services: {text}", file=sys.stderr, flush=True)


def services_folder() -> pathlib.Path:
    named = os.environ.get("DOORBUSTER_SERVICES_DIR")
    return pathlib.Path(os.path.abspath(named)) if named else ROOT / "build" / "services"


def make(name: str):
    return KINDS[name](ROOT, services_folder())


def expanded(parser, names) -> list:
    """Names once each, `all` written out."""
    result = []
    for name in names:
        if name != "all" and name not in KINDS:
            parser.error(f"no such service: '{name}' (there are {', '.join(KINDS)}, all)")
        for one in (ALL if name == "all" else (name,)):
            if one not in result:
                result.append(one)
    return result


def loaded(names=None) -> list:
    found = [make(name) for name in names or KINDS]
    for one in found:
        one.load()
    return found


def in_parallel(names, action) -> int:
    """Runs action(service) for each; the exit status. A signal ends them all."""
    statuses = set()
    with concurrent.futures.ThreadPoolExecutor(max_workers=len(names)) as pool:
        futures = {pool.submit(action, make(name)): name for name in names}
        waiting = set(futures)
        while waiting:
            # Woken now and then: Python handles a signal in its main thread only.
            done, waiting = concurrent.futures.wait(
                waiting, timeout=0.2, return_when=concurrent.futures.FIRST_COMPLETED)
            for future in done:
                statuses.add(outcome(future))
    statuses -= {0}
    if not statuses:
        return 0
    return 3 if statuses == {3} else 1


def outcome(future) -> int:
    try:
        future.result()
        return 0
    except Cancelled:
        return 1
    except (Failure, process.ProcessStays, OSError) as failure:
        complain(str(failure))
        return getattr(failure, "status", 1)


def start(parser, options) -> int:
    names = expanded(parser, options.names)
    if not names:
        parser.error("start needs a name")
    owner = None
    if options.owner is not None:
        owner = process.Process.of(options.owner)
        if owner is None:
            raise Failure(f"there is no process {options.owner} to be the owner")
    guarding = guard.Guarding(services_folder(), owner)
    begun = {}

    def one(found) -> None:
        before = time.monotonic()
        started = found.start(owner, guarding.ensure)
        if started:
            begun[found.name] = found
        took = f"  ready in {time.monotonic() - before:.1f} s" if started else "  was running"
        print(f"{found.name:<15} {found.url()}{took}", flush=True)

    status = in_parallel(names, one)
    if service.cancelled.is_set():
        service.cancelled.clear()
        for found in begun.values():
            found.stop()
    return status


def stop(parser, options) -> int:
    names = expanded(parser, options.names) or [
        found.name for found in loaded() if found.state is not None]

    def one(found) -> None:
        if found.stop(keep_data=options.keep):
            print(f"{found.name:<15} stopped", flush=True)

    return in_parallel(names, one) if names else 0


def restart(parser, options) -> int:
    names = expanded(parser, options.names)
    if not names:
        parser.error("restart needs a name")

    def one(found) -> None:
        before = time.monotonic()
        found.restart(options.empty)
        print(f"{found.name:<15} {found.url()}  ready in {time.monotonic() - before:.1f} s",
              flush=True)

    return in_parallel(names, one)


def status(_parser, _options) -> int:
    for found in loaded():
        if found.state is None:
            continue
        print(f"{found.name:<15} {found.status():<8} {found.url()}")
        for node in found.nodes:
            running = found.running(node)
            how = "not running" if running is None else (
                f"process {running.pid}{' (paused)' if running.paused else ''}")
            print(f"  {node.name:<13} {node.address:<17} {how}")
    return 0


def env(_parser, _options) -> int:
    for found in loaded():
        if found.status() == "running":
            print(f"export {found.variable}={shlex.quote(found.url())}")
    return 0


def one_name(parser, options):
    names = expanded(parser, options.names)
    if len(names) != 1:
        parser.error(f"{options.action} takes one name")
    return loaded(names)[0]


def show(parser, options) -> int:
    found = one_name(parser, options)
    described = found.describe()
    if options.json:
        print(json.dumps(described, indent=1))
        return 0
    print(f"{found.name}: {described['status']}, folder {described['folder']}")
    if found.state is not None:
        print(f"  {found.variable}={found.url()}")
    for node in described["nodes"]:
        print(f"  {node['name']}: {node['host']}:{node['port']}, process {node['pid']}, "
              f"data {node['data']}, log {node['log']}")
    return 0


def logs(parser, options) -> int:
    found = one_name(parser, options)
    files = sorted(found.folder.glob("*.log"))
    if not files:
        raise Failure(f"{found.name} has no logs in {found.folder}")
    for file in files:
        print(f"== {file}")
        print(service.last_lines(file, 40))
    return 0


def parse(arguments):
    parser = Parser(prog="services", add_help=False, usage="tools/services ACTION [NAME...]")
    actions = {"start": start, "stop": stop, "restart": restart, "status": status, "env": env,
               "show": show, "logs": logs}
    if not arguments:
        parser.error("what shall be done?")
    action = arguments[0]
    if action not in actions:
        parser.error(f"no such action: '{action}'")
    parser.add_argument("action")
    if action not in ("status", "env"):
        parser.add_argument("names", nargs="*")
    if action == "start":
        parser.add_argument("--owner", type=int)
    if action == "stop":
        parser.add_argument("--keep", action="store_true")
    if action == "restart":
        parser.add_argument("--empty", action="store_true")
    if action == "show":
        parser.add_argument("--json", action="store_true")
    options = parser.parse_intermixed_args(arguments)
    return actions[action], parser, options


def main(arguments) -> int:
    if not {"-h", "--help", "help"}.isdisjoint(arguments[:1]) or "--help" in arguments:
        print(HELP, end="")
        return 0
    if arguments[:1] == ["guard"]:  # internal: see guard.py
        return guard.run(KINDS, ROOT, arguments[1:])
    received = []

    def stop_waiting(number, _):
        received.append(number)
        service.cancelled.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop_waiting)
    action, parser, options = parse(arguments)
    try:
        result = action(parser, options)
    except (Failure, process.ProcessStays, OSError) as failure:
        complain(str(failure))
        result = getattr(failure, "status", 1)
    except Cancelled:
        result = 1
    return 128 + received[0] if received else result


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
