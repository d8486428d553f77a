"""./test over a project of four fake tests."""

import signal

import pytest

from conftest import BOUND_S, eventually, is_alive


def test_a_label_selects_and_ctest_has_the_last_word(project):
    status, output = project.finish("test", "unit")
    assert status == 0, output
    assert "100% tests passed, 0 tests failed out of 2" in output
    assert output.splitlines()[-1].startswith("Total Test time (real)")


def test_several_labels_are_added(project):
    status, output = project.finish("test", "quick.ish", "broken")
    assert status != 0
    assert "1 tests failed out of 2" in output
    assert "bad (Failed)" in output


@pytest.mark.parametrize("label", ["nonsense", "quickXish", "uni", ".*", "un|slow"])
def test_a_label_that_no_test_carries_is_an_error(project, label):
    status, output = project.finish("test", "unit", label)
    assert status == 2
    assert output.splitlines()[-1] == (
        f"test: no test has the label '{label}'; the labels are: broken quick.ish slow unit"
    )


def test_a_preset_is_named_by_the_environment(project):
    status, output = project.finish("test", "unit", DOORBUSTER_PRESET="dev")
    assert status == 0, output
    assert (project.root / "build/dev/ctest.log").is_file()
    assert not (project.root / "build/release").exists()


@pytest.mark.parametrize(
    ("arguments", "preset"), [(["--fast"], "release"), ([""], "release"), ([], "fuzz")]
)
def test_a_wrong_command_line_is_status_2(project, arguments, preset):
    status, output = project.finish("test", *arguments, DOORBUSTER_PRESET=preset)
    assert status == 2
    assert output.count("\n") == 1


def test_a_signal_ends_the_tests_too(project):
    process = project.start("test", "slow")
    file = project.root / "build/release/slow.pid"
    eventually(lambda: file.exists() and file.read_text(encoding="utf-8"), "the slow test runs")
    process.send_signal(signal.SIGINT)
    assert process.wait(BOUND_S) == 130
    assert not is_alive(int(file.read_text(encoding="utf-8")))
