"""`concord search` as it is typed: what goes to stdout and to stderr, and what a terminal shows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from commands import Here, on_terminal, plain
from workers import psql

from concord.sql import search

if TYPE_CHECKING:
    from conftest import CommandLine


@pytest.fixture
def filled(here: Here) -> Here:
    """Tasks 1 to 3, about deploying."""
    here.ok("task", "add", "Deploy it", "--tag", "ops")
    here.ok("task", "add", "Wait", "--description", "until they have\tdeployed <it>")
    here.ok("task", "add", "Server", "--tag", "wontfix")
    here.ok("task", "comment", "3", "Deployed by hand")
    return here


def test_json_has_the_task_its_rank_and_the_words_that_were_found(filled: Here) -> None:
    first, second, third = filled.ok("search", "deploy")
    listed = filled.ok("task", "list")
    for found, task in zip((first, second, third), listed, strict=True):
        assert list(found) == [*task, "rank", "highlights"]
        assert {name: found[name] for name in task} == task
    assert first["highlights"] == {"title": "\x02Deploy\x03 it", "text": None}
    assert second["highlights"] == {
        "title": "Wait",
        "text": "until they have \x02deployed\x03 <it>",
    }
    assert third["highlights"] == {"title": "Server", "text": "\x02Deployed\x03 by hand"}
    assert first["rank"] > second["rank"] > third["rank"] > 0


def test_words_are_a_query(filled: Here) -> None:
    def found(*words: str) -> str:
        return filled("search", *words, "--quiet").out

    assert found("deploy", "-tag:wontfix") == "1\n2\n"
    assert found("deploy", "tag:ops", "status:todo") == "1\n"
    assert found("-tag:ops", "depl*", "--tag", "wontfix") == "3\n"
    assert found("wait", "or", '"by hand"') == "2\n3\n"
    assert found("deploy", "--where", "tag:ops or tag:wontfix", "--title", "server") == "3\n"
    told = filled.refused("search", "deploy", "(", code=2)
    assert told.startswith("error: ")
    assert "no words to search for" in filled.refused("search", "status:todo", code=2)
    assert "--title" in filled.refused("search", "the", code=2)
    assert "Missing argument" in filled.refused("search", code=2)


def test_lines_have_no_marks_and_fields_may_be_chosen(filled: Here) -> None:
    assert filled("search", "deploy", "-tag:wontfix").out == (
        "1\t0.6079\ttodo\tDeploy it\t\n2\t0.2432\ttodo\tWait\tuntil they have deployed <it>\n"
    )
    assert filled("search", "hand", "--fields", "id,title,tags").out == "3\tServer\twontfix\n"
    header, row = filled("search", "hand", "--csv").out.splitlines()
    assert header.endswith(",claim,rank,highlights")
    assert "\x02" not in row
    assert "Fields: id, uid" in filled.refused("search", "x", "--fields", "nope", code=2)


def test_what_is_found_can_be_piped_into_a_command(filled: Here) -> None:
    ids = filled("search", "deploy", "--quiet").out
    assert filled("task", "cancel", "-", "--quiet", stdin=ids).code == 0
    assert filled.ok("search", "deploy", "--status", "todo") == []
    lines = filled("search", "deploy").out
    assert filled("task", "reopen", "-", "--quiet", stdin=lines).out.split() == ["1", "2", "3"]


def test_a_list_that_is_cut_says_so_in_every_form(
    filled: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    for form in ("--quiet", "--csv", "--fields=id"):
        told = filled("search", "deploy", "--limit", "2", form)
        assert told.err == "the list is cut at 2; all: --limit 0\n", form
        assert filled("search", "deploy", "--limit", "0", form).err == "", form
    monkeypatch.setattr(search, "RANKED", 2)
    told = filled("search", "deploy", "--quiet")
    assert told.out == "2\n3\n"
    assert told.err == (
        "the list is cut at 2: of what matches, only the newest 2 were ranked;"
        " narrow it with more words or filters\n"
    )
    notice = json.loads(filled("search", "deploy", "--limit", "1", "--json").err)["notice"]
    assert (notice["code"], notice["details"]) == ("cut", {"shown": 1})
    assert notice["hint"].endswith("all of these: --limit 0")


def test_what_is_only_similar_never_goes_where_ids_are_read(filled: Here, url: str) -> None:
    told = filled("search", "deplyo")
    assert (told.code, told.out) == (0, "")
    assert told.err == "nothing has deplyo; similar titles:\n  1  Deploy it\n"
    assert filled("search", "deplyo", "--quiet").err == ""
    as_json = filled("search", "deplyo", "ops", "--json")
    assert as_json.out == "[]\n"
    notice = json.loads(as_json.err)["notice"]
    assert notice["code"] == "similar"
    assert notice["message"] == "nothing has deplyo, ops"
    assert notice["details"] == {"words": ["deplyo", "ops"], "similar": []}
    details = json.loads(filled("search", "deplyo", "--json").err)["notice"]["details"]
    assert [(task["id"], task["title"]) for task in details["similar"]] == [(1, "Deploy it")]
    psql(url, "DROP EXTENSION pg_trgm CASCADE")
    assert filled("search", "deplyo").err == (
        "nothing has deplyo; typing errors are not forgiven: see concord doctor\n"
    )


def test_a_terminal_shows_found_words_in_bold_and_obeys_no_text(
    concord: CommandLine, url: str
) -> None:
    hostile = "\x1b]0;owned\x07 deploy [red]\x1b[2J\u202e"
    psql(
        url,
        """INSERT INTO tasks (title, description, owner_id) VALUES ('Deploy it', NULL, 1),
           ('Wait', 'deployed ' || repeat('the very long thing ', 20), 1), (%s, %s, 1)""",
        hostile,
        hostile,
    )
    told = on_terminal(concord, "search", "deploy", columns=50)
    assert "\x1b[1mDeploy\x1b[0m it" in told.out
    assert plain(told.out).splitlines() == [
        r"3  todo  \x1b]0;owned\x07 deploy",
        r"         [red]\x1b[2J\u202e",
        r"         \x1b]0;owned\x07 deploy",
        r"         [red]\x1b[2J\u202e",
        "1  todo  Deploy it",
        "2  todo  Wait",
        "         deployed the very long thing the very",
        "         long thing the very long",
    ]
    nothing = plain(on_terminal(concord, "search", "deplyo").out).splitlines()
    assert nothing[:2] == ["nothing to show", "nothing has deplyo; similar titles:"]
    assert "  1  Deploy it" in nothing
