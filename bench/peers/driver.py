"""Runs the comparison of bench/peers/README.md: peers in turn, several rounds, one client.

bench/cluster has peers of its own and is run by the same code: a Bench says what differs.
"""

import argparse
import contextlib
import dataclasses
import json
import pathlib
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import machine
import report
import servers

ROOT = servers.HERE.parents[1]
RESULTS = ROOT / "bench" / "results"

SALE, WARM_UP_SALE = "bench", "warm-up"
EXPECTED_STATUS = {"refusals": 409, "accepted": 202}

# An answer slower than this is counted by wrk as a time-out and fails the run.
ANSWER_SECONDS_MAX = 10


@dataclasses.dataclass(frozen=True)
class Bench:
    """Which peers are compared, and how the page about them looks."""

    name: str  # of its folder under bench/, and of its results
    description: str
    page: report.Page
    by_default: tuple  # of page.peers
    users: str = "both"  # --user, where it is not given
    warm_up_seconds: int = 1  # on another sale, before each measurement
    # Entered with the options around all measurements: what the peers share while they run.
    around: object = contextlib.nullcontext

    @property
    def program(self):
        return f"bench/{self.name}/run"

    @property
    def scratch(self):
        return ROOT / "build" / f"bench-{self.name}"


def parse_arguments(words, bench):
    parser = argparse.ArgumentParser(prog=bench.program, description=bench.description)
    peers = bench.page.peers
    left_out = [name for name in peers if name not in bench.by_default]
    parser.add_argument("--rounds", type=int, default=5, help="rounds over all peers (5)")
    parser.add_argument("--seconds", type=int, default=8, help="seconds per measurement (8)")
    parser.add_argument("--connections", default="64,256", help="a list (64,256)")
    parser.add_argument("--threads", type=int, default=2, help="wrk's threads (2)")
    parser.add_argument("--workers", type=int, default=2, help="threads of every server (2)")
    parser.add_argument("--only", default=",".join(bench.by_default),
                        metavar="PEERS", help="of " + ",".join(peers) + " (all"
                        + (f" but {','.join(left_out)})" if left_out else ")"))
    parser.add_argument("--scenarios", default="refusals,accepted", help="a list (both)")
    parser.add_argument("--user", choices=("distinct", "constant", "both"),
                        default=bench.users,
                        help="who is refused: a new user per request, one user, or each "
                        f"({bench.users})")
    parser.add_argument("--binary", type=pathlib.Path,
                        default=ROOT / "build" / "release" / "doorbuster",
                        help="the doorbuster to measure (build/release/doorbuster)")
    parser.add_argument("--out", type=pathlib.Path, help="folder of results (bench/results)")
    parser.add_argument("--quick", action="store_true",
                        help="one round of 2 s at 64 connections, results kept out of "
                        "bench/results: shows that all works, measures nothing")
    options = parser.parse_args(words)

    def known(text, allowed, flag):
        chosen = [word for word in text.split(",") if word]
        for word in chosen:
            if word not in allowed:
                parser.error(f"{flag}: {word!r} is none of {', '.join(allowed)}")
        if not chosen:
            parser.error(f"{flag}: names nothing")
        return [word for word in allowed if word in chosen]

    options.only = known(options.only, list(peers), "--only")
    options.scenarios = known(options.scenarios, list(EXPECTED_STATUS), "--scenarios")
    try:
        options.connections = sorted({int(word) for word in options.connections.split(",")})
    except ValueError:
        parser.error("--connections: numbers with commas between them, for instance 64,256")
    if options.quick:
        options.rounds, options.seconds, options.connections = 1, 2, [64]
    for name in ("rounds", "seconds", "threads", "workers"):
        if getattr(options, name) < 1:
            parser.error(f"--{name}: at least 1")
    if min(options.connections) < options.threads:
        parser.error("--connections: at least one per thread of wrk")
    if options.out is None:
        options.out = bench.scratch / "results" if options.quick else RESULTS
    options.binary = options.binary.resolve()
    others = [name for name in options.only if not peers[name].needs_binary]
    if others != options.only and not options.binary.is_file():
        parser.error(
            "there is no build/release/doorbuster; build it (cmake --preset release && "
            "cmake --build --preset release)"
            + (f", or measure the others: --only {','.join(others)}" if others else "")
        )
    return options


def plan(options, peers):
    """Every measurement of the run, in order: peers side by side, first place rotating."""
    cases = []
    for scenario in options.scenarios:
        users = ["distinct"]
        if scenario == "refusals" and options.user != "distinct":
            users = ["distinct", "constant"] if options.user == "both" else ["constant"]
        for kind in users:
            cases += [(scenario, kind, connections) for connections in options.connections]
    steps = []
    for round_number in range(1, options.rounds + 1):
        for scenario, users, connections in cases:
            names = [name for name in options.only if scenario in peers[name].scenarios]
            shift = (round_number - 1) % len(names) if names else 0
            for name in names[shift:] + names[:shift]:
                steps.append((round_number, scenario, users, connections, name))
    return steps


def run_wrk(options, url, connections, seconds, tag, users):
    """One run of wrk: its result line and the processor time that it used."""
    command = [
        "wrk", f"-t{options.threads}", f"-c{connections}", f"-d{seconds}s", "--latency",
        "--timeout", f"{ANSWER_SECONDS_MAX}s", "-s", servers.HERE / "purchases.lua", url,
        "--", tag, users,
    ]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = servers.spawn(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        output, _ = process.communicate(timeout=seconds + ANSWER_SECONDS_MAX + 30)
    except subprocess.TimeoutExpired:
        raise servers.Failure("wrk does not end") from None
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    for line in output.splitlines():
        if line.startswith("peers-result "):
            result = json.loads(line.split(" ", 1)[1])
            result["client_cpu_seconds"] = (
                after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
            )
            return result
    raise servers.Failure(f"wrk ({process.returncode}) gave no result:\n{output}")


def check_answers(result, status):
    """Only the expected status, no failed connection, and every answer counted."""
    others = {key: n for key, n in result["statuses"].items() if key != str(status)}
    if others:
        raise servers.Failure(f"expected {status} only, also came: {others}")
    if any(result["errors"].values()):
        raise servers.Failure(f"connections failed: {result['errors']}")
    counted = result["statuses"].get(str(status), 0)
    if counted == 0 or counted != result["requests"]:
        raise servers.Failure(f"{counted} answers counted of {result['requests']}")
    return counted


def check_one_answer(peer, scenario, sale, user):
    """Looks at one whole answer, as wrk only looks at the status."""
    status, headers, body = peer.purchase(sale, user)
    kind = headers.get_content_type()
    try:
        answer = json.loads(body)
    except ValueError:
        answer = {}
    if scenario == "accepted":
        good = (
            kind == "application/json"
            and headers["Location"] == f"/v1/orders/{answer.get('order_id')}"
            and answer.get("user_id") == user
            and answer.get("quantity") == 1
        )
    else:
        good = kind == "application/problem+json" and answer.get("code") == "sold_out"
    if status != EXPECTED_STATUS[scenario] or not good:
        raise servers.Failure(f"the answer is not the one to measure: {status} {kind} {body!r}")


def open_sale_for(peer, scenario, sale):
    """A sale that is ready to be measured: sold out, or with stock for everyone."""
    stock = servers.STOCK_MAX if scenario == "accepted" else 1
    peer.open_sale(sale, stock)
    if scenario == "refusals" and peer.name != "nginx":
        status, _, body = peer.purchase(sale, "first-buyer")
        if status != 202:
            raise servers.Failure(f"the only unit was not sold: {status} {body!r}")
    check_one_answer(peer, scenario, sale, "before-the-rush")
    return stock


def measure(options, bench, scratch, step):
    """One peer, one case: a fresh server, a warm-up on another sale, the measurement, checks."""
    round_number, scenario, users, connections, name = step
    expected = EXPECTED_STATUS[scenario]
    # The same users for every peer, others in every round and case.
    tag = f"r{round_number:02d}c{connections:04d}"
    with bench.page.peers[name](scratch, options) as peer:
        open_sale_for(peer, scenario, WARM_UP_SALE)
        warm_up = run_wrk(
            options, peer.url(WARM_UP_SALE), connections, bench.warm_up_seconds, tag + "w", users
        )
        check_answers(warm_up, expected)
        stock = open_sale_for(peer, scenario, SALE)
        peer.settle()

        pids, counts_before = peer.pids(), peer.counts()
        server_before, machine_before = servers.cpu_seconds(pids), machine.cpu_seconds()
        result = run_wrk(options, peer.url(SALE), connections, options.seconds, tag + "m", users)
        server_cpu = servers.cpu_seconds(pids) - server_before
        machine_after = machine.cpu_seconds()
        drained = peer.settle()
        counts_after = peer.counts()

        counted = check_answers(result, expected)
        sold, figures = peer.books(SALE, stock)
        if sold is not None:
            # One bought before; requests that wrk left unread at its end may have bought too.
            more = sold - (counted + 1 if scenario == "accepted" else 1)
            if not 0 <= more <= (connections if scenario == "accepted" else 0):
                raise servers.Failure(f"{counted} answers were {expected}, {sold} units are sold")
        if drained and scenario == "accepted":
            figures.update(drained)
        if counts_after:
            figures["counts"] = {
                key: round(value - counts_before.get(key, 0), 6)
                for key, value in counts_after.items()
            }

    ours = server_cpu + result["client_cpu_seconds"]
    others = max(0.0, machine_after["busy"] - machine_before["busy"] - ours)
    stolen = machine_after["stolen"] - machine_before["stolen"]
    available = result["seconds"] * machine.cores()
    return {
        "round": round_number,
        "scenario": scenario,
        "users": users,
        "connections": connections,
        "peer": name,
        "answers": counted,
        "seconds": result["seconds"],
        "per_second": counted / result["seconds"],
        "latency_ms": result["latency_ms"],
        "bytes_per_answer": result["bytes"] / counted,
        "server_cpu_us_per_answer": server_cpu * 1e6 / counted,
        "client_cpu_us_per_answer": result["client_cpu_seconds"] * 1e6 / counted,
        "other_cpu_share": others / available,
        "stolen_cpu_share": stolen / available,
        **figures,
    }


def say(text):
    print(text, flush=True)


def measure_step(options, bench, place, step):
    """One measurement in a folder of its own, which stays where it failed."""
    round_number, scenario, users, connections, name = step
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="m", dir=bench.scratch))
    label = f"round {round_number}, {scenario}, {users} users, {connections} connections, {name}"
    try:
        sample = measure(options, bench, scratch, step)
    except servers.Failure as failure:
        kept = scratch.relative_to(ROOT)
        raise servers.Failure(f"{label}: {failure}\nits files are in {kept}") from None
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    shutil.rmtree(scratch, ignore_errors=True)
    say(f"[{place}] {label}: {sample['per_second']:,.0f}/s")
    return sample


def run_all(options, bench, words):
    started = time.monotonic()
    bench.scratch.mkdir(parents=True, exist_ok=True)
    kinds = [bench.page.peers[name] for name in options.only]
    facts = machine.facts(ROOT, bench.scratch, options, kinds)
    # Paths inside the checkout are written as they look from its root.
    facts["command"] = shlex.join([bench.program, *words]).replace(f"{ROOT}/", "")
    steps = plan(options, bench.page.peers)
    if not steps:
        raise servers.Failure("no peer of --only takes part in a scenario of --scenarios")
    with bench.around(options):
        samples = [
            measure_step(options, bench, f"{number}/{len(steps)}", step)
            for number, step in enumerate(steps, 1)
        ]
    facts["took_seconds"] = round(time.monotonic() - started)
    return {"facts": facts, "summary": report.summarise(samples, bench.page), "samples": samples}


PEERS = Bench(
    name="peers",
    description="Measures doorbuster against nginx and against nginx + Lua + Redis.",
    page=report.PEERS,
    by_default=servers.PEERS_BY_DEFAULT,
)


def main(words, bench=PEERS):
    options = parse_arguments(words, bench)

    def interrupt(number, _frame):
        # Once is enough: the clean-up that follows must not be interrupted again.
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt(number)

    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, interrupt)

    try:
        outcome = run_all(options, bench, words)
    except servers.Failure as failure:
        print(f"bench/{bench.name}: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as interruption:
        print(f"bench/{bench.name}: interrupted; all servers are stopped", file=sys.stderr)
        return 128 + (interruption.args[0] if interruption.args else signal.SIGINT)

    text = report.markdown(outcome, bench.page)
    say("")
    say(text)
    facts = outcome["facts"]
    options.out.mkdir(parents=True, exist_ok=True)
    stem = options.out / f"{bench.name}-{facts['date'][:10]}-{facts['commit'] or 'uncommitted'}"
    stem.with_name(stem.name + ".json").write_text(json.dumps(outcome, indent=1) + "\n")
    stem.with_name(stem.name + ".md").write_text(text)
    with contextlib.suppress(ValueError):
        stem = stem.resolve().relative_to(ROOT)
    say(f"written: {stem}.md and .json")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
