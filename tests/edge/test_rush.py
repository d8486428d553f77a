"""A rush through nginx: exactly the stock is sold, and how much of it doorbuster never saw.

The figures are printed (`pytest -s`), and written to the file that DOORBUSTER_TEST_EDGE_REPORT
names.
"""

import collections
import datetime
import json
import os
import pathlib
import platform
import random
import re
import subprocess
import time

from harness import contract
from harness.edge import NGINX
from harness.settings import ROOT, scaled
from harness.swarm import Swarm
from harness.wire import build_request

STOCK = scaled(500, 100)
CONNECTIONS = 64
TRIES = 3  # of a person; the limit of a user allows ten at once
USER_BURST, USER_RATE, MOMENT_S = 10, 5, 0.5  # deploy/nginx/doorbuster

# Who comes, and by which address nginx's log knows them.
NETWORKS = {"people": "10.1.", "people with keys": "10.2.", "bots": "10.3.", "lookers": "10.4."}


def address_of(kind: str, number: int) -> str:
    return f"{NETWORKS[kind]}{number // 250}.{number % 250 + 1}"


def crowd(edge, sale: str) -> list:
    """All requests, in an order that is the same in each run: ((kind, user), bytes)."""
    requests = []
    for kind, users, tries in (("people", scaled(4000, 600), TRIES),
                               ("people with keys", scaled(1000, 150), TRIES),
                               ("bots", scaled(10, 5), scaled(300, 100))):
        for number in range(users):
            user = f"{kind.replace(' ', '-')}-{number}"
            for attempt in range(tries):
                # A bot takes a new key each time, so that the gate lets it through.
                key = {"people": None, "people with keys": "key", "bots": f"key-{attempt}"}[kind]
                requests.append(((kind, user), edge.attempt_bytes(
                    sale, user, address_of(kind, number), key)))
    for number in range(scaled(3000, 300)):
        requests.append((("lookers", None), build_request(
            "GET", f"/v1/sales/{sale}", edge.host,
            {"X-Forwarded-For": address_of("lookers", number)})))
    random.Random(1).shuffle(requests)
    return requests


class Heard:
    """What the crowd was told; each answer is looked at as it comes."""

    def __init__(self):
        self.statuses = {kind: collections.Counter() for kind in NETWORKS}
        self.orders = {}  # user -> order

    def __call__(self, tag, status, _head, body) -> None:
        kind, user = tag
        self.statuses[kind][status] += 1
        if status == 202:
            order = json.loads(body)
            assert order["user_id"] == user, order
            assert self.orders.setdefault(user, order) == order, (self.orders[user], order)


def test_a_rush_through_nginx_sells_the_stock_and_much_of_it_stays_outside(edge):
    sale = edge.server.create_sale(STOCK)
    requests = crowd(edge, sale)
    heard = Heard()
    logged, answered = len(edge.lines()), edge.purchases_answered()
    began = time.monotonic()
    with Swarm(edge.port, CONNECTIONS) as swarm:
        swarm.run(requests, heard)
        assert not swarm.unanswered
    took = time.monotonic() - began

    assert len(heard.orders) == STOCK
    contract.check_audit(edge.server.audit(sale), sold=STOCK)
    for kind, statuses in heard.statuses.items():
        allowed = {"lookers": {200}, "bots": {202, 409, 429}}.get(kind, {202, 409})
        assert set(statuses) <= allowed, (kind, statuses)
    lines = [line for line in edge.lines(logged + len(requests))
             if any(line.address.startswith(one) for one in NETWORKS.values())]
    figures = Figures(took, requests, lines, heard)
    figures.tell()
    bots = len({user for (kind, user), _ in requests if kind == "bots"})
    assert figures.asked["bots"] <= bots * (USER_BURST + 1 + USER_RATE * took), figures.asked
    assert figures.asked["lookers"] <= (took / MOMENT_S + 1) * CONNECTIONS, figures.asked
    assert figures.asked["lookers"] < figures.sent["lookers"] / 4, figures.asked
    assert figures.asked["people"] < figures.sent["people"], figures.asked
    # Both sides have counted the same: doorbuster's own metrics, and nginx's log.
    assert edge.purchases_answered() - answered == sum(
        status != "401" for line in lines if line.method == "POST" for status in line.answers)

    with_keys = [user for user in heard.orders if user.startswith("people-with-keys-")]
    for number, user in enumerate(with_keys):
        headers = {"X-Forwarded-For": f"10.5.0.{number % 250 + 1}"}
        answer = edge.buy(sale, user, 1, "key", headers)
        assert contract.expect(answer, 202) == heard.orders[user]
        assert answer.header("idempotency-replayed") == "true"


def test_behind_a_shut_gate_doorbuster_is_asked_once_a_moment(edge):
    sale = edge.server.create_sale(1)
    edge.bought(sale, "first")
    edge.wait_shut(sale)
    attempts = scaled(8000, 1000)
    answered = edge.purchases_answered()
    statuses = collections.Counter()
    began = time.monotonic()
    with Swarm(edge.port, CONNECTIONS) as swarm:
        swarm.run(((None, edge.attempt_bytes(sale, f"late-{number}", address_of("people", number)))
                   for number in range(attempts)),
                  lambda _tag, status, _head, _body: statuses.update([status]))
    took = time.monotonic() - began
    assert statuses == {409: attempts}
    # Each moment those who come before the new answer is there, at most one a connection.
    asked = edge.purchases_answered() - answered
    print(f"\n{attempts} attempts in {took:.1f} s, {asked} of them asked doorbuster")
    assert asked <= (took / MOMENT_S + 1) * CONNECTIONS
    assert asked <= attempts / 5, f"{asked} of {attempts} came through"


class Figures:
    """By kind of visitor: what was sent, and what doorbuster was asked for it."""

    def __init__(self, took_s: float, requests: list, lines: list, heard: Heard):
        self.took_s = took_s
        self.heard = heard
        self.sent = collections.Counter(kind for (kind, _), _ in requests)
        self.asked = collections.Counter()
        self.cached = collections.Counter()
        self.limited = collections.Counter()
        for line in lines:
            kind = next(kind for kind, net in NETWORKS.items() if line.address.startswith(net))
            self.asked[kind] += line.asked
            self.cached[kind] += line.asked == 0 and line.cache == "HIT"
            self.limited[kind] += line.limit == "REJECTED"

    def table(self) -> str:
        rows = [f"| {kind} | {self.sent[kind]:,} | {self.heard.statuses[kind][202]:,} "
                f"| {self.cached[kind]:,} | {self.limited[kind]:,} | {self.asked[kind]:,} |"
                for kind in NETWORKS]
        sent, asked = sum(self.sent.values()), sum(self.asked.values())
        return "\n".join([
            "| who | sent | 202, repeated ones too | from nginx's memory | 429 "
            "| requests to doorbuster |",
            "|---|---:|---:|---:|---:|---:|", *rows,
            f"| all | {sent:,} | {sum(one[202] for one in self.heard.statuses.values()):,} "
            f"| {sum(self.cached.values()):,} | {sum(self.limited.values()):,} | {asked:,} |",
            "", f"{1 - asked / sent:.0%} of {sent:,} requests in {self.took_s:.1f} s were kept "
            f"away; {STOCK:,} units, {len(self.heard.orders):,} orders."])

    def tell(self) -> None:
        print("\n" + self.table())
        if report := os.environ.get("DOORBUSTER_TEST_EDGE_REPORT"):
            pathlib.Path(report).write_text(self.document(), encoding="utf-8")

    def document(self) -> str:
        commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, check=True,
                                capture_output=True, text=True).stdout.strip()
        nginx = subprocess.run([NGINX, "-v"], check=True, capture_output=True, text=True).stderr
        cpu = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text("utf-8"))
        return (f"# A rush through nginx\n\n"
                f"- machine: {cpu.group(1) if cpu else platform.machine()}, {os.cpu_count()} cores "
                f"shared by clients, nginx and doorbuster, {platform.system()} "
                f"{platform.release()}\n"
                f"- commit: {commit}, {nginx.strip().removeprefix('nginx version: ')}\n"
                "- command: `DOORBUSTER_TEST_EDGE_REPORT=FILE python3 -m pytest "
                "tests/edge/test_rush.py`\n"
                f"- ended: {datetime.datetime.now(datetime.timezone.utc):%Y-%m-%dT%H:%M:%SZ}\n\n"
                + self.table() + "\n")
