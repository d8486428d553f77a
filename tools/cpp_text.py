"""C++ text for the checks in this folder: comments and literals taken out, every position kept.

Nothing here parses C++. It knows just enough of the grammar's lowest level that a check never
mistakes a comment, a string, a raw string or a digit separator for code.
"""

import bisect
import pathlib
import re

_TOKEN = re.compile(
    r"""
      (?P<comment> //(?:\\\n|[^\n])* | /\*.*?(?:\*/|\Z) )
    | (?P<raw>     (?:u8|[uUL])?R"(?P<fence>[^()\\\s]{0,16})\( .*? \)(?P=fence)" )
    | (?P<string>  (?:u8|[uUL])?"(?:\\.|[^"\\\n])*" )
    | (?P<number>  \.?[0-9](?:[eEpP][+-]|'?[\w.])* )
    | (?P<char>    (?:u8|[uUL])?'(?:\\.|[^'\\\n])+' )
    | (?P<word>    [A-Za-z_]\w* )
    """,
    re.DOTALL | re.VERBOSE,
)
_DIRECTIVE = re.compile(r"^[ \t]*#(?:\\\n|[^\n])*", re.MULTILINE)
_NOT_NEWLINE = re.compile(r"[^\n]")


def _blank(text):
    return _NOT_NEWLINE.sub(" ", text)


def code_only(text):
    """The text with comments and the contents of literals as blanks; same length, same lines."""

    def replacement(match):
        found = match.group()
        if match.lastgroup == "comment":
            return _blank(found)
        if match.group("raw") or match.group("string") or match.group("char"):
            return found[0] + _blank(found[1:-1]) + found[-1]
        return found

    return _TOKEN.sub(replacement, text)


def directives(code):
    """The (start, end) of each preprocessor directive, with its continued lines."""
    return [match.span() for match in _DIRECTIVE.finditer(code)]


class Lines:
    """Line numbers, counted from 1, of positions in one text."""

    def __init__(self, text):
        self._starts = [0] + [match.end() for match in re.finditer("\n", text)]

    def number(self, position):
        return bisect.bisect_right(self._starts, position)


def files_under(root, folders, suffixes):
    """Files of the folders of root with one of the suffixes, sorted; a missing folder has none.

    What npm has installed beside the tests of the pages is not ours.
    """
    found = []
    for folder in folders:
        for path in (pathlib.Path(root) / folder).rglob("*"):
            if path.suffix in suffixes and "node_modules" not in path.parts and path.is_file():
                found.append(path)
    return sorted(found)
