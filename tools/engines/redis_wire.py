"""A small Redis client: one connection, one command at a time (RESP2)."""

import socket


class RedisError(Exception):
    """What the server answered with a minus sign."""


class Redis:
    """Closes with the `with` statement. Answers are bytes, integers, lists or None."""

    def __init__(self, port: int, host: str = "127.0.0.1", timeout_s: float = 5.0):
        self._socket = socket.create_connection((host, port), timeout_s)
        self._file = self._socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()
        self._socket.close()

    def command(self, *words):
        """Sends one command. OSError: the connection ended; RedisError: the server refused."""
        words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        request = b"*%d\r\n" % len(words)
        request += b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
        self._socket.sendall(request)
        return self._answer()

    def info(self, section: str) -> dict:
        """INFO of one section as texts."""
        lines = self.command("INFO", section).decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def _answer(self):
        line = self._file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the connection ended")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest
        if kind == b"-":
            raise RedisError(rest.decode("utf-8", "replace"))
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return self._bulk(int(rest))
        if kind == b"*":
            return None if int(rest) < 0 else [self._answer() for _ in range(int(rest))]
        raise ConnectionError(f"not RESP2: {line!r}")

    def _bulk(self, size: int):
        if size < 0:
            return None
        data = self._file.read(size + 2)
        if len(data) < size + 2:
            raise ConnectionError("the connection ended")
        return data[:-2]
