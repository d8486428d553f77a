"""Holds open consoles: consoles.py PORT COUNT opens COUNT streams of GET /v1/admin/events, prints
"open" when each has had its first event, and reads until standard input ends; then the bytes."""

import os
import selectors
import socket
import sys

FIRST_EVENT_S = 10
REQUEST = b"GET /v1/admin/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n"


def open_all(port, count):
    streams = []
    for _ in range(count):
        stream = socket.create_connection(("127.0.0.1", port), timeout=FIRST_EVENT_S)
        stream.sendall(REQUEST)
        streams.append(stream)
    for stream in streams:
        text = b""
        while b"\ndata:" not in text:
            more = stream.recv(65536)
            if not more or b"200 OK" not in (text + more)[:32]:
                sys.exit(f"not a stream: {(text + more)[:200]!r}")
            text += more
        stream.setblocking(False)
    return streams


def main(port, count):
    selector = selectors.DefaultSelector()
    for stream in open_all(int(port), int(count)):
        selector.register(stream, selectors.EVENT_READ)
    selector.register(sys.stdin, selectors.EVENT_READ)
    print("open", flush=True)
    taken = 0
    while True:
        for key, _ in selector.select():
            if key.fileobj is sys.stdin:
                print(taken, flush=True)
                return
            more = key.fileobj.recv(65536)
            if not more:
                sys.exit("the server closed a stream")
            taken += len(more)


if __name__ == "__main__":
    os.nice(19)  # browsers are on other machines
    main(*sys.argv[1:])
