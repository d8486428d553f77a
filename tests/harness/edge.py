"""nginx in front of a server, with the configuration of deploy/nginx as it is shipped.

    edge = Edge(tmp_path, server).start()
    edge.buy(sale, "ann")          # as with a Server, but through nginx
    edge.lines()                   # what its access log says

Only what belongs to a machine is put in: addresses, folders, the user whom the workers run as.
"""

import dataclasses
import os
import pathlib
import pwd
import re
import shutil
import subprocess

import pytest

from . import contract
from .server import Server, ServerExited, fresh_name
from .settings import BOUND_S, ROOT, clean_environment
from .waiting import eventually
from .wire import Closed, build_request

SHIPPED = ROOT / "deploy" / "nginx"
NGINX = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
_LINE = re.compile(r'(?P<address>\S+) \[\S+\] (?P<request>\S+) "(?P<method>\S+) (?P<path>.*)" '
                   r'(?P<status>\d+) cache=(?P<cache>\S+) limit=(?P<limit>\S+) '
                   r'upstream=(?P<upstream>.+) seconds=\S+')
_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def require_nginx() -> None:
    """Skips without nginx; where CI=true that is a failure."""
    if NGINX is None:
        why = "no nginx here: tools/install-packages test"
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)


@dataclasses.dataclass
class Line:
    """One request in nginx's access log."""

    address: str
    request: str
    method: str
    path: str
    status: int
    cache: str
    limit: str
    upstream: str  # the statuses of the requests that it cost doorbuster; "-": none

    @property
    def answers(self) -> list:
        """The statuses of all requests to doorbuster that it cost."""
        return re.findall(r"\d+", self.upstream)

    @property
    def asked(self) -> int:
        return len(self.answers)


class Edge(Server):
    """nginx on a port of its own, before one server.

    Whoever connects from 127.0.0.1 is a gateway to it: X-User-Id and X-Forwarded-For are believed.
    """

    def __init__(self, folder, server: Server, gate=None):
        """`gate`: a Gate before the server, if there is one."""
        require_nginx()
        super().__init__(pathlib.Path(folder) / "edge")
        self.server = server
        self.gate = gate
        self._lines = []
        self._log_read = 0
        self._write()

    def _write(self) -> None:
        shutil.copytree(SHIPPED, self.folder / "conf", dirs_exist_ok=True)
        run = self.folder / "run"
        run.mkdir(exist_ok=True)
        temporary = "".join(f"    {name}_temp_path {run}/{name};\n" for name in _TEMPORARY)
        self._put("nginx.conf", "user www-data;", f"user {pwd.getpwuid(os.geteuid()).pw_name};")
        self._put("nginx.conf", "pid /run/nginx.pid;", f"pid {run}/nginx.pid;")
        self._put("nginx.conf", "/var/log/nginx/error.log", f"{run}/error.log")
        self._put("nginx.conf", "http {\n", "http {\n" + temporary)
        self._put("doorbuster/listen.conf", "\nlisten 80 ", f"\nlisten {self.host} ")
        self._put("doorbuster/upstream.conf", "127.0.0.1:8080",
                  f"127.0.0.1:{(self.gate or self.server).port}")
        self._put("doorbuster/cache.conf", "/var/lib/nginx/doorbuster", f"{run}/cache")
        self._put("doorbuster/log.conf", "/var/log/nginx/doorbuster.log", f"{run}/access.log")

    def _put(self, name: str, old: str, new: str) -> None:
        """Puts something of this machine's into the one place that has it."""
        file = self.folder / "conf" / name
        text = file.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{old!r} is {text.count(old)} times in {name}"
        file.write_text(text.replace(old, new), encoding="utf-8")

    def arguments(self, *more) -> list:
        # A master that is killed leaves its workers. So it ends gently, also with the tests.
        run = self.folder / "run"
        return ["setpriv", "--pdeathsig", "TERM", NGINX, "-p", str(self.folder),
                "-e", str(run / "error.log"), "-c", str(self.folder / "conf" / "nginx.conf"),
                *(more or ("-g", "daemon off;"))]

    def checked(self) -> subprocess.CompletedProcess:
        """`nginx -t`."""
        return subprocess.run(self.arguments("-t"), env=clean_environment(), cwd=self.folder,
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=BOUND_S,
                              check=False, text=True)

    def kill(self) -> None:
        """As quickly as it goes; a master that dies by SIGKILL would leave its workers."""
        self.terminate()

    def _ready(self) -> bool:
        status = self.process.poll()
        if status is not None:
            raise ServerExited(status, self.output() + self.errors())
        try:
            with self.connect(timeout_s=5.0) as connection:
                return connection.request("GET", "/").status == 404
        except (OSError, Closed, AssertionError):
            return False

    def errors(self) -> str:
        """nginx's error log."""
        file = self.folder / "run" / "error.log"
        return file.read_text("utf-8", "replace") if file.exists() else ""

    def lines(self, count: int = 0) -> list:
        """The access log so far; waits until it has so many lines, which nginx writes late."""
        eventually(lambda: self._read_log() >= count, f"{count} lines in the access log")
        return self._lines

    def _read_log(self) -> int:
        """Reads on to the last whole line; how many there are."""
        file = self.folder / "run" / "access.log"
        if file.exists():
            with open(file, "rb") as log:
                log.seek(self._log_read)
                text = log.read()
            whole = text[:text.rfind(b"\n") + 1]
            self._log_read += len(whole)
            for line in whole.decode("utf-8").splitlines():
                match = _LINE.fullmatch(line)
                assert match, line
                fields = match.groupdict()
                self._lines.append(Line(**{**fields, "status": int(fields["status"])}))
        return len(self._lines)

    def line_of(self, request: str) -> Line:
        """What the access log says of the request with this id."""
        return eventually(lambda: next((line for line in self.lines() if line.request == request),
                                       None), f"{request} is in the access log")

    def wait_shut(self, sale: str) -> None:
        """Until nginx answers for a sale that is sold out, by itself."""
        def look():
            # Several at once: by the time that one is in the log, its answer is forgotten.
            names = [fresh_name("asks-") for _ in range(4)]
            for name in names:
                answer = self.buy(sale, name, headers={"X-Request-Id": name})
                contract.expect(answer, 409, "sold_out")
            return any(self.line_of(name).cache == "HIT" for name in names)
        eventually(look, f"the gate of {sale} is shut", pause_s=0.05)

    def purchases_answered(self) -> int:
        """How many purchases doorbuster has answered, by its own count, which has no 401."""
        text = self.server.call("GET", "/metrics", check=False).text
        return sum(int(float(line.rsplit(" ", 1)[1])) for line in text.splitlines()
                   if line.startswith("doorbuster_purchases_total{"))

    def attempt_bytes(self, sale: str, user: str, address: str, key: str = None) -> bytes:
        """The bytes of a purchase of one unit by a user who came from this address."""
        headers = {"X-User-Id": user, "X-Forwarded-For": address}
        if key is not None:
            headers["Idempotency-Key"] = key
        return build_request("POST", f"/v1/sales/{sale}/purchases", self.host, headers,
                             b'{"quantity":1}')
