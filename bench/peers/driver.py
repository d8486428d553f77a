"""Runs the comparison of bench/peers/README.md: peers in turn, several rounds, one client."""

import argparse
import contextlib
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
SCRATCH = ROOT / "build" / "bench-peers"
RESULTS = ROOT / "bench" / "results"

SALE, WARM_UP_SALE = "bench", "warm-up"
EXPECTED_STATUS = {"refusals": 409, "accepted": 202}

WARM_UP_SECONDS = 1
# An answer slower than this is counted by wrk as a time-out and fails the run.
ANSWER_SECONDS_MAX = 10


def parse_arguments(words):
    parser = argparse.ArgumentParser(
        prog="bench/peers/run",
        description="Measures doorbuster against nginx and against nginx + Lua + Redis.",
    )
    parser.add_argument("--rounds", type=int, default=5, help="rounds over all peers (5)")
    parser.add_argument("--seconds", type=int, default=8, help="seconds per measurement (8)")
    parser.add_argument("--connections", default="64,256", help="a list (64,256)")
    parser.add_argument("--threads", type=int, default=2, help="wrk's threads (2)")
    parser.add_argument("--workers", type=int, default=2, help="threads of every server (2)")
    parser.add_argument("--only", default=",".join(servers.PEERS_BY_DEFAULT),
                        metavar="PEERS", help="of " + ",".join(servers.PEERS)
                        + " (all but redis-unix)")
    parser.add_argument("--scenarios", default="refusals,accepted", help="a list (both)")
    parser.add_argument("--user", choices=("distinct", "constant", "both"), default="both",
                        help="who is refused: a new user per request, one user, or each (both)")
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

    options.only = known(options.only, list(servers.PEERS), "--only")
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
        options.out = SCRATCH / "results" if options.quick else RESULTS
    options.binary = options.binary.resolve()
    if "doorbuster" in options.only and not options.binary.is_file():
        parser.error(
            "there is no build/release/doorbuster; build it (cmake --preset release && "
            "cmake --build --preset release), or measure the others: --only nginx,redis"
        )
    return options


def plan(options):
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
            names = [name for name in options.only if scenario in servers.PEERS[name].scenarios]
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


def measure(options, scratch, step):
    """One peer, one case: a fresh server, a warm-up on another sale, the measurement, checks."""
    round_number, scenario, users, connections, name = step
    expected = EXPECTED_STATUS[scenario]
    # The same users for every peer, others in every round and case.
    tag = f"r{round_number:02d}c{connections:04d}"
    with servers.PEERS[name](scratch, options) as peer:
        open_sale_for(peer, scenario, WARM_UP_SALE)
        warm_up = run_wrk(
            options, peer.url(WARM_UP_SALE), connections, WARM_UP_SECONDS, tag + "w", users
        )
        check_answers(warm_up, expected)
        stock = open_sale_for(peer, scenario, SALE)
        peer.settle()

        pids = peer.pids()
        server_before, machine_before = servers.cpu_seconds(pids), machine.cpu_seconds()
        result = run_wrk(options, peer.url(SALE), connections, options.seconds, tag + "m", users)
        server_cpu = servers.cpu_seconds(pids) - server_before
        machine_after = machine.cpu_seconds()
        drained = peer.settle()

        counted = check_answers(result, expected)
        sold, figures = peer.books(SALE, stock)
        if sold is not None:
            # One bought before; requests that wrk left unread at its end may have bought too.
            more = sold - (counted + 1 if scenario == "accepted" else 1)
            if not 0 <= more <= (connections if scenario == "accepted" else 0):
                raise servers.Failure(f"{counted} answers were {expected}, {sold} units are sold")
        if drained and scenario == "accepted":
            figures.update(drained)

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


def run_all(options, words):
    started = time.monotonic()
    SCRATCH.mkdir(parents=True, exist_ok=True)
    facts = machine.facts(ROOT, SCRATCH, options)
    # Paths inside the checkout are written as they look from its root.
    facts["command"] = shlex.join(["bench/peers/run", *words]).replace(f"{ROOT}/", "")
    steps = plan(options)
    if not steps:
        raise servers.Failure("no peer of --only takes part in a scenario of --scenarios")
    samples = []
    for number, step in enumerate(steps, 1):
        round_number, scenario, users, connections, name = step
        scratch = pathlib.Path(tempfile.mkdtemp(prefix="m", dir=SCRATCH))
        label = (
            f"round {round_number}, {scenario}, {users} users, {connections} connections, {name}"
        )
        try:
            sample = measure(options, scratch, step)
        except servers.Failure as failure:
            kept = scratch.relative_to(ROOT)
            raise servers.Failure(f"{label}: {failure}\nits files are in {kept}") from None
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise
        shutil.rmtree(scratch, ignore_errors=True)
        samples.append(sample)
        say(f"[{number}/{len(steps)}] {label}: {sample['per_second']:,.0f}/s")
    facts["took_seconds"] = round(time.monotonic() - started)
    return {"facts": facts, "summary": report.summarise(samples), "samples": samples}


def main(words):
    options = parse_arguments(words)

    def interrupt(number, _frame):
        # Once is enough: the clean-up that follows must not be interrupted again.
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt(number)

    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, interrupt)

    try:
        outcome = run_all(options, words)
    except servers.Failure as failure:
        print(f"bench/peers: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as interruption:
        print("bench/peers: interrupted; all servers are stopped", file=sys.stderr)
        return 128 + (interruption.args[0] if interruption.args else signal.SIGINT)

    text = report.markdown(outcome)
    say("")
    say(text)
    facts = outcome["facts"]
    options.out.mkdir(parents=True, exist_ok=True)
    stem = options.out / f"peers-{facts['date'][:10]}-{facts['commit'] or 'uncommitted'}"
    stem.with_name(stem.name + ".json").write_text(json.dumps(outcome, indent=1) + "\n")
    stem.with_name(stem.name + ".md").write_text(text)
    with contextlib.suppress(ValueError):
        stem = stem.resolve().relative_to(ROOT)
    say(f"written: {stem}.md and .json")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
