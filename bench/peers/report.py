"""From samples to a summary, and from a summary to the page that is kept."""

import dataclasses
import statistics

import servers


@dataclasses.dataclass(frozen=True)
class Page:
    """What a bench's page is about."""

    title: str
    peers: dict  # name to kind
    ours: str  # the peer that has targets
    targets: tuple
    pairs: tuple
    # (outcome) to more paragraphs, behind the ratios.
    more: object = None


# Scenario, users, connections (None: all), over whom, at least, aim: the project's own targets.
TARGETS = (
    ("refusals", "distinct", None, "nginx", 1.0, None),
    ("accepted", "distinct", 256, "redis", 1.5, 2.0),
)
PAIRS = (
    ("doorbuster", "nginx"),
    ("doorbuster", "redis"),
    ("doorbuster", "redis-unix"),
    ("redis", "nginx"),
    ("redis-unix", "redis"),
)


def _spread(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def _by_case(samples):
    cases = {}
    for sample in samples:
        key = (sample["scenario"], sample["users"], sample["connections"])
        cases.setdefault(key, {}).setdefault(sample["peer"], []).append(sample)
    return cases


def summarise(samples, page):
    """One row per case and peer, one ratio per case and pair of peers."""
    rows, ratios = [], []
    for (scenario, users, connections), peers in _by_case(samples).items():
        case = {"scenario": scenario, "users": users, "connections": connections}
        for name in page.peers:
            taken = peers.get(name)
            if not taken:
                continue
            row = {
                **case,
                "peer": name,
                "per_second": _spread([each["per_second"] for each in taken]),
                "p50_ms": statistics.median(each["latency_ms"]["p50"] for each in taken),
                "p99_ms": _spread([each["latency_ms"]["p99"] for each in taken]),
            }
            for field in ("server_cpu_us_per_answer", "client_cpu_us_per_answer"):
                row[field] = statistics.median(each[field] for each in taken)
            for field in ("other_cpu_share", "stolen_cpu_share"):
                row[field + "_max"] = max(each[field] for each in taken)
            if all("lag_records" in each for each in taken):
                row["lag_records"] = _spread([each["lag_records"] for each in taken])
                row["drain_seconds"] = _spread([each["drain_seconds"] for each in taken])
                row["stored_meanwhile_share"] = statistics.median(
                    1 - min(each["lag_records"], each["answers"]) / each["answers"]
                    for each in taken
                )
            rows.append(row)
        for one, other in page.pairs:
            if one not in peers or other not in peers:
                continue
            rates = {
                name: {each["round"]: each["per_second"] for each in peers[name]}
                for name in (one, other)
            }
            by_round = [rates[one][n] / rates[other][n] for n in rates[one]]
            ratios.append({
                **case,
                "of": one,
                "over": other,
                "ratio_of_medians": statistics.median(rates[one].values())
                / statistics.median(rates[other].values()),
                "by_round": _spread(by_round),
            })
    return {"rows": rows, "ratios": ratios}


def _target(ratio, page):
    for scenario, users, connections, over, least, aim in page.targets:
        same = (ratio["scenario"], ratio["users"]) == (scenario, users)
        same = same and connections in (None, ratio["connections"])
        if same and (ratio["of"], ratio["over"]) == (page.ours, over):
            got = ratio["ratio_of_medians"]
            text = f"≥ {least:.1f}: {'met' if got >= least else 'missed'}"
            if aim is not None:
                text += f"; aim {aim:.1f}: {'met' if got >= aim else 'missed'}"
            return text
    return ""


def table(head, lines):
    """A Markdown table, padded so that it also reads well on a terminal."""
    cells = [head, *lines]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]

    def left(i):
        return i == 0 or not any(row[i][:1].isdigit() for row in lines)

    def line(row):
        padded = (
            cell.ljust(width) if left(i) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths))
        )
        return "| " + " | ".join(padded) + " |"

    rule = "|" + "|".join(
        "-" * (width + 2) if left(i) else "-" * (width + 1) + ":" for i, width in enumerate(widths)
    ) + "|"
    return "\n".join([line(head), rule, *(line(row) for row in lines)])


def _case_title(case):
    users = ", one user" if case["users"] == "constant" else ""
    return f"{case['scenario']}{users}"


def _rates(rows):
    return table(
        ["scenario", "connections", "peer", "median/s", "min/s", "max/s", "p50 ms", "p99 ms",
         "server CPU µs", "client CPU µs"],
        [
            [
                _case_title(row), str(row["connections"]), row["peer"],
                *(f"{row['per_second'][key]:,.0f}" for key in ("median", "min", "max")),
                f"{row['p50_ms']:.2f}", f"{row['p99_ms']['median']:.2f}",
                f"{row['server_cpu_us_per_answer']:.1f}",
                f"{row['client_cpu_us_per_answer']:.1f}",
            ]
            for row in rows
        ],
    )


def _ratios(ratios, page):
    return table(
        ["scenario", "connections", "peers", "ratio of medians", "by round", "target"],
        [
            [
                _case_title(each), str(each["connections"]), f"{each['of']} / {each['over']}",
                f"{each['ratio_of_medians']:.2f}",
                f"{each['by_round']['min']:.2f} to {each['by_round']['max']:.2f}",
                _target(each, page),
            ]
            for each in ratios
        ],
    )


def _writer(rows):
    return table(
        ["connections", "stored meanwhile", "lag at the end", "lag, most", "then drained in s",
         "drained in s, most"],
        [
            [
                str(row["connections"]), f"{row['stored_meanwhile_share']:.0%}",
                f"{row['lag_records']['median']:,.0f}", f"{row['lag_records']['max']:,.0f}",
                f"{row['drain_seconds']['median']:.2f}", f"{row['drain_seconds']['max']:.2f}",
            ]
            for row in rows
        ],
    )


def markdown(outcome, page):
    facts, summary = outcome["facts"], outcome["summary"]
    rows = summary["rows"]
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    other, stolen = (
        max(row[field] for row in rows)
        for field in ("other_cpu_share_max", "stolen_cpu_share_max")
    )
    names = {row["peer"] for row in rows}
    parts = [
        f"# {page.title}",
        "\n".join([
            f"- Machine: {facts['cpu']}, {facts['cores']} cores, {facts['memory_gib']} GiB, "
            f"{facts['kernel']}; {facts['file_system']}, 4 KiB fdatasync in "
            f"{facts['sync_ms']} ms (median before the run)",
            f"- Commit: {facts['commit'] or 'none yet'}",
            f"- Date: {facts['date']}, took {facts['took_seconds']} s",
            f"- Versions: {versions}",
            f"- Command: `{facts['command']}`",
            f"- Rounds: {facts['rounds']} of {facts['seconds']} s per measurement; wrk with "
            f"{facts['wrk_threads']} threads, servers with {facts['server_threads']}",
            f"- Other processes used at most {other:.0%} of the machine during a measurement, "
            f"the hypervisor took at most {stolen:.0%} (load average before the run: "
            f"{facts['load_average_before']})",
            *(f"- `{name}`: {kind.title}"
              for name, kind in page.peers.items() if name in names),
        ]),
        "Every answer was checked: 409 only where refused, 202 only where accepted, and the "
        "peer's own books hold what the client counted.",
        "## Rates",
        _rates(rows),
        "Latencies are wrk's, closed loop, the median of the rounds. CPU is per answer, user "
        "and system, all processes of the peer together.",
    ]
    if summary["ratios"]:
        parts += ["## Ratios", _ratios(summary["ratios"], page)]
    if page.more:
        parts += page.more(outcome)
    drained = [row for row in rows if "lag_records" in row]
    if drained:
        parts += [
            "## doorbuster's order writer",
            _writer(drained),
            "Accepted orders are durable in the log before the 202; the writer moves them to "
            "the order store. *Lag* is what was still to move when the client stopped. The "
            "audit balanced after every measurement.",
        ]
    return "\n\n".join(parts) + "\n"


PEERS = Page("Peers", servers.PEERS, "doorbuster", TARGETS, PAIRS)
