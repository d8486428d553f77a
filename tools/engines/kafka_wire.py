"""A small Kafka client: asks one broker for metadata, makes and deletes topics, asks how long they
are. Protocol: https://kafka.apache.org/protocol, in versions before the compact encodings.
"""

import dataclasses
import socket
import struct

_METADATA, _LIST_OFFSETS, _CREATE_TOPICS, _DELETE_TOPICS = 3, 2, 19, 20
_LATEST = -1
_CLIENT = "doorbuster-tests"
_ANSWER_BYTES_MAX = 16 * 1024 * 1024


class KafkaError(Exception):
    """An error code of the broker."""

    def __init__(self, what: str, code: int, text: str = ""):
        super().__init__(f"{what}: error {code} {text}".rstrip())
        self.code = code


@dataclasses.dataclass
class Metadata:
    cluster: str
    controller: int  # node id; -1: none
    brokers: dict  # node id -> (host, port), the living ones
    topics: dict  # name -> {partition: leader}


class _Reader:
    def __init__(self, data: bytes):
        self._data = data
        self._at = 0

    def number(self, form: str) -> int:
        value, = struct.unpack_from(">" + form, self._data, self._at)
        self._at += struct.calcsize(form)
        return value

    def text(self):
        size = self.number("h")
        if size < 0:
            return None
        self._at += size
        return self._data[self._at - size:self._at].decode()

    def array(self, read) -> list:
        return [read() for _ in range(max(0, self.number("i")))]


def _text(value) -> bytes:
    if value is None:
        return struct.pack(">h", -1)
    data = value.encode()
    return struct.pack(">h", len(data)) + data


def _array(items) -> bytes:
    items = list(items)
    return struct.pack(">i", len(items)) + b"".join(items)


class Kafka:
    """A connection to one broker; closes with the `with` statement. OSError: it ended."""

    def __init__(self, port: int, host: str = "127.0.0.1", timeout_s: float = 10.0):
        self._timeout_ms = int(timeout_s * 1000)
        # The broker answers within its own time-out; the socket gives it a little more.
        self._socket = socket.create_connection((host, port), timeout_s)
        self._socket.settimeout(timeout_s + 2)
        self._sent = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.close()

    def _call(self, key: int, version: int, body: bytes) -> _Reader:
        self._sent += 1
        request = struct.pack(">hhi", key, version, self._sent) + _text(_CLIENT) + body
        self._socket.sendall(struct.pack(">i", len(request)) + request)
        size, = struct.unpack(">i", self._read(4))
        if not 4 <= size <= _ANSWER_BYTES_MAX:
            raise ConnectionError(f"an answer of {size} bytes")
        answer = _Reader(self._read(size))
        if answer.number("i") != self._sent:
            raise ConnectionError("the answer to another request")
        return answer

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self._socket.recv(size - len(data))
            if not part:
                raise ConnectionError("the connection ended")
            data += part
        return data

    def metadata(self, topics=()) -> Metadata:
        """The brokers, and the named topics: one without leader has leader -1, an unknown one is
        left out."""
        answer = self._call(_METADATA, 4, _array(map(_text, topics)) + struct.pack(">?", False))
        answer.number("i")  # throttle time

        def broker():
            found = answer.number("i"), answer.text(), answer.number("i")
            answer.text()  # rack
            return found

        def partition():
            answer.number("h")
            found = answer.number("i"), answer.number("i")
            answer.array(lambda: answer.number("i"))
            answer.array(lambda: answer.number("i"))
            return found

        def topic():
            code, name = answer.number("h"), answer.text()
            answer.number("?")
            return code, name, dict(answer.array(partition))

        brokers = {number: (host, port) for number, host, port in answer.array(broker)}
        cluster, controller = answer.text(), answer.number("i")
        found = {name: leaders for code, name, leaders in answer.array(topic) if code == 0}
        return Metadata(cluster, controller, brokers, found)

    def create_topic(self, name: str, partitions: int = 1, replicas: int = 1, **settings) -> None:
        """Settings are topic settings, with _ for the dots. Any broker passes it on."""
        configs = _array(_text(key.replace("_", ".")) + _text(str(value))
                         for key, value in settings.items())
        topic = _text(name) + struct.pack(">ih", partitions, replicas) + _array([]) + configs
        body = _array([topic]) + struct.pack(">i?", self._timeout_ms, False)
        answer = self._call(_CREATE_TOPICS, 2, body)
        answer.number("i")
        answer.array(lambda: self._check(f"topic {answer.text()}", answer.number("h"),
                                         answer.text()))

    def delete_topic(self, name: str) -> None:
        body = _array([_text(name)]) + struct.pack(">i", self._timeout_ms)
        answer = self._call(_DELETE_TOPICS, 1, body)
        answer.number("i")
        answer.array(lambda: self._check(f"topic {answer.text()}", answer.number("h")))

    def end_offset(self, topic: str, partition: int) -> int:
        """The offset that the next record gets. Ask the partition's leader."""
        asked = struct.pack(">iq", partition, _LATEST)
        body = struct.pack(">i", -1) + _array([_text(topic) + _array([asked])])
        answer = self._call(_LIST_OFFSETS, 1, body)

        def one():
            answer.number("i")
            code, _, offset = answer.number("h"), answer.number("q"), answer.number("q")
            self._check(f"{topic}/{partition}", code)
            return offset

        return answer.array(lambda: (answer.text(), answer.array(one)))[0][1][0]

    @staticmethod
    def _check(what: str, code: int, text=None) -> None:
        if code != 0:
            raise KafkaError(what, code, text or "")
