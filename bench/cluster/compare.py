"""Runs the comparison of bench/cluster/README.md with bench/peers' client, driver and report."""

import contextlib
import statistics
import sys

import cluster_peers
import driver
import report
import services

# Scenario, users, connections (None: all), over whom, at least, aim.
TARGETS = (
    ("refusals", "distinct", None, "redis", 3.0, None),
    ("accepted", "distinct", None, "redis", 1.0, None),
)
ENGINES = ("postgresql", "redis", "kafka")
# How a client makes Redis run a script; what the script calls is counted by Redis, too.
SCRIPT_CALLS = ("redis evalsha", "redis eval", "redis fcall")


def median_of_buckets(counts):
    """The median in seconds of a histogram's growth, linear within its bucket; None: empty."""
    head = "log seconds <= "
    buckets = sorted(
        (float(key.removeprefix(head)), value)
        for key, value in counts.items() if key.startswith(head)
    )
    if not buckets or buckets[-1][1] <= 0:
        return None
    half = buckets[-1][1] / 2
    low, below = 0.0, 0.0
    for bound, upto in buckets:
        if upto >= half:
            if bound == float("inf"):
                return low
            return low + (bound - low) * (half - below) / (upto - below)
        low, below = bound, upto
    return None


def work_of(sample):
    """What the engines did for one answer."""
    counts, answers = sample["counts"], sample["answers"]
    seconds = median_of_buckets(counts)
    return {
        "redis_calls": sum(counts.get(name, 0) for name in SCRIPT_CALLS) / answers,
        "redis_commands": sum(
            value for key, value in counts.items() if key.startswith("redis ")) / answers,
        "kafka_records": counts["kafka records"] / answers if "kafka records" in counts else None,
        "sql_statements":
            counts["sql statements"] / answers if "sql statements" in counts else None,
        "sql_commits": counts["sql commits"] / answers if "sql commits" in counts else None,
        "log_ms": None if seconds is None else seconds * 1e3,
    }


def cpu_of(samples):
    """Microseconds of processor time for one answer, by process, the largest first."""
    names = [key for key in samples[0]["counts"] if key.startswith("cpu ")]
    used = {
        key.removeprefix("cpu "): statistics.median(
            each["counts"][key] * 1e6 / each["answers"] for each in samples)
        for key in names
    }
    return dict(sorted(used.items(), key=lambda item: -item[1]))


def _number(value, digits):
    return "–" if value is None else f"{value:.{digits}f}"


def work(outcome):
    """The page's part about the engines: medians of the rounds."""
    cases = {}
    for sample in outcome["samples"]:
        key = (sample["scenario"], sample["connections"], sample["peer"])
        cases.setdefault(key, []).append(sample)
    rows, processors = [], []
    for (scenario, connections, peer), samples in cases.items():
        taken, medians = [work_of(sample) for sample in samples], {}
        for field in taken[0]:
            values = [each[field] for each in taken if each[field] is not None]
            medians[field] = statistics.median(values) if values else None
        outcome["summary"].setdefault("work", []).append(
            {"scenario": scenario, "connections": connections, "peer": peer, **medians,
             "cpu_us": cpu_of(samples)})
        processors.append([
            scenario, str(connections), peer,
            ", ".join(f"{name} {us:.1f}" for name, us in cpu_of(samples).items()),
        ])
        rows.append([
            scenario, str(connections), peer, _number(medians["redis_calls"], 4),
            _number(medians["redis_commands"], 3), _number(medians["kafka_records"], 4),
            _number(medians["sql_statements"], 4), _number(medians["sql_commits"], 4),
            _number(medians["log_ms"], 2),
        ])
    return [
        "## What the engines did for one answer",
        report.table(
            ["scenario", "connections", "peer", "Redis calls", "Redis commands", "Kafka records",
             "SQL statements", "SQL commits", "log ms, median"], rows),
        "*Redis calls*: scripts that a client called (EVALSHA, EVAL), as `INFO commandstats` "
        "counts them; *Redis commands*: all that Redis executed, those within the scripts and "
        "those of the monitoring included. *Kafka records*: growth of the topic's end offsets. "
        "*SQL statements*: growth of `pg_stat_statements.calls` until every order was stored, "
        "BEGIN and COMMIT and the processes' own polling included. *Log*: from giving a record "
        "to Kafka's producer until it was read back (`doorbuster_log_append_seconds`), which is "
        "what an accepted order waits for beyond Redis. Requests that wrk sent and did not "
        "wait for are in the counts, not in the answers.",
        "## Processor time for one answer, in µs",
        report.table(["scenario", "connections", "peer", "by process"], processors),
        "Until every order was stored: with what came after the client's end.",
    ]


@contextlib.contextmanager
def engines_around(options):
    if cluster_peers.Cluster.name not in options.only:
        yield
        return
    with services.Services(BENCH.scratch / "services", ENGINES, True) as engines:
        cluster_peers.Cluster.engines = engines
        yield


BENCH = driver.Bench(
    name="cluster",
    description="Measures doorbuster's cluster shape against nginx + Lua + Redis.",
    page=report.Page(
        "Cluster", cluster_peers.PEERS, cluster_peers.Cluster.name, TARGETS,
        ((cluster_peers.Cluster.name, cluster_peers.LuaRedis.name),), work,
    ),
    by_default=tuple(cluster_peers.PEERS),
    users="distinct",
    # Kafka's Java compiles its hot code while it runs.
    warm_up_seconds=4,
    around=engines_around,
)


if __name__ == "__main__":
    sys.exit(driver.main(sys.argv[1:], BENCH))
