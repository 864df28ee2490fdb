"""What each form of output looks like, on a pipe and on a real terminal."""

from __future__ import annotations

import csv
import io
import json
import sys
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from commands import STYLE, plain, screen, zone

from concord.errors import Usage
from concord.models import Change, ImportConflict, ImportReport, Project, Tag, Task, User
from concord.render import Renderer

if TYPE_CHECKING:
    from collections.abc import Sequence

WHEN = datetime(2030, 6, 28, 21, 59, 59, tzinfo=UTC)

TASK = Task(
    id=12,
    uid=UUID(int=12),
    project="API",
    title="Write the rate limiter",
    description=None,
    status="in_progress",
    priority="high",
    due=WHEN,
    tags=("bug", "ui"),
    assignees=("ana", "bo"),
    owner="ana",
    external_ref=None,
    parent=None,
    version=3,
    created_at=WHEN,
    updated_at=WHEN,
    completed_at=None,
    deleted_at=None,
)

CHANGE = Change(
    id=7,
    at=WHEN,
    actor="ana",
    operation="task edit",
    entity="task",
    entity_id=12,
    task=12,
    version=3,
    old={"title": "old", "due": "2030-06-28T21:59:59Z", "tags": []},
    new={"title": "new", "due": None, "tags": ["bug"]},
    xid="741",
)


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "CLICOLOR_FORCE", "COLORTERM", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


def printed(
    capsys: pytest.CaptureFixture[str], items: Sequence[object], *, many: bool = True, **how: Any
) -> str:
    Renderer(**how).items(items, many=many)
    return capsys.readouterr().out


def shown(
    monkeypatch: pytest.MonkeyPatch, items: Sequence[object], columns: int, **how: Any
) -> str:
    with screen(monkeypatch, columns=columns) as seen:
        Renderer(**how).items(items, many=True)
    return seen[0]


def test_a_pipe_gets_tab_separated_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, [TASK]) == (
        "12\tin_progress\thigh\tAPI\tWrite the rate limiter\t2030-06-28T21:59:59Z\tana,bo\tbug,ui\n"
    )


def test_nothing_is_cut_and_nothing_breaks_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    long = "a\tb\\c\r\n" + "x" * 10_000
    told = printed(capsys, [replace(TASK, title=long)], fields=["id", "title"])
    assert told == "12\ta\\tb\\\\c\\r\\n" + "x" * 10_000 + "\n"


def test_json_of_one_and_of_many(capsys: pytest.CaptureFixture[str]) -> None:
    one = printed(capsys, [TASK], many=False, output="json")
    assert one.count("\n") == 1
    assert json.loads(one)["tags"] == ["bug", "ui"]
    assert json.loads(printed(capsys, [TASK], output="json")) == [json.loads(one)]
    assert printed(capsys, [], output="json") == "[]\n"
    assert printed(capsys, [], output="json", many=False) == ""


def test_json_lines(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, [TASK, CHANGE], output="jsonl").splitlines()
    assert [json.loads(line)["id"] for line in lines] == [12, 7]
    assert printed(capsys, [], output="jsonl") == ""


def test_csv_has_a_header_and_quotes(capsys: pytest.CaptureFixture[str]) -> None:
    titles = ['a "b",\nc', "a\nb", "a\rb", "a\r\nb", '"', "é\u2028"]
    told = printed(capsys, [replace(TASK, title=title) for title in titles], output="csv")
    rows = list(csv.DictReader(io.StringIO(told, newline="")))
    assert [row["title"] for row in rows] == titles
    assert (rows[0]["tags"], rows[0]["description"], rows[0]["due"]) == (
        "bug,ui",
        "",
        "2030-06-28T21:59:59Z",
    )


@pytest.mark.parametrize(
    ("item", "handle"),
    [
        (TASK, "12"),
        (CHANGE, "7"),
        (User(1, "ana", None, WHEN), "ana"),
        (Tag(1, "bug", 2), "bug"),
        (Project(1, "API", "Api", None, "ana", "shared", None, None, 1, WHEN, WHEN), "API"),
    ],
)
def test_quiet_prints_what_names_a_thing(
    capsys: pytest.CaptureFixture[str], item: object, handle: str
) -> None:
    assert printed(capsys, [item], output="quiet") == handle + "\n"


@pytest.mark.parametrize("output", ["auto", "json", "jsonl", "csv"])
def test_fields_in_their_order(capsys: pytest.CaptureFixture[str], output: str) -> None:
    told = printed(capsys, [TASK], output=output, fields=["version", "id", "owner"])
    assert told in (
        "3\t12\tana\n",
        '[{"version":3,"id":12,"owner":"ana"}]\n',
        '{"version":3,"id":12,"owner":"ana"}\n',
        "version,id,owner\n3,12,ana\n",
    )


def test_an_unknown_field_lists_the_good_ones() -> None:
    with pytest.raises(Usage, match="no such field: colour") as caught:
        Renderer(fields=["id", "colour"]).check(Tag)
    assert caught.value.hint == "Fields: id, name, tasks"
    Renderer(fields=["tasks"]).check(Tag)
    Renderer().check(Tag)


def test_details_on_a_pipe_are_a_line_a_field(capsys: pytest.CaptureFixture[str]) -> None:
    Renderer().details(Tag(1, "bug", 2))
    assert capsys.readouterr().out == "id\t1\nname\tbug\ntasks\t2\n"
    Renderer(output="json", fields=["name"]).details(Tag(1, "bug", 2))
    assert capsys.readouterr().out == '{"name":"bug"}\n'


def test_a_report_is_text_for_readers_and_data_for_programs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report = ImportReport(1, 2, 3, 4, 5, (ImportConflict("x", 7, ("title",)),))
    told: dict[str, str] = {}
    for output in ("auto", "json", "jsonl", "csv", "quiet"):
        Renderer(output=output).report(report, "done")
        told[output] = capsys.readouterr().out
    assert told["auto"] == "done\n"
    assert told["quiet"] == ""
    assert json.loads(told["json"]) == json.loads(told["jsonl"])
    assert json.loads(told["json"])["conflicts"] == [{"ref": "x", "task": 7, "fields": ["title"]}]
    assert told["csv"].splitlines()[0] == (
        "created,updated,unchanged,skipped,conflicting,conflicts,unlinked,words"
    )
    Renderer(fields=["created", "conflicts"]).report(report, "done")
    assert capsys.readouterr().out == '1\t{"ref":"x","task":7,"fields":["title"]}\n'


def test_notices_go_to_stderr_in_the_form_of_the_output(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for output, expected in {
        "auto": "cut short\x07; go on\n".replace("\x07", "\\x07"),
        "json": '{"notice":{"code":"cut","message":"cut short\\u0007","hint":"go on",'
        '"details":{"after":"x"}}}\n',
        "quiet": "cut short\\x07; go on\n",
    }.items():
        Renderer(output=output).notice("cut", "cut short\x07", "go on", after="x")
        assert capsys.readouterr() == ("", expected)
    Renderer(output="quiet").notice("unchanged", "nothing to do")
    assert capsys.readouterr() == ("", "")
    Renderer().notice("unchanged", "nothing to do")
    assert capsys.readouterr() == ("", "nothing to do\n")


def test_a_terminal_gets_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = plain(
        shown(monkeypatch, [TASK, replace(TASK, id=3, tags=(), assignees=())], 100)
    ).split("\n")
    assert lines[0] == "id  status       priority  project  due               title"
    assert set(lines[1]) == {"─"}
    assert lines[2].startswith("12  in_progress  high      API      2030-06-28")
    assert lines[2].endswith("Write the rate limiter  @ana  @bo  #bug  #ui")
    assert lines[3].endswith("Write the rate limiter")
    assert lines[3].startswith(" 3  ")


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 100, 200])
@pytest.mark.parametrize("fields", [None, ["id", "title", "description", "tags"]])
def test_a_terminal_of_any_width_shows_everything(
    monkeypatch: pytest.MonkeyPatch, columns: int, fields: list[str] | None
) -> None:
    words = [f"word{number}" for number in range(40)]
    wide = replace(TASK, title=" ".join(words) + " 日本語のタイトル " + "y" * 50, tags=("z" * 64,))
    told = shown(monkeypatch, [wide, TASK], columns, fields=fields)
    lines = plain(told).splitlines()
    assert max(map(len, lines)) <= columns
    joined = "".join("".join(lines).split())
    for text in ("12", *words, "日本語", "…"):
        assert (text in joined) == (text != "…"), text
    assert joined.count("y") >= 50
    assert joined.count("z") >= 64
    if fields is None:
        for text in ("in_progress", "high", "API", "2030-06-28", "@ana", "@bo"):
            assert text in joined, text


def test_history_on_a_terminal_says_what_became_what(monkeypatch: pytest.MonkeyPatch) -> None:
    told = plain(shown(monkeypatch, [CHANGE], 120))
    assert "task edit  task 12        3  due: 2030-06-28T21:59:59Z →" in told
    assert "tags: bug" in told
    assert "title: old → new" in told
    raw = plain(shown(monkeypatch, [CHANGE], 120, fields=["entity", "entity_id", "old"]))
    assert "task           12  title: old" in raw


def test_the_ends_of_the_calendar_can_be_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    last = datetime.max.replace(tzinfo=UTC)
    with zone("Pacific/Kiritimati"):
        told = plain(shown(monkeypatch, [replace(CHANGE, at=last)], 120))
        assert "9999-12-31T23:59:59.999999Z" in told
        assert "9999-12-31" in plain(shown(monkeypatch, [replace(TASK, due=last)], 120))


def test_nothing_to_show_is_said_on_stderr(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shown(monkeypatch, [], 80) == ""
    assert capsys.readouterr().err == "nothing to show\n"


def test_a_card_leaves_out_what_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with screen(monkeypatch) as seen:
        Renderer().details(replace(TASK, description="# Plan\n\n- *one*\n- two"))
        Renderer(fields=["id", "title"]).details(replace(TASK, description="unseen"))
        Renderer(fields=["description"]).details(replace(TASK, description="seen"))
        Renderer().details(Tag(1, "bug", 2))
    told = plain(seen[0])
    assert "title       Write the rate limiter\n" in told
    assert "tags        bug, ui\n" in told
    assert "completed_at" not in told
    assert " • one\n • two\n" in told
    assert "unseen" not in told
    assert "seen" in told
    assert told.endswith("id     1\nname   bug\ntasks  2")


COLOURED: dict[str, tuple[dict[str, str], bool, bool]] = {
    "plainly": ({}, False, True),
    "NO_COLOR": ({"NO_COLOR": "1"}, False, False),
    "an empty NO_COLOR": ({"NO_COLOR": ""}, False, True),
    "TERM=dumb": ({"TERM": "dumb"}, False, False),
    "--no-color": ({}, True, False),
    "CLICOLOR_FORCE on a dumb terminal": ({"TERM": "dumb", "CLICOLOR_FORCE": "1"}, False, True),
    "CLICOLOR_FORCE=0": ({"TERM": "dumb", "CLICOLOR_FORCE": "0"}, False, False),
    "both": ({"NO_COLOR": "1", "CLICOLOR_FORCE": "1"}, False, False),
    "CLICOLOR_FORCE with --no-color": ({"CLICOLOR_FORCE": "1"}, True, False),
}
"""Case → (environment, whether --no-color is given, whether there are colours)."""


@pytest.mark.parametrize("case", COLOURED)
def test_colours(monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    environment, no_color, coloured = COLOURED[case]
    with screen(monkeypatch) as seen:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        Renderer(no_color=no_color).items([TASK], many=True)
    # Weight is no colour: what is left of the styles must not set one.
    colours = [style for style in STYLE.findall(seen[0]) if any(c in style for c in "34")]
    assert bool(colours) == coloured, seen[0]
    assert "high" in plain(seen[0])


HOSTILE = "\x1b]0;title\x07\x1b[31mred\x9b31m\x7f\u202eabc\u2066\x00"


@pytest.mark.parametrize("output", ["auto", "json", "jsonl", "csv", "quiet"])
@pytest.mark.parametrize("many", [True, False])
def test_a_terminal_never_obeys_a_text(
    monkeypatch: pytest.MonkeyPatch, output: str, many: bool
) -> None:
    task = replace(
        TASK,
        title=HOSTILE,
        description=HOSTILE,
        project=HOSTILE,
        owner=HOSTILE,
        tags=(HOSTILE,),
        assignees=(HOSTILE,),
    )
    change = replace(CHANGE, actor=HOSTILE, entity=HOSTILE, old={"a": HOSTILE}, new={HOSTILE: 1})
    tag = Tag(1, HOSTILE, 1)
    with screen(monkeypatch) as seen:
        renderer = Renderer(output=output)
        for item in (task, change, tag):
            if many:
                renderer.items([item], many=True)
            else:
                renderer.details(item)
        renderer.report(ImportReport(0, 0, 0, 0, 0), HOSTILE)
        renderer.write(HOSTILE)
    told = STYLE.sub("", seen[0].replace("\x1b[1;33m", ""))
    assert not set(told) & set("\x1b\x07\x9b\x7f\u202e\u2066\x00")


def test_json_on_a_terminal_is_indented_and_still_the_same(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    task = replace(TASK, title=HOSTILE + "é 🎉")
    told = shown(monkeypatch, [task], 80, output="json")
    assert told.startswith('[\n  {\n    "id": 12')
    assert json.loads(told) == json.loads(printed(capsys, [task], output="json"))
    assert json.loads(told)[0]["title"] == HOSTILE + "é 🎉"
    assert "é 🎉" in told


def test_a_bar_shows_on_a_terminal_once_it_takes_long(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter(range(100))
    with monkeypatch.context() as patch, screen(monkeypatch) as seen:
        patch.setattr(sys, "stderr", sys.stdout)
        patch.setattr(time, "monotonic", lambda: next(clock))
        with Renderer().progress("import beads") as watch:
            assert list(watch("abc")) == ["a", "b", "c"]
        with Renderer(output="quiet").progress("import beads") as watch:
            assert list(watch("abc")) == ["a", "b", "c"]
    assert "import beads" in seen[0]
    assert seen[0].count("import beads") < 5
    with Renderer().progress("import beads") as watch:
        assert list(watch("abc")) == ["a", "b", "c"], "off a terminal nothing moves"
    assert capsys.readouterr().err == ""


def test_a_value_of_any_other_kind_is_shown_by_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    @dataclass(frozen=True)
    class Odd:
        name: str
        flag: bool
        items: list[int]

    assert printed(capsys, [Odd("x", True, [1, 2])]) == "x\ttrue\t1,2\n"
