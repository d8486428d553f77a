"""Runs the comparison of bench/life/README.md: one server, with and without what follows a yes."""

import argparse
import base64
import contextlib
import pathlib
import secrets
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "peers"))

import driver as peers  # noqa: E402
import machine  # noqa: E402
import servers  # noqa: E402

ROOT = HERE.parents[1]
SCRATCH = ROOT / "build" / "bench-life"
RESULTS = ROOT / "bench" / "results"

# What each case is, in the order of a round.
CASES = {
    "plain": "no payment step, no webhooks",
    "payment": "payment within 15 minutes",
    "webhooks": "payment within 15 minutes, every event to a receiver",
    "expiring": "payment within 2 seconds, and nobody pays",
    "consoles": "no payment step, 100 consoles open",
}
CASES_BY_DEFAULT = ("plain", "payment", "webhooks")
PAYMENT_TIMEOUT_S = {"plain": 0, "payment": 900, "webhooks": 900, "expiring": 2, "consoles": 0}
CONSOLES = 100
WARM_UP_SECONDS = 2
BASE = "plain"


def parse_arguments(words):
    parser = argparse.ArgumentParser(
        prog="bench/life/run",
        description="Measures accepted purchases with and without payment time-out and webhooks.",
    )
    parser.add_argument("--rounds", type=int, default=7, help="rounds over all cases (7)")
    parser.add_argument("--seconds", type=int, default=6, help="seconds per measurement (6)")
    parser.add_argument("--connections", type=int, default=64, help="wrk's connections (64)")
    parser.add_argument("--threads", type=int, default=2, help="wrk's threads (2)")
    parser.add_argument("--workers", type=int, default=2, help="doorbuster's threads (2)")
    parser.add_argument("--cases", default=",".join(CASES_BY_DEFAULT),
                        help="of " + ", ".join(CASES) + f" ({','.join(CASES_BY_DEFAULT)})")
    parser.add_argument("--binary", type=pathlib.Path,
                        default=ROOT / "build" / "release" / "doorbuster",
                        help="the doorbuster to measure (build/release/doorbuster)")
    parser.add_argument("--out", type=pathlib.Path, help="folder of the result (bench/results)")
    parser.add_argument("--quick", action="store_true",
                        help="one round of 2 s, its result kept out of bench/results: shows that "
                        "all works, measures nothing")
    options = parser.parse_args(words)
    chosen = options.cases.split(",")
    for word in chosen:
        if word not in CASES:
            parser.error(f"--cases: {word!r} is none of {', '.join(CASES)}")
    options.cases = [word for word in CASES if word in chosen]
    if BASE not in options.cases or len(options.cases) < 2:
        parser.error(f"--cases: {BASE} and at least one to compare with it")
    if options.quick:
        options.rounds, options.seconds = 1, 2
    for name in ("rounds", "seconds", "threads", "workers"):
        if getattr(options, name) < 1:
            parser.error(f"--{name}: at least 1")
    if options.connections < options.threads:
        parser.error("--connections: at least one per thread of wrk")
    if options.out is None:
        options.out = SCRATCH / "results" if options.quick else RESULTS
    options.binary = options.binary.resolve()
    if not options.binary.is_file():
        parser.error(
            "there is no build/release/doorbuster; build it (cmake --preset release && "
            "cmake --build --preset release)"
        )
    return options


class Receiver(servers.Peer):
    """Takes every webhook."""

    name = "receiver"

    def start(self):
        self._nginx("receiver", HERE / "nginx.conf", {})
        # Where Linux shares the processor by session, a process's own nice value says nothing to
        # the other sessions; this one does.
        with contextlib.suppress(OSError):
            pid = self.servers[-1].process.pid
            pathlib.Path(f"/proc/{pid}/autogroup").write_text("19")


@contextlib.contextmanager
def consoles(port, count):
    """So many open ones, in a process of their own; each must stay open and be sent something."""
    command = [sys.executable, HERE / "consoles.py", str(port), str(count)]
    readers = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        if readers.stdout.readline() != "open\n":
            raise servers.Failure("the consoles could not be opened")
        with contextlib.suppress(OSError):
            pathlib.Path(f"/proc/{readers.pid}/autogroup").write_text("19")
        yield
        said, _ = readers.communicate(timeout=10)
        if readers.returncode != 0 or int(said) == 0:
            raise servers.Failure("a console lost its stream")
    finally:
        readers.kill()
        readers.wait()


class Shop(servers.Doorbuster):
    """doorbuster as a case wants it."""

    def __init__(self, scratch, options, case, receiver_port):
        super().__init__(scratch, options)
        self.case = case
        self.receiver_port = receiver_port

    def start(self):
        self.port = servers.free_port()
        config = self.scratch / "doorbuster.toml"
        lines = ["[server]", f"threads = {self.options.workers}"]
        if self.receiver_port is not None:
            secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
            url = f"http://127.0.0.1:{self.receiver_port}/orders"
            lines += ["[webhooks]", "allow_private = true",
                      f'endpoints = [{{ url = "{url}", secret = "{secret}" }}]']
        config.write_text("\n".join(lines) + "\n")
        command = [
            self.options.binary, "serve", "--config", config,
            "--listen", f"127.0.0.1:{self.port}", "--data", self.scratch / "data",
        ]
        log = self.scratch / "doorbuster.log"
        self.servers.append(
            servers.Server(self.name, command, log, self._is_ready, cwd=self.scratch)
        )

    def open_sale(self, sale, stock):
        body = {"id": sale, "title": "Bench", "stock": stock, "per_user_limit": 1,
                "payment_timeout_s": PAYMENT_TIMEOUT_S[self.case]}
        status, _, answer = self.request("POST", "/v1/sales", body)
        if status != 201:
            raise servers.Failure(f"doorbuster: creating the sale answered {status}: {answer!r}")

    def delivered(self):
        """Events that the receiver has taken so far."""
        _, _, page = self.request("GET", "/metrics")
        return int(sum(
            float(line.rsplit(" ", 1)[1])
            for line in page.decode().splitlines()
            if line.startswith("doorbuster_webhook_deliveries_total{")
            and 'outcome="delivered"' in line
        ))

    def check(self, sale, counted):
        """The books balance, and hold what the client counted."""
        stock = servers.STOCK_MAX
        sold, _ = self.books(sale, stock)
        if self.case == "expiring":
            return  # what was sold is given back all the time
        more = sold - counted - 1  # one was bought before
        if not 0 <= more <= self.options.connections:
            raise servers.Failure(f"{counted} answers were 202, {sold} units are sold")


def measure(options, scratch, round_number, case, receiver_port):
    """A fresh server, a warm-up on another sale, the measurement, checks."""
    tag = f"r{round_number:02d}"
    with Shop(scratch, options, case, receiver_port) as shop:
        for sale, seconds in ((peers.WARM_UP_SALE, WARM_UP_SECONDS),
                              (peers.SALE, options.seconds)):
            peers.open_sale_for(shop, "accepted", sale)
            shop.settle()
            pids = shop.pids()
            delivered = shop.delivered()
            server, whole = servers.cpu_seconds(pids), machine.cpu_seconds()
            with contextlib.ExitStack() as looking_on:
                if case == "consoles":
                    looking_on.enter_context(consoles(shop.port, CONSOLES))
                result = peers.run_wrk(
                    options, shop.url(sale), options.connections, seconds, tag + sale[0], "distinct"
                )
            server = servers.cpu_seconds(pids) - server
            busy = machine.cpu_seconds()["busy"] - whole["busy"]
            delivered = shop.delivered() - delivered
            drained = shop.settle()
            counted = peers.check_answers(result, 202)
        shop.check(peers.SALE, counted)
    others = max(0.0, busy - server - result["client_cpu_seconds"])
    return {
        "round": round_number,
        "case": case,
        "per_second": counted / result["seconds"],
        "p50_ms": result["latency_ms"]["p50"],
        "p99_ms": result["latency_ms"]["p99"],
        "server_cpu_us": server * 1e6 / counted,
        "other_cpu_share": others / (result["seconds"] * machine.cores()),
        "delivered_per_second": delivered / result["seconds"],
        **drained,
    }


def table_of(samples, cases):
    """Medians of the rounds; the ratio is that of the medians, its range that of the rounds."""
    by_case = {case: [each for each in samples if each["case"] == case] for case in cases}
    head = ("case", "accepted/s", "of plain", "in the rounds", "p50 ms", "p99 ms",
            "server CPU us", "lag", "delivered/s")
    rows = [head]

    def median(case, field):
        return statistics.median(each[field] for each in by_case[case])

    for case in cases:
        ratios = [each["per_second"] / base["per_second"]
                  for each, base in zip(by_case[case], by_case[BASE])]
        rows.append((
            case,
            f"{median(case, 'per_second'):,.0f}",
            f"{median(case, 'per_second') / median(BASE, 'per_second'):.3f}",
            f"{min(ratios):.2f}-{max(ratios):.2f}",
            f"{median(case, 'p50_ms'):.2f}",
            f"{median(case, 'p99_ms'):.2f}",
            f"{median(case, 'server_cpu_us'):.1f}",
            f"{median(case, 'lag_records'):,.0f}",
            f"{median(case, 'delivered_per_second'):,.0f}",
        ))
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) if i == 0 else cell.rjust(width)
                  for i, (cell, width) in enumerate(zip(row, widths))).rstrip()
        for row in rows
    )


def text_of(facts, samples, options):
    base = [each["per_second"] for each in samples if each["case"] == BASE]
    noise = (max(base) - min(base)) / statistics.median(base)
    lines = [
        "Purchases with and without what follows them",
        "",
        f"machine   {facts['cpu']}, {facts['cores']} cores, {facts['memory_gib']} GiB, "
        f"{facts['kernel']}, {facts['file_system']}, 4 KiB fdatasync {facts['sync_ms']} ms",
        f"version   {facts['versions']['doorbuster']}, commit {facts['commit']}",
        f"command   {facts['command']}",
        f"started   {facts['date']}, took {facts['took_seconds']} s; "
        f"load average before {facts['load_average_before']}",
        f"client    wrk {facts['versions']['wrk']}, {options.threads} threads, "
        f"{options.connections} connections, {options.seconds} s, {options.rounds} rounds in turn",
        "",
        table_of(samples, options.cases),
        "",
        *(f"{case:9} {CASES[case]}" for case in options.cases),
        "",
        f"The rounds of {BASE} differ by {noise:.1%} of their median: a ratio nearer to 1 than "
        "that is noise.",
        "Other processes used at most "
        f"{max(each['other_cpu_share'] for each in samples):.0%} of the processors"
        + (", the receiver of the webhooks among them." if "webhooks" in options.cases else "."),
        "Server CPU is per accepted purchase, with the writer and all that follows; lag is what",
        "the log had and the store did not when the client stopped. Every answer was a 202, and",
        "the audit balanced after every measurement.",
        "",
        "round  case       accepted/s  p50 ms  p99 ms      lag  drained s  delivered/s",
        *(f"{each['round']:5}  {each['case']:9}  {each['per_second']:10,.0f}  "
          f"{each['p50_ms']:6.2f}  {each['p99_ms']:6.2f}  {each['lag_records']:7,}  "
          f"{each['drain_seconds']:9.2f}  {each['delivered_per_second']:11,.0f}"
          for each in samples),
    ]
    return "\n".join(lines) + "\n"


def run_all(options, words):
    started = time.monotonic()
    SCRATCH.mkdir(parents=True, exist_ok=True)
    facts = machine.facts(ROOT, SCRATCH, options, [servers.Doorbuster])
    facts["command"] = shlex.join(["bench/life/run", *words]).replace(f"{ROOT}/", "")
    samples = []
    with contextlib.ExitStack() as stack:
        port = None
        if "webhooks" in options.cases:
            folder = pathlib.Path(tempfile.mkdtemp(prefix="receiver", dir=SCRATCH))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            port = stack.enter_context(Receiver(folder, options)).port
        for round_number in range(1, options.rounds + 1):
            # The first place rotates, so that drift of the machine hits all.
            shift = (round_number - 1) % len(options.cases)
            for case in options.cases[shift:] + options.cases[:shift]:
                scratch = pathlib.Path(tempfile.mkdtemp(prefix="m", dir=SCRATCH))
                try:
                    sample = measure(options, scratch, round_number, case,
                                     port if case == "webhooks" else None)
                except servers.Failure as failure:
                    kept = scratch.relative_to(ROOT)
                    raise servers.Failure(
                        f"round {round_number}, {case}: {failure}\nits files are in {kept}"
                    ) from None
                except BaseException:
                    shutil.rmtree(scratch, ignore_errors=True)
                    raise
                shutil.rmtree(scratch, ignore_errors=True)
                samples.append(sample)
                peers.say(f"round {round_number} of {options.rounds}, {case}: "
                          f"{sample['per_second']:,.0f}/s")
    facts["took_seconds"] = round(time.monotonic() - started)
    return facts, samples


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
        facts, samples = run_all(options, words)
    except servers.Failure as failure:
        print(f"bench/life: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as interruption:
        print("bench/life: interrupted; all servers are stopped", file=sys.stderr)
        return 128 + (interruption.args[0] if interruption.args else signal.SIGINT)

    text = text_of(facts, samples, options)
    peers.say("")
    peers.say(text)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"life-{facts['date'][:10]}-{facts['commit'] or 'uncommitted'}.txt"
    path.write_text(text)
    with contextlib.suppress(ValueError):
        path = path.resolve().relative_to(ROOT)
    peers.say(f"written: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
