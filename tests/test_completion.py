"""Completion: what the shells are offered, by their own scripts and by the protocol behind them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from commands import Here
from conftest import TIMEOUT
from workers import psql

from concord.cli.completion import SHELLS, script

if TYPE_CHECKING:
    from conftest import CommandLine


@pytest.fixture
def here(
    url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Here:
    here = Here(url, tmp_path, monkeypatch, capsys)
    here.ok("project", "add", "api", "--name", "The interface")
    here.ok("project", "add", "app")
    here.ok("project", "archive", "app")
    here.ok("user", "add", "bo", "--email", "bo@example.org")
    here.ok("task", "add", "One: \x1b[31m", "--tag", "bug", "--tag", "area:ui")
    here.ok("task", "add", "Two", "--project", "api")
    for title in ("Eleven", *"abcdefgh"):
        here.ok("task", "add", title)
    here.ok("task", "delete", "3")
    return here


def offered(here: Here, monkeypatch: pytest.MonkeyPatch, words: str) -> list[str]:
    """Return what bash is offered for the last of some words, which may be empty."""
    with monkeypatch.context() as patch:
        patch.setenv("_CONCORD_COMPLETE", "bash_complete")
        patch.setenv("COMP_WORDS", f"concord {words}")
        patch.setenv("COMP_CWORD", str(len(f"concord {words}".split(" ")) - 1))
        result = here()
    assert (result.code, result.err) == (0, ""), result
    return [line.partition(",")[2] for line in result.out.splitlines() if line]


def test_words_of_the_command_line(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    assert offered(here, monkeypatch, "ta") == ["task", "tag"]
    assert offered(here, monkeypatch, "task un") == ["unassign", "untag", "unblock"]
    assert offered(here, monkeypatch, "task list --stat") == ["--status"]
    assert "--json" in offered(here, monkeypatch, "task list --")
    assert offered(here, monkeypatch, "task list --status in") == ["in_progress"]
    assert offered(here, monkeypatch, "task edit 1 --priority ") == [
        "none", "low", "medium", "high", "urgent",
    ]  # fmt: skip
    assert offered(here, monkeypatch, "completion ") == list(SHELLS)
    assert offered(here, monkeypatch, "export t") == ["taskwarrior", "todo-txt"]
    assert offered(here, monkeypatch, "nonsense x") == []


def test_values_of_the_database(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    newest = ["11", "10", "9", "8", "7", "6", "5", "4", "2", "1"]
    for words in ("task show ", "task done 3 ", "task log ", "history ", "task edit "):
        assert offered(here, monkeypatch, words) == newest, words
    assert offered(here, monkeypatch, "task show 1") == ["11", "10", "1"]
    assert offered(here, monkeypatch, "task show %") == []
    for option in ("task list --project", "task add x --project", "task move 1 --project"):
        assert offered(here, monkeypatch, f"{option} a") == ["API"], option
    assert offered(here, monkeypatch, "project show ") == ["API"], "no archived ones"
    for option in ("task list --assignee", "task assign 1 --to", "--as", "task edit 1 --owner"):
        assert offered(here, monkeypatch, f"{option} ") == ["me", "ana", "bo"], option
    assert offered(here, monkeypatch, "user show B") == ["bo"]
    for option in ("task list --tag", "task add x --tag", "tag rename", "tag delete"):
        assert offered(here, monkeypatch, f"{option} ") == ["area:ui", "bug"], option
    assert offered(here, monkeypatch, "assign 1") == ["11", "10", "1"]
    assert offered(here, monkeypatch, "assign 1 a") == ["ana"]
    assert offered(here, monkeypatch, "task tag 1 b") == ["bug"]


def test_names_of_one_s_own(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    here.ok("view", "save", "mine", "--assignee", "me")
    here.ok("view", "save", "Mess", "--tag", "bug")
    here.ok("--as", "bo", "view", "save", "more", "--tag", "bug")
    for words in ("view show m", "view delete m", "view save m", "task list --view m"):
        assert offered(here, monkeypatch, words) == ["Mess", "mine"], words
    assert offered(here, monkeypatch, "view save x --status to") == ["todo"]
    assert offered(here, monkeypatch, "view save x --tag b") == ["bug"]

    here.ok("alias", "tl", "task list")
    here.ok("alias", "bugs", "tl --tag bug --status todo")
    assert offered(here, monkeypatch, "t") == ["task", "tag", "tl"]
    assert offered(here, monkeypatch, "alias b") == ["bugs"]
    assert offered(here, monkeypatch, "tl --stat") == ["--status"]
    assert offered(here, monkeypatch, "bugs --status in") == ["in_progress"]
    assert offered(here, monkeypatch, "bugs --project a") == ["API"]
    path = here.home / "config/concord/config.toml"
    path.write_text("[alias]\na = 'qq'\nqq = 'a'\n'$(reboot)' = 'task list'\n")
    assert offered(here, monkeypatch, "a --stat") == [], "a circle"
    assert offered(here, monkeypatch, "q") == ["qq"]
    assert offered(here, monkeypatch, "$") == []
    path.write_text("[alias")
    assert offered(here, monkeypatch, "ta") == ["task", "tag"]
    assert offered(here, monkeypatch, "tl --stat") == []


def test_what_a_shell_would_obey_is_not_offered(
    here: Here, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("$(reboot)", "`id`", "a;b", "a|b", "~", "a'b", 'a"b', "a*", "a\\b", "été", "é&"):
        psql(url, "INSERT INTO tags (name) VALUES (%s)", name)
    assert offered(here, monkeypatch, "task list --tag ") == ["area:ui", "bug", "été"]


def test_titles_come_as_help_and_are_harmless(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("COMP_WORDS", "concord task show 1")
        patch.setenv("COMP_CWORD", "3")
        patch.setenv("_CONCORD_COMPLETE", "zsh_complete")
        lines = here().out.splitlines()
        assert lines[-3:] == ["plain", "1", "One: \\x1b[31m"]
        patch.setenv("COMP_WORDS", "concord task list --tag a")
        patch.setenv("COMP_CWORD", "4")
        assert here().out.splitlines() == ["plain", "area:ui", "_"]
        patch.setenv("COMP_WORDS", "concord task show 1")
        patch.setenv("COMP_CWORD", "1")
        patch.setenv("_CONCORD_COMPLETE", "fish_complete")
        assert here().out.splitlines()[-1].split("\t")[-1] == "One: \\x1b[31m"


@pytest.mark.parametrize("words", ["task show ", "task list --project ", "task list --tag "])
def test_without_a_database_it_is_silent(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: str,
) -> None:
    here = Here("postgresql://ana@127.0.0.1:1/x", tmp_path, monkeypatch, capsys)
    assert offered(here, monkeypatch, words) == []
    monkeypatch.setenv("CONCORD_RETRIES", "many")
    assert offered(here, monkeypatch, words) == [], "nor does a bad setting disturb"
    monkeypatch.delenv("CONCORD_RETRIES")
    monkeypatch.delenv("CONCORD_DATABASE_URL")
    assert offered(here, monkeypatch, words) == []
    assert offered(here, monkeypatch, "--as ") == ["me"]
    assert not (tmp_path / "data").exists(), "it never starts a server"
    assert not (tmp_path / "state").exists(), "nor writes a log"


def test_without_a_schema_it_is_silent(
    empty_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    here = Here(empty_url, tmp_path, monkeypatch, capsys)
    assert offered(here, monkeypatch, "task show ") == []
    assert psql(empty_url, "SELECT FROM pg_tables WHERE schemaname = 'public'") == []


def test_an_instruction_that_is_none(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    for instruction in ("tcsh_source", "bash_dance", "nonsense"):
        monkeypatch.setenv("_CONCORD_COMPLETE", instruction)
        assert here().code == 1


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_is_what_the_command_prints(here: Here, shell: str) -> None:
    assert here("completion", shell).out == script(shell)
    assert "_CONCORD_COMPLETE" in script(shell)


@pytest.mark.parametrize("shell", SHELLS)
def test_the_shell_takes_its_script(tmp_path: Path, shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    path = tmp_path / "script"
    path.write_text(script(shell))
    done = subprocess.run([shell, "-n", path], capture_output=True, timeout=TIMEOUT, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


DRIVE_BASH = """
source /dev/stdin
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_concord_completion concord
printf '%s\\n' "${COMPREPLY[@]}"
"""
"""What bash does when the tabulator key is pressed."""


@pytest.mark.parametrize(
    ("words", "expected"),
    [("concord ta", ["task", "tag"]), ("concord task list --tag a", ["area:ui"])],
)
def test_bash_completes(here: Here, concord: CommandLine, words: str, expected: list[str]) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")
    done = subprocess.run(
        [bash, "--norc", "-c", DRIVE_BASH, "bash", *words.split(" ")],
        input=script("bash"),
        env=concord.environment
        | {"PATH": f"{Path(sys.executable).parent}:{concord.environment['PATH']}"},
        capture_output=True,
        encoding="utf-8",
        timeout=TIMEOUT,
        check=False,
    )
    assert (done.stdout.splitlines(), done.stderr) == (expected, "")


def test_fish_completes(here: Here, concord: CommandLine, tmp_path: Path) -> None:
    fish = shutil.which("fish")
    if fish is None:
        pytest.skip("fish is not installed")
    (tmp_path / "concord.fish").write_text(script("fish"))
    done = subprocess.run(
        [fish, "-c", f"source {tmp_path}/concord.fish; complete -C 'concord task show 1'"],
        env=concord.environment
        | {"PATH": f"{Path(sys.executable).parent}:{concord.environment['PATH']}"},
        capture_output=True,
        encoding="utf-8",
        timeout=TIMEOUT,
        check=False,
    )
    assert done.stderr == ""
    assert dict(line.split("\t") for line in done.stdout.splitlines()) == {
        "11": "h",
        "10": "g",
        "1": "One: \\x1b[31m",
    }
