"""Whatever a database holds or somebody types: a terminal shows it, and never obeys it."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, LiteralString

import psycopg
import pytest
from commands import Here, Terminal, screen
from hostile import ENTITIES, SEQUENCES, STYLE, obeyed
from test_cli_parse import PATHS
from workers import psql

from concord.cli import run
from concord.formats.catalogue import FORMATS, WRITTEN

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import CommandLine

BIDI = "\u202ebidi"
"""What a name may hold: the rest of the sequences has a space or a control character in it."""

EVERYWHERE: tuple[LiteralString, ...] = (
    "INSERT INTO users (username, email) VALUES (%(name)s, %(name)s || '@example.org')",
    "INSERT INTO tags (name) VALUES (%(name)s)",
    """INSERT INTO projects (key, name, description, owner_id)
    SELECT 'EVIL', 'Shown ' || %(text)s, %(text)s, id FROM users WHERE username = %(name)s""",
)
# A title is a single line.
TASK: LiteralString = """
WITH made AS (
    INSERT INTO tasks (title, description, external_ref, owner_id, project_id, due, extra)
    SELECT 'Shown ' || replace(%(text)s, chr(13), ''), 'Shown ' || %(text)s,
           row_number() OVER () || %(text)s, u.id, p.id, now(),
           jsonb_build_object('taskwarrior', jsonb_build_object('uda', %(text)s::text))
    FROM users u CROSS JOIN projects p WHERE u.username = %(name)s AND p.key = 'EVIL'
    RETURNING id, owner_id),
said AS (
    INSERT INTO comments (task_id, author_id, body)
    SELECT id, owner_id, 'Shown ' || %(text)s FROM made),
tagged AS (
    INSERT INTO task_tags (task_id, tag_id)
    SELECT made.id, tags.id FROM made CROSS JOIN tags WHERE tags.name = %(name)s)
INSERT INTO assignments (task_id, user_id, assigned_by) SELECT id, owner_id, owner_id FROM made
"""

FIELDS = "title,description,project,tags,assignees,owner,external_ref"

PRINTING = [
    "task list", f"task list --fields {FIELDS}", "task list --csv", "task list --json -v",
    "task list --jsonl", "task show {all}", "task show {all} --json", "task tree",
    "task tree --project EVIL", "task log 1", "board", "board --limit 0",
    "next --as {bidi}", "next --explain --as {bidi}", "due --as {bidi}",
    "search Shown", "search Shown --json", "search Shwon",
    "history --limit 0", "history --json --limit 0", "stats --by tag", "stats --by person",
    "stats --by project", "stats --by tag --chart", "stats --json", "project list",
    "project show EVIL", "tag list", "user list", "user list --csv", "view list", "view show mine",
    "task list --view mine", "task claim --explain", "undo --dry-run",
    "task edit {all} --priority high", "task comment 1 more", "task start 1 -v",
    "task claim --as {bidi}",
    "task block 1 --by 2", "db explain --title {escape}", "task edit 1 --title b --if-version 1",
    "watch --since 0 --count 30 --for 1s", "task tag 3 x", "alias", "config", "doctor",
    *(f"export {name}" for name in WRITTEN if not FORMATS[name].directory),
]  # fmt: skip
"""Command lines that print what there is; `{all}` are the ids of all tasks."""

NARROW = [
    "task list", "task show 1", "task tree", "board", "next --as {bidi}", "due --as {bidi}",
    "search Shown", "history", "stats", "stats --by tag", "stats --chart", "stats --by tag --chart",
    "tag list", "help",
]  # fmt: skip
"""Command lines that lay out what they print."""

QUOTING = [
    "{}", "help {}", "task {}", "task list --{}", "task show {}", "task list --tag {}",
    "task list --assignee {}", "task list --project {}", "task list --sort {}",
    "task list --after {}", "task list --fields {}", "task list --where {}",
    "task list --where due<{}", "task list --view {}", "task list --status {}",
    "task add x --due {}", "task add x --every {}", "task add x --assign {}", "task assign 1 {}",
    "task tag 1 {}", "task claim --lease {}", "project show {}", "project add {}", "user show {}",
    "user add {}", "user add x --email {}", "tag rename {} x", "tag delete {}", "user delete {}",
    "view show {}", "view save {} --where x", "alias {} history", "alias x {}", "search {}",
    "--as {} task list", "history --after {}", "history --actor {}", "import jsonl {}",
    "import backlog-md {} --project X", "import jira - --map {}", "export {}", "demo check {}",
    "export csv {}/{}", "completion {}", "stats --by {}", "task list --lock-timeout {}",
]  # fmt: skip
"""Command lines that quote what was typed, mostly because it is wrong."""


@pytest.fixture
def evil(here: Here, url: str, monkeypatch: pytest.MonkeyPatch) -> Here:
    """A database in which everything that can be hostile is."""
    monkeypatch.delenv("COLUMNS", raising=False)
    with psycopg.connect(url) as connection:
        for statement in EVERYWHERE:
            connection.execute(statement, {"name": BIDI, "text": "".join(SEQUENCES.values())})
        for text in (*SEQUENCES.values(), ENTITIES):
            connection.execute(TASK, {"name": BIDI, "text": text})
    here.ok("user", "add", "bo")
    here.ok("view", "save", "mine", "--title", "Shown", "--where", '"a\x9b31m\x1b" or Shown')
    here.ok("alias", "evil", "search '\x1b]0;owned\x07\u202e'")
    return here


def words_of(line: str) -> list[str]:
    everything = [str(number) for number in range(1, len(SEQUENCES) + 2)]
    words: list[str] = []
    for word in line.split():
        words += (
            everything
            if word == "{all}"
            else [word.replace("{escape}", "\x1b[2J").replace("{bidi}", BIDI)]
        )
    return words


def test_a_terminal_obeys_nothing_that_is_printed(
    evil: Here, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = ""
    for line in PRINTING:
        for columns in (30, 100):
            capsys.readouterr()
            with screen(monkeypatch, columns=columns) as shown:
                assert run(words_of(line)) in (0, 4), line
            err = capsys.readouterr().err
            assert not obeyed(STYLE.sub("", shown[0])), (line, shown[0])
            assert not obeyed(err), (line, err)
            told += shown[0]
    for what in (r"\x1b]0;owned", r"\x9b31m", r"\u202egpj", r"\x07"):
        assert what in told, what


@pytest.mark.parametrize("columns", [1, 2, 9])
def test_a_terminal_that_is_too_narrow_for_anything(
    evil: Here, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    for line in NARROW:
        with screen(monkeypatch, columns=columns) as shown:
            assert run(words_of(line)) == 0, line
        assert not obeyed(STYLE.sub("", shown[0])), line


def test_a_pipe_shows_a_terminal_behind_it_nothing_to_obey(evil: Here) -> None:
    for line in PRINTING:
        result = evil(*words_of(line))
        assert result.code in (0, 4), (line, result)
        assert not obeyed(result.err), line
        if not line.startswith("export") and "--csv" not in line:
            assert not obeyed(result.out), line


@pytest.mark.parametrize("form", ["text", "--json"])
def test_no_message_lets_what_was_typed_through(evil: Here, form: str) -> None:
    flags = [form] if form != "text" else []
    # In JSON all are escaped alike.
    for sequence in SEQUENCES.values() if form == "text" else ["".join(SEQUENCES.values())]:
        for line in QUOTING:
            words = [word.replace("{}", sequence) for word in line.split(" ")]
            result = evil(*flags, *words)
            assert result.code in (0, 2, 3, 4, 8), (line, result)
            assert not obeyed(result.err), (line, result.err)
            assert not obeyed(result.out), (line, result.out)
            if form == "--json" and result.code:
                assert json.loads(result.err.splitlines()[-1])["error"]["code"], line


def test_nothing_is_lost_in_a_pipe(evil: Here) -> None:
    titles = [f"Shown {text}".replace("\r", "") for text in (*SEQUENCES.values(), ENTITIES)]
    tasks = ("task", "list", "--project", "EVIL", "--limit", "0", "--sort", "id")
    assert [task["title"] for task in evil.ok(*tasks)] == titles
    lines = evil(*tasks, "--jsonl").out.splitlines()
    assert [json.loads(line)["title"] for line in lines] == titles
    rows = csv.DictReader(io.StringIO(evil(*tasks, "--csv").out, newline=""))
    assert [row["title"] for row in rows] == titles
    exported = csv.DictReader(io.StringIO(evil("export", "csv").out, newline=""))
    assert [row["title"] for row in exported] == titles
    # A tab-separated line has them by their numbers, which JSON reads as well.
    cells = evil(*tasks, "--fields", "title").out.splitlines()
    assert [json.loads('"' + cell.replace('"', '\\"') + '"') for cell in cells] == titles


def test_help_of_an_alias_is_safe_too(evil: Here) -> None:
    told = evil("help", "evil")
    assert told.code == 0
    assert r"\x1b]0;owned\x07\u202e" in told.out
    assert not obeyed(told.out)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_what_a_shell_is_offered_is_safe(
    evil: Here, monkeypatch: pytest.MonkeyPatch, shell: str
) -> None:
    monkeypatch.setenv("_CONCORD_COMPLETE", f"{shell}_complete")
    for words in ("task show ", "task tag 1 ", "user show ", "task list --view ", "", "task add x"):
        monkeypatch.setenv("COMP_WORDS", f"concord {words}")
        # fish says what is being typed, the others which word it is
        typed = "" if shell == "fish" else str(len(words.split()) + 1)
        monkeypatch.setenv("COMP_CWORD", typed)
        offered = evil()
        assert offered.code == 0
        assert not obeyed(offered.out + offered.err), words
    assert evil.home.exists()


def test_links_of_a_description_show_where_they_lead(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "[your bank](https://example.org/evil) ![x](https://example.org/pixel)"
    here.ok("task", "add", "x", "--description", text)
    with screen(monkeypatch) as shown:
        assert run(("task", "show", "1")) == 0
    assert "\x1b]8" not in shown[0]
    assert "https://example.org/evil" in shown[0]


def test_a_question_is_safe(concord: CommandLine, url: str) -> None:
    psql(url, "INSERT INTO tags (name) VALUES (%s)", BIDI)
    with Terminal(concord, "tag", "delete", BIDI) as terminal:
        terminal.wait_for("[y/N]").type("n\n")
        assert terminal.end().code == 130
        assert r"Remove tag \u202ebidi from all its tasks?" in terminal.shown
        assert "\u202e" not in terminal.shown


def test_every_command_is_here_or_changes_one_thing_that_is_printed_alike() -> None:
    lines = [*PRINTING, *QUOTING]
    missing = {
        name
        for name in {path[0] for path in PATHS if path}
        if not any(f" {line} ".find(f" {name} ") >= 0 for line in lines)
    }
    assert missing <= {"init", "agent", "assign", "demo"}


def test_a_file_s_name_is_shown_safely(here: Here, tmp_path: Path) -> None:
    name = "\x1b]0;owned\x07\u202e.jsonl"
    (tmp_path / name).write_text("{}")
    for arguments in (["import", "jsonl", name], ["export", "jsonl", name]):
        result = here(*arguments)
        assert r"\x1b]0;owned\x07\u202e.jsonl" in result.err
        assert not obeyed(result.err)
