"""The peers as processes: start one, open a sale on it, look at its books, stop it.

Every server listens on a free loopback port, keeps its files in the scratch folder that it is
given, and is stopped by its process id. If the driver itself dies, the kernel ends its children.
"""

import contextlib
import ctypes
import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import time

HERE = pathlib.Path(__file__).resolve().parent
NGINX_MODULES = "/usr/lib/nginx/modules"
SOLD_OUT_PATH = HERE / "sold_out.json"

# Far more than any measurement can sell, so that every answer is a 202.
STOCK_MAX = 100_000_000

START_SECONDS_MAX = 15
# The contract gives doorbuster 10 s to flush and exit; the rest is for a busy machine.
STOP_SECONDS_MAX = 20
DRAIN_SECONDS_MAX = 300
POLL_SECONDS = 0.02

PR_SET_PDEATHSIG = 1


class Failure(Exception):
    """The run cannot go on; the text says what happened and to whom."""


def _end_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def spawn(command, **options):
    """Starts a process out of the terminal's reach: Ctrl-C comes to the driver, which stops it."""
    return subprocess.Popen(
        [str(word) for word in command],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=_end_with_parent,
        **options,
    )


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def cpu_seconds(pids):
    """User and system time that these processes have used so far."""
    ticks = 0
    for pid in pids:
        try:
            stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
        except FileNotFoundError:
            raise Failure(f"process {pid} ended during the measurement") from None
        fields = stat.rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def children_of(parent):
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[1]) == parent:
                    found.append(int(entry.name))
    return found


def _fill(template, words):
    text = template.read_text()
    for name, value in words.items():
        text = text.replace(f"@{name}@", str(value))
    return text


def _tail(path, lines=12):
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""


class Server:
    """One process under a name. Starting waits until it answers; stopping until it is gone."""

    def __init__(self, name, command, log_path, is_ready, **options):
        self.name = name
        self.log_path = log_path
        with open(log_path, "ab") as log:
            self.process = spawn(command, stdout=log, stderr=log, **options)
        try:
            self._wait_until(is_ready)
        except BaseException:
            self.stop(check=False)
            raise

    def _wait_until(self, is_ready):
        deadline = time.monotonic() + START_SECONDS_MAX
        while not is_ready():
            if self.process.poll() is not None:
                raise Failure(
                    f"{self.name} ended at its start with status {self.process.returncode}:\n"
                    f"{_tail(self.log_path)}"
                )
            if time.monotonic() > deadline:
                raise Failure(f"{self.name} does not answer:\n{_tail(self.log_path)}")
            time.sleep(POLL_SECONDS)

    def pids(self):
        return [self.process.pid, *children_of(self.process.pid)]

    def stop(self, check=True):
        status = self.process.poll()
        if status is not None:
            if check:
                raise Failure(
                    f"{self.name} ended by itself with status {status}:\n{_tail(self.log_path)}"
                )
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(STOP_SECONDS_MAX)
        except BaseException as failure:
            # Its children, nginx's workers, share its session and process group.
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            if isinstance(failure, subprocess.TimeoutExpired) and check:
                raise Failure(f"{self.name} did not stop within {STOP_SECONDS_MAX} s") from None
            if not isinstance(failure, subprocess.TimeoutExpired):
                raise
        if check and status != 0:
            raise Failure(
                f"{self.name} stopped with status {status}:\n{_tail(self.log_path)}"
            )


def _accepts(port):
    def probe():
        with socket.socket() as connection:
            return connection.connect_ex(("127.0.0.1", port)) == 0

    return probe


class Peer:
    """What every peer can do. Used by one thread, one measurement at a time."""

    name = ""
    title = ""
    scenarios = ()
    needs_binary = False  # doorbuster's

    @staticmethod
    def versions():
        """Of what only this peer runs."""
        return {}

    def __init__(self, scratch, options):
        self.scratch = scratch
        self.options = options
        self.servers = []
        self.port = None

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self._stop_all(check=False)
            raise
        return self

    def __exit__(self, kind, _value, _trace):
        self._stop_all(check=kind is None)

    def _stop_all(self, check):
        first = None
        for server in reversed(self.servers):
            try:
                server.stop(check)
            except BaseException as failure:  # also Ctrl-C: the others must still be stopped
                first = first or failure
        self.servers.clear()
        if first:
            raise first

    def pids(self):
        return [pid for server in self.servers for pid in server.pids()]

    def url(self, sale):
        return f"http://127.0.0.1:{self.port}/v1/sales/{sale}/purchases"

    def request(self, method, path, body=None, headers=None):
        """One request on a connection of its own: status, headers, body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            text = None if body is None else json.dumps(body, separators=(",", ":"))
            fields = dict(headers or {})
            if text is not None:
                fields["Content-Type"] = "application/json"
            connection.request(method, path, text, fields)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        except (OSError, http.client.HTTPException) as failure:
            raise Failure(f"{self.name}: {method} {path}: {failure!r}") from None
        finally:
            connection.close()

    def purchase(self, sale, user):
        path = f"/v1/sales/{sale}/purchases"
        return self.request("POST", path, {"quantity": 1}, {"X-User-Id": user})

    def start(self):
        raise NotImplementedError

    def open_sale(self, sale, stock):
        raise NotImplementedError

    def settle(self):
        """Waits until nothing of earlier requests is still being worked on."""
        return {}

    def counts(self):
        """What its engines have done so far, as numbers that only grow."""
        return {}

    def books(self, sale, stock):
        """What the peer itself says it has sold, checked for balance: units, extra figures."""
        raise NotImplementedError

    def _nginx(self, name, template, words):
        self.port = free_port()
        owner = "user root;" if os.geteuid() == 0 else ""
        config = self.scratch / f"{name}.conf"
        config.write_text(
            _fill(
                template,
                {
                    "USER": owner,
                    "WORKERS": self.options.workers,
                    "SCRATCH": self.scratch,
                    "HERE": template.parent,
                    "MODULES": NGINX_MODULES,
                    "PORT": self.port,
                    **words,
                },
            )
        )
        log = self.scratch / "error.log"
        command = ["nginx", "-p", self.scratch, "-e", log, "-c", config]
        self.servers.append(Server(f"{self.name} (nginx)", command, log, _accepts(self.port)))


class NginxReturn(Peer):
    name = "nginx"
    title = "nginx `return 409`"
    scenarios = ("refusals",)

    def start(self):
        words = {"SOLD_OUT": SOLD_OUT_PATH.read_text()}
        self._nginx("nginx", HERE / "nginx-return" / "nginx.conf", words)

    def open_sale(self, sale, stock):
        pass

    def books(self, sale, stock):
        return None, {}


class NginxRedis(Peer):
    name = "redis"
    title = "nginx + Lua + Redis over TCP, not durable"
    scenarios = ("refusals", "accepted")
    over_unix_socket = False

    def start(self):
        here = HERE / "nginx-redis"
        self.redis_port = free_port()
        config = self.scratch / "redis.conf"
        config.write_text(
            _fill(here / "redis.conf", {"PORT": self.redis_port, "SCRATCH": self.scratch})
        )
        self.servers.append(
            Server(
                f"{self.name} (redis-server)",
                ["redis-server", config],
                self.scratch / "redis.log",
                _accepts(self.redis_port),
            )
        )
        words = {
            "REDIS_HOST": "127.0.0.1",
            "REDIS_PORT": self.redis_port,
            "SOLD_OUT_PATH": SOLD_OUT_PATH,
        }
        if self.over_unix_socket:
            words |= {"REDIS_HOST": f"unix:{self.scratch}/redis.sock", "REDIS_PORT": "nil"}
        self._nginx("nginx-redis", here / "nginx.conf", words)

    def _redis(self, *words):
        command = ["redis-cli", "-p", str(self.redis_port), *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode != 0 or done.stdout.startswith("ERR"):
            raise Failure(f"redis-cli {' '.join(command[3:])}: {done.stdout}{done.stderr}")
        return done.stdout.strip()

    def open_sale(self, sale, stock):
        self._redis("SET", f"sale:{{{sale}}}:stock", stock)

    def books(self, sale, stock):
        sold = stock - int(self._redis("GET", f"sale:{{{sale}}}:stock"))
        orders = int(self._redis("LLEN", f"sale:{{{sale}}}:orders"))
        buyers = int(self._redis("SCARD", f"sale:{{{sale}}}:buyers"))
        if not sold == orders == buyers:
            raise Failure(f"redis: {sold} units sold, {orders} orders, {buyers} buyers")
        return sold, {}


class NginxRedisUnix(NginxRedis):
    name = "redis-unix"
    title = "nginx + Lua + Redis over a Unix socket, not durable"
    over_unix_socket = True


class Doorbuster(Peer):
    name = "doorbuster"
    title = "doorbuster, durable"
    scenarios = ("refusals", "accepted")
    needs_binary = True

    def start(self):
        self.port = free_port()
        data = self.scratch / "data"
        listen = f"127.0.0.1:{self.port}"
        command = [self.options.binary, "serve", "--listen", listen, "--data", data]
        log = self.scratch / "doorbuster.log"
        self.servers.append(
            Server(
                self.name, command, log, self._is_ready, env=self._environment(),
                cwd=self.scratch,
            )
        )

    def _environment(self):
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("DOORBUSTER_")
        }
        environment["DOORBUSTER_SERVER_THREADS"] = str(self.options.workers)
        return environment

    def _is_ready(self):
        try:
            return self.request("GET", "/readyz")[0] == 200
        except Failure:
            return False

    def open_sale(self, sale, stock):
        body = {"id": sale, "title": "Bench", "stock": stock, "per_user_limit": 1}
        status, _, answer = self.request("POST", "/v1/sales", body)
        if status != 201:
            raise Failure(f"doorbuster: creating the sale answered {status}: {answer!r}")

    def lag_records(self):
        """Orders that are durable in the log and not yet in the order store."""
        status, _, body = self.request("GET", "/metrics")
        values = [
            float(line.rsplit(" ", 1)[1])
            for line in body.decode().splitlines()
            if line.startswith(("doorbuster_log_lag_records ", "doorbuster_log_lag_records{"))
        ]
        if status != 200 or not values:
            raise Failure(f"doorbuster: /metrics ({status}) has no doorbuster_log_lag_records")
        return int(sum(values))

    def settle(self):
        started = time.monotonic()
        lag_first = lag = self.lag_records()
        while lag > 0:
            if time.monotonic() - started > DRAIN_SECONDS_MAX:
                raise Failure(
                    f"doorbuster: {lag} of {lag_first} orders not stored after "
                    f"{DRAIN_SECONDS_MAX} s"
                )
            time.sleep(POLL_SECONDS)
            lag = self.lag_records()
        return {"lag_records": lag_first, "drain_seconds": round(time.monotonic() - started, 3)}

    def books(self, sale, stock):
        command = [self.options.binary, "audit", "--json", "--sale", sale]
        command += ["--url", f"http://127.0.0.1:{self.port}"]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=DRAIN_SECONDS_MAX, check=False
        )
        try:
            found = json.loads(done.stdout)
            audit = found[0] if isinstance(found, list) else found
            balanced = done.returncode == 0 and audit["balanced"] and audit["sale_id"] == sale
            balanced = balanced and audit["stock"] == stock
            sold = audit["sold"]
        except (ValueError, KeyError, IndexError, TypeError):
            raise Failure(
                f"doorbuster: audit ({done.returncode}): {done.stdout}{done.stderr}"
            ) from None
        if not balanced:
            raise Failure(f"doorbuster: the audit does not balance: {done.stdout}")
        return sold, {"audit": "balanced"}


PEERS = {kind.name: kind for kind in (NginxReturn, NginxRedis, NginxRedisUnix, Doorbuster)}
PEERS_BY_DEFAULT = (NginxReturn.name, NginxRedis.name, Doorbuster.name)
