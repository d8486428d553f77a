"""Starts, stops, kills and talks to one doorbuster process, and runs its command line."""

import itertools
import json
import os
import pathlib
import random
import signal
import socket
import ssl
import subprocess
import time
import urllib.parse

from . import contract
from .settings import BINARY, BOUND_S, READY_S, SHUTDOWN_S, clean_environment
from .waiting import eventually
from .wire import Closed, Connection, build_request

LOOPBACK = "127.0.0.1"
SANITIZER_MARKS = ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "WARNING: ThreadSanitizer",
                   "runtime error:", "Assertion `")
_names = itertools.count(1)
_ports = random.Random(os.getpid() ^ time.time_ns())


class ServerExited(Exception):
    """The process ended before it was ready. `status` and `output` say how."""

    def __init__(self, status: int, output: str):
        super().__init__(f"exit status {status}:\n{output}")
        self.status = status
        self.output = output


def free_port(address: str = LOOPBACK) -> int:
    """A port nobody listens on, below the range that outgoing connections use.

    A restarted server keeps its port; one from the ephemeral range could be taken meanwhile by
    any client socket on the machine.
    """
    for _ in range(1000):
        port = _ports.randrange(18000, 32000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
                return port
            except OSError:
                continue
    raise AssertionError("no free port")


def fresh_name(prefix: str) -> str:
    """A name that no other test of this run uses; a valid slug when the prefix is one."""
    return f"{prefix}-{next(_names)}"


class CommandResult:
    """A finished run of the command line."""

    def __init__(self, arguments, status, stdout, stderr):
        self.arguments = arguments
        self.status = status
        self.stdout = stdout
        self.stderr = stderr

    def json(self):
        """stdout as the one JSON document that it must be."""
        try:
            return json.loads(self.stdout)
        except ValueError as error:
            raise AssertionError(f"stdout is not one JSON document ({error}): {self}") from None

    def __repr__(self):
        return (f"<doorbuster {' '.join(map(str, self.arguments))} -> {self.status}\n"
                f"stdout: {self.stdout[-2000:]}\nstderr: {self.stderr[-2000:]}>")


def run_command(*arguments, environment=None, folder=None, bound_s: float = BOUND_S,
                binary_output: bool = False) -> CommandResult:
    """Runs the binary to its end. stdin is empty, so nothing can wait for a person."""
    arguments = [str(argument) for argument in arguments]
    finished = subprocess.run([str(BINARY), *arguments], env=clean_environment(environment),
                              cwd=folder, stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=bound_s, check=False)
    stdout = finished.stdout if binary_output else finished.stdout.decode("utf-8")
    return CommandResult(arguments, finished.returncode, stdout,
                         finished.stderr.decode("utf-8", "replace"))


class Server:
    """One server on a data folder. Starting again uses the same folder and port.

    `settings` are environment variables without their prefix and in lower case with dots
    (`limits.per_second`); `config` is the text of a TOML file.
    """

    def __init__(self, folder, settings=None, config: str = None, listen: str = LOOPBACK,
                 admin_token: str = None, environment=None, tls: ssl.SSLContext = None):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.data = self.folder / "data"
        self.port = free_port(listen)
        self.listen = listen
        self.admin_token = admin_token
        self.tls = tls
        self.environment = dict(environment or {})
        for name, value in (settings or {}).items():
            self.environment["DOORBUSTER_" + name.upper().replace(".", "_")] = str(value)
        if admin_token is not None:
            self.environment["DOORBUSTER_ADMIN_TOKEN"] = admin_token
        self.config_file = None
        if config is not None:
            self.config_file = self.folder / "doorbuster.toml"
            self.config_file.write_text(config, encoding="utf-8")
        self.process = None
        self.starts = 0
        self.output_file = None

    # -- life -----------------------------------------------------------------------------

    def arguments(self) -> list:
        arguments = [str(BINARY), "serve", "--listen", f"{self.listen}:{self.port}",
                     "--data", str(self.data)]
        if self.config_file is not None:
            arguments += ["--config", str(self.config_file)]
        return arguments

    def spawn(self) -> None:
        """Starts the process and does not wait for it."""
        assert not self.alive, "already running"
        self.starts += 1
        self.output_file = self.folder / f"server-{self.starts}.log"
        with open(self.output_file, "wb") as output:
            self.process = subprocess.Popen(
                self.arguments(), env=clean_environment(self.environment), cwd=self.folder,
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)

    def start(self, bound_s: float = READY_S):
        """Starts and waits for /readyz; raises ServerExited when the process ends instead."""
        self.spawn()
        eventually(self._ready, f"/readyz answers 200 on port {self.port}\n{self.output()}",
                   bound_s)
        return self

    def _ready(self) -> bool:
        status = self.process.poll()
        if status is not None:
            raise ServerExited(status, self.output())
        try:
            with self.connect(timeout_s=5.0) as connection:
                return connection.request("GET", "/readyz").status == 200
        except (OSError, Closed, AssertionError):
            return False

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """SIGKILL, and waits until the process is gone."""
        if self.alive:
            self.process.kill()
        self.process.wait()

    def terminate(self, bound_s: float = SHUTDOWN_S) -> int:
        """SIGTERM; the exit status. Fails when the process stays longer than promised."""
        if self.alive:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(bound_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"still running {bound_s:.0f} s after SIGTERM\n"
                                 f"{self.output()}") from None

    def stop(self) -> None:
        """A clean stop: exit status 0 and no sanitizer report."""
        status = self.terminate()
        self.check_output()
        assert status == 0, f"exit status {status} after SIGTERM\n{self.output()}"

    def restart(self):
        self.stop()
        return self.start()

    def output(self, lines: int = 80) -> str:
        if self.output_file is None or not self.output_file.exists():
            return ""
        text = self.output_file.read_text("utf-8", "replace")
        return "\n".join(text.splitlines()[-lines:])

    def check_output(self) -> None:
        """No sanitizer and no assertion has complained in any run so far."""
        for file in sorted(self.folder.glob("server-*.log")):
            text = file.read_text("utf-8", "replace")
            for mark in SANITIZER_MARKS:
                assert mark not in text, f"{file.name}:\n{text[-6000:]}"

    # -- HTTP -----------------------------------------------------------------------------

    @property
    def host(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.host}"

    def connect(self, timeout_s: float = BOUND_S) -> Connection:
        return Connection(self.port, LOOPBACK, timeout_s, self.tls)

    def call(self, method: str, target: str, headers=None, body=None, check: bool = True,
             content_type: str = "application/json"):
        """One call on a connection of its own. `body`: bytes as they are, else JSON."""
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode("utf-8")
        with self.connect() as connection:
            response = connection.request(method, target, headers, body or b"", content_type)
        return contract.check_answer(response, method) if check else response

    def admin(self, method: str, target: str, body=None, headers=None):
        """A call of an administrator, with the server's token when it has one."""
        headers = dict(headers or {})
        if self.admin_token is not None:
            headers.setdefault("Authorization", f"Bearer {self.admin_token}")
        return self.call(method, target, headers, body)

    # -- sales ----------------------------------------------------------------------------

    def create_sale(self, stock: int, sale: str = None, **fields) -> str:
        """Creates a sale (201) and returns its id."""
        sale = sale or fresh_name("sale")
        body = {"id": sale, "title": f"Sale {sale}", "stock": stock, **fields}
        contract.expect(self.admin("POST", "/v1/sales", body), 201)
        return sale

    def sale(self, sale: str) -> dict:
        return contract.expect(self.call("GET", f"/v1/sales/{sale}"), 200)

    def set_state(self, sale: str, state: str) -> dict:
        return contract.expect(self.admin("PATCH", f"/v1/sales/{sale}", {"state": state}), 200)

    def close_sale(self, sale: str) -> dict:
        return contract.expect(self.admin("POST", f"/v1/sales/{sale}/close"), 200)

    def restock(self, sale: str, add: int, key: str = None) -> dict:
        headers = {"Idempotency-Key": key} if key else None
        response = self.admin("POST", f"/v1/sales/{sale}/stock", {"add": add}, headers)
        return contract.expect(response, 200)

    def buy(self, sale: str, user: str = None, quantity: int = None, key: str = None,
            headers=None):
        """One purchase attempt; an empty body when no quantity is given."""
        headers = dict(headers or {})
        if user is not None:
            headers["X-User-Id"] = user
        if key is not None:
            headers["Idempotency-Key"] = key
        body = None if quantity is None else {"quantity": quantity}
        return self.call("POST", f"/v1/sales/{sale}/purchases", headers, body)

    def bought(self, sale: str, user: str, quantity: int = None, key: str = None) -> dict:
        """A purchase that must be accepted; its body."""
        return contract.expect(self.buy(sale, user, quantity, key), 202)

    def purchase_bytes(self, sale: str, user: str, quantity: int = None, key: str = None) -> bytes:
        """The bytes of a purchase, for clients that send many."""
        headers = {"X-User-Id": user}
        if key is not None:
            headers["Idempotency-Key"] = key
        body = b"" if quantity is None else b'{"quantity":%d}' % quantity
        return build_request("POST", f"/v1/sales/{sale}/purchases", self.host, headers, body)

    def order_bytes(self, order: str, user: str) -> bytes:
        return build_request("GET", f"/v1/orders/{order}", self.host, {"X-User-Id": user})

    def order(self, order: str, user: str):
        return self.call("GET", f"/v1/orders/{order}", {"X-User-Id": user})

    def confirmed(self, order: str, user: str) -> dict:
        """Waits until the order has reached the store; its body."""
        def look():
            body = contract.expect(self.order(order, user), 200)
            assert body["status"] in ("queued", "confirmed"), body
            return body if body["status"] == "confirmed" else None
        return eventually(look, f"order {order} is confirmed")

    def audit(self, sale: str) -> dict:
        return contract.expect(self.admin("GET", f"/v1/sales/{sale}/audit"), 200)

    def list_all(self, target: str, limit: int = 1000, **query) -> list:
        """Walks a list from its first to its last page."""
        items, cursor = [], None
        while True:
            parameters = {**query, "limit": limit}
            if cursor is not None:
                parameters["cursor"] = cursor
            page = contract.expect(
                self.admin("GET", f"{target}?{urllib.parse.urlencode(parameters)}"), 200)
            assert set(page) == {"items", "next_cursor"}, page
            assert len(page["items"]) <= limit
            items += page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                return items

    # -- command line -----------------------------------------------------------------------

    def cli(self, *arguments, json_output: bool = True, bound_s: float = BOUND_S,
            environment=None) -> CommandResult:
        """Runs a client command against this server."""
        arguments = [*arguments, "--url", self.url]
        if json_output:
            arguments.append("--json")
        if self.admin_token is not None and arguments[0] in (
                "sale", "order", "webhook", "audit", "export"):
            environment = {"DOORBUSTER_ADMIN_TOKEN": self.admin_token, **(environment or {})}
        return run_command(*arguments, environment=environment, folder=self.folder,
                           bound_s=bound_s)
