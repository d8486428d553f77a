"""Many keep-alive connections, each with requests in flight, driven by one epoll loop.

One thread of Python answers for several thousand requests a second this way, which keeps a
server busy enough to be killed at an interesting moment.
"""

import re
import select
import socket
import time
from collections import deque

from .settings import LOAD_S

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)


class _Line:
    """One connection: what is still to be sent, what came, which requests wait for answers."""

    __slots__ = ("socket", "incoming", "outgoing", "waiting", "writable_wanted")

    def __init__(self, connected):
        self.socket = connected
        self.incoming = bytearray()
        self.outgoing = b""
        self.waiting = deque()
        self.writable_wanted = False


class Swarm:
    """Sends the requests of an iterator over `connections` connections, `depth` deep each.

    Requests are pairs (tag, bytes). `on_answer(tag, status, head, body)` is called for every
    answer in the order of arrival. A connection that the server closes takes its unanswered tags
    to `unanswered` and is not opened again; what had arrived before the close is still handled.
    """

    def __init__(self, port: int, connections: int, depth: int = 1, address: str = "127.0.0.1"):
        self.depth = depth
        self.unanswered = []
        self.answers = 0
        self.partial_answers = 0
        self._epoll = select.epoll()
        self._lines = {}
        for _ in range(connections):
            connected = socket.create_connection((address, port), timeout=30.0)
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connected.setblocking(False)
            self._lines[connected.fileno()] = _Line(connected)
            self._epoll.register(connected.fileno(), select.EPOLLIN)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for line in self._lines.values():
            line.socket.close()
        self._lines.clear()
        self._epoll.close()

    @property
    def connected(self) -> int:
        return len(self._lines)

    def run(self, requests, on_answer, bound_s: float = LOAD_S) -> None:
        """Until the requests are used up and answered, or no connection is left."""
        requests = iter(requests)
        deadline = time.monotonic() + bound_s
        for fileno in list(self._lines):
            self._fill(fileno, requests)
        while any(line.waiting for line in self._lines.values()):
            assert time.monotonic() < deadline, \
                f"not answered within {bound_s:.0f} s; {self.answers} answers so far"
            for fileno, events in self._epoll.poll(1.0, 1024):
                if fileno not in self._lines:
                    continue
                if events & select.EPOLLOUT:
                    self._flush(fileno)
                if events & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
                    self._receive(fileno, requests, on_answer)

    def burst(self, requests, act) -> None:
        """Sends `depth` requests on every idle connection and calls `act()` at the first sign of
        an answer, before it is even read. run() with no requests then takes what arrived."""
        requests = iter(requests)
        prepared = []
        for fileno, line in self._lines.items():
            pairs = [pair for pair, _ in zip(requests, range(self.depth))]
            line.waiting.extend(tag for tag, _ in pairs)
            prepared.append((fileno, line, b"".join(data for _, data in pairs)))
        for fileno, line, data in prepared:
            line.outgoing = data
            self._flush(fileno)
        self._epoll.poll(LOAD_S, 1)
        act()

    def _fill(self, fileno: int, requests) -> None:
        line = self._lines[fileno]
        batch = []
        while len(line.waiting) < self.depth:
            pair = next(requests, None)
            if pair is None:
                break
            line.waiting.append(pair[0])
            batch.append(pair[1])
        if batch:
            line.outgoing += b"".join(batch)
            self._flush(fileno)

    def _flush(self, fileno: int) -> None:
        line = self._lines[fileno]
        if line.outgoing:
            try:
                line.outgoing = line.outgoing[line.socket.send(line.outgoing):]
            except BlockingIOError:
                pass
            except OSError:
                line.outgoing = b""  # the read side says what still arrived
        wanted = bool(line.outgoing)
        if wanted != line.writable_wanted:
            line.writable_wanted = wanted
            self._epoll.modify(fileno,
                               select.EPOLLIN | (select.EPOLLOUT if wanted else 0))

    def _receive(self, fileno: int, requests, on_answer) -> None:
        line = self._lines[fileno]
        ended = False
        try:
            data = line.socket.recv(262144)
            ended = not data
            line.incoming += data
        except BlockingIOError:
            return
        except OSError:
            ended = True
        self._parse(line, on_answer)
        if ended:
            self.partial_answers += bool(line.incoming)
            self.unanswered += line.waiting
            self._epoll.unregister(fileno)
            line.socket.close()
            del self._lines[fileno]
            return
        self._fill(fileno, requests)

    def _parse(self, line, on_answer) -> None:
        incoming = line.incoming
        while True:
            end = incoming.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(incoming[:end])
            length = _LENGTH.search(head)
            assert length, f"an answer without Content-Length: {head!r}"
            total = end + 4 + int(length.group(1))
            if len(incoming) < total:
                return
            body = bytes(incoming[end + 4:total])
            del incoming[:total]
            self.answers += 1
            on_answer(line.waiting.popleft(), int(head[9:12]), head, body)


def run_all(server, requests, on_answer, connections: int = 32, depth: int = 1) -> None:
    """Sends all requests to a server that must answer every one of them."""
    with Swarm(server.port, connections, depth) as swarm:
        swarm.run(requests, on_answer)
        assert not swarm.unanswered, f"{len(swarm.unanswered)} requests were never answered"
