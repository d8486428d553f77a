"""A receiver of webhooks: checks what arrives, keeps it, and misbehaves as a test tells it to.

    with WebhookReceiver() as receiver:
        ... a server with endpoints = [{url = receiver.url, secret = receiver.secret}] ...
        receiver.behave(status=500)     # from now on
        receiver.script(Answer(close="unanswered"), Answer(delay_s=1))  # the next two, once each
        receiver.stop()                 # nobody listens; every open connection is closed
        receiver.start()                # back, on the same port, with all that it has kept
        receiver.wait_for(lambda: len(receiver.accepted()) == 3, "three events")
        receiver.check()                # signatures, bodies and the order of events

Every method may be called from any thread. Deliveries are kept in the order in which their last
byte arrived.
"""

import base64
import collections
import dataclasses
import hashlib
import hmac
import http.server
import json
import os
import socket
import socketserver
import threading
import time

from .server import LOOPBACK, free_port
from .settings import BOUND_S
from .waiting import eventually

SECRET_PREFIX = "whsec_"
CONTENT_TYPE = "application/cloudevents+json"
CLOCK_DIFFERENCE_S = 300  # what the Standard Webhooks libraries tolerate
TYPE_PREFIX = "doorbuster."


def fresh_secret(size: int = 32) -> str:
    return SECRET_PREFIX + base64.b64encode(os.urandom(size)).decode("ascii")


def signature(secret: str, message_id: str, timestamp: str, body: bytes) -> str:
    """The v1 signature of a message: the specification's, written without any of our code."""
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    signed = b".".join((message_id.encode(), timestamp.encode(), body))
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a request gets. `close`: "unread" closes before the request is read, "unanswered" after
    it was read and kept, "halfway" in the middle of the answer's head, "after" after the answer.
    """

    status: int = 200
    delay_s: float = 0
    close: str | None = None
    headers: tuple = ()  # of (name, value)
    body: bytes = b""

    def accepts(self) -> bool:
        return 200 <= self.status < 300 and self.close in (None, "after")


@dataclasses.dataclass
class Delivery:
    id: str  # webhook-id: "<order id>.<version>"
    type: str  # "order.paid": without the prefix
    order: str
    version: int
    arrival: float  # time.monotonic() of the request's last byte
    position: int  # 0 for the first request that was kept
    connection: int  # its number, from 1
    event: dict  # the whole CloudEvent
    headers: dict  # names in lower case
    answer: Answer
    answered: bool = False  # the whole answer was given to the kernel

    @property
    def accepted(self) -> bool:
        return self.answered and self.answer.accepts()


class _Listener(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, address, receiver):
        self.receiver = receiver
        self.stopping = threading.Event()
        self.lock = threading.Lock()
        self.open = set()
        super().__init__(address, _Handler)

    def is_quiet(self) -> bool:
        with self.lock:
            return not self.open

    def handle_error(self, request, client_address):
        """A peer that went away in the middle is no error of the test's."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self):
        super().setup()
        with self.server.lock:
            self.server.open.add(self.connection)
        self.number = self.server.receiver._connected()

    def finish(self):
        with self.server.lock:
            self.server.open.discard(self.connection)
        super().finish()

    def handle_one_request(self):
        if self.server.stopping.is_set():
            self.close_connection = True
            return
        super().handle_one_request()

    def do_POST(self):
        receiver = self.server.receiver
        answer = receiver._next_answer()
        if answer.close == "unread":
            self.close_connection = True
            return
        try:
            size = int(self.headers.get("Content-Length", ""))
            body = self.rfile.read(size)
        except ValueError:
            receiver._problem(f"a request without Content-Length: {self.headers.items()}")
            self.close_connection = True
            return
        if len(body) < size or self.server.stopping.is_set():
            self.close_connection = True  # cut off: a request that never was
            return
        delivery = receiver._keep(self.path, dict(self.headers.items()), body, answer, self.number)
        if answer.delay_s > 0:
            self.server.stopping.wait(answer.delay_s)
        if answer.close == "unanswered" or self.server.stopping.is_set():
            self.close_connection = True
            return
        self._write(answer, delivery)

    def _write(self, answer, delivery):
        lines = [f"HTTP/1.1 {answer.status} Whatever"]
        lines += [f"{name}: {value}" for name, value in answer.headers]
        if answer.status != 204:
            lines.append(f"Content-Length: {len(answer.body)}")
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        if answer.close == "halfway":
            self.wfile.write(head[:len(head) // 2])
            self.close_connection = True
            return
        # Marked before: whoever has the answer finds it accepted. Unmarked if it did not go out.
        receiver = self.server.receiver
        receiver._answered(delivery, True)
        try:
            self.wfile.write(head + answer.body)
        except OSError:
            receiver._answered(delivery, False)
            raise
        if answer.close == "after":
            self.close_connection = True

    def log_message(self, *_):
        """Silent."""


class WebhookReceiver:
    """One endpoint at `url`, whose events are signed with `secret`."""

    def __init__(self, secret: str | None = None, path: str = "/hook", address: str = LOOPBACK):
        self.secret = secret or fresh_secret()
        self.path = path
        self.address = address
        self.port = None  # from the first start on, for good
        self._lock = threading.Lock()
        self._listener = None
        self._thread = None
        self._usual = Answer()
        self._script = collections.deque()
        self._deliveries = []
        self._first_bodies = {}  # by id: what is sent again is the same
        self._problems = []
        self._connections = 0

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    @property
    def url(self) -> str:
        return f"http://{self.address}:{self.port}{self.path}"

    def endpoint(self, *events: str) -> str:
        """The endpoint as an inline table of the settings; no events: all of them."""
        listed = ", ".join(json.dumps(event) for event in events)
        return (f'{{ url = "{self.url}", secret = "{self.secret}"'
                + (f", events = [{listed}]" if events else "") + " }")

    def start(self) -> None:
        """Listens; after a stop, on the same port as before."""
        if self._listener is not None:
            return
        self._listener = eventually(self._bind, f"port {self.port} is free to listen on")
        self._thread = threading.Thread(target=self._listener.serve_forever,
                                        kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Closes the port and every connection; requests that wait get no answer."""
        listener, self._listener = self._listener, None
        if listener is None:
            return
        listener.stopping.set()
        listener.shutdown()
        with listener.lock:
            connections = list(listener.open)
        for connection in connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        listener.server_close()
        self._thread.join(BOUND_S)
        # What was being answered is decided when this returns.
        eventually(listener.is_quiet, "the receiver's connections have ended")

    def _bind(self):
        try:
            port = self.port or free_port(self.address)
            listener = _Listener((self.address, port), self)
        except OSError:
            return None
        self.port = port
        return listener

    def behave(self, status: int = 200, **others) -> None:
        """What every request gets from now on that no script answers; behave() is good again."""
        with self._lock:
            self._usual = Answer(status, **others)

    def script(self, *answers: Answer) -> None:
        """What the next requests get, one each, after those scripted before."""
        with self._lock:
            self._script.extend(answers)

    def deliveries(self) -> list:
        """Everything that arrived whole, accepted or not."""
        with self._lock:
            return [dataclasses.replace(delivery) for delivery in self._deliveries]

    def accepted(self) -> list:
        """What was answered with 2xx; duplicates included."""
        return [delivery for delivery in self.deliveries() if delivery.accepted]

    def accepted_ids(self) -> set:
        return {delivery.id for delivery in self.accepted()}

    def types_of(self, order: str) -> list:
        """The types of an order's accepted events, each event once, as they first arrived."""
        seen = {}
        for delivery in self.accepted():
            if delivery.order == order:
                seen.setdefault(delivery.id, delivery.type)
        return list(seen.values())

    def connections(self) -> int:
        """How many connections were ever accepted."""
        with self._lock:
            return self._connections

    def forget(self) -> None:
        """Drops what was kept; problems stay."""
        with self._lock:
            self._deliveries.clear()
            self._first_bodies.clear()

    def wait_for(self, condition, what: str, bound_s: float = BOUND_S):
        return eventually(condition, what, bound_s)

    def wait_for_ids(self, ids, bound_s: float = BOUND_S) -> None:
        """Until every one of `ids` has been accepted."""
        wanted = set(ids)
        try:
            eventually(lambda: wanted <= self.accepted_ids(), "events", bound_s)
        except AssertionError:
            missing = sorted(wanted - self.accepted_ids())
            raise AssertionError(f"{len(missing)} of {len(wanted)} events did not come within "
                                 f"{bound_s:.0f} s: {missing[:10]}") from None

    def problems(self) -> list:
        """What was wrong with what arrived, as texts, the order of events included."""
        with self._lock:
            found = list(self._problems)
        return found + _problems_of_order(self.deliveries())

    def check(self) -> None:
        problems = self.problems()
        assert not problems, f"{len(problems)} problems: " + "; ".join(problems[:10])

    def _connected(self) -> int:
        with self._lock:
            self._connections += 1
            return self._connections

    def _next_answer(self) -> Answer:
        with self._lock:
            return self._script.popleft() if self._script else self._usual

    def _problem(self, text: str) -> None:
        with self._lock:
            self._problems.append(text)

    def _answered(self, delivery, whether: bool) -> None:
        with self._lock:
            delivery.answered = whether

    def _keep(self, path, headers, body, answer, connection) -> Delivery:
        headers = {name.lower(): value for name, value in headers.items()}
        message_id = headers.get("webhook-id", "")
        order, _, version = message_id.rpartition(".")
        for text in self._faults(path, headers, body):
            self._problem(f"{message_id or 'a request without id'}: {text}")
        try:
            event = json.loads(body)
        except ValueError:
            event = {}
        event = event if isinstance(event, dict) else {}
        delivery = Delivery(id=message_id, type=str(event.get("type")).removeprefix(TYPE_PREFIX),
                            order=order, version=int(version) if version.isdigit() else -1,
                            arrival=time.monotonic(), position=0, connection=connection,
                            event=event, headers=headers, answer=answer)
        with self._lock:
            delivery.position = len(self._deliveries)
            first = self._first_bodies.setdefault(message_id, body)
            self._deliveries.append(delivery)
        if first != body:
            self._problem(f"{message_id}: another body than before: {body!r} after {first!r}")
        return delivery

    def _faults(self, path, headers, body):
        if path != self.path:
            yield f"sent to {path}, not {self.path}"
        if headers.get("content-type", "").split(";")[0].strip() != CONTENT_TYPE:
            yield f"Content-Type is {headers.get('content-type')!r}"
        yield from self._signature_faults(headers, body)
        yield from _event_faults(headers.get("webhook-id"), body)

    def _signature_faults(self, headers, body):
        timestamp = headers.get("webhook-timestamp", "")
        if not timestamp.isdigit() or abs(time.time() - int(timestamp)) > CLOCK_DIFFERENCE_S:
            yield f"webhook-timestamp is {timestamp!r}"
            return
        given = headers.get("webhook-signature", "").split()
        accepted = [signature(secret, headers.get("webhook-id", ""), timestamp, body)
                    for secret in self.secret.split()]
        if not any(hmac.compare_digest(one, good) for one in given for good in accepted):
            yield f"no good signature among {given}"


def _event_faults(message_id, body):
    try:
        event = json.loads(body)
    except ValueError as error:
        yield f"the body is not JSON ({error}): {body[:200]!r}"
        return
    if not isinstance(event, dict):
        yield f"the body is no CloudEvent: {body[:200]!r}"
        return
    if event.get("specversion") != "1.0":
        yield f"specversion is {event.get('specversion')!r}"
    if event.get("id") != message_id:
        yield f"the event's id is {event.get('id')!r}"
    for name in ("source", "type", "time"):
        if not isinstance(event.get(name), str) or not event.get(name):
            yield f"{name} is {event.get(name)!r}"
    if not str(event.get("type")).startswith(TYPE_PREFIX):
        yield f"type is {event.get('type')!r}"


def _problems_of_order(deliveries):
    """An order's event first arrives only after every earlier one of that order was accepted.

    Only first arrivals count: what is sent again after a crash may be older than the last one.
    """
    problems = []
    waiting = {}  # order -> versions that arrived and were never accepted
    newest = {}  # order -> the highest version that arrived
    seen, accepted = set(), set()
    for delivery in deliveries:
        open_versions = waiting.setdefault(delivery.order, set())
        if delivery.id not in seen:
            seen.add(delivery.id)
            if delivery.version <= newest.get(delivery.order, -1):
                problems.append(f"{delivery.id} came after version {newest[delivery.order]}")
            if open_versions:
                problems.append(f"{delivery.id} came before {sorted(open_versions)} was accepted")
            newest[delivery.order] = max(delivery.version, newest.get(delivery.order, -1))
        if delivery.accepted:
            accepted.add(delivery.id)
            open_versions.discard(delivery.version)
        elif delivery.id not in accepted:
            open_versions.add(delivery.version)
    return problems
