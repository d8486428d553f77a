"""HTTP/1.1 on raw sockets: what is sent is exactly what the test wrote, byte for byte."""

import json
import socket
import ssl

from .settings import BOUND_S


class Closed(Exception):
    """The peer closed or reset the connection where an answer was due."""


class Response:
    """One parsed answer. Header names are lower case; `text` and `json()` decode the body."""

    def __init__(self, status: int, headers: list, body: bytes, head: bytes = b""):
        self.status = status
        self.headers = headers
        self.body = body
        self.head = head

    def header(self, name: str):
        """The first value of the header, or None."""
        name = name.lower()
        return next((value for key, value in self.headers if key == name), None)

    @property
    def text(self) -> str:
        return self.body.decode("utf-8")

    def json(self):
        return json.loads(self.body.decode("utf-8"))

    @property
    def code(self):
        """The `code` of a problem document, None when this is not one."""
        if "problem+json" not in (self.header("content-type") or ""):
            return None
        return self.json().get("code")

    def __repr__(self) -> str:
        return f"<{self.status} {self.headers} {self.body[:400]!r}>"


def build_request(method: str, target: str, host: str, headers=None, body: bytes = b"",
                  content_type: str = "application/json") -> bytes:
    """A well-formed request. A body brings Content-Length and, unless None, Content-Type.

    `headers` (dict or list of pairs) come last and replace the generated ones of that name; a
    value of None removes the generated header.
    """
    extra = list(headers.items()) if isinstance(headers, dict) else list(headers or [])
    replaced = {name.lower() for name, _ in extra}
    lines = [f"{method} {target} HTTP/1.1"]
    if "host" not in replaced:
        lines.append(f"Host: {host}")
    if (body or method in ("POST", "PUT", "PATCH")) and "content-length" not in replaced \
            and "transfer-encoding" not in replaced:
        lines.append(f"Content-Length: {len(body)}")
    if body and content_type is not None and "content-type" not in replaced:
        lines.append(f"Content-Type: {content_type}")
    lines += [f"{name}: {value}" for name, value in extra if value is not None]
    return "\r\n".join(lines).encode("utf-8") + b"\r\n\r\n" + body


class Connection:
    """One blocking connection. Answers are read in order, across any packet boundary."""

    def __init__(self, port: int, address: str = "127.0.0.1", timeout_s: float = BOUND_S,
                 tls: ssl.SSLContext = None):
        self.host = f"{address}:{port}"
        self.socket = socket.create_connection((address, port), timeout=timeout_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def send_tolerant(self, data: bytes) -> None:
        """Sends what the peer takes; a peer that has answered and hung up is not an error."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def _receive(self) -> bool:
        try:
            data = self.socket.recv(262144)
        except (ConnectionResetError, BrokenPipeError, ssl.SSLEOFError):
            return False
        except (socket.timeout, TimeoutError):
            raise AssertionError(
                f"no answer and no close; received so far: {self.buffer[:300]!r}") from None
        self.buffer += data
        return bool(data)

    def take_until(self, mark: bytes) -> bytes:
        """The bytes before the next `mark`, which is dropped; raises Closed."""
        while mark not in self.buffer:
            if not self._receive():
                raise Closed(f"closed after {self.buffer[:300]!r}")
        taken, self.buffer = self.buffer.split(mark, 1)
        return taken

    def take(self, count: int) -> bytes:
        """So many bytes; raises Closed."""
        while len(self.buffer) < count:
            if not self._receive():
                raise Closed(f"closed {count - len(self.buffer)} bytes before the body's end")
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def take_any(self) -> bytes:
        """What comes next; empty when the peer closes."""
        if not self.buffer:
            self._receive()
        taken, self.buffer = self.buffer, b""
        return taken

    def _take_chunked(self) -> bytes:
        body = b""
        while True:
            size = int(self.take_until(b"\r\n").split(b";")[0], 16)
            if size == 0:
                while self.take_until(b"\r\n"):
                    pass
                return body
            body += self.take(size)
            assert self.take(2) == b"\r\n", "a chunk must end with CRLF"

    def read_response(self, method: str = "GET", interim: bool = False) -> Response:
        """The next answer; interim 1xx answers are skipped unless `interim`.

        Raises Closed when the peer hangs up first, AssertionError when it neither answers nor
        closes within the bound.
        """
        while True:
            head = self.take_until(b"\r\n\r\n")
            first, *lines = head.split(b"\r\n")
            parts = first.split(b" ", 2)
            assert parts[0] in (b"HTTP/1.1", b"HTTP/1.0"), f"not a status line: {first!r}"
            status = int(parts[1])
            if 100 <= status < 200 and not interim:
                continue
            break
        headers = []
        for line in lines:
            name, colon, value = line.partition(b":")
            assert colon and name == name.strip() and name, f"not a header line: {line!r}"
            headers.append((name.decode("latin-1").lower(), value.strip().decode("latin-1")))
        response = Response(status, headers, b"", head)
        if method == "HEAD" or status in (204, 304) or 100 <= status < 200:
            return response
        length = response.header("content-length")
        if (response.header("transfer-encoding") or "").lower() == "chunked":
            response.body = self._take_chunked()
        elif length is not None:
            response.body = self.take(int(length))
        else:
            while self._receive():
                pass
            response.body, self.buffer = self.buffer, b""
        return response

    def request(self, method: str, target: str, headers=None, body: bytes = b"",
                content_type: str = "application/json") -> Response:
        self.send(build_request(method, target, self.host, headers, body, content_type))
        return self.read_response(method)

    def at_end(self) -> bool:
        """Waits until the peer closes; True when nothing more came before that."""
        while self._receive():
            pass
        return not self.buffer

    def answer_or_close(self, method: str = "GET"):
        """The next answer, or None when the peer hangs up without one."""
        try:
            return self.read_response(method)
        except Closed:
            return None
