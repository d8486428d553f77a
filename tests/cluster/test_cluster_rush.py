"""A rush, while one process of each kind is killed and comes back: every unit sold, none twice.

Two serve and two write; the engines may be killed. The buyers ask again, with their keys, on
whichever node answers, until each has heard yes or no.
"""

import time

from harness.cluster import Cluster, Engines, Rush
from harness.services import require
from harness.settings import scaled


def rush_with_kills(cluster, store, units: int, buyers: int, capsys) -> None:
    engines = cluster.engines
    sale = cluster.create_sale(units)
    started = time.monotonic()
    with Rush(cluster, sale, buyers) as rush:
        # Nobody is refused before the last kill: each of them meets a shop that sells.
        step = units // 7
        rush.serve(step)
        for process in (cluster.nodes[0], cluster.writers[0]):
            rush.let_in(step)
            process.kill()
            rush.serve(step // 4)
            process.start()
            rush.wait_for_all()
        for engine in (engines.redis, engines.kafka, store):
            rush.let_in(step // 2)
            engine.kill()
            rush_goes_on_without(engine, rush)
            engine.start()
            rush.wait_for_all()
        rush.let_in()
        rush.finish()
    cluster.wait_well()
    audit = rush.check(stock=units, sold_out=True)
    assert audit["sold"] == units and audit["inventory_remaining"] == 0, audit
    with capsys.disabled():
        print(f"\n{store.name}: {units} units, {buyers} buyers, {time.monotonic() - started:.0f} s"
              f"; {rush.accepted} heard yes; answers: {dict(sorted(rush.answers.items()))}",
              flush=True)


def rush_goes_on_without(engine, rush) -> None:
    """Answers, or none, come meanwhile: requests have met its absence."""
    seen = sum(rush.answers.values())
    rush.let_in(30)
    rush.wait_until(lambda: sum(rush.answers.values()) > seen + 10,
                    f"answers without {engine.name}")


def test_a_rush_survives_a_kill_of_each_kind_with_postgresql(services, tmp_path, capsys):
    engines = Engines(require("postgresql", services), require("redis", services),
                      require("kafka", services))
    with Cluster(tmp_path, engines) as cluster:
        rush_with_kills(cluster, engines.store, scaled(1_000, 200), scaled(50_000), capsys)


def test_a_rush_survives_a_kill_of_each_kind_with_mariadb(services, tmp_path, capsys):
    engines = Engines(require("mariadb", services), require("redis", services),
                      require("kafka", services))
    with Cluster(tmp_path, engines) as cluster:
        rush_with_kills(cluster, engines.store, scaled(200, 100), scaled(1_000, 500), capsys)
