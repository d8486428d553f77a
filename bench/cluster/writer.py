"""Runs the comparison of bench/cluster/README.md, "The order writer"."""

import argparse
import contextlib
import json
import pathlib
import re
import shlex
import signal
import statistics
import subprocess
import sys
import time

import machine
import report
import servers
import services
from engines import postgresql

ROOT = servers.HERE.parents[1]
SCRIPTS = pathlib.Path(__file__).resolve().parent / "one-by-one"
SCRATCH = ROOT / "build" / "bench-cluster-writer"
RESULTS = ROOT / "bench" / "results"

FOUR, ONE = "one by one, four round trips", "one by one, one round trip"
SCRIPT_OF = {FOUR: "four-trips", ONE: "one-trip"}
# Times the rate of FOUR: at least, aim. MariaDB is measured without a target.
TARGETS = {"postgresql": (50, 100)}

# Transactions of each client that find out how many the measurement needs, with mariadb-slap,
# which is told a number, not a time.
PROBE_TRANSACTIONS = 10
RUN_SECONDS_MAX = 900


def parse_arguments(words):
    parser = argparse.ArgumentParser(
        prog="bench/cluster/writer",
        description="Measures the order writer against one transaction per order.",
    )
    parser.add_argument("--rounds", type=int, default=5, help="rounds over all (5)")
    parser.add_argument("--seconds", type=int, default=8,
                        help="seconds of one by one, about (8)")
    parser.add_argument("--orders", type=int, default=300_000,
                        help="orders that the writer stores in a measurement (300000)")
    parser.add_argument("--batches", default="500,5000",
                        help="orders a transaction of the writer, a list (500,5000)")
    parser.add_argument("--clients", type=int, default=64, help="of one by one (64)")
    parser.add_argument("--threads", type=int, default=2, help="of pgbench (2)")
    parser.add_argument("--only", default="postgresql,mariadb", help="a list (both)")
    parser.add_argument("--binary", type=pathlib.Path,
                        default=ROOT / "build" / "release" / "doorbuster",
                        help="the doorbuster to measure (build/release/doorbuster)")
    parser.add_argument("--out", type=pathlib.Path, help="folder of results (bench/results)")
    parser.add_argument("--quick", action="store_true",
                        help="one short round, results kept out of bench/results: shows that "
                        "all works, measures nothing")
    options = parser.parse_args(words)
    if options.quick:
        options.rounds, options.seconds, options.orders = 1, 2, 30_000
    options.only = [word for word in options.only.split(",") if word]
    if not options.only or not set(options.only) <= set(STORES):
        parser.error(f"--only: of {', '.join(STORES)}")
    try:
        options.batches = sorted({int(word) for word in options.batches.split(",")})
    except ValueError:
        parser.error("--batches: numbers with commas between them, for instance 500,5000")
    if min(options.rounds, options.seconds, options.orders, options.clients, options.threads,
           *options.batches) < 1:
        parser.error("every number is at least 1")
    options.binary = options.binary.resolve()
    if not options.binary.is_file():
        parser.error("there is no build/release/doorbuster; build it (cmake --preset release && "
                     "cmake --build --preset release)")
    if options.out is None:
        options.out = SCRATCH / "results" if options.quick else RESULTS
    options.workers = 1  # threads that write: for the facts
    return options


def run(command):
    """Its output; killed when it does not end, and when this process is interrupted."""
    process = servers.spawn(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        output, errors = process.communicate(timeout=RUN_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        raise servers.Failure(f"{command[0]} does not end") from None
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    if process.returncode != 0:
        raise servers.Failure(f"{command[0]} ({process.returncode}): {output}{errors}")
    return output


def found(pattern, text):
    match = re.search(pattern, text)
    if not match:
        raise servers.Failure(f"no {pattern!r} in:\n{text}")
    return match.group(1)


class PostgreSql:
    name = "postgresql"
    scheme = "postgresql://doorbuster"

    def __init__(self, engines):
        self.engines = engines

    def version(self):
        return self.engines.psql("postgres", "show server_version")

    def make_empty(self, database):
        self.engines.psql("postgres", f"drop database if exists {database} with (force)")
        self.engines.psql("postgres", f"create database {database}")
        self.engines.psql("postgres", "checkpoint")

    def ask(self, database, question):
        return self.engines.psql(database, question)

    def make_tables(self, database):
        self.ask(database, (SCRIPTS / f"{self.name}.schema.sql").read_text())

    def one_by_one(self, options, database, script):
        """Transactions that were made, and the seconds that they took."""
        output = run([
            postgresql.program("pgbench"), "-n", "-M", "prepared", "-c", options.clients,
            "-j", options.threads, "-T", options.seconds, "-f", script, "-h", "127.0.0.1",
            "-p", self.engines.port(self.name), "-U", "doorbuster", database,
        ])
        made = int(found(r"transactions actually processed: (\d+)", output))
        per_second = float(found(r"tps = ([\d.]+) \(without", output))
        return made, made / per_second


class MariaDb:
    name = "mariadb"
    scheme = "mysql://root"

    def __init__(self, engines):
        self.engines = engines

    def version(self):
        return self.engines.mariadb("mysql", "select version()")

    def make_empty(self, database):
        self.engines.mariadb("mysql", f"drop database if exists {database}")
        self.engines.mariadb(
            "mysql", f"create database {database} character set utf8mb4")

    def ask(self, database, question):
        return self.engines.mariadb(database, question)

    def make_tables(self, database):
        for part in ("schema", "procedure"):
            text = (SCRIPTS / f"{self.name}.{part}.sql").read_text()
            # A procedure has semicolons of its own.
            self.engines.mariadb(database, text, "//" if part == "procedure" else ";")

    def one_by_one(self, options, database, script):
        probe = self._slap(options, database, script, PROBE_TRANSACTIONS)
        wanted = PROBE_TRANSACTIONS * options.seconds / max(probe, 0.001)
        each = max(PROBE_TRANSACTIONS, int(wanted))
        seconds = self._slap(options, database, script, each)
        return (each + PROBE_TRANSACTIONS) * options.clients, seconds * (
            1 + PROBE_TRANSACTIONS / each)

    def _slap(self, options, database, script, each):
        """Seconds for so many transactions of each client."""
        text = script.read_text().strip()
        statements = len([part for part in text.split(";") if part.strip()])
        output = run([
            "mariadb-slap", "--no-defaults", "-h", "127.0.0.1",
            "-P", self.engines.port(self.name), "-u", "root", f"--create-schema={database}",
            "--no-drop", "--delimiter=;", f"--concurrency={options.clients}",
            f"--number-of-queries={each * statements * options.clients}", f"--query={text}",
        ])
        return float(found(r"Average number of seconds to run all queries: ([\d.]+)", output))


STORES = {kind.name: kind for kind in (PostgreSql, MariaDb)}


def measure_one_by_one(options, store, what):
    database = "one_by_one"
    store.make_empty(database)
    store.make_tables(database)
    script = SCRIPTS / f"{store.name}.{SCRIPT_OF[what]}.sql"
    made, seconds = store.one_by_one(options, database, script)
    orders = int(store.ask(database, "select count(*) from orders"))
    sold = int(store.ask(database, "select sold from sales"))
    # pgbench lets the transactions end that it has begun, and counts them all.
    if not orders == sold == made:
        raise servers.Failure(f"{made} transactions made, {orders} orders, {sold} units sold")
    return {"orders": orders, "seconds": seconds, "per_second": orders / seconds}


def measure_writer(options, store, batch):
    database = "bench_writer"
    store.make_empty(database)
    url = f"{store.scheme}@{store.engines.address(store.name)}/{database}"
    answer = json.loads(run([
        options.binary, "bench", "writer", "--store", url, "--orders", options.orders,
        "--batch-max", batch, "--json",
    ]))
    orders = int(store.ask(database, "select count(*) from orders"))
    sold = int(store.ask(database, "select sold from sales"))
    if not orders == sold == options.orders:
        raise servers.Failure(f"{options.orders} orders asked for, {orders} there, {sold} sold")
    seconds = answer["rounds"][0]["store_seconds"]
    return {"orders": orders, "seconds": seconds, "per_second": orders / seconds}


def steps_of(options):
    cases = [(what, None) for what in SCRIPT_OF]
    cases += [(f"order writer, batches of {batch:,}", batch) for batch in options.batches]
    for number in range(1, options.rounds + 1):
        # Side by side, the first place rotating.
        shift = (number - 1) % len(cases)
        for name in options.only:
            for what, batch in cases[shift:] + cases[:shift]:
                yield number, name, what, batch


def run_all(options, words):
    started = time.monotonic()
    SCRATCH.mkdir(parents=True, exist_ok=True)
    facts = machine.facts(ROOT, SCRATCH, options, [])
    facts["command"] = shlex.join(["bench/cluster/writer", *words]).replace(f"{ROOT}/", "")
    facts["versions"] = {"doorbuster": run([options.binary, "--version"]).split()[-1]}
    facts |= {"clients": options.clients, "orders": options.orders}
    samples = []
    with services.Services(SCRATCH / "services", options.only, count_statements=False) as engines:
        stores = {name: STORES[name](engines) for name in options.only}
        facts["versions"] |= {name: store.version() for name, store in stores.items()}
        for number, name, what, batch in steps_of(options):
            busy, since = machine.cpu_seconds(), time.monotonic()
            label = f"round {number}, {name}, {what}"
            try:
                if batch is None:
                    sample = measure_one_by_one(options, stores[name], what)
                else:
                    sample = measure_writer(options, stores[name], batch)
            except servers.Failure as failure:
                raise servers.Failure(f"{label}: {failure}") from None
            used = machine.cpu_seconds()
            share = (used["busy"] - busy["busy"]) / (time.monotonic() - since) / machine.cores()
            samples.append({"round": number, "store": name, "what": what, "batch_max": batch,
                            "machine_busy_share": round(share, 3), **sample})
            print(f"{label}: {sample['per_second']:,.0f}/s", flush=True)
    facts["took_seconds"] = round(time.monotonic() - started)
    return {"facts": facts, "summary": summarise(samples), "samples": samples}


def summarise(samples):
    rates = {}
    for sample in samples:
        rates.setdefault((sample["store"], sample["what"]), []).append(sample["per_second"])
    rows = []
    for (store, what), values in rates.items():
        median = statistics.median(values)
        rows.append({
            "store": store, "what": what, "median": median, "min": min(values),
            "max": max(values),
            "over_four_trips": median / statistics.median(rates[store, FOUR]),
            "over_one_trip": median / statistics.median(rates[store, ONE]),
        })
    order = list(SCRIPT_OF)
    return sorted(rows, key=lambda row: (
        list(STORES).index(row["store"]),
        order.index(row["what"]) if row["what"] in order else len(order)))


def target(row):
    if row["what"] in SCRIPT_OF or row["store"] not in TARGETS:
        return ""
    least, aim = TARGETS[row["store"]]
    got = row["over_four_trips"]
    return (f"≥ {least}: {'met' if got >= least else 'missed'}; "
            f"aim {aim}: {'met' if got >= aim else 'missed'}")


def markdown(outcome):
    facts = outcome["facts"]
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    table = report.table(
        ["store", "how", "orders/s, median", "min", "max", "× four trips", "× one trip",
         "target"],
        [
            [
                row["store"], row["what"],
                *(f"{row[key]:,.0f}" for key in ("median", "min", "max")),
                f"{row['over_four_trips']:.1f}", f"{row['over_one_trip']:.1f}", target(row),
            ]
            for row in outcome["summary"]
        ],
    )
    return "\n\n".join([
        "# The order writer, and one transaction per order",
        "\n".join([
            f"- Machine: {facts['cpu']}, {facts['cores']} cores, {facts['memory_gib']} GiB, "
            f"{facts['kernel']}; {facts['file_system']}, 4 KiB fdatasync in "
            f"{facts['sync_ms']} ms (median before the run)",
            f"- Commit: {facts['commit'] or 'none yet'}",
            f"- Date: {facts['date']}, took {facts['took_seconds']} s",
            f"- Versions: {versions}",
            f"- Command: `{facts['command']}`",
            f"- Rounds: {facts['rounds']}; one by one with {facts['clients']} clients for about "
            f"{facts['seconds']} s, the writer with {facts['orders']:,} orders (load average "
            f"before the run: {facts['load_average_before']})",
        ]),
        table,
        "*One by one*: take a unit of the one sale's row, insert the order, commit; on tables "
        "with no index but the primary keys. *Order writer*: `doorbuster bench writer --store`, "
        "into doorbuster's own tables. Every commit is on disk on both sides; after each "
        "measurement orders and sold units were counted in the database.",
    ]) + "\n"


def main(words):
    options = parse_arguments(words)

    def interrupt(number, _frame):
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt(number)

    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, interrupt)
    try:
        outcome = run_all(options, words)
    except servers.Failure as failure:
        print(f"bench/cluster: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as interruption:
        print("bench/cluster: interrupted; all servers are stopped", file=sys.stderr)
        return 128 + (interruption.args[0] if interruption.args else signal.SIGINT)
    text = markdown(outcome)
    print("\n" + text, flush=True)
    facts = outcome["facts"]
    options.out.mkdir(parents=True, exist_ok=True)
    stem = options.out / (
        f"cluster-writer-{facts['date'][:10]}-{facts['commit'] or 'uncommitted'}")
    stem.with_name(stem.name + ".json").write_text(json.dumps(outcome, indent=1) + "\n")
    stem.with_name(stem.name + ".md").write_text(text)
    with contextlib.suppress(ValueError):
        stem = stem.resolve().relative_to(ROOT)
    print(f"written: {stem}.md and .json")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
