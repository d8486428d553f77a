"""Three real brokers, some of which die: row 15 of docs/faults.md. Each test ends with the audit.

A yes says that the record is on two disks at least. When there are too few brokers for that nobody
hears yes; when they are back everything goes on by itself, and what was in hand is not lost.
"""

import pytest

from harness.cluster import Cluster, Engines, Rush, under_load
from harness.services import Services, require
from harness.settings import LOAD_S


@pytest.fixture(scope="module")
def brokers(tmp_path_factory):
    """Three brokers of this file's own, which its tests kill."""
    mine = Services(tmp_path_factory.mktemp("brokers"))
    yield require("kafka3", mine)
    mine.stop()


def shop_on(folder, brokers, min_insync: int) -> Cluster:
    topic = brokers.topic(4, min_insync_replicas=min_insync)
    engines = Engines(require("postgresql"), require("redis"), brokers)
    return Cluster(folder, engines, writes=1, topic=topic)


def nobody_hears_yes(rush: Rush) -> None:
    """Buyers are answered, with 503 only."""
    def answers(more: int) -> None:
        seen = rush.answers["503 unavailable"] + rush.answers["503 overloaded"]
        rush.let_in(10)
        rush.wait_until(lambda: rush.answers["503 unavailable"] + rush.answers["503 overloaded"]
                        >= seen + more, f"{more} times 503", LOAD_S)
    answers(10)  # those before them may have been in the log already
    accepted = rush.accepted
    answers(20)
    assert rush.accepted == accepted, "a yes that two disks cannot have"


def test_a_shop_sells_with_two_of_three_brokers_and_not_with_one(brokers, tmp_path):
    """Replication 3, min.insync.replicas 2. The last broker alone has no quorum either."""
    with shop_on(tmp_path, brokers, 2) as cluster:
        with under_load(cluster, well_s=LOAD_S) as rush:
            rush.wait_for_all(LOAD_S)
            brokers.nodes[2].kill()
            rush.let_in(40)
            rush.wait_for_all(LOAD_S)  # it sells on
            brokers.nodes[1].kill()
            nobody_hears_yes(rush)
            brokers.start()


def test_a_broker_too_few_in_sync_is_no_yes(brokers, tmp_path):
    """Replication 3, min.insync.replicas 3: with one broker dead the others are a quorum, take it
    out of the partitions, and refuse each record by NOT_ENOUGH_REPLICAS."""
    with shop_on(tmp_path, brokers, 3) as cluster:
        with under_load(cluster, well_s=LOAD_S) as rush:
            rush.wait_for_all(LOAD_S)
            brokers.nodes[0].kill()
            nobody_hears_yes(rush)
            brokers.start()
