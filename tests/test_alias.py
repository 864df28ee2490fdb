"""Aliases: what they stand for, where they are kept, and what they are never taken for."""

from __future__ import annotations

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from commands import Here
from hypothesis import given
from hypothesis import strategies as st

from concord.aliases import expand, save
from concord.cli import ENTRIES
from concord.errors import Usage

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import CommandLine

MINE = "task list --assignee me --sort 'due'"


@pytest.fixture
def here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Here:
    """The command line without a database: an alias needs none."""
    return Here("host=127.0.0.1 port=1", tmp_path, monkeypatch, capsys)


@pytest.fixture
def filled(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Here:
    here = Here(url, tmp_path, monkeypatch, capsys)
    for title in ("One", "Two", "Three"):
        here.ok("task", "add", title)
    return here


def file_of(here: Here) -> Path:
    return here.home / "config" / "concord" / "config.toml"


def write(here: Here, text: str) -> None:
    file_of(here).parent.mkdir(parents=True, exist_ok=True)
    file_of(here).write_bytes(text.encode())


# What it stands for


def test_what_is_typed_after_an_alias_is_appended(filled: Here) -> None:
    filled.ok("alias", "newest", "task list --sort -id --limit 2")
    filled.ok("alias", "ids", "newest --quiet")
    filled.ok("alias", "say", "task add 'one title' --quiet")
    assert [task["id"] for task in filled.ok("newest")] == [3, 2]
    assert filled("ids").out == "3\n2\n"
    assert filled("ids", "--limit", "1", "--title", "One").out == "1\n"
    assert filled("--as", "ana", "--quiet", "newest").out == "3\n2\n", "after global flags"
    assert filled("say").out == "4\n"
    assert filled.ok("task", "show", "4")["title"] == "one title"
    assert filled.ok("history", "4")[0]["operation"] == "task add"


def test_only_the_first_word_is_an_alias(filled: Here) -> None:
    filled.ok("alias", "list", "task list")
    filled.ok("alias", "One", "history")
    assert filled("task", "list", "--title", "One", "--quiet").out == "1\n"
    assert filled.refused("task", "One", code=2).startswith("error: no such command: concord task")


def test_a_command_wins_over_an_alias_written_by_hand(filled: Here) -> None:
    write(filled, "[alias]\ntask = 'history'\nhi = 'task list'\n")
    for words in (["task", "list"], ["hi"]):
        assert filled(*words, "--quiet").out == "1\n2\n3\n"
    told = filled("alias")
    assert told.out == "hi\ttask list\ntask\thistory\n"
    assert told.err == "task is a command of Concord: its alias has no effect\n"


def test_an_alias_that_stands_for_itself_is_named(here: Here) -> None:
    write(here, "[alias]\na = 'b x'\nb = 'c'\nc = 'a'\nd = 'c'\nself = 'self'\n")
    told = here("b", "--json")
    assert told.code == 2
    assert told.error["message"] == "an alias that stands for itself: b → c → a → b"
    assert told.error["details"] == {"chain": ["b", "c", "a", "b"]}
    assert "self → self" in here.refused("self", code=2)
    assert "d → c → a → b → c" in here.refused("d", code=2)


@given(
    known=st.dictionaries(
        st.sampled_from("abcdef"),
        st.lists(st.sampled_from("abcdefxyz"), min_size=1, max_size=3).map(" ".join),
    ),
    words=st.lists(st.sampled_from("abcxyz"), max_size=3),
)
def test_expanding_ends_at_a_word_that_is_none_or_at_a_circle(
    known: dict[str, str], words: list[str]
) -> None:
    try:
        found = expand(words, known, {"x"})
    except Usage as error:
        chain: list[str] = error.details["chain"]
        assert chain[-1] in chain[:-1]
        assert all(known[one].split()[0] == other for one, other in pairwise(chain))
        return
    assert not found or found[0] not in known
    assert found[len(found) - len(words[1:]) :] == tuple(words[1:])


def test_help_says_what_it_stands_for(here: Here) -> None:
    here.ok("alias", "mine", MINE)
    here.ok("alias", "t", "task")
    told = here("help", "mine").out
    assert told.startswith("mine stands for: task list --assignee me --sort due\n\nUsage: concord")
    assert told.partition("\n\n")[2] == here("task", "list", "--help").out
    assert here("mine", "--help").out == here("task", "list", "--help").out
    assert here("help", "t").out == "t stands for: task\n\n" + here("help", "task").out
    assert here("help", "t", "list").out.startswith(
        "t stands for: task\n\nUsage: concord task list"
    )
    assert "did you mean list" in here.refused("help", "t", "lst", code=2)


def test_a_typo_is_held_against_aliases_too(here: Here) -> None:
    here.ok("alias", "mixture", "task list")
    assert "concord mixtrue; did you mean mixture?" in here.refused("mixtrue", code=2)
    write(here, "[alias")
    assert "is not valid TOML" in here.refused("mixtrue", code=2)
    for own in (["--help"], ["completion", "bash"]):
        assert here(*own).code == 0, "which does not look"


# Setting and listing


def test_set_show_list_delete(here: Here) -> None:
    assert here.ok("alias") == []
    alias = {"name": "mine", "command": MINE}
    assert here.ok("alias", "mine", MINE) == alias
    assert here.ok("alias", "mine") == alias
    here.ok("alias", "Bugs", "task list --tag bug")
    assert here("alias").out == f"Bugs\ttask list --tag bug\nmine\t{MINE}\n"
    assert here("alias", "mine", "--delete", "--quiet").out == "mine\n"
    assert here.ok("alias") == [{"name": "Bugs", "command": "task list --tag bug"}]
    for arguments in (["mine"], ["mine", "--delete"]):
        assert here.refused("alias", *arguments, code=3).startswith("error: no alias mine\n")


def test_a_name_that_is_taken_is_replaced_only_when_told(here: Here) -> None:
    here.ok("alias", "mine", MINE)
    before = file_of(here).stat()
    here.ok("alias", "mine", MINE)
    assert file_of(here).stat() == before, "nothing is written where nothing changes"
    told = here.refused("alias", "mine", "task list", code=4)
    assert told.startswith(f"error: mine stands for {MINE} already\n")
    assert here.ok("alias", "mine", "task list", "--replace")["command"] == "task list"


@pytest.mark.parametrize("name", ENTRIES)
def test_no_command_can_be_an_alias(here: Here, name: str) -> None:
    told = here.refused("alias", name, "history", code=2)
    assert told.startswith(f"error: {name} is a command of Concord\n")
    assert not file_of(here).exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["x", "!ls"], "an alias runs no shell\nhint: Put a program named concord-x on your PATH."),
        (["x", "! ls"], "an alias runs no shell"),
        (["x", "'"], "cannot be split into words: No closing quotation"),
        (["x", ""], "alias x stands for nothing"),
        (["x", " "], "alias x stands for nothing"),
        (["x", "''"], "alias x stands for nothing"),
        (["x", " --json history"], "begins with the option --json"),
        (["x", "x"], "stands for itself: x → x"),
        (["x", "tsk list"], "no such command: concord tsk; did you mean task?"),
        (["x", "task lst"], "no such command: concord task lst; did you mean list?"),
        (["a b", "history"], "'a b' is no name of an alias"),
        (["../x", "history"], "'../x' is no name of an alias"),
        (["", "history"], "'' is no name of an alias"),
        (["x" * 65, "history"], "is no name of an alias"),
        (["x", "task", "list"], "unexpected extra argument"),
        (["--delete"], "--delete goes with a name, and nothing else"),
        (["x", "history", "--delete"], "--delete goes with a name, and nothing else"),
        (["x", "--delete", "--replace"], "--delete goes with a name, and nothing else"),
    ],
    ids=str,
)
def test_what_would_not_work_is_not_set(here: Here, arguments: list[str], told: str) -> None:
    assert told in here.refused("alias", *arguments, code=2)
    assert not file_of(here).exists()


def test_setting_one_that_closes_a_circle_is_refused(here: Here) -> None:
    here.ok("alias", "a", "history")
    here.ok("alias", "b", "a")
    assert "a → b → a" in here.refused("alias", "a", "b --json", "--replace", code=2)
    assert here.ok("alias", "a")["command"] == "history"


# The file


KEPT = """\
# who I am
user = "ana"  # as everywhere
retries=3

[alias]
# what is mine
mine   =   "task list --assignee me"
"""


def test_the_rest_of_the_file_stays_as_it_is(here: Here) -> None:
    write(here, KEPT)
    file_of(here).chmod(0o640)
    here.ok("alias", "a.b", "history --limit 5")
    assert file_of(here).read_text() == KEPT + '"a.b" = "history --limit 5"\n'
    here.ok("alias", "a.b", "--delete")
    assert file_of(here).read_text() == KEPT
    assert stat.S_IMODE(file_of(here).stat().st_mode) == 0o640
    assert [path.name for path in file_of(here).parent.iterdir()] == ["config.toml"]


@pytest.mark.parametrize(
    "text",
    ["", "user = 'ana'", "alias.mine = 'history'\n", "alias = {mine = 'history'}\n",
     "[alias]\r\nmine = 'history'\r\n# end\r\n", "[alias]"],
    ids=repr,
)  # fmt: skip
def test_whatever_the_file_looks_like_it_gets_the_alias(here: Here, text: str) -> None:
    write(here, text)
    before = {each["name"]: each["command"] for each in here.ok("alias")}
    here.ok("alias", "it", 'task add "it is"')
    after = {each["name"]: each["command"] for each in here.ok("alias")}
    assert after == before | {"it": 'task add "it is"'}
    assert file_of(here).read_bytes().decode().startswith(text.rstrip("}\n"))
    assert here("config", "--fields", "name").code == 0


def test_a_link_stays_a_link(here: Here) -> None:
    kept = here.home / "dotfiles.toml"
    kept.write_text("user = 'ana'\n")
    file_of(here).parent.mkdir(parents=True)
    file_of(here).symlink_to(kept)
    here.ok("alias", "hi", "history")
    assert file_of(here).is_symlink()
    assert "hi = " in kept.read_text()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("alias = 3", "alias is not a table of names and command lines"),
        ("alias = 'x'", "alias is not a table of names and command lines"),
        ("[[alias]]\na = 'b'", "alias is not a table of names and command lines"),
        ("[alias]\na = ['b']", "alias is not a table of names and command lines"),
        ("[alias.a]\nb = 'c'", "alias is not a table of names and command lines"),
        ("[alias]\n'' = 'c'", "alias is not a table of names and command lines"),
        ("[alias", "is not valid TOML"),
        ("[aliases]\na = 'b'", "'aliases' cannot be set here"),
    ],
)
def test_a_bad_file_is_named_at_once_and_left_alone(here: Here, text: str, told: str) -> None:
    write(here, text)
    commands = ["task", "list"], ["alias"], ["alias", "a", "history"], ["alias", "a", "--delete"]
    for arguments in (*commands, ["nothing"]):
        shown = here.refused(*arguments, code=2)
        assert f"{file_of(here)}" in shown, arguments
        assert told in shown, arguments
    assert file_of(here).read_text() == text


def test_a_foreign_checkout_defines_no_alias(here: Here) -> None:
    (here.home / ".concord.toml").write_text("[alias]\nhi = 'history'\n")
    assert "'alias' cannot be set here" in here.refused("task", "list", code=2)
    assert "no such command" in here.refused("hi", code=2)


def test_a_file_that_cannot_be_written(here: Here) -> None:
    (here.home / "config").write_text("a file where a folder should be")
    told = here.refused("alias", "hi", "history", code=2)
    assert told.startswith(f"error: cannot write {file_of(here)}: ")


def test_of_many_who_set_one_at_once_none_is_lost(here: Here) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(save, [f"a{n}" for n in range(40)], ["history"] * 40))
    assert len(here.ok("alias")) == 40


def test_an_alias_in_a_process_of_its_own(concord: CommandLine) -> None:
    assert concord("alias", "new", "task add --quiet").code == 0
    told = concord("new", "Title")
    assert (told.code, told.out) == (0, "1\n")
    assert json.loads(concord("new", "--json", "Other").out)["title"] == "Other"
