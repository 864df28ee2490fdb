"""What a command says when it cannot do as it was told: never a traceback, always a way out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from audit import tables
from conftest import TIMEOUT, finish

from concord.constraints import CONSTRAINTS

if TYPE_CHECKING:
    from pathlib import Path

    from commands import Here
    from conftest import CommandLine


FAILURES: dict[str, tuple[str, int]] = {
    "task show 404": ("not_found", 3),
    "task lst": ("usage", 2),
    "task add": ("usage", 2),
    "task add x --due someday": ("usage", 2),
    "task list --fields nope": ("usage", 2),
    "project add API": ("conflict", 4),
    "user add ana": ("conflict", 4),
    "task edit 1 --title x --if-version 9": ("conflict", 4),
    "task purge 1 --yes": ("refused", 1),
    "task purge 1": ("usage", 2),
    "user delete ana --yes": ("refused", 1),
    "import jsonl nowhere.jsonl": ("usage", 2),
    "export csv nowhere/tasks.csv": ("usage", 2),
    "--as nobody task list": ("not_found", 3),
}
"""Command line → the slug and the exit code of its error."""


@pytest.mark.parametrize("form", ["--json", "--jsonl", "environment", "text"])
def test_an_error_has_the_form_of_the_output(
    here: Here, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.ok("project", "add", "api")
    here.ok("task", "add", "one", "--project", "api")
    if form == "environment":
        monkeypatch.setenv("CONCORD_OUTPUT", "json")
    for command, (slug, code) in FAILURES.items():
        arguments = command.split()
        flag = [form] if form.startswith("--") else []
        for line in ([*flag, *arguments], [*arguments, *flag]):
            result = here(*line)
            assert (result.code, result.out) == (code, ""), (command, result)
            if form == "text":
                assert result.err.startswith("error: "), command
                assert result.err.count("\nhint: ") == 1, (command, result.err)
            else:
                assert result.err.count("\n") == 1, (command, result)
                assert list(result.error) == ["code", "message", "hint", "details"], command
                assert result.error["code"] == slug, command


def test_what_looks_like_a_flag_behind_two_dashes_is_none(here: Here) -> None:
    assert here.refused("task", "show", "--", "--json", code=2).startswith("error: ")


def test_a_bad_setting_is_told_in_the_form_asked_for(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONCORD_RETRIES", "many")
    assert here("task", "list", "--json").error["details"] == {
        "setting": "retries",
        "source": "environment CONCORD_RETRIES",
    }
    told = here.refused("task", "list", code=2)
    assert told.startswith("error: retries = 'many' (environment CONCORD_RETRIES) is not a whole")


def test_who_you_are_matters(here: Here) -> None:
    told = here.refused("--as", "bo", "task", "add", "x", code=3)
    assert "you are 'bo', and no such user exists" in told
    assert "Anyone who is a user already can add you: concord user add bo" in told


def test_a_conflict_of_names_says_what_is_taken(here: Here) -> None:
    here.ok("user", "add", "bo", "--email", "bo@example.org")
    error = here("user", "add", "BO", "--json").error
    assert error["details"]["constraint"] == "users_username_key"
    # The server tells no values of rows that may be hidden.
    assert error["details"].get("detail") is None
    assert "e-mail address exists" in here.refused(
        "user", "add", "cy", "--email", "BO@example.org", code=4
    )
    here.ok("tag", "add", "bug")
    assert "a tag of that name" in here.refused("tag", "add", "Bug", code=4)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["task", "add", ""], "a title has 1 to 255 characters"),
        (["task", "add", "   "], "a title has 1 to 255 characters"),
        (["task", "add", "x" * 256], "a title has 1 to 255 characters"),
        (["task", "add", "x" * 100_000], "a title has 1 to 255 characters"),
        (["task", "add", "a\nb"], "a title is a single line"),
        (["task", "edit", "1", "--title", ""], "a title has 1 to 255 characters"),
        (["task", "tag", "1", "a b"], "that is no tag"),
        (["task", "tag", "1", "x" * 65], "that is no tag"),
        (["task", "add", "x", "--tag", ""], "that is no tag"),
        (["project", "add", "9"], "that is no project key"),
        (["project", "add", "a b"], "that is no project key"),
        (["project", "add", "none"], "that is no project key"),
        (["user", "add", "12"], "that is no username"),
        (["user", "add", "me"], "that is no username"),
        (["user", "add", "a b"], "that is no username"),
        (["user", "add", "bo", "--email", "nonsense"], "that is no e-mail address"),
        (["tag", "add", "12"], "that is no tag"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_a_bad_name_or_title_is_refused_with_the_rule(
    here: Here, url: str, arguments: list[str], told: str
) -> None:
    here.ok("task", "add", "one")
    before = tables(url)
    text = here.refused(*arguments, code=2)
    assert told in text
    assert "\nhint: " in text
    assert tables(url) == before


def test_texts_of_all_scripts_come_back_as_they_were(here: Here) -> None:
    title = "שלום ‏עולם 🎉👩‍👩‍👧 日本語 e\u0301 \u200d\ufeff\U0010ffff"
    long = "🎉\n" * 50_000
    made = here.ok("task", "add", title, "--description", "-", stdin=long)
    assert (made["title"], made["description"]) == (title, long)
    assert here("task", "list", "--fields", "title").out == title + "\n"
    here.ok("user", "add", "אנה")
    here.ok("task", "tag", str(made["id"]), "标签", "💥")
    assert here.ok("task", "list", "--tag", "💥")[0]["tags"] == ["标签", "💥"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["task", "add", "bad \udcff"],
        ["task", "add", "x", "--description", "\udcff"],
        ["task", "add", "x", "--tag", "\udcff"],
        ["task", "list", "--title", "\udcff"],
        ["task", "list", "--fields", "\udcff"],
        ["task", "show", "\udcff"],
        ["--as", "\udcff", "task", "list"],
        ["history", "--actor", "\udcff"],
        ["import", "jsonl", "\udcff"],
        ["\udcff"],
        ["task", "--\udcff"],
    ],
    ids=repr,
)
def test_arguments_that_are_no_unicode(here: Here, url: str, arguments: list[str]) -> None:
    before = tables(url)
    for form in ([], ["--json"]):
        result = here(*arguments, *form)
        assert (result.code, result.out) == (2, ""), result
    assert tables(url) == before


def test_stdin_that_is_no_unicode_or_no_text(here: Here, url: str) -> None:
    here.ok("task", "add", "one")
    before = tables(url)
    told = here.refused("task", "add", "x", "--description", "-", stdin=b"caf\xe9", code=2)
    assert told == "error: stdin is not valid Unicode\nhint: Pass it in UTF-8.\n"
    here.refused("task", "done", "-", stdin=b"1\n\xff\n", code=2)
    told = here.refused("task", "edit", "1", "--description", "-", stdin="a\0b", code=2)
    assert "NUL" in told
    assert "'<html>' is not a task id" in here.refused("task", "done", "-", stdin="<html>", code=2)
    assert tables(url) == before


def test_invalid_bytes_in_a_real_command_line(concord: CommandLine) -> None:
    process = concord.start("--json", "task", "add", os.fsdecode(b"caf\xe9"))
    result = finish(process)
    assert (result.code, result.out) == (2, "")
    assert result.error["message"] == "the text is not valid Unicode"


def test_no_hint_is_a_destructive_command() -> None:
    for meaning in CONSTRAINTS.values():
        assert not {"delete", "purge", "cancel", "--yes"} & set(meaning.hint.split())


NASTY = "'; DROP TABLE tasks; --"
"""What an attacker, or a tired user with an apostrophe, would type."""


TEXT_OPTIONS: list[list[str]] = [
    ["task", "add", NASTY],
    ["task", "add", "t", "--description", NASTY],
    ["task", "edit", "1", "--title", NASTY],
    ["task", "edit", "1", "--description", NASTY],
    ["task", "edit", "1", "--append-description", NASTY],
    ["task", "list", "--title", NASTY],
    ["history", "--actor", NASTY],
    ["project", "add", "P", "--name", NASTY, "--description", NASTY],
]

NAME_OPTIONS: list[list[str]] = [
    ["task", "add", "t", "--project", NASTY],
    ["task", "add", "t", "--tag", NASTY],
    ["task", "add", "t", "--assign", NASTY],
    ["task", "list", "--project", NASTY],
    ["task", "list", "--tag", NASTY],
    ["task", "list", "--assignee", NASTY],
    ["task", "list", "--owner", NASTY],
    ["task", "list", "--sort", NASTY],
    ["task", "list", "--after", NASTY],
    ["task", "edit", "1", "--owner", NASTY],
    ["task", "assign", "1", "--to", NASTY],
    ["task", "tag", "1", NASTY],
    ["task", "move", "1", "--project", NASTY],
    ["assign", "1", NASTY],
    ["project", "add", NASTY],
    ["project", "show", NASTY],
    ["tag", "add", NASTY],
    ["tag", "rename", NASTY, NASTY],
    ["user", "add", NASTY],
    ["user", "add", "bo", "--email", NASTY],
    ["user", "show", NASTY],
    ["--as", NASTY, "task", "list"],
    ["export", "csv", "--project", NASTY],
]


def test_sql_in_a_text_is_text(here: Here, url: str) -> None:
    here.ok("task", "add", "one")
    for arguments in TEXT_OPTIONS:
        here.ok(*arguments)
    titles = [task["title"] for task in here.ok("task", "list", "--title", NASTY)]
    assert titles == [NASTY] * 2
    assert here.ok("task", "show", "1")["description"] == f"{NASTY}\n\n{NASTY}"


def test_sql_in_a_name_is_no_name(here: Here, url: str) -> None:
    here.ok("task", "add", "one")
    before = tables(url)
    for arguments in NAME_OPTIONS:
        assert here(*arguments).code in (2, 3), arguments
    assert tables(url) == before


# What the surroundings can do to a process. These need one.


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")  # noqa: PTH110
@pytest.mark.parametrize("arguments", [["task", "list"], ["--help"], ["export", "csv"]], ids=str)
def test_output_that_is_not_taken_is_an_error_and_no_bug(
    concord: CommandLine, arguments: list[str]
) -> None:
    concord.ok("task", "add", "one")
    with open("/dev/full", "w") as full:  # noqa: PTH123
        result = finish(concord.start(*arguments, stdout=full))
    assert result.code == 2, result
    assert "No space left on device" in result.err
    assert "Traceback" not in result.err
    assert "bug" not in result.err


def test_closed_streams(concord: CommandLine) -> None:
    # A shell can close them, `subprocess` cannot: hence `python -c` between the two.
    script = (
        "import os, sys; fd = int(sys.argv[1]); os.close(fd);"
        "os.execv(sys.executable, [sys.executable, '-m', 'concord', *sys.argv[2:]])"
    )

    def run(closed: int, *arguments: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, "-c", script, str(closed), *arguments],
            env=concord.environment,
            cwd=concord.home,
            capture_output=True,
            encoding="utf-8",
            timeout=TIMEOUT,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    assert run(1, "task", "add", "one") == (0, "", "")
    assert run(0, "task", "show", "-", "--json") == (0, "[]\n", "")
    assert run(0, "task", "purge", "1")[0] == 2
    assert run(2, "task", "show", "404") == (3, "", "")
    assert concord("task", "list", "--fields", "title").out == "one\n"


def test_an_error_that_nobody_reads(concord: CommandLine) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    process = concord.start("task", "show", "404", stderr=writer)
    os.close(writer)
    assert finish(process).code == 3


def test_a_working_directory_that_is_gone(concord: CommandLine, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    script = "import os, sys; os.rmdir(os.getcwd()); from concord.cli import run; sys.exit(run())"
    done = subprocess.run(
        [sys.executable, "-c", script, "task", "list", "--json"],
        env=concord.environment,
        cwd=gone,
        capture_output=True,
        encoding="utf-8",
        timeout=TIMEOUT,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert json.loads(done.stderr)["error"]["message"] == "the working directory is gone"


def test_output_is_utf_8_whatever_python_is_told(concord: CommandLine) -> None:
    result = concord("task", "add", "Grüße 🎉", PYTHONIOENCODING="ascii", LC_ALL="C")
    assert (result.code, result.err) == (0, "")
    assert "Grüße 🎉" in result.out
