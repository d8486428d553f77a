"""check_style lets good code pass and finds each thing that it is there to find."""

import pathlib
import subprocess

import pytest

CHECK = pathlib.Path(__file__).parent.parent / "check_style"


def check(root, path, text):
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    done = subprocess.run([CHECK, root], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    "text",
    [
        "auto r = co_await f(x);\n",
        "if (co_await f(x)) {\n    g();\n}\n",
        "if (!co_await f()) {\n}\n",
        "while (co_await f()) {\n}\n",
        "if (auto r = co_await f(); r) {\n}\n",
        "if constexpr (kOn) {\n    co_await f();\n}\n",
        "if ((co_await f()).has_value() && g(1)) {\n}\n",
        "switch (co_await f()) {\ncase 1: break;\n}\n",
        "for (auto& item : co_await list()) {\n}\n",
        "for (;; co_await step()) {\n}\n",
        "if (x) co_await f(); else {\n}\n",
        "if (values[i] > 0) co_await f(values[i], g()[2], h(a)[3]);\n",
        "co_return co_await f(Request(1, 2));\n",
        "auto request = Request{1, 2};\nco_await f(request);\n",
        "auto work = [this] { return 1; };\nco_await call_on(core, work);\n",
        "spawn(ex, [&]() -> Task<void> { co_await f(); }, detached);\n",
        "auto t = [&]() -> Task<void> {\n    if (co_await f()) {\n    }\n};\n",
        "bool await_ready() const { return true; }\nauto operator co_await() const { return 1; }\n",
        "// co_await f({1});\nint i;\n",
        '/* co_await f({1}); */ auto s = "co_await {";\n',
        'auto s = R"x(co_await f({1});)x";\n',
        "co_await f('{', \"{[\", 1'000'000);\n",
        "co_await f(/* { */ 1, // [this] {\n    2);\n",
        "#define AWAIT(x) co_await (x)\nstruct A {\n};\n",
        "co_await f(1\n#if defined(X) && Y[1]\n    , 2\n#endif\n);\n",
    ],
)
def test_good_awaits_pass(tmp_path, text):
    assert check(tmp_path, "src/engine/a.cc", text) == (0, "")


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("co_await f(Request{1, 2});\n", 1, "a brace"),
        ("co_await f({.id = 1});\n", 1, "a brace"),
        ("co_await f(x,\n           Request{\n               1});\n", 2, "a brace"),
        ("auto r = g(co_await f(), Request{1});\n", 1, "a brace"),
        ("co_await call_on(core, [this] { return 1; });\n", 1, "a lambda"),
        ("co_await call_on(core,\n    [&](int i) { return i; });\n", 2, "a lambda"),
        ("co_await call_on(core, [x = std::move(x)]() mutable { });\n", 1, "a lambda"),
        ("co_await [this]() -> Task<void> { co_return; }();\n", 1, "a lambda"),
        ("if (co_await f(Request{1})) {\n}\n", 1, "a brace"),
        ("while ((co_await f([&] { return 1; })) > 0) {\n}\n", 1, "a lambda"),
        ("if (auto r = co_await f(Request{1}); r) {\n}\n", 1, "a brace"),
        ("co_return co_await f(std::string{name});\n", 1, "a brace"),
        ('f(R"(;)", co_await g({1}));\n', 1, "a brace"),
        ("x = 1'000; co_await f({1});\n", 1, "a brace"),
        ("#define AWAIT(x) \\\n    co_await f({x})\n", 2, "a brace"),
        ("int i;\nvoid f() {\n    co_await g(X{});\n}\n", 3, "a brace"),
    ],
)
def test_the_trap_of_gcc_12_is_found(tmp_path, text, line, message):
    status, output = check(tmp_path, "src/engine/a.cc", text)
    assert status == 1
    assert output.startswith(f"src/engine/a.cc:{line}: {message} between co_await")
    assert output.count("\n") == 1


def test_each_bad_await_is_a_finding_of_its_own(tmp_path):
    text = "co_await f({1});\nco_await f(1);\nco_await f({1});\n"
    status, output = check(tmp_path, "tests/fault/a.cc", text)
    assert status == 1
    assert [line.split(":")[1] for line in output.splitlines()] == ["1", "3"]


@pytest.mark.parametrize("path", ["src/app/a.cc", "tests/a.py", "src/adapters/sql/a.sql", "run"])
def test_a_line_has_at_most_100_columns(tmp_path, path):
    assert check(tmp_path, path, "x" * 100 + "\n") == (0, "")
    status, output = check(tmp_path, path, "\n" + "x" * 101 + "\n")
    assert (status, output) == (1, f"{path}:2: 101 columns, at most 100\n")


def test_columns_are_counted_in_characters(tmp_path):
    assert check(tmp_path, "src/app/a.cc", "// " + "é" * 97 + "\n") == (0, "")


def test_a_source_has_at_most_600_lines(tmp_path):
    assert check(tmp_path, "src/app/a.cc", "int i;\n" * 600) == (0, "")
    status, output = check(tmp_path, "src/app/a.cc", "int i;\n" * 601)
    assert (status, output) == (1, "src/app/a.cc:601: 601 lines, at most 600\n")


def test_other_files_may_be_long(tmp_path):
    assert check(tmp_path, "tests/e2e/a.py", "i = 1\n" * 601) == (0, "")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("src/engine/a_test.cc", "std::this_thread::sleep_for(1ms);\n"),
        ("src/engine/a_test.cc", "usleep (5);\n"),
        ("tests/crash/a.cc", "::sleep(1);\n"),
        ("tests/e2e/a.py", "import time\ntime.sleep(0.1)\n"),
        ("tests/e2e/a.py", "from time import sleep\nsleep(1)\n"),
        ("tests/e2e/a.py", "await asyncio.sleep(1)\n"),
        ("src/engine/a_test.cc", "sleep_for(1ms);  // polling\n"),
        ("src/engine/a_test.cc", "sleep_for(1ms);  // poll:\n"),
    ],
)
def test_a_test_does_not_sleep(tmp_path, path, text):
    status, output = check(tmp_path, path, text)
    assert status == 1
    assert "a test does not sleep" in output
    assert output.count("\n") == 1


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("src/engine/a_test.cc", "sleep_for(1ms);  // poll: the writer has drained\n"),
        ("src/engine/a_test.cc", '// sleep(1)\nauto s = "sleep(1)"; no_sleep(1);\n'),
        ("src/runtime/a.cc", "std::this_thread::sleep_for(1ms);\n"),
        ("tests/crash/a.py", "time.sleep(dice())  # random: when the kill comes\n"),
        ("tests/e2e/a.py", 'time.sleep(0.01)  # poll: the port answers\ntext = "sleep(1)"\n'),
    ],
)
def test_a_pause_that_polls_and_one_outside_tests_pass(tmp_path, path, text):
    assert check(tmp_path, path, text) == (0, "")
