"""Programs named concord-NAME on PATH, run as commands."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from commands import Here
from conftest import CommandLine, finish

from concord.cli import external

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Result


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    return folder


def program(folder: Path, name: str, script: str = "", *, mode: int = 0o755) -> Path:
    """Write a shell script and return its path."""
    path = folder / f"concord-{name}"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(mode)
    return path


@pytest.fixture
def concord(tmp_path: Path, programs: Path) -> CommandLine:
    """The command line without a database, with a folder of programs on its PATH."""
    path = f"{programs}:{os.environ['PATH']}"
    return CommandLine(tmp_path, CONCORD_DATABASE_URL="host=127.0.0.1 port=1", PATH=path)


@pytest.fixture
def here(
    tmp_path: Path,
    programs: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Here:
    monkeypatch.setenv("PATH", str(programs))
    return Here("host=127.0.0.1 port=1", tmp_path, monkeypatch, capsys)


def test_it_gets_the_words_after_its_name_and_has_the_last_word(
    concord: CommandLine, programs: Path
) -> None:
    program(programs, "hello", 'printf "%s|" "$@"; cat; echo oops >&2; exit 42')
    told = concord("hello", "a b", "--json", "", "-h", "--", "*", stdin="from stdin")
    assert told.out == "a b|--json||-h|--|*|from stdin"
    assert (told.err, told.code) == ("oops\n", 42)


def test_flags_before_it_reach_it_as_settings(concord: CommandLine, programs: Path) -> None:
    told_by = 'echo "$CONCORD_USER $CONCORD_OUTPUT $NO_COLOR $CONCORD_RETRIES"'
    program(programs, "who", told_by)
    assert concord("who", CONCORD_USER="ana", CONCORD_RETRIES="3").out == "ana   3\n"
    told = concord("--as", "bo", "--json", "--no-color", "who", CONCORD_USER="ana")
    assert told.out == "bo json 1 \n"


def test_it_becomes_the_process_with_the_signals_of_a_new_one(
    concord: CommandLine, programs: Path
) -> None:
    program(programs, "pid", "echo $$; kill -PIPE $$; echo survived")
    process = concord.start("pid")
    told = finish(process)
    assert (told.out, told.code) == (f"{process.pid}\n", -signal.SIGPIPE)


def test_a_command_wins_over_an_alias_and_an_alias_over_a_program(
    concord: CommandLine, programs: Path
) -> None:
    for name in ("completion", "hello", "other"):
        program(programs, name, f"echo program {name} $*")
    assert concord("alias", "hello", "completion bash").code == 0
    assert concord("alias", "o", "other --quiet").code == 0
    assert "_CONCORD_COMPLETE" in concord("completion", "bash").out
    assert "_CONCORD_COMPLETE" in concord("hello").out
    assert concord("o", "x").out == "program other --quiet x\n"


def ran(here: Here, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[list[str], Result]:
    """Run a command line; return which programs it would have become, and what it did."""
    became: list[str] = []

    def become(path: Path, *_: object) -> None:
        became.append(str(path))

    kept = [(number, signal.getsignal(number)) for number in (signal.SIGPIPE, signal.SIGXFSZ)]
    monkeypatch.setattr(os, "execve", become)
    told = here(*arguments)
    for number, handler in kept:
        signal.signal(number, handler)
    return became, told


@pytest.mark.parametrize("where", ["", ".", "here", "../x"])
def test_nothing_is_run_from_where_we_are(
    here: Here, programs: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    folder = here.home / where
    folder.mkdir(exist_ok=True)
    program(folder, "trap")
    monkeypatch.setenv("PATH", f"{where}:{programs}:")
    became, told = ran(here, monkeypatch, "trap")
    assert (became, told.code) == ([], 2)
    wanted = program(programs, "trap")
    assert ran(here, monkeypatch, "trap")[0] == [str(wanted)]


@pytest.mark.parametrize(
    "name", ["../bin/concord-x", "x/y", "/bin/sh", "a\0b", "\udcff", "a b", "~", ""]
)
def test_a_word_that_is_a_path_or_nonsense_is_no_program(
    here: Here, programs: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (programs / "concord-x").mkdir()
    program(programs, "x/concord-y").rename(programs / "concord-x" / "y")
    became, told = ran(here, monkeypatch, name)
    assert (became, told.code) == ([], 2)
    assert "no such command" in told.err


def test_only_what_can_be_run_is_a_program(here: Here, programs: Path) -> None:
    program(programs, "text", mode=0o644)
    (programs / "concord-folder").mkdir()
    for name in ("text", "folder", "nothing"):
        assert "no such command" in here.refused(name, code=2)
    assert external.find("text") is None


def test_a_program_that_the_system_does_not_run_is_named(
    concord: CommandLine, programs: Path
) -> None:
    path = program(programs, "bad")
    path.write_text("no first line")
    told = concord("bad", "--json")
    assert told.code == 2
    assert told.error["message"].startswith(f"cannot run {path}: ")
    assert "#!/bin/sh" in told.error["hint"]


def test_a_bad_flag_is_told_before_anything_runs(
    here: Here, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(programs, "hello")
    became, told = ran(here, monkeypatch, "--as", "", "hello")
    assert (became, told.code) == ([], 2)
    assert "user = '' (command line) is not some text" in told.err


def test_a_typo_is_held_against_programs_too(here: Here, programs: Path) -> None:
    program(programs, "mixture")
    program(programs, "mixtures", mode=0o644)
    assert "concord mixtrue; did you mean mixture?" in here.refused("mixtrue", code=2)
    assert "did you mean task?" in here.refused("tsk", code=2)


def test_help_says_whom_to_ask(here: Here, programs: Path) -> None:
    path = program(programs, "hello")
    assert here("help", "hello").out == (
        f"concord hello runs {path}; ask it: concord hello --help\n"
    )


def test_a_command_of_our_own_looks_at_no_path(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(external, "find", _unexpected)
    assert here("completion", "bash").code == 0


def _unexpected(*_: object) -> None:
    raise AssertionError("nobody should have asked")
