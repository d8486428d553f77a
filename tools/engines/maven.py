"""Fetches programs that Debian does not have from Maven Central: a pom.xml says which."""

import hashlib
import os
import pathlib
import shutil

from . import tool
from .service import Failure, lock, need_programs

DOWNLOAD_S = 600.0


class Unreachable(Failure):
    """Maven Central did not give it to us."""

    status = 3


def folder_of(project, below) -> pathlib.Path:
    """Named after the project's text, so that another version gets another folder."""
    digest = hashlib.sha256(pathlib.Path(project).read_bytes()).hexdigest()[:12]
    return pathlib.Path(below) / digest


def fetch(name: str, project, folder, arrange=None) -> None:
    """Puts the jars that the project depends on into the folder, unless it is there.

    arrange(part), if given, makes of the jars what the folder shall be; it appears finished or not
    at all. One fetch at a time; the others wait for it.
    """
    if folder.is_dir():
        return
    need_programs(name, "mvn")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.parent / "lock", "w", encoding="utf-8") as file:
        lock(file, f"another download of {name}")
        if folder.is_dir():
            return
        part = folder.with_name(folder.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        log = folder.parent / "maven.log"
        log.unlink(missing_ok=True)
        try:
            tool.run("mvn", ["mvn", "--quiet", "--batch-mode", "-Dstyle.color=never",
                             f"--file={project}", "dependency:copy-dependencies",
                             "-DincludeScope=runtime", f"-DoutputDirectory={part}"],
                     log, DOWNLOAD_S, environment=dict(os.environ))
        except Failure as failure:
            raise Unreachable(f"{name} could not be fetched from Maven Central: "
                              f"{_first_error(log)}{failure}") from failure
        if arrange is not None:
            arrange(part)
        part.rename(folder)


def _first_error(log) -> str:
    """Maven's own reason, in front of ours."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return ""
    reasons = [line.removeprefix("[ERROR] ") for line in lines if line.startswith("[ERROR] ")]
    return f"{reasons[0][:300]}; " if reasons else ""
