""".ci/run over a fake project: all steps run, one that fails fails it, it ends on a count."""

import shutil

import pytest

from conftest import ROOT

CMAKE = """cmake_minimum_required(VERSION 3.23)
project(fake NONE)
enable_testing()
add_test(NAME one COMMAND true)
add_test(NAME two COMMAND true)
add_test(NAME three COMMAND true)
set_tests_properties(one PROPERTIES LABELS unit)
set_tests_properties(three PROPERTIES LABELS "model;fault;crash;tools")
set_tests_properties(two PROPERTIES LABELS "e2e;race")
file(COPY_FILE ${CMAKE_SOURCE_DIR}/fuzzer ${CMAKE_BINARY_DIR}/fuzz_request)
"""


def edit(file, old, new):
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


@pytest.fixture
def ci(project):
    (project.root / ".ci").mkdir()
    for name in [".ci/run", ".clang-format"]:
        shutil.copy(ROOT / name, project.root / name)
    for name in ["check_layers", "check_style", "cpp_text.py"]:
        shutil.copy(ROOT / "tools" / name, project.root / "tools")
    (project.root / "src/base").mkdir(parents=True)
    (project.root / "src/base/a.cc").write_text("int f();\n", encoding="utf-8")
    (project.root / "CMakeLists.txt").write_text(CMAKE, encoding="utf-8")
    fuzzer = project.root / "fuzzer"
    fuzzer.write_text('#!/bin/sh\necho "fuzzer $*"\n', encoding="utf-8")
    fuzzer.chmod(0o755)
    return project


def test_every_step_runs_and_the_count_comes_last(ci):
    status, output = ci.finish(".ci/run")
    assert status == 0, output
    for step in range(1, 7):
        assert f"=== {step}/6 " in output
    assert "1 C++ sources are clean" in output
    assert "fuzzer -max_total_time=60 -seed=" in output
    assert output.splitlines()[-1] == "tests: 7 passed, 0 failed"  # 3 + 2 + 2


@pytest.mark.parametrize(
    ("file", "old", "new", "complaint", "count"),
    [
        ("src/base/a.cc", "int f();", "int  f ( );", "clang-format", "0 passed, 0 failed"),
        ("src/base/a.cc", "int f();", '#include "app/x.h"', "the layers", "0 passed, 0 failed"),
        ("src/base/a.cc", "int f();", "auto i = co_await f({1});", "style", "0 passed, 0 failed"),
        ("CMakeLists.txt", "three COMMAND true", "three COMMAND false", "release", "2 passed, 1 f"),
        ("CMakeLists.txt", "e2e;race", "e2e;rice", "preset tsan", "5 passed, 0 failed"),
        ("CMakeLists.txt", "/fuzz_request", "/other", "built no", "7 passed, 0 failed"),
        ("fuzzer", "echo", "exit 77;", "the fuzzer found something", "7 passed, 0 failed"),
    ],
)
def test_a_step_that_fails_fails_it_all(ci, file, old, new, complaint, count):
    edit(ci.root / file, old, new)
    status, output = ci.finish(".ci/run")
    assert status == 1, output
    last = output.splitlines()
    assert last[-2].startswith("run: failed: ") or last[-2].startswith(".ci/run: failed: ")
    assert complaint in last[-2]
    assert last[-1].startswith(f"tests: {count}")
