"""Dead letters of a shop of many processes, from the poison to the operator's last word.

`doorbuster log dead list`, `replay` and `drop` work on the store that everybody shares, while all
processes run. Two kinds of poison: what another producer wrote to the topic, and orders that the
shop promised and the store does not take, here for a rule that somebody added to its table.
"""

import contextlib
import dataclasses
import os
import struct
import subprocess
import time

from harness import contract, orders
from harness.server import run_command
from harness.waiting import eventually

ORDER = 1  # the kind of record; its bytes: src/domain/log_record.h
KCAT_S = 60.0


@dataclasses.dataclass
class Sale:
    """A sale as its row has it."""

    id: str
    no: int
    partition: int
    epoch: int


def database_of(cluster) -> str:
    return cluster.database.rsplit("/", 1)[1]


def row_of(cluster, sale: str) -> Sale:
    row, = cluster.engines.store.sql(
        f"SELECT no, log_partition, epoch FROM sales WHERE id = '{sale}'", database_of(cluster))
    return Sale(sale, *map(int, row))


def order_record(sale: Sale, quantity: int, user: str) -> bytes:
    """A record as a node would write it for an order of this sale."""
    unique = os.urandom(10)
    order = struct.pack(">I", sale.no) \
        + struct.pack(">Q", int(time.time() * 1000))[2:] + unique
    return struct.pack("<BIQ", ORDER, sale.no, sale.epoch) + order \
        + struct.pack("<I", quantity) + struct.pack("<H", len(user)) + user.encode() \
        + struct.pack("<H", 0)


def produce(cluster, folder, partition: int, record: bytes) -> None:
    """One record, by a producer that is none of ours."""
    file = folder / "record"
    file.write_bytes(record)
    subprocess.run(["kcat", "-P", "-b", cluster.engines.kafka.addresses, "-t", cluster.topic,
                    "-p", str(partition), str(file)], check=True, timeout=KCAT_S,
                   capture_output=True)


@contextlib.contextmanager
def rule_against(cluster, user: str):
    """The store takes no order of this user's, for the length of a `with` block."""
    def sql(statement):
        cluster.engines.store.sql(statement, database_of(cluster))
    sql(f"ALTER TABLE orders ADD CONSTRAINT not_{user} CHECK (user_id <> '{user}')")
    try:
        yield
    finally:
        sql(f"ALTER TABLE orders DROP CONSTRAINT not_{user}")


def dead(cluster, *arguments, status: int = 0) -> list:
    """`doorbuster log dead …`: the items that it printed."""
    result = run_command("log", "dead", *arguments, "--config", cluster.config_file, "--json")
    assert result.status == status, result
    return result.json()["items"] if result.stdout else []


def letters_of(cluster, sale: str, *more) -> dict:
    """A sale's dead letters by user."""
    return {one["user_id"]: one for one in dead(cluster, "list", "--sale", sale, *more)}


def waits_for_letters(cluster, count: int) -> list:
    """All letters of the cluster, once there are so many."""
    def look():
        found = dead(cluster, "list")
        assert len(found) <= count, found
        return found if len(found) == count else None
    return eventually(look, f"{count} dead letters")


def test_what_somebody_else_wrote_to_the_topic_is_listed_and_dropped(cluster, tmp_path):
    """Garbage, an order of nothing, an order of a sale that nobody knows: all in the partition of
    a sale that sells meanwhile."""
    before = dead(cluster, "list")
    sale = row_of(cluster, cluster.create_sale(20))
    first, second = cluster.nodes
    bought = [(first.bought(sale.id, f"before-{number}")["order_id"], f"before-{number}")
              for number in range(3)]
    unknown = dataclasses.replace(sale, no=2_000_000_000)
    poison = [b"garbage", order_record(sale, 0, "nothing"), order_record(unknown, 1, "stranger"),
              order_record(sale, 1, "cut short")[:-5]]
    for record in poison:
        produce(cluster, tmp_path, sale.partition, record)
    bought += [(second.bought(sale.id, f"behind-{number}")["order_id"], f"behind-{number}")
               for number in range(3)]

    # The partition goes on: what was bought behind the poison is stored.
    for order, user in bought:
        cluster.order_everywhere(order, user, "confirmed")
    letters = [one for one in waits_for_letters(cluster, len(before) + len(poison))
               if one not in before]
    assert all(one["cause"] for one in letters), letters
    by_user = {one["user_id"]: one for one in letters if one["user_id"]}
    assert by_user["nothing"]["sale_id"] == sale.id and by_user["nothing"]["record"] is None
    assert "quantity" in by_user["nothing"]["cause"], "the store's own words"
    assert "no sale with the number" in by_user["stranger"]["cause"], by_user
    raw = {bytes.fromhex(one["record"]) for one in letters if one["record"]}
    assert raw == {poison[0], poison[3]}, letters
    assert cluster.audits(sale.id)["sold"] == len(bought)

    # None of them can become an order, and says why; one bad name does not keep the others.
    for letter in letters:
        again = run_command("log", "dead", "replay", letter["order_id"], "--config",
                            cluster.config_file)
        assert again.status == 1 and letter["order_id"] in again.stderr, again
    names = [one["order_id"] for one in letters]
    given_up = dead(cluster, "drop", *names, "--cause", "not ours", "--yes")
    assert sorted(one["order_id"] for one in given_up) == sorted(names)
    assert dead(cluster, "list") == before
    dropped = [one for one in dead(cluster, "list", "--dropped") if one["order_id"] in names]
    assert {one["drop_cause"] for one in dropped} == {"not ours"} and len(dropped) == len(names)

    audit = cluster.audits(sale.id)
    for number, node in zip(range(20 - len(bought)), [first, second] * 20):
        node.bought(sale.id, f"rest-{number}")
    contract.expect(first.buy(sale.id, "late"), 409, "sold_out")
    assert cluster.audits(sale.id)["sold"] == audit["stock"] == 20


def test_promised_orders_that_the_store_did_not_take_are_replayed_or_dropped(cluster):
    """Their buyers have heard yes: the orders stay queued and keep their units, until the cause is
    gone and they are stored after all, or an operator gives them up."""
    first, second = cluster.nodes
    stock = 6
    sale = cluster.create_sale(stock, per_user_limit=3, payment_timeout_s=600)
    with rule_against(cluster, "mallory"):
        letters = [node.bought(sale, "mallory", key=f"key-{number}")["order_id"]
                   for number, node in enumerate((first, second, first))]
        ann = second.bought(sale, "ann")["order_id"]
        cluster.order_everywhere(ann, "ann", "confirmed")
        listed = eventually(lambda: _all(dead(cluster, "list", "--sale", sale), letters),
                            "three dead letters")
        for one in listed:
            assert "not_mallory" in one["cause"] and one["user_id"] == "mallory", one
            assert one["quantity"] == 1 and one["record"] is None, one
        assert {one["idempotency_key"] for one in listed} == {"key-0", "key-1", "key-2"}

        # They hold their units, on every node; the books know of them.
        for node, user in ((first, "bob"), (second, "carl")):
            contract.expect(node.buy(sale, "mallory"), 409, "limit_reached")
            node.bought(sale, user)
            contract.expect(node.order(letters[0], "mallory"), 200)
        for node in cluster.nodes:
            contract.expect(node.buy(sale, "late"), 409, "sold_out")
        audit = audited(cluster, sale)
        assert audit["sold"] == 3 and audit["inventory_remaining"] == 0, audit

        # The cause is still there: replaying fails in words and loses nothing.
        again = run_command("log", "dead", "replay", letters[0], "--config", cluster.config_file)
        assert again.status == 1 and letters[0] in again.stderr, again
        assert len(dead(cluster, "list", "--sale", sale)) == 3

    replayed, = dead(cluster, "replay", letters[0])
    assert replayed["status"] == "confirmed" and replayed["sale_id"] == sale, replayed
    cluster.order_everywhere(letters[0], "mallory", "confirmed")
    orders.paid(second, letters[0], "late but paid")
    dropped, = dead(cluster, "drop", letters[1], "--cause", "refunded by hand", "--yes")
    assert dropped["gives_back"] is True, dropped
    for node in cluster.nodes:
        orders.has_remaining(node, sale, 1)
    eventually(lambda: second.buy(sale, "dora", key="dora").status == 202, "its unit is sold again")
    replayed, = dead(cluster, "replay", "--all")
    assert replayed["order_id"] == letters[2], replayed
    cluster.order_everywhere(letters[2], "mallory", "confirmed")

    assert dead(cluster, "list", "--sale", sale) == []
    gone, = dead(cluster, "list", "--sale", sale, "--dropped")
    assert gone["order_id"] == letters[1] and gone["drop_cause"] == "refunded by hand", gone
    audit = cluster.audits(sale)
    assert audit["sold"] == audit["stock"] == stock and audit["orders"]["paid"] == 1, audit
    answer = first.buy(sale, "mallory", key="key-2")
    assert contract.expect(answer, 202)["order_id"] == letters[2], "its key is still bound"


def _all(found: list, ids: list):
    return found if {one["order_id"] for one in found} == set(ids) else None


def audited(cluster, sale: str) -> dict:
    """The books, balanced, while dead letters hold units that are not sold."""
    def look():
        audit = contract.expect(cluster.nodes[0].admin("GET", f"/v1/sales/{sale}/audit"), 200)
        return contract.check_audit(audit) if audit["orders"].get("queued", 0) == 0 else None
    return eventually(look, f"{sale} is balanced")
