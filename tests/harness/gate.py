"""A TCP gate between doorbuster and one server, with faults that a test switches on and off.

    with Gate(service.nodes[0].port) as gate:
        server = make_server(settings={"redis.url": f"redis://{gate.address}"})
        gate.swallow_replies()
        ...
        gate.heal()

A switch is in force when the call returns. The faults are those that a network has: bytes of a
connection arrive in order, late, or never again. So a connection that lost bytes is reset when the
gate heals; passing on what comes after a gap would be a fault that no TCP has.
"""

import collections
import enum
import errno
import selectors
import socket
import struct
import threading
import time

LOOPBACK = "127.0.0.1"
SWITCH_S = 10.0  # how long a switch may take before the gate's thread counts as dead
CHUNK_BYTES = 64 * 1024
QUEUE_BYTES_MAX = 1024 * 1024  # per direction; then the sender is no longer read: back-pressure
BACKLOG = 1024
RESET = struct.pack("ii", 1, 0)  # SO_LINGER of no time: close() sends RST


class Fault(enum.Enum):
    """What the gate does to all its connections."""

    PASS = "pass"
    DELAY = "delay"
    SWALLOW_REPLIES = "swallow replies"
    SWALLOW_REQUESTS = "swallow requests"
    BLACK_HOLE = "black hole"
    CUT = "cut"


class Gate:
    """One gate in front of one server. Its own thread moves the bytes; all calls from any thread.

    Raises OSError when `port` (0: any free one) is taken.
    """

    def __init__(self, target_port: int, target_host: str = LOOPBACK, port: int = 0):
        self._target = (target_host, target_port)
        self._selector = selectors.DefaultSelector()
        # Bound and never listened on: while the gate is cut, the port refuses and stays ours.
        self._reserved = _bind(port)
        self.port = self._reserved.getsockname()[1]
        self._listener = _bind(self.port)
        self._listener.listen(BACKLOG)
        self._wake, self._woken = socket.socketpair()
        self._woken.setblocking(False)
        self._commands = collections.deque()
        self._links = set()
        self._fault = Fault.PASS
        self._delay_s = 0.0
        self._accepted = 0
        self._moved = {"requests": 0, "replies": 0, "swallowed": 0}
        self._failure = None
        self._ended = False
        self._selector.register(self._woken, selectors.EVENT_READ, None)
        self._selector.register(self._listener, selectors.EVENT_READ, None)
        self._thread = threading.Thread(target=self._run, daemon=True, name=f"gate-{self.port}")
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    # -- switches -------------------------------------------------------------------------

    def heal(self) -> None:
        """Passes everything on again, what a black hole held back included."""
        self._switch(Fault.PASS)

    def delay(self, milliseconds: float) -> None:
        """Every byte arrives this much later, each way: an answer comes twice as late."""
        self._switch(Fault.DELAY, milliseconds / 1000)

    def swallow_replies(self) -> None:
        """The server receives and executes everything; no answer comes back."""
        self._switch(Fault.SWALLOW_REPLIES)

    def swallow_requests(self) -> None:
        """The server receives nothing any more; what it was executing is still answered."""
        self._switch(Fault.SWALLOW_REQUESTS)

    def black_hole(self) -> None:
        """Nothing moves either way, and nobody is told: half-open connections."""
        self._switch(Fault.BLACK_HOLE)

    def cut(self) -> None:
        """Resets every connection and refuses new ones."""
        self._switch(Fault.CUT)

    def drop_connections(self) -> None:
        """Resets every connection once; new ones work as the present fault has it."""
        self._command(self._reset_all)

    @property
    def fault(self) -> Fault:
        return self._fault

    # -- what has happened ----------------------------------------------------------------

    @property
    def accepted(self) -> int:
        """Connections so far."""
        return self._accepted

    @property
    def open(self) -> int:
        """Connections now."""
        return len(self._links)

    @property
    def request_bytes(self) -> int:
        """Passed on to the server so far."""
        return self._moved["requests"]

    @property
    def reply_bytes(self) -> int:
        """Passed on to the client so far."""
        return self._moved["replies"]

    @property
    def swallowed_bytes(self) -> int:
        return self._moved["swallowed"]

    def close(self) -> None:
        """Resets what is open and gives the port back. May be called again."""
        if not self._ended:
            self._command(self._end)
            self._thread.join(SWITCH_S)
            self._wake.close()

    # -- the thread -----------------------------------------------------------------------

    def _switch(self, fault: Fault, delay_s: float = 0.0) -> None:
        self._command(lambda: self._apply(fault, delay_s))

    def _command(self, action) -> None:
        """Has the thread do it, and waits until it is done."""
        done = threading.Event()
        self._commands.append((action, done))
        self._wake.send(b"!")
        deadline = time.monotonic() + SWITCH_S
        while not done.wait(0.1):
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise AssertionError(f"the gate's thread has ended: {self._failure!r}")

    def _run(self) -> None:
        try:
            while not self._ended:
                for key, events in self._selector.select(self._time_to_next()):
                    self._handle(key, events)
                self._deliver_delayed()
        except BaseException as failure:  # shown by the next call of the test
            self._failure = failure
            raise

    def _handle(self, key, events) -> None:
        if key.fileobj is self._woken:
            self._do_commands()
        elif key.fileobj is self._listener:
            self._accept()
        elif key.data in self._links:  # not reset by an event before this one
            key.data.handle(key.fileobj, events)

    def _do_commands(self) -> None:
        try:
            self._woken.recv(4096)
        except BlockingIOError:
            pass
        while self._commands:
            action, done = self._commands.popleft()
            action()
            done.set()

    def _apply(self, fault: Fault, delay_s: float) -> None:
        was, self._fault, self._delay_s = self._fault, fault, delay_s
        if fault is Fault.CUT and was is not Fault.CUT:
            self._reset_all()
            self._watch_listener(False)
            self._listener.close()
        for link in list(self._links):
            if link.lost:
                link.reset()
            else:
                link.watch()
        if fault is not Fault.CUT:
            if was is Fault.CUT:
                self._listener = _bind(self.port)
                self._listener.listen(BACKLOG)
            self._watch_listener(fault is not Fault.BLACK_HOLE)

    def _watch_listener(self, wanted: bool) -> None:
        watched = self._listener in self._selector.get_map()
        if wanted and not watched:
            self._selector.register(self._listener, selectors.EVENT_READ, None)
        elif watched and not wanted:
            self._selector.unregister(self._listener)

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        self._accepted += 1
        link = _Link(self, client)
        self._links.add(link)
        link.connect(self._target)

    def _reset_all(self) -> None:
        for link in list(self._links):
            link.reset()

    def _end(self) -> None:
        self._ended = True
        self._reset_all()
        self._selector.close()
        self._listener.close()
        self._reserved.close()
        self._woken.close()

    def _time_to_next(self):
        """Until the next delayed bytes are due; None: nothing is."""
        if self._fault is Fault.BLACK_HOLE:
            return None
        due = [pipe.due for link in self._links for pipe in link.pipes if pipe.due is not None]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _deliver_delayed(self) -> None:
        if self._ended or self._fault is Fault.BLACK_HOLE:
            return
        now = time.monotonic()
        for link in list(self._links):
            if any(pipe.due is not None and pipe.due <= now for pipe in link.pipes):
                link.move()


class _Pipe:
    """One direction of a connection: read from `source`, in order and due time to `sink`."""

    def __init__(self, source, sink, kind: str):
        self.source = source
        self.sink = sink
        self.kind = kind
        self.queue = collections.deque()  # of (due, bytes); b"" is the end of the stream
        self.queued_bytes = 0
        self.ended = False  # the source has said its last
        self.finished = False  # and the sink knows it
        self.blocked = False  # the sink takes no more at present

    @property
    def due(self):
        """When the first queued bytes may go, or None; blocked ones wait for their socket."""
        return self.queue[0][0] if self.queue and not self.blocked else None

    def push(self, data: bytes, due: float) -> None:
        self.queue.append((due, data))
        self.queued_bytes += len(data)
        self.ended |= not data

    def send(self, now: float) -> int:
        """Sends what is due; how many bytes went. Raises OSError when the sink is gone."""
        sent = 0
        self.blocked = False
        while self.queue and self.queue[0][0] <= now:
            due, data = self.queue.popleft()
            if not data:
                self.sink.shutdown(socket.SHUT_WR)
                self.finished = True
                continue
            try:
                count = self.sink.send(data)
            except BlockingIOError:
                count = 0
            sent += count
            self.queued_bytes -= count
            if count < len(data):
                self.queue.appendleft((due, data[count:]))
                self.blocked = True
                break
        return sent


class _Link:
    """A client's connection and ours to the server for it."""

    def __init__(self, gate: Gate, client):
        self._gate = gate
        self._client = client
        self._server = socket.socket()
        self._connected = False
        self.lost = False  # bytes were swallowed: this connection can never go on
        for one in (client, self._server):
            one.setblocking(False)
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.pipes = (_Pipe(client, self._server, "requests"),
                      _Pipe(self._server, client, "replies"))

    def connect(self, target) -> None:
        code = self._server.connect_ex(target)
        if code not in (0, errno.EINPROGRESS):
            self.reset()
            return
        self.watch()

    def handle(self, which, events) -> None:
        if not self._connected:
            if self._server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0:
                self.reset()
                return
            self._connected = True
        try:
            if events & selectors.EVENT_READ:
                for pipe in self.pipes:
                    if pipe.source is which:
                        self._read(pipe)
        except OSError:
            self.reset()
            return
        self.move()

    def _read(self, pipe: _Pipe) -> None:
        try:
            data = pipe.source.recv(CHUNK_BYTES)
        except BlockingIOError:
            return
        gate = self._gate
        swallowing = {"requests": Fault.SWALLOW_REQUESTS, "replies": Fault.SWALLOW_REPLIES}
        if gate._fault is swallowing[pipe.kind]:
            self.lost = True
            pipe.ended |= not data
            gate._moved["swallowed"] += len(data)
            return
        pipe.push(data, time.monotonic() + gate._delay_s)

    def move(self) -> None:
        """Sends what may be sent."""
        if self._gate._fault is not Fault.BLACK_HOLE:
            try:
                now = time.monotonic()
                for pipe in self.pipes:
                    self._gate._moved[pipe.kind] += pipe.send(now)
            except OSError:
                self.reset()
                return
            if all(pipe.finished for pipe in self.pipes):
                self._close()
                return
        self.watch()

    def watch(self) -> None:
        """Tells the selector what this connection waits for."""
        for one in (self._client, self._server):
            events = self._wanted(one)
            watched = self._gate._selector.get_map().get(one)
            if watched is None and events:
                self._gate._selector.register(one, events, self)
            elif watched is not None and not events:
                self._gate._selector.unregister(one)
            elif watched is not None and watched.events != events:
                self._gate._selector.modify(one, events, self)

    def _wanted(self, one) -> int:
        if self._gate._fault is Fault.BLACK_HOLE:
            return 0
        if not self._connected:
            return selectors.EVENT_WRITE if one is self._server else 0
        events = 0
        for pipe in self.pipes:
            if (pipe.source is one and not pipe.ended
                    and pipe.queued_bytes < QUEUE_BYTES_MAX):
                events |= selectors.EVENT_READ
            if pipe.sink is one and pipe.blocked:
                events |= selectors.EVENT_WRITE
        return events

    def reset(self) -> None:
        """RST to both sides."""
        for one in (self._client, self._server):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self._close()

    def _close(self) -> None:
        for one in (self._client, self._server):
            if one in self._gate._selector.get_map():
                self._gate._selector.unregister(one)
            one.close()
        self._gate._links.discard(self)


def _bind(port: int):
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((LOOPBACK, port))
    except OSError:
        bound.close()
        raise
    bound.setblocking(False)
    return bound
