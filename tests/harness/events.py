"""An order's events over HTTP: a client of text/event-stream that checks what it reads."""

import json

from . import orders
from .wire import Response

FINAL = ("paid", "cancelled", "expired", "refused")


def events_bytes(server, order: str, user: str = None, headers=None, method: str = "GET",
                 version: str = "1.1") -> bytes:
    """The bytes of a request for the events of an order."""
    lines = [f"{method} /v1/orders/{order}/events HTTP/{version}", f"Host: {server.host}",
             "Accept: text/event-stream"]
    if user is not None:
        lines.append(f"X-User-Id: {user}")
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join(lines).encode("utf-8") + b"\r\n\r\n"


class EventStream:
    """One stream, from its head to its end; every event is checked against those before it."""

    def __init__(self, server, order: str, user: str = None, headers=None, version: str = "1.1",
                 behind: bytes = b""):
        self.order = order
        self.connection = server.connect()
        self.events = []
        self.comments = 0
        self.chunked = version == "1.1"
        self.ended = False
        self._text = b""
        self.connection.send(events_bytes(server, order, user, headers, version=version) + behind)
        self.head = self._read_head()
        assert self._block() == ["retry: 1000"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self) -> None:
        self.connection.close()

    def _read_head(self) -> Response:
        head = self.connection.take_until(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        pairs = [line.decode("latin-1").split(": ", 1) for line in lines]
        response = Response(int(first.split()[1]), [(name.lower(), value) for name, value in pairs],
                            b"", head)
        check_head(response)
        coding = "chunked" if self.chunked else None
        assert response.header("transfer-encoding") == coding, response
        return response

    def _receive(self) -> bool:
        """More of the body; False at its end, which must be a proper one."""
        if self.ended:
            return False
        if not self.chunked:
            part = self.connection.take_any()
        else:
            size = int(self.connection.take_until(b"\r\n"), 16)
            part = self.connection.take(size)
            assert self.connection.take(2) == b"\r\n", "a chunk ends with CRLF"
        self._text += part
        self.ended = not part
        return not self.ended

    def _block(self):
        """The lines up to the next empty one; None at the end."""
        while b"\n\n" not in self._text:
            if not self._receive():
                assert self._text == b"", f"the stream ends within an event: {self._text!r}"
                return None
        block, self._text = self._text.split(b"\n\n", 1)
        return block.decode("utf-8").split("\n")

    def next(self):
        """The order of the next event; None at the end."""
        while (lines := self._block()) is not None:
            if lines == [":"]:
                self.comments += 1
                continue
            assert [line.split(": ", 1)[0] for line in lines] == ["event", "id", "data"], lines
            name, number, data = (line.split(": ", 1)[1] for line in lines)
            shown = orders.check_order(json.loads(data))
            assert name == "status" and number == str(shown["version"]), lines
            assert shown["order_id"] == self.order, lines
            if self.events:
                assert shown["version"] > self.events[-1]["version"], (self.events, shown)
                assert not is_final(self.events[-1]), (self.events, shown)
            self.events.append(shown)
            return shown
        return None

    def next_comment(self) -> None:
        """Waits for a keep-alive; an event in between is a failure."""
        assert self._block() == [":"]
        self.comments += 1

    def rest(self) -> list:
        """The statuses up to the end of the stream, those read before included."""
        while self.next() is not None:
            pass
        return [shown["status"] for shown in self.events]


def is_final(order: dict) -> bool:
    return order["status"] in FINAL or (order["status"] == "confirmed"
                                        and order["expires_at"] is None)


def check_head(response: Response) -> Response:
    assert response.status == 200, response
    assert response.header("content-type") == "text/event-stream", response
    assert response.header("cache-control") == "no-store", response
    assert response.header("x-accel-buffering") == "no", response
    assert response.header("content-length") is None, response
    assert response.header("x-request-id"), response
    return response
