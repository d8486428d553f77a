"""check_layers lets a clean tree pass and finds each thing that it is there to find."""

import pathlib
import subprocess

import pytest

CHECK = pathlib.Path(__file__).parent.parent / "check_layers"


def check(root, files):
    """Exit status and output of the check over a tree of {path: text}."""
    (root / "src").mkdir(exist_ok=True)
    for path, text in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    done = subprocess.run([CHECK, root], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.returncode, done.stdout


CLEAN = {
    "src/base/result.h": "// What a result is.\n#pragma once\n#include <string>\n",
    "src/domain/stock.h": '#pragma once\n#include "base/result.h"\n#include <chrono>\n',
    "src/domain/stock.cc": '#include "domain/stock.h"\n#include <ostream>\n',
    "src/domain/stock_test.cc": '#include "domain/stock.h"\n#include <iostream>\n',
    "src/runtime/task.h": "#pragma once\n#include <boost/asio/awaitable.hpp>\n",
    "src/ports/order_log.h": '#pragma once\n#include "runtime/task.h"\n',
    "src/engine/writer.cc": '#include "ports/order_log.h"\n#include "domain/stock.h"\n',
    "src/adapters/sqlite/log.h": '#pragma once\n#include "ports/order_log.h"\n',
    "src/adapters/sqlite/log.cc": '#include "adapters/sqlite/log.h"\n#include <sqlite3.h>\n',
    "src/app/main.cc": '#include "adapters/sqlite/log.h"\n#include "engine/writer.h"\n',
    "tests/support/fake_clock.h": "#pragma once\n",
    "src/engine/writer_test.cc": '#include "support/fake_clock.h"\n#include "engine/writer.h"\n',
}


def test_a_clean_tree_passes(tmp_path):
    assert check(tmp_path, CLEAN) == (0, "")


def test_an_include_in_a_comment_or_a_string_does_not_count(tmp_path):
    text = (
        '// #include "app/main.h"\n'
        '/*\n#include "engine/writer.h"\n*/\n'
        'const char* text = R"(\n#include <sqlite3.h>\n)";\n'
    )
    assert check(tmp_path, {"src/domain/sale.cc": text}) == (0, "")


@pytest.mark.parametrize(
    ("path", "text", "line", "message"),
    [
        ("src/base/a.cc", '\n#include "domain/stock.h"\n', 2, "base may not include domain"),
        ("src/domain/a.cc", '#include "runtime/task.h"\n', 1, "domain may not include runtime"),
        ("src/runtime/a.cc", '#  include "ports/x.h"\n', 1, "runtime may not include ports"),
        ("src/ports/a.cc", '#include "engine/x.h"\n', 1, "ports may not include engine"),
        ("src/engine/a.cc", '#include "adapters/sqlite/x.h"\n', 1, "engine may not include adap"),
        ("src/engine/a.cc", '#include "app/config.h"\n', 1, "engine may not include app"),
        ("src/engine/a_test.cc", '#include "app/config.h"\n', 1, "engine may not include app"),
        ("src/adapters/http/a.cc", '#include "app/config.h"\n', 1, "adapters may not include app"),
        ("src/adapters/http/a.cc", '#include "adapters/sql/x.h"\n', 1, "each other"),
        ("src/adapters/a.cc", "\n", 1, "a folder of its own"),
        ("src/main.cc", "\n", 1, "lies in no layer"),
        ("src/util/a.cc", "\n", 1, "lies in no layer"),
        ("src/base/a.h", "int f();\n", 1, "#pragma once"),
        ("src/base/a.h", "// #pragma once\n", 1, "#pragma once"),
        ("src/domain/a.cc", '#include "../base/result.h"\n', 1, "without dots"),
        ("src/domain/a.cc", '#include "./stock.h"\n', 1, "without dots"),
        ("src/domain/a.cc", '#include "stock.h"\n', 1, 'from src/: "domain/stock.h"'),
        ("src/domain/a.cc", '#include "nowhere.h"\n', 1, "not a file of src/"),
        ("src/engine/a.cc", '#include "support/fake_clock.h"\n', 1, "not a file of src/"),
        ("src/domain/a.cc", "#include <base/result.h>\n", 1, "take quotes"),
        ("src/domain/a.cc", "#include <iostream>\n", 1, "no I/O"),
        ("src/domain/a.cc", "#include <cstdio>\n", 1, "no I/O"),
        ("src/domain/a.cc", "#include <sys/socket.h>\n", 1, "no I/O"),
        ("src/domain/a.cc", "#include <spdlog/spdlog.h>\n", 1, "logs nothing"),
        ("src/domain/a.cc", "#include <boost/asio/awaitable.hpp>\n", 1, "no I/O"),
        ("src/domain/a.cc", "\n\nauto t = system_clock::now();\n", 3, "takes time and chance"),
        ("src/domain/a.cc", "std::random_device device;\n", 1, "takes time and chance"),
        ("src/engine/a.cc", "#include <sqlite3.h>\n", 1, "belongs to an adapter"),
        ("src/ports/a.cc", "#include <soci/soci.h>\n", 1, "belongs to an adapter"),
        (
            "src/adapters/sql/a.cc",
            "#include <sqlite3.h>\n#include <soci/soci.h>\n",
            2,
            "no file includes both",
        ),
    ],
)
def test_a_fault_is_found(tmp_path, path, text, line, message):
    status, output = check(tmp_path, {**CLEAN, path: text})
    assert status == 1
    assert output.startswith(f"{path}:{line}: ")
    assert message in output
    assert output.count("\n") == 1


def test_a_root_without_src_is_a_usage_error(tmp_path):
    done = subprocess.run([CHECK, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no folder src" in done.stderr
