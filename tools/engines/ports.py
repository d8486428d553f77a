"""Free ports of 127.0.0.1."""

import random
import socket

LOOPBACK = "127.0.0.1"
# Below the range of outgoing connections (32768 on): a server that is started again keeps its port,
# which no client's socket may have taken meanwhile.
LOWEST = 18000
HIGHEST = 31999
TRIES_MAX = 1000

_random = random.SystemRandom()


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def free_ports(count: int) -> list:
    """Different ports that nobody listens on. Another process may be quicker: see PortTaken."""
    found = []
    for _ in range(TRIES_MAX):
        if len(found) == count:
            return found
        port = _random.randint(LOWEST, HIGHEST)
        if port not in found and is_free(port):
            found.append(port)
    raise OSError(f"no free ports between {LOWEST} and {HIGHEST}")
