"""tools/services: mostly with Redis, which starts in a moment; every engine once."""

import json
import os
import pathlib
import shlex
import shutil
import signal
import socket
import subprocess
import sys

import pytest

from conftest import BOUND_S, ROOT, eventually, is_alive

sys.path.insert(0, str(ROOT / "tools"))
from engines import ports, process, service  # noqa: E402
from engines.kafka_wire import Kafka  # noqa: E402
from engines.redis_wire import Redis, RedisError  # noqa: E402

START_S = 300  # a first start of Kafka downloads it
NEEDED = {"postgresql": "psql", "mariadb": "mariadbd", "redis": "redis-server",
          "redis-replica": "redis-server", "redis-cluster": "redis-server", "kafka": "java"}


class Tool:
    """tools/services with a folder of its own, from this checkout or a copy of it."""

    def __init__(self, folder, root=ROOT):
        self.folder = folder
        self.script = root / "tools" / "services"
        self.environment = {**os.environ, "DOORBUSTER_SERVICES_DIR": str(folder)}
        self.environment.pop("NO_COLOR", None)

    def run(self, *arguments, status=0):
        """Its output; standard error is in it, too."""
        finished = subprocess.run([self.script, *arguments], env=self.environment,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, timeout=START_S, check=False)
        output = finished.stdout.decode("utf-8")
        assert finished.returncode == status, output
        return output

    def begin(self, *arguments):
        return subprocess.Popen([self.script, *arguments], env=self.environment,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT)

    def show(self, name):
        return json.loads(self.run("show", name, "--json"))

    def pids(self, name):
        return [node["pid"] for node in self.show(name)["nodes"]]

    def port(self, name="redis"):
        return self.show(name)["nodes"][0]["port"]


def need(name):
    if shutil.which(NEEDED[name]) is None and not os.environ.get("CI") == "true":
        pytest.skip(f"{NEEDED[name]} is not installed: tools/install-packages services")


@pytest.fixture
def tool(tmp_path):
    need("redis")
    made = Tool(tmp_path / "services")
    yield made
    made.run("stop")


@pytest.fixture
def copy(tmp_path):
    """A checkout without Kafka's jars, with programs of its own first in the PATH."""
    need("redis")
    root = tmp_path / "checkout"
    shutil.copytree(ROOT / "tools" / "engines", root / "tools" / "engines")
    shutil.copytree(ROOT / "tools" / "kafka", root / "tools" / "kafka")
    shutil.copy(ROOT / "tools" / "services", root / "tools")
    made = Tool(tmp_path / "services", root)
    made.programs = tmp_path / "programs"
    made.programs.mkdir()
    made.environment["PATH"] = f"{made.programs}:{os.environ['PATH']}"
    yield made
    made.run("stop")


def program(tool, name, text):
    file = tool.programs / name
    file.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    file.chmod(0o755)


def kill(pid):
    killed = process.Process.of(pid)
    killed.signal(signal.SIGKILL)
    assert killed.wait(BOUND_S)


def guards(tool):
    """The processes that watch over owners of this folder's services."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().decode().split("\0")
        except (OSError, UnicodeDecodeError):
            continue
        if entry.name.isdigit() and "guard" in words and str(tool.folder) in words:
            found.append(int(entry.name))
    return found


# -- the command line -----------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [
    [], ["begin"], ["start"], ["start", "mysql"], ["start", "redis", "--owner", "x"],
    ["start", "redis", "--keep"], ["stop", "--empty"], ["stop", "redis", "oracle"], ["restart"],
    ["restart", "redis", "--keep"], ["show"], ["show", "redis", "kafka"], ["status", "redis"],
    ["env", "redis"], ["logs"]])
def test_a_wrong_command_line_is_status_2(tmp_path, arguments):
    output = Tool(tmp_path / "services").run(*arguments, status=2)
    assert output.startswith("services: ")
    assert output.count("\n") == 1
    assert not (tmp_path / "services").exists()


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["help"], ["start", "--help"]])
def test_help_starts_nothing(tmp_path, arguments):
    output = Tool(tmp_path / "services").run(*arguments)
    assert output.startswith("usage: tools/services start")
    for name in [*NEEDED, "kafka3"]:
        assert f"\n  {name} " in output
    assert not (tmp_path / "services").exists()


def test_where_nothing_was_started_there_is_nothing(tmp_path):
    tool = Tool(tmp_path / "services")
    assert tool.run("status") == tool.run("env") == tool.run("stop") == ""
    shown = tool.show("redis")
    assert (shown["status"], shown["nodes"], shown["url"]) == ("absent", [], None)
    assert "was not started" in tool.run("restart", "redis", status=1)
    assert "has no logs" in tool.run("logs", "redis", status=1)


def test_an_owner_that_does_not_exist_is_an_error(tool):
    gone = subprocess.Popen(["true"])
    gone.wait()
    output = tool.run("start", "redis", "--owner", str(gone.pid), status=1)
    assert output == f"services: there is no process {gone.pid} to be the owner\n"
    assert tool.show("redis")["status"] == "absent"


# -- start ----------------------------------------------------------------------------------


def test_a_second_start_starts_nothing_and_says_the_same_address(tool):
    first = tool.run("start", "redis")
    pids = tool.pids("redis")
    second = tool.run("start", "redis", "redis")
    assert first.split()[:2] == second.split()[:2] == ["redis", tool.show("redis")["url"]]
    assert "was running" in second
    assert tool.pids("redis") == pids


def test_two_starts_at_once_start_one(tool):
    running = [tool.begin("start", "redis") for _ in range(3)]
    outputs = [one.communicate(timeout=BOUND_S)[0].decode() for one in running]
    assert [one.returncode for one in running] == [0, 0, 0]
    assert sorted("was running" in output for output in outputs) == [False, True, True]
    assert len({output.split()[1] for output in outputs}) == 1


def test_the_addresses_are_lines_for_a_shell(tool):
    tool.run("start", "redis", "redis-replica")
    found = subprocess.run(
        ["bash", "-c", 'eval "$(cat)"; printenv DOORBUSTER_TEST_REDIS{,_REPLICA}'],
        input=tool.run("env").encode(), capture_output=True, check=True)
    assert found.stdout.decode().split() == [
        tool.show("redis")["url"], tool.show("redis-replica")["url"]]
    kill(tool.pids("redis")[0])
    assert "DOORBUSTER_TEST_REDIS=" not in tool.run("env")


def test_redis_is_set_up_as_doorbuster_wants_it(tool):
    tool.run("start", "redis")
    with Redis(tool.port()) as redis:
        settings = {name: redis.command("CONFIG", "GET", name)[1].decode() for name in (
            "maxmemory-policy", "appendonly", "appendfsync", "bind", "dir")}
    assert settings == {"maxmemory-policy": "noeviction", "appendonly": "yes",
                        "appendfsync": "everysec", "bind": "127.0.0.1",
                        "dir": str(tool.folder / "redis" / "redis")}


def test_checkouts_do_not_clash(tool, tmp_path):
    other = Tool(tmp_path / "other")
    try:
        tool.run("start", "redis")
        other.run("start", "redis")
        assert tool.port() != other.port()
        tool.run("stop")
        assert other.show("redis")["status"] == "running"
    finally:
        other.run("stop")


def test_a_folder_with_a_space_will_do(tmp_path):
    need("redis")
    tool = Tool(tmp_path / 'a "b" c')
    try:
        tool.run("start", "redis")
        assert shlex.split(tool.run("env"))[0] == "export"
    finally:
        tool.run("stop")


def test_a_paused_server_is_said_and_left_as_it_is(tool):
    tool.run("start", "redis")
    pid, = tool.pids("redis")
    os.kill(pid, signal.SIGSTOP)
    eventually(lambda: tool.show("redis")["nodes"][0]["paused"], "it is paused")
    assert f"process {pid}) is paused" in tool.run("start", "redis", status=1)
    assert "(paused)" in tool.run("status")
    os.kill(pid, signal.SIGCONT)
    tool.run("start", "redis")
    assert tool.pids("redis") == [pid]


def test_a_server_that_cannot_start_is_explained_and_leaves_nothing(copy):
    program(copy, "redis-server", "echo no luck; exit 7")
    output = copy.run("start", "redis", status=1)
    assert "redis ended with status 7 while it started" in output
    assert "no luck" in output
    assert copy.show("redis")["status"] == "absent"
    assert "no luck" in copy.run("logs", "redis")


def test_a_missing_program_is_named(copy):
    copy.environment["PATH"] = str(copy.programs)
    for name, real in {"bash": "bash", "dirname": "dirname", "python3": sys.executable}.items():
        (copy.programs / name).symlink_to(shutil.which(real))
    output = copy.run("start", "redis", status=1)
    assert output == ("services: redis needs redis-server, which is not installed: "
                      "tools/install-packages services\n")


def test_a_signal_ends_what_the_call_began(copy):
    # The second one never gets ready: it is not Redis.
    program(copy, "java", "exit 0")
    program(copy, "mvn", f"echo $$ > {copy.folder}.mvn; exec sleep 1000")
    starting = copy.begin("start", "redis", "kafka")
    mvn = pathlib.Path(f"{copy.folder}.mvn")
    eventually(lambda: copy.show("redis")["status"] == "running" and mvn.exists()
               and mvn.read_text(encoding="utf-8"), "the one runs and the other waits")
    pid, = copy.pids("redis")
    # Ready, and said so: only then it counts as begun.
    assert starting.stdout.readline().startswith(b"redis ")
    starting.send_signal(signal.SIGTERM)
    starting.communicate(timeout=BOUND_S)
    assert starting.returncode == 128 + signal.SIGTERM
    assert not is_alive(pid)
    assert not is_alive(int(mvn.read_text(encoding="utf-8")))
    assert copy.show("redis")["status"] == "absent"


def test_without_maven_central_only_kafka_fails_and_the_status_is_3(copy):
    program(copy, "java", "exit 0")
    program(copy, "mvn", "echo '[ERROR] unknown host'; exit 1")
    output = copy.run("start", "redis", "kafka", status=3)
    assert "Kafka could not be fetched from Maven Central: unknown host; mvn failed" in output
    assert output.count("\n") == 2  # Redis's address, and one line about Kafka
    assert copy.show("redis")["status"] == "running"
    assert copy.show("kafka")["status"] == "absent"
    program(copy, "redis-server", "exit 1")
    copy.run("stop")
    copy.run("start", "redis", "kafka", status=1)


# -- stop, crash, restart -------------------------------------------------------------------


def test_stop_ends_exactly_its_processes(tool):
    tool.run("start", "redis")
    pid, = tool.pids("redis")
    bystander = subprocess.Popen(["redis-server", "--port", "0", "--save", "", "--unixsocket",
                                  str(tool.folder / "socket")], stdout=subprocess.DEVNULL)
    try:
        assert tool.run("stop") == "redis           stopped\n"
        assert not is_alive(pid)
        assert is_alive(bystander.pid)
        assert tool.run("stop") == ""
        assert not (tool.folder / "redis" / "redis").exists()
        assert (tool.folder / "redis" / "redis.log").exists()
    finally:
        bystander.kill()
        bystander.wait()


def test_a_process_that_took_over_the_id_is_not_ended(tool):
    tool.run("start", "redis")
    pid, = tool.pids("redis")
    kill(pid)
    bystander = subprocess.Popen(["sleep", "1000"])
    try:
        record = tool.folder / "redis" / "redis.process"
        text = json.loads(record.read_text(encoding="utf-8"))
        record.write_text(json.dumps(text | {"pid": bystander.pid}), encoding="utf-8")
        assert tool.show("redis")["status"] == "stopped"
        tool.run("stop")
        assert is_alive(bystander.pid)
    finally:
        bystander.kill()
        bystander.wait()


def test_a_server_without_record_is_found_by_its_folder(tool):
    tool.run("start", "redis")
    pid, = tool.pids("redis")
    (tool.folder / "redis" / "redis.process").unlink()
    tool.run("stop")
    assert not is_alive(pid)


def test_a_paused_server_can_be_stopped(tool):
    tool.run("start", "redis")
    pid, = tool.pids("redis")
    os.kill(pid, signal.SIGSTOP)
    tool.run("stop", "--keep")
    assert not is_alive(pid)


def test_a_stop_can_keep_the_data(tool):
    tool.run("start", "redis")
    port = tool.port()
    with Redis(port) as redis:
        redis.command("SET", "unit", "sold")
    tool.run("stop", "--keep")
    assert tool.show("redis")["status"] == "stopped"
    tool.run("start", "redis")
    assert tool.port() == port
    with Redis(port) as redis:
        assert redis.command("GET", "unit") == b"sold"
    tool.run("restart", "redis", "--empty")
    assert tool.port() == port
    with Redis(port) as redis:
        assert redis.command("GET", "unit") is None


def test_a_start_after_a_crash_whose_port_was_taken_says_so(tool):
    tool.run("start", "redis")
    port = tool.port()
    kill(tool.pids("redis")[0])
    with socket.create_server(("127.0.0.1", port)):
        assert f"another process has one of the ports {port}" in tool.run(
            "start", "redis", status=1)
    tool.run("start", "redis")
    assert tool.port() == port


def test_a_first_start_takes_another_port_when_one_was_taken_meanwhile(tmp_path, monkeypatch):
    need("redis")
    from engines.redis import RedisService
    made = RedisService(ROOT, tmp_path / "services")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        free = ports.free_ports(1)
        offers = [[taken.getsockname()[1]], free]
        monkeypatch.setattr(ports, "free_ports", lambda _: offers.pop(0))
        try:
            assert made.start()
            assert made.nodes[0].ports == free
        finally:
            made.stop()


CRASHES = ["redis", "redis-replica", "redis-cluster", "postgresql", "mariadb", "kafka"]


@pytest.mark.parametrize("name", CRASHES)
def test_every_engine_starts_crashes_comes_back_and_stops(tmp_path, name):
    """With its data, on its port; nothing of it is left in the end."""
    need(name)
    tool = Tool(tmp_path / "services")
    try:
        output = tool.run("start", name)
        before = tool.show(name)
        assert before["url"] in output
        put(before)
        for pid in tool.pids(name):
            kill(pid)
        assert tool.show(name)["status"] == "stopped"
        tool.run("start", name)
        after = tool.show(name)
        assert after["url"] == before["url"]
        assert not set(pids(before)) & set(pids(after))
        check(after)
        kill(pids(after)[-1])
        assert tool.show(name)["status"] == ("partly" if len(pids(after)) > 1 else "stopped")
        tool.run("start", name)
        assert tool.pids(name)[:-1] == pids(after)[:-1]
        tool.run("restart", name)
        assert tool.show(name)["url"] == before["url"]
        check(tool.show(name))
    finally:
        tool.run("stop")
    assert left_in(tool.folder) == []


def pids(shown):
    return [node["pid"] for node in shown["nodes"]]


def left_in(folder):
    """Processes that work in this folder or below it."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and os.readlink(entry / "cwd").startswith(str(folder)):
                found.append((entry / "cmdline").read_text(encoding="utf-8"))
        except OSError:
            continue
    return found


KEY = "b"  # slot 3300: in a cluster, of the first node


def put(shown):
    port = shown["nodes"][0]["port"]
    if shown["name"].startswith("redis"):
        with Redis(port) as redis:
            redis.command("SET", KEY, "kept")
    elif shown["name"] == "kafka":
        with Kafka(port) as kafka:
            kafka.create_topic("kept")
    else:
        sql(shown, "create table kept (a integer)")


def check(shown):
    port = shown["nodes"][0]["port"]
    if shown["name"].startswith("redis"):
        with Redis(port) as redis:
            assert redis.command("GET", KEY) == b"kept"
    elif shown["name"] == "kafka":
        with Kafka(port) as kafka:
            eventually(lambda: kafka.metadata(["kept"]).topics == {"kept": {0: 1}}, "it is there")
            assert kafka.end_offset("kept", 0) == 0
    else:
        sql(shown, "insert into kept values (1)")


def sql(shown, statement):
    port = str(shown["nodes"][0]["port"])
    command = {"postgresql": ["psql", "-v", "ON_ERROR_STOP=1", "-c", statement, shown["url"]],
               "mariadb": ["mariadb", "--no-defaults", "-h", "127.0.0.1", "-P", port, "-u",
                           "doorbuster", "-e", statement, "doorbuster"]}[shown["name"]]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                   timeout=BOUND_S)


# -- owners ---------------------------------------------------------------------------------


@pytest.fixture
def owner():
    made = subprocess.Popen(["sleep", "1000"])
    yield made
    made.kill()
    made.wait()


def test_services_end_with_their_owner_even_by_sigkill(tool, owner):
    tool.run("start", "redis", "redis-replica", "--owner", str(owner.pid))
    ours = tool.pids("redis") + tool.pids("redis-replica")
    assert len(guards(tool)) == 1
    owner.kill()
    owner.wait()
    eventually(lambda: not any(map(is_alive, ours)), "the servers are gone")
    eventually(lambda: guards(tool) == [], "the guard is gone")
    assert tool.run("status") == ""


def test_what_ran_before_does_not_end_with_a_later_owner(tool, owner):
    tool.run("start", "redis")
    pid, = tool.pids("redis")
    tool.run("start", "redis", "redis-replica", "--owner", str(owner.pid))
    ours = tool.pids("redis-replica")
    owner.kill()
    owner.wait()
    eventually(lambda: not any(map(is_alive, ours)), "the owner's are gone")
    eventually(lambda: guards(tool) == [], "the guard is gone")
    assert is_alive(pid)


def test_a_guard_with_nothing_to_guard_ends(tool, owner):
    tool.run("start", "redis", "--owner", str(owner.pid))
    tool.run("stop")
    eventually(lambda: guards(tool) == [], "the guard is gone")
    assert is_alive(owner.pid)


def test_a_service_that_was_created_anew_is_not_the_old_owners(tool, owner):
    tool.run("start", "redis", "--owner", str(owner.pid))
    os.kill(guards(tool)[0], signal.SIGSTOP)
    tool.run("stop")
    tool.run("start", "redis")
    pid, = tool.pids("redis")
    owner.kill()
    owner.wait()
    os.kill(guards(tool)[0], signal.SIGCONT)
    eventually(lambda: guards(tool) == [], "the guard is gone")
    assert is_alive(pid)


# -- the parts ------------------------------------------------------------------------------


def test_a_process_is_its_id_and_its_start_time():
    child = subprocess.Popen(["sleep", "1000"])
    try:
        real = process.Process.of(child.pid)
        other = process.Process(child.pid, real.start_time - 1)
        assert real.alive and not other.alive
        other.signal(signal.SIGKILL)
        assert other.wait(0)
        assert real.alive and not real.wait(0)
        process.end_all([real], signal.SIGTERM, BOUND_S)
        assert not real.alive  # a zombie has ended
    finally:
        child.kill()
        child.wait()
    assert process.Process.of(child.pid) is None


def test_what_does_not_hear_the_signal_is_killed():
    child = subprocess.Popen(["bash", "-c", "trap '' TERM; echo; exec sleep 1000"],
                             stdout=subprocess.PIPE)
    child.stdout.readline()
    process.end_all([process.Process.of(child.pid)], signal.SIGTERM, 0.1)
    assert child.wait(BOUND_S) == -signal.SIGKILL


def test_free_ports_are_different_and_free():
    found = ports.free_ports(20)
    assert len(set(found)) == 20
    assert all(ports.is_free(port) for port in found)
    with socket.create_server(("127.0.0.1", found[0])):
        assert not ports.is_free(found[0])


def test_the_small_redis_client_knows_every_kind_of_answer(tool):
    tool.run("start", "redis")
    with Redis(tool.port()) as redis:
        assert redis.command("SET", "a", b"\r\n\0") == b"OK"
        assert redis.command("GET", "a") == b"\r\n\0"
        assert redis.command("GET", "b") is None
        assert redis.command("INCR", "n") == 1
        assert redis.command("EVAL", "return {1, 'x', {}}", 0) == [1, b"x", []]
        with pytest.raises(RedisError, match="ERR"):
            redis.command("NONSENSE")
        assert redis.command("PING") == b"PONG"


def test_waiting_ends_at_once_when_the_command_is_cancelled(monkeypatch):
    monkeypatch.setattr(service, "cancelled", service.threading.Event())
    service.cancelled.set()
    with pytest.raises(service.Cancelled):
        service.pause(1000)
