"""./run over a fake doorbuster: what it calls, how it ends, and that it leaves nothing behind."""

import os
import signal
import socket

import pytest

from conftest import BOUND_S, eventually, is_alive


def server_pid(project):
    return int(project.call("serve")[1])


def up(project, port):
    """Whether ./run has reached its last line."""
    return project.output().endswith(f"\nhttp://127.0.0.1:{port}\n")


def test_once_runs_the_sale_and_stops(project, free_port):
    status, output = project.finish("run", "--once", "--port", str(free_port))
    assert status == 0, output
    url = f"http://127.0.0.1:{free_port}"
    assert project.calls()[1:] == [
        f"sale create --url {url} --id demo --title Demo sale --stock 1000",
        f"load --url {url} --sale demo --buyers 20000 --attempts-per-buyer 3",
        f"audit --url {url} --sale demo",
        "signal SIGTERM",
        "stopped",
    ]
    assert "table of load" in output and "table of audit" in output
    assert not is_alive(server_pid(project))


@pytest.mark.parametrize(
    ("load", "audit", "expected"), [("0", "1", 1), ("1", "0", 1), ("2", "1", 1), ("0", "0", 0)]
)
def test_the_status_of_once_is_the_audits(project, free_port, load, audit, expected):
    status, output = project.finish(
        "run", "--once", f"--port={free_port}", FAKE_LOAD=load, FAKE_AUDIT=audit
    )
    assert status == expected, output
    assert "table of audit" in output
    assert not is_alive(server_pid(project))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_stays_up_with_its_address_last_until_a_signal(project, free_port, number):
    process = project.start("run", "--port", str(free_port))
    eventually(lambda: up(project, free_port), "the address is the last line")
    pid = server_pid(project)
    assert is_alive(pid)
    os.killpg(process.pid, number)
    assert process.wait(BOUND_S) == 0
    assert project.calls()[-2:] == ["signal SIGTERM", "stopped"]
    assert not is_alive(pid)


def test_a_second_signal_ends_a_server_that_does_not_stop(project, free_port):
    process = project.start("run", "--port", str(free_port), FAKE_SERVE="deaf")
    eventually(lambda: up(project, free_port), "the address is the last line")
    process.send_signal(signal.SIGINT)
    eventually(lambda: "signal SIGTERM" in project.calls(), "the first signal arrived")
    process.send_signal(signal.SIGINT)
    assert process.wait(BOUND_S) == 9
    assert not is_alive(server_pid(project))


def test_a_signal_during_the_rush_ends_everything(project, free_port):
    process = project.start("run", "--once", "--port", str(free_port), FAKE_LOAD="hangs")
    eventually(lambda: project.call("hangs"), "the load runs")
    process.send_signal(signal.SIGTERM)
    assert process.wait(BOUND_S) == 143
    assert not is_alive(int(project.call("hangs")[1]))
    assert not is_alive(server_pid(project))


def test_even_sigkill_leaves_no_process(project, free_port):
    process = project.start("run", "--port", str(free_port))
    eventually(lambda: up(project, free_port), "the address is the last line")
    pid = server_pid(project)
    process.kill()
    eventually(lambda: not is_alive(pid), "the server is gone")


def test_a_server_that_does_not_start_is_said(project, free_port):
    status, output = project.finish("run", "--port", str(free_port), FAKE_SERVE="fails")
    assert status == 1
    assert "fake: cannot serve" in output
    assert "run: the server ended while it started" in output


def test_a_server_that_dies_later_is_said(project, free_port):
    process = project.start("run", "--port", str(free_port))
    eventually(lambda: up(project, free_port), "the address is the last line")
    os.kill(server_pid(project), signal.SIGKILL)
    assert process.wait(BOUND_S) == 1
    assert "the server ended by itself with status 137" in project.output()


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::"])
def test_a_taken_port_is_said_before_anything_is_built(project, address):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as other:
        other.bind((address, 0))
        other.listen()
        port = other.getsockname()[1]
        status, output = project.finish("run", "--port", str(port))
    assert status == 1
    assert f"run: port {port} of 127.0.0.1 is taken" in output
    assert "--port" in output
    assert output.count("\n") == 1
    assert project.calls() == []


def test_two_on_one_port_do_not_share_a_data_folder(project, free_port):
    project.start("run", "--port", str(free_port))
    eventually(lambda: up(project, free_port), "the address is the last line")
    first = server_pid(project)
    status, output = project.finish("run", "--port", str(free_port))
    assert status == 1
    assert "is taken" in output
    assert is_alive(first)
    assert (project.root / "build/run" / str(free_port) / "data").is_dir()


def test_each_run_has_a_fresh_data_folder(project, free_port):
    old = project.root / "build/run" / str(free_port) / "data" / "orders.db"
    old.parent.mkdir(parents=True)
    old.write_text("old", encoding="utf-8")
    assert project.finish("run", "--once", "--port", str(free_port))[0] == 0
    assert old.parent.is_dir() and not old.exists()


def test_settings_of_the_environment_do_not_reach_the_demo(project, free_port):
    project.finish(
        "run", "--once", "--port", str(free_port), DOORBUSTER_STORE_URL="postgresql://shop"
    )
    assert project.call("serve")[2:] == []


def test_serve_passes_its_arguments_settings_and_signals(project, free_port):
    process = project.start(
        "run", "serve", "--listen", f"127.0.0.1:{free_port}", DOORBUSTER_ADMIN_TOKEN="secret"
    )
    eventually(lambda: project.call("serve"), "the server runs")
    assert project.call("serve")[1:] == [str(process.pid), "DOORBUSTER_ADMIN_TOKEN"]

    def answers():
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", free_port)) == 0

    eventually(answers, "the port answers")
    process.send_signal(signal.SIGTERM)
    assert process.wait(BOUND_S) == 0
    assert project.calls()[1:] == ["signal SIGTERM", "stopped"]


@pytest.mark.parametrize(
    "arguments",
    [["--port"], ["--port", "x"], ["--port", "0"], ["--port=70000"], ["--twice"], ["sell"]],
)
def test_a_wrong_command_line_is_status_2(project, arguments):
    status, output = project.finish("run", *arguments)
    assert status == 2
    assert output.startswith("run: ")
    assert output.count("\n") == 1


def test_help_starts_nothing(project):
    status, output = project.finish("run", "--help")
    assert status == 0
    assert output.startswith("usage: ./run")
    assert not (project.root / "build").exists()


def test_a_failed_configuration_shows_why(project):
    (project.root / "CMakeLists.txt").write_text("message(FATAL_ERROR broken)", encoding="utf-8")
    status, output = project.finish("run")
    assert status != 0
    assert "broken" in output
    assert "build: cmake could not configure the preset release" in output
