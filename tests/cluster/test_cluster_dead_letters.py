"""Dead letters of a shop of many processes, from the poison to the operator's last word.

`doorbuster log dead list`, `replay` and `drop` work on the store that everybody shares, while all
processes run. Two kinds of poison: what another producer wrote to the topic, and orders that the
shop promised and the store does not take, here for a rule that somebody added to its table.
"""

import contextlib
import dataclasses
import itertools
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
    sql(f"ALTER TABLE orders ADD CONSTRAINT not_{user} "
        f"CHECK (user_id <> '{user}') NOT VALID")  # what is there may stay
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
    impossible = dataclasses.replace(sale, no=4_000_000_000)  # the databases number less far
    poison = [b"garbage", order_record(sale, 0, "nothing"), order_record(unknown, 1, "stranger"),
              order_record(sale, 1, "cut short")[:-5], order_record(impossible, 1, "far")]
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
    assert raw == {poison[0], *poison[3:]}, letters
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


def promised_and_not_stored(cluster, sale: str, count: int) -> list:
    """The orders of a user whom the store refuses meanwhile; they are dead letters now."""
    with rule_against(cluster, "mallory"):
        bought = [node.bought(sale, "mallory", key=f"key-{number}")["order_id"]
                  for number, node in zip(range(count), itertools.cycle(cluster.nodes))]
        listed = eventually(lambda: _all(dead(cluster, "list", "--sale", sale), bought),
                            f"{count} dead letters")
        for one in listed:
            assert "not_mallory" in one["cause"] and one["user_id"] == "mallory", one
            assert one["quantity"] == 1 and one["record"] is None, one
        assert {one["idempotency_key"] for one in listed} \
            == {f"key-{number}" for number in range(count)}
        # The cause is still there: replaying fails in words and loses nothing.
        again = run_command("log", "dead", "replay", bought[0], "--config", cluster.config_file)
        assert again.status == 1 and bought[0] in again.stderr, again
        assert len(dead(cluster, "list", "--sale", sale)) == count
    return bought


def test_promised_orders_that_the_store_did_not_take_are_stored_by_a_replay(cluster):
    """Their buyers have heard yes: the orders keep their units on every node, and are stored after
    all when the cause is gone."""
    first, second = cluster.nodes
    sale = cluster.create_sale(5, per_user_limit=3, payment_timeout_s=600)
    letters = promised_and_not_stored(cluster, sale, 3)
    ann = second.bought(sale, "ann")["order_id"]
    cluster.order_everywhere(ann, "ann", "confirmed")  # the partition goes on
    for node in cluster.nodes:
        contract.expect(node.buy(sale, "mallory"), 409, "limit_reached")
    first.bought(sale, "bob")
    for node in cluster.nodes:
        contract.expect(node.buy(sale, "late"), 409, "sold_out")
        contract.expect(node.order(letters[0], "mallory"), 200)
    audit = audited(cluster, sale)
    assert audit["sold"] == 2 and audit["inventory_remaining"] == 0, audit

    replayed, = dead(cluster, "replay", letters[0])
    assert replayed["status"] == "confirmed" and replayed["sale_id"] == sale, replayed
    cluster.order_everywhere(letters[0], "mallory", "confirmed")
    orders.paid(second, letters[0], "late but paid")
    assert {one["order_id"] for one in dead(cluster, "replay", "--all")} == set(letters[1:])
    for letter in letters[1:]:
        cluster.order_everywhere(letter, "mallory", "confirmed")

    assert dead(cluster, "list", "--sale", sale) == []
    audit = cluster.audits(sale)
    assert audit["sold"] == audit["stock"] == 5 and audit["orders"]["paid"] == 1, audit
    answer = first.buy(sale, "mallory", key="key-2")
    assert contract.expect(answer, 202)["order_id"] == letters[2], "its key is still bound"


def test_a_promised_order_is_given_up_and_its_unit_is_sold_again(cluster):
    """The operator's last word; the books balance before and after its unit is sold again."""
    first, second = cluster.nodes
    sale = cluster.create_sale(2, per_user_limit=2, payment_timeout_s=600)
    letters = promised_and_not_stored(cluster, sale, 2)
    dropped, = dead(cluster, "drop", letters[0], "--cause", "refunded by hand", "--yes")
    assert dropped["gives_back"] is True, dropped
    for node in cluster.nodes:
        eventually(lambda node=node: node.sale(sale)["remaining"] > 0, "a unit for sale")
    eventually(lambda: second.buy(sale, "dora", key="dora").status == 202, "its unit is sold again")
    contract.expect(first.buy(sale, "late"), 409, "sold_out")
    replayed, = dead(cluster, "replay", "--all")
    assert replayed["order_id"] == letters[1], replayed
    gone, = dead(cluster, "list", "--sale", sale, "--dropped")
    assert gone["order_id"] == letters[0] and gone["drop_cause"] == "refunded by hand", gone
    audit = cluster.audits(sale)
    assert audit["sold"] == audit["stock"] == 2, audit


def _all(found: list, ids: list):
    return found if {one["order_id"] for one in found} == set(ids) else None


def audited(cluster, sale: str) -> dict:
    """The books, balanced, while dead letters hold units that are not sold."""
    def look():
        audit = contract.expect(cluster.nodes[0].admin("GET", f"/v1/sales/{sale}/audit"), 200)
        return contract.check_audit(audit) if audit["orders"].get("queued", 0) == 0 else None
    return eventually(look, f"{sale} is balanced")
