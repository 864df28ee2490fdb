"""`demo step`: a scenario as a transcript, for readers and for programs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from audit import tables
from commands import Here, Terminal, on_terminal, plain, screen
from workers import psql

from concord.cli import run
from concord.race.interleaving import catalogue
from concord.render.transcript import NARROWEST, Passage, laid_out

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import CommandLine

SCHEMAS = "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'concord%'"

OWN = """
setup { CREATE TABLE foo (id int PRIMARY KEY); }
teardown { DROP TABLE foo; }
session one setup { BEGIN; } step i1 { INSERT INTO foo VALUES (1); } step c1 { COMMIT; }
session two setup { BEGIN; } step i2 { INSERT INTO foo VALUES (1); } step c2 { COMMIT; }
"""


def numbered(text: str) -> str:
    """Return a transcript with transaction ids replaced by letters, in order of appearance."""
    ids = dict.fromkeys(re.findall(r"(?:xmin|xmax|xid) (\d{3,})", text))
    for letter, xid in zip("PQRS", ids, strict=False):
        text = re.sub(rf"\b{xid}\b", letter, text)
    return re.sub(r"snapshot \S+", "snapshot …", text)


def test_a_reader_gets_a_transcript_in_columns(here: Here, url: str) -> None:
    before = tables(url)
    told = here("demo", "step", "lost-update")
    assert told.code == 0
    text = numbered(told.out)
    blocks = text.split("\n\n")
    assert blocks[0] == (
        "lost-update at read committed\n"
        "  a_reads b_reads a_writes b_writes a_commits b_commits\n"
        "  each session begins with BEGIN;"
    )
    assert blocks[1].splitlines()[0] == f"session A{' ' * 42}session B"
    assert blocks[1].splitlines()[2:] == [
        "a_reads", "SELECT points FROM lab_tasks WHERE id = 1;", "  points", "  10",
    ]  # fmt: skip
    assert blocks[2] == (
        "  A: in transaction, next snapshot …\n"
        "  B: in transaction, next snapshot …\n"
        "  lab_tasks (0,1) id=1 points=10  xmin P committed  xmax 0\n"
        "      A and B see it: xmin P committed before their snapshots"
    )
    waiting = next(block for block in blocks if "<waiting on A>" in block)
    assert [line.strip() for line in waiting.splitlines()] == [
        "b_writes", "UPDATE lab_tasks SET points = 15 WHERE id = 1;", "<waiting on A>",
    ]  # fmt: skip
    assert all(line.startswith(" " * 51) for line in waiting.splitlines())
    commit, completed, view = blocks[blocks.index(waiting) + 2 :][:3]
    assert commit == "a_commits\nCOMMIT;\n  COMMIT"
    assert completed.split() == ["b_writes", "<…", "completed>", "UPDATE", "1"]
    # Long lines are wrapped, at a place that depends on how long the numbers are.
    assert " ".join(view.split()).startswith(
        "A: idle B: in transaction, xid R, next snapshot …"
        " lab_tasks (0,1) id=1 points=10 xmin P committed xmax Q: A updates it to (0,2), committed"
        " B does not: xmax Q committed before B's snapshot"
        " lab_tasks (0,2) id=1 points=11 xmin Q committed"
        " xmax R: B updates it to (0,3), in progress"
        " B does not: xmax R is its own"
        " lab_tasks (0,3) id=1 points=15 xmin R in progress"
    )
    assert view.endswith("\n      B sees it: its own")
    assert tables(url) == before
    assert psql(url, SCHEMAS) == []


def test_programs_get_the_events_with_the_view(here: Here) -> None:
    found: list[dict[str, Any]] = here.ok("demo", "step", "P4", "--isolation", "repeatable-read")
    assert list(found[0]) == [
        "permutation", "isolation", "event", "session", "step", "sql", "waits_for", "results",
        "sqlstate", "message", "notices", "view",
    ]  # fmt: skip
    assert [(one["step"], one["event"], one["sqlstate"]) for one in found][3:] == [
        ("b_writes", "waiting", None), ("a_commits", "done", None),
        ("b_writes", "completed", "40001"), ("b_commits", "done", None),
    ]  # fmt: skip
    assert {one["isolation"] for one in found} == {"repeatable read"}
    assert [one["view"] is None for one in found] == [False] * 4 + [True, False, False]
    standing = found[3]["view"]["sessions"][1]
    assert (standing["session"], standing["state"]) == ("B", "waiting")
    version = found[3]["view"]["versions"][0]
    assert list(version) == [
        "table", "ctid", "xmin", "xmin_state", "xmax", "xmax_means", "values", "seen",
    ]  # fmt: skip
    assert version["seen"]["A"] == {
        "visible": False,
        "why": f"xmax {version['xmax']} is its own",
    }


def test_in_other_forms(here: Here) -> None:
    step = ("demo", "step", "g2-item")
    assert here(*step, "-q").out.split() == [
        "a_reads", "b_reads", "a_writes", "b_writes", "a_commits", "b_commits",
    ]  # fmt: skip
    assert here(*step, "--fields", "session,event").out.splitlines()[0] == "A\tdone"
    assert len(here(*step, "--jsonl").out.splitlines()) == 6
    assert here(*step, "--csv").out.startswith("permutation,isolation,event,session,step,sql,")


def test_a_file_of_ones_own_in_all_its_interleavings(here: Here) -> None:
    (here.home / "own.spec").write_text(OWN)
    found = here.ok("demo", "step", "--file", "own.spec")
    assert {one["permutation"] for one in found} == set(range(1, 7))
    assert [one["step"] for one in found if one["permutation"] == 1] == ["i1", "c1", "i2", "c2"]
    assert {one["sqlstate"] for one in found if one["step"] == "i2"} == {None, "23505"}
    told = here("demo", "step", "--file", "-", stdin=OWN + "permutation i1 i2 c1 c2").out
    assert told.startswith("stdin at read committed\n  i1 i2 c1 c2\n")
    assert "ERROR 23505: duplicate key value violates" in told
    many = here("demo", "step", "--file", "own.spec").out
    assert "own.spec at read committed, permutation 6 of 6\n" in many
    assert "c2 <not to be: two waits for one>" in many


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("session a\n  stp x", "my.spec:2:3: expected 'setup' or 'step', found 'stp'"),
        ("setup {\n\n SELEC }\nsession a step b {}", "my.spec:3:2: setup failed: syntax error"),
        ("", "my.spec:1:1: expected 'setup', 'teardown' or 'session', found the end of the file"),
    ],
)
def test_a_bad_file_is_refused_with_its_place(here: Here, text: str, told: str) -> None:
    (here.home / "my.spec").write_text(text)
    assert told in here.refused("demo", "step", "--file", "my.spec", code=2)


def test_bad_values_are_refused(here: Here, tmp_path: Path) -> None:
    names = ", ".join(catalogue.names())
    told = here.refused("demo", "step", code=2)
    assert told == (f"error: name a scenario, or a file with --file\nhint: Scenarios: {names}\n")
    assert "did you mean deadlock?" in here.refused("demo", "step", "deadlok", code=2)
    assert "not both" in here.refused("demo", "step", "g2", "--file", "x", code=2)
    assert "cannot read nope" in here.refused("demo", "step", "--file", "nope", code=2)
    (here.home / "latin").write_bytes(b"setup { SELECT '\xe9'; }")
    assert "not valid Unicode" in here.refused("demo", "step", "--file", "latin", code=2)
    assert "needs somebody at a terminal" in here.refused(
        "demo", "step", "g2", "--interactive", code=2
    )
    assert "no such field" in here.refused("demo", "step", "g2", "--fields", "x", code=2)


def test_no_server_is_exit_7(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONCORD_DATABASE_URL", "postgresql://127.0.0.1:1/nowhere")
    assert "cannot connect" in here.refused("demo", "step", "g2", code=7)


def test_a_terminal_shows_it_in_colour(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    with screen(monkeypatch, columns=80) as shown:
        assert run(["demo", "step", "lost-update", "--isolation", "serializable"]) == 0
    assert "\x1b[1;36ma_reads\x1b[0m" in shown[0]
    assert "\x1b[33m" in shown[0]
    text = plain(shown[0])
    assert "ERROR 40001: could not serialize access" in " ".join(text.split())
    assert max(len(line) for line in text.splitlines()) <= 80


def test_interactive_waits_for_a_key_before_each_step(concord: CommandLine, url: str) -> None:
    arguments = ("demo", "step", "g1a", "--interactive")
    with Terminal(concord, *arguments) as terminal:
        terminal.wait_for("any key")
        for name in ("a_writes", "b_reads", "a_rolls_back", "b_reads_again"):
            assert not re.search(rf"^ *{name}$", plain(terminal.shown), re.MULTILINE)
            asked = terminal.shown.count("any key")
            terminal.type(" ").wait_for("any key", times=asked + 1)
            assert re.search(rf"^ *{name}$", plain(terminal.shown), re.MULTILINE)
        result = terminal.type("q").end()
    assert result.code == 0
    assert not re.search(r"^ *b_commits$", plain(result.out), re.MULTILINE)
    assert psql(url, SCHEMAS) == []


def test_what_a_terminal_would_obey_is_shown(concord: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "x.spec").write_text("session a step b { SELECT E'\\x1b[31mred' AS text; }")
    told = on_terminal(concord, "demo", "step", "--file", "x.spec")
    assert "\\x1b[31mred" in told.out


def test_completion_offers_scenarios_and_levels(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_CONCORD_COMPLETE", "bash_complete")

    def offered(words: str) -> list[str]:
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - (words[-1] != " ")))
        return [line.partition(",")[2] for line in here().out.splitlines()]

    assert offered("concord demo step skip") == ["skip-locked", "skip-locked-stale"]
    assert offered("concord demo anomalies --scenario g2") == ["g2-item", "g2"]
    assert offered("concord demo step g2 --isolation re") == ["read-committed", "repeatable-read"]


def test_narrow_columns_grow_rather_than_break_words() -> None:
    lines = list(laid_out(3, [Passage(2, (("sql", "SELECT 1"),))], 10))
    assert lines[0] == ("sql", " " * (2 * (NARROWEST + 2)) + "SELECT 1")
    wide = list(laid_out(1, [Passage(None, (("note", "word " * 40),))], 60))
    assert max(len(line) for _, line in wide) <= 60
