"""`task edit ID` in the user's own editor: whatever happens there, no text is lost."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Any

import pytest
from commands import Here, Terminal, await_waiting, locked, zone
from workers import psql

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import CommandLine, Result

pytestmark = pytest.mark.crew


@pytest.fixture
def here(
    url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Here:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    here = Here(url, tmp_path, monkeypatch, capsys)
    here.ok("user", "add", "bo")
    here.ok("task", "add", "One", "--description", "first\n\nsecond", "--due", "2030-06-28 12:00")
    return here


class Editor:
    """An editor that is a shell script; `$1` is the file."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = home / "my editor"
        self._patch = monkeypatch

    def does(self, script: str, *, variable: str = "VISUAL", arguments: str = "") -> None:
        """Let the editor do this."""
        self.path.write_text("#!/bin/sh\n" + script + "\n")
        self.path.chmod(0o755)
        self._patch.setenv(variable, f"'{self.path}' {arguments}")


@pytest.fixture
def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Editor:
    return Editor(tmp_path, monkeypatch)


def kept(home: Path) -> list[Path]:
    """Return the files that an edit left behind."""
    return sorted(home.glob("concord-task-*"))


def kept_file(result: Result, home: Path) -> str:
    """Return the text of the file that an error names, the only one there is."""
    (path,) = kept(home)
    assert f"your text is kept in {path}" in result.err, result
    assert path.stat().st_mode & 0o077 == 0, "for its owner only"
    return path.read_bytes().decode()


def task(here: Here) -> dict[str, Any]:
    return here.ok("task", "show", "1")


def test_the_file_holds_the_task(here: Here, editor: Editor) -> None:
    editor.does(f"cat \"$1\" > '{here.home}/seen.md'")
    result = here("task", "edit", "1")
    assert (result.code, result.out, result.err) == (0, "", "task 1 is unchanged\n")
    assert (here.home / "seen.md").read_text() == (
        "---\ntitle: One\nstatus: todo\npriority: none\ndue: 2030-06-28 12:00:00\nowner: ana\n"
        "---\n\nfirst\n\nsecond\n"
    )
    assert task(here)["version"] == 1
    assert kept(here.home) == []


def test_what_is_changed_is_written_and_nothing_else(here: Here, editor: Editor) -> None:
    editor.does(
        "sed -i -e 's/^title: .*/title: Two: \"more\"/' -e 's/^priority: .*/priority: High/'"
        " -e 's/^due: .*/due: none/' -e 's/^owner: .*/owner: bo/' -e 's/^second/third/' \"$1\""
    )
    before = task(here)
    del before["comments"]
    edited = here.ok("task", "edit", "1")
    assert edited == before | {
        "title": 'Two: "more"',
        "priority": "high",
        "due": None,
        "owner": "bo",
        "description": "first\n\nthird",
        "version": 2,
        "updated_at": edited["updated_at"],
    }
    (change, *_) = here.ok("history", "1")
    assert change["operation"] == "task edit"
    assert set(change["new"]) == {"title", "priority", "due", "owner", "description"}
    assert kept(here.home) == []


def test_the_description_can_go(here: Here, editor: Editor) -> None:
    editor.does("sed -i '/^first/,$d' \"$1\"")
    assert here.ok("task", "edit", "1")["description"] is None


def test_the_editor_takes_arguments_and_visual_comes_first(here: Here, editor: Editor) -> None:
    editor.does(
        'test "$1" = --wait && sed -i "s/^title: .*/title: $2/" "$3"',
        arguments="--wait 'two words'",
    )
    assert here.ok("task", "edit", "1")["title"] == "two words"


def test_editor_stands_in_for_visual(here: Here, editor: Editor) -> None:
    editor.does("sed -i 's/^title: .*/title: Two/' \"$1\"", variable="EDITOR")
    assert here.ok("task", "edit", "1")["title"] == "Two"


def test_an_editor_that_replaces_the_file(here: Here, editor: Editor) -> None:
    editor.does('sed "s/^title: .*/title: Two/" "$1" > "$1.new"; mv "$1.new" "$1"')
    assert here.ok("task", "edit", "1")["title"] == "Two"
    assert kept(here.home) == []


# What `bo` does while the editor of `ana` is open; options of `task edit` follow it.
BO = f"'{sys.executable}' -m concord --as bo --quiet task edit 1"


def test_changes_of_others_to_other_fields_stay(here: Here, editor: Editor) -> None:
    editor.does(f"{BO} --title Theirs --due none\nsed -i 's/^second/mine/' \"$1\"")
    edited = here.ok("task", "edit", "1")
    assert (edited["title"], edited["due"]) == ("Theirs", None)
    assert edited["description"] == "first\n\nmine"
    assert edited["version"] == 3
    assert kept(here.home) == []


def test_the_same_change_on_both_sides_is_no_conflict(here: Here, editor: Editor) -> None:
    editor.does(f"{BO} --title Same\nsed -i 's/^title: .*/title: Same/' \"$1\"")
    assert here.ok("task", "edit", "1")["version"] == 2


def test_a_conflict_loses_neither_text(here: Here, editor: Editor) -> None:
    editor.does(
        f"{BO} --description theirs --priority low\n"
        "sed -i -e 's/^second/mine/' -e 's/^priority: .*/priority: high/'"
        " -e 's/^title: .*/title: Mine/' \"$1\""
    )
    result = here("task", "edit", "1", "--json")
    assert (result.code, result.out, result.error["code"]) == (4, "", "conflict")
    assert result.error["details"]["fields"] == ["description", "priority"]
    assert result.error["details"]["changes"][0]["actor"] == "bo"
    assert result.error["details"]["changes"][0]["new"]["description"] == "theirs"
    text = kept_file(result, here.home)
    assert result.error["details"]["file"] == str(kept(here.home)[0])
    assert "mine" in text
    assert "priority: high" in text
    current = task(here)
    assert (current["description"], current["priority"], current["title"]) == (
        "theirs",
        "low",
        "One",
    )


def test_an_edit_of_one_version_wants_exactly_that_one(here: Here, editor: Editor) -> None:
    editor.does(f"{BO} --priority low\nsed -i 's/^title: .*/title: Mine/' \"$1\"")
    result = here("task", "edit", "1", "--if-version", "1")
    assert result.code == 4
    assert "task 1 is at version 2, not 1: bo changed priority" in result.err
    assert "title: Mine" in kept_file(result, here.home)
    assert task(here)["title"] == "One"


def test_a_stale_version_does_not_even_open_the_editor(here: Here, editor: Editor) -> None:
    editor.does(f"touch '{here.home}/opened'")
    here.ok("task", "edit", "1", "--title", "Two")
    told = here.refused("task", "edit", "1", "--if-version", "1", code=4)
    assert "task 1 is at version 2, not 1: ana changed title" in told
    assert not (here.home / "opened").exists()
    assert here("task", "edit", "1", "--if-version", "2").err == "task 1 is unchanged\n"
    assert (here.home / "opened").exists()


def test_a_version_that_is_still_the_one_is_written(here: Here, editor: Editor) -> None:
    editor.does("sed -i 's/^title: .*/title: Two/' \"$1\"")
    assert here.ok("task", "edit", "1", "--if-version", "1")["title"] == "Two"


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("sed -i 's/^status: .*/status: later/' \"$1\"", "status: 'later' is not one of 'todo'"),
        ("sed -i 's/^priority: .*/priority:/' \"$1\"", "priority: '' is not one of 'none'"),
        ("sed -i 's/^due: .*/due: someday/' \"$1\"", "cannot read 'someday' as a date"),
        ("sed -i 's/^title: .*/title:/' \"$1\"", "a title has 1 to 255 characters"),
        ("sed -i 's/^owner: .*/owner: nobody/' \"$1\"", "no such user: nobody"),
        ("sed -i 's/^title: .*/colour: red/' \"$1\"", "line 2: expected one of"),
        ("sed -i 's/^title: .*/title: a\\ntitle: b/' \"$1\"", "line 3: title stands there twice"),
        ("echo gone > \"$1\"", "line 1: expected ---"),
        (": > \"$1\"", "line 1: expected ---"),
        ("printf 'caf\\351' >> \"$1\"", "cannot read what the editor left"),
        ("printf 'a\\0b' >> \"$1\"", "NUL"),
    ],
    ids=lambda text: str(text)[-30:],
)  # fmt: skip
def test_what_cannot_be_read_is_kept(here: Here, editor: Editor, script: str, told: str) -> None:
    before = task(here)
    editor.does(script)
    result = here("task", "edit", "1")
    assert (result.code, result.out) == (3 if "no such user" in told else 2, ""), result
    assert told in result.err
    (path,) = kept(here.home)
    assert f"your text is kept in {path}" in result.err
    assert task(here) == before


@pytest.mark.parametrize(
    ("script", "told"),
    [("exit 3", "ended with status 3"), ("kill -9 $$", "ended with status -9")],
)
def test_an_editor_that_fails_changes_nothing(
    here: Here, editor: Editor, script: str, told: str
) -> None:
    editor.does(script)
    assert told in here.refused("task", "edit", "1", code=2)
    assert kept(here.home) == [], "there is nothing in it to keep"
    editor.does("sed -i 's/^title: .*/title: Two/' \"$1\"; " + script)
    result = here("task", "edit", "1")
    assert result.code == 2
    assert "title: Two" in kept_file(result, here.home)
    assert task(here)["title"] == "One"


def test_an_editor_that_removes_the_file(here: Here, editor: Editor) -> None:
    editor.does('rm "$1"')
    told = here.refused("task", "edit", "1", code=2)
    assert "cannot read what the editor left" in told
    assert "kept" not in told


@pytest.mark.parametrize("command", ["/nowhere/vi", "'unbalanced", "  "])
def test_an_editor_that_is_none(here: Here, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setenv("EDITOR", command)
    told = here.refused("task", "edit", "1", code=2)
    assert "Set VISUAL or EDITOR" in told
    assert kept(here.home) == []


def test_no_editor_and_nobody_at_the_terminal(here: Here) -> None:
    told = here.refused("task", "edit", "1", code=2)
    assert "nothing is given on the command line, and there is no editor" in told
    assert kept(here.home) == []


def test_vi_is_the_editor_of_a_terminal_where_none_is_named(
    here: Here, concord: CommandLine, editor: Editor
) -> None:
    editor.does("sed -i 's/^title: .*/title: By vi/' \"$1\"")
    editor.path.rename(here.home / "vi")
    with Terminal(
        concord, "task", "edit", "1", PATH=f"{here.home}:{os.environ['PATH']}"
    ) as terminal:
        assert terminal.end().code == 0
    assert task(here)["title"] == "By vi"


def test_a_task_that_is_gone_meanwhile(here: Here, editor: Editor) -> None:
    editor.does(f"{BO.replace('edit', 'delete')}\nsed -i 's/^title: .*/title: Mine/' \"$1\"")
    result = here("task", "edit", "1")
    assert result.code == 3
    assert "in the trash: 1" in result.err
    assert "title: Mine" in kept_file(result, here.home)


def test_no_field_that_is_not_touched_is_written(here: Here, editor: Editor, url: str) -> None:
    # What a file cannot hold exactly: carriage returns, microseconds, the ends of the calendar.
    psql(
        url,
        "UPDATE tasks SET description = %s, due = '9999-12-31T23:59:59.5Z' WHERE id = 1",
        "a\rb\r\nc\x0cd\u2028e",
    )
    before = task(here)
    editor.does("true")
    for name in ("UTC", "Pacific/Kiritimati", "America/New_York"):
        with zone(name):
            assert here("task", "edit", "1").err == "task 1 is unchanged\n"
    editor.does("sed -i 's/^title: .*/title: Two/' \"$1\"")
    with zone("Pacific/Kiritimati"):
        edited = here.ok("task", "edit", "1")
    assert (edited["description"], edited["due"]) == (before["description"], before["due"])


def test_a_title_of_any_characters_can_be_edited(here: Here, editor: Editor) -> None:
    title = "due: none --- \u2028 # \x85 'quoted'"
    here.ok("task", "edit", "1", "--title", title)
    editor.does("sed -i 's/^second/third/' \"$1\"")
    assert here.ok("task", "edit", "1")["title"] == title


def test_ctrl_c_in_the_editor_is_for_the_editor(
    here: Here, concord: CommandLine, editor: Editor
) -> None:
    editor.does(
        "trap 'caught=yes' INT\necho ready\nread -r line\n"
        'sed -i "s/^title: .*/title: Saved $caught/" "$1"'
    )
    with Terminal(concord, "task", "edit", "1", VISUAL=os.environ["VISUAL"]) as terminal:
        terminal.wait_for("ready").type("\x03").wait_for("^C").type("\n")
        assert terminal.end().code == 0
    assert task(here)["title"] == "Saved yes"


def test_an_interrupt_afterwards_names_the_file(
    here: Here, concord: CommandLine, editor: Editor, url: str
) -> None:
    editor.does("sed -i 's/^title: .*/title: Mine/' \"$1\"")
    environment = {"VISUAL": os.environ["VISUAL"], "TMPDIR": str(here.home)}
    with locked(url, 1) as holder:
        process = concord.start("task", "edit", "1", env=concord.environment | environment)
        await_waiting(url, "task edit", holder)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert (process.returncode, out) == (130, "")
    (path,) = kept(here.home)
    assert f"your text is kept in {path}" in err
    assert "title: Mine" in path.read_text()
    assert task(here)["title"] == "One"
