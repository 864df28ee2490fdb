"""Short stories, as somebody would type them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from audit import tables
from commands import Here, Terminal, zone

if TYPE_CHECKING:
    from conftest import CommandLine

pytestmark = pytest.mark.crew


def add(here: Here, *titles: str) -> list[int]:
    return [here.ok("task", "add", title)["id"] for title in titles]


def states(here: Here) -> dict[int, str]:
    return {task["id"]: task["status"] for task in here.ok("task", "list")}


def operations(here: Here, *arguments: str) -> list[str]:
    return [row["operation"] for row in here.ok("history", *arguments)]


def test_a_task_from_the_cradle_to_the_grave(here: Here) -> None:
    here.ok("project", "add", "api")
    made = here.ok("task", "add", "Write it", "--project", "api", "--tag", "doc", "--assign", "me")
    task = str(made["id"])
    assert (made["project"], made["tags"], made["assignees"]) == ("API", ["doc"], ["ana"])
    assert here.ok("task", "start", task)["status"] == "in_progress"
    done = here.ok("task", "done", task)
    assert done["status"] == "completed"
    assert done["completed_at"] is not None
    assert here.ok("task", "reopen", task)["completed_at"] is None
    assert here.ok("task", "cancel", task)["status"] == "canceled"
    assert here.ok("task", "move", task, "--project", "none")["project"] is None
    assert here.ok("task", "untag", task, "doc")["tags"] == []
    assert here.ok("task", "unassign", task)["assignees"] == []
    assert here.ok("task", "delete", task)["deleted_at"] is not None
    assert here.ok("task", "list") == []
    assert [row["id"] for row in here.ok("task", "list", "--trash")] == [made["id"]]
    assert here.ok("task", "restore", task)["deleted_at"] is None
    here.ok("task", "delete", task)
    assert here.ok("task", "purge", task, "--yes")["id"] == made["id"]
    assert "no such task" in here.refused("task", "show", task, code=3)

    told = operations(here, task)
    assert [name for name, before in zip(told, ["", *told], strict=False) if name != before] == [
        "task purge", "task delete", "task restore", "task delete", "task unassign", "task untag",
        "task move", "task cancel", "task reopen", "task done", "task start", "task add",
    ]  # fmt: skip


def test_two_names_for_one_command(here: Here) -> None:
    here.ok("user", "add", "bo")
    first, second = map(str, add(here, "one", "two"))
    short = here.ok("assign", first, "bo")
    long = here.ok("task", "assign", second, "--to", "bo")
    assert short["assignees"] == long["assignees"] == ["bo"]
    assert operations(here, first)[0] == operations(here, second)[0] == "task assign"
    assert here.ok("assign", first)["assignees"] == ["ana", "bo"], "without a name it is you"
    assert here.ok("task", "assign", second)["assignees"] == ["ana", "bo"]
    assert here.ok("task", "log", first) == here.ok("history", first)


def test_assign_takes_tasks_and_users_in_any_order(here: Here) -> None:
    here.ok("user", "add", "bo")
    first, second = map(str, add(here, "one", "two"))
    changed = here.ok("assign", "bo", first, "#" + second, "me")
    assert [task["assignees"] for task in changed] == [["ana", "bo"]] * 2
    gone = here.ok("task", "unassign", first, second, "--from", "bo", "--from", "me")
    assert [task["assignees"] for task in gone] == [[], []]


def test_several_tasks_at_once(here: Here) -> None:
    ids = [str(task) for task in add(here, "one", "two", "three")]
    done = here.ok("task", "done", ids[2], ids[0])
    assert [task["id"] for task in done] == [int(ids[2]), int(ids[0])], "in the order given"
    assert here.ok("task", "done", ids[0])["id"] == int(ids[0]), "one is no list"
    assert here.ok("task", "show", ids[0], ids[0])[0]["id"] == int(ids[0])
    assert len(here.ok("task", "show", ids[0], ids[0])) == 1, "each once"
    edited = here.ok("task", "edit", *ids, "--priority", "low", "--append-description", "p.s.")
    assert {(task["priority"], task["description"]) for task in edited} == {("low", "p.s.")}
    assert [task["tags"] for task in here.ok("task", "tag", *ids, "a", "b")] == [["a", "b"]] * 3


def test_a_list_feeds_the_next_command(here: Here) -> None:
    ids = add(here, "a\tb", "two")
    for verb, listing in (
        ("start", ["--quiet"]),
        ("done", []),
        ("cancel", ["--fields", "id,title"]),
    ):
        lines = here("task", "list", *listing).out
        assert [task["id"] for task in here.ok("task", verb, "-", stdin=lines)] == ids
    assert set(states(here).values()) == {"canceled"}


def test_ids_on_stdin_come_with_empty_lines_and_marks(here: Here) -> None:
    first, second, third = add(here, "one", "two", "three")
    stdin = f"\n#{first}\r\n  {second} some words\n\n"
    assert len(here.ok("task", "start", "-", stdin=stdin)) == 2
    assert here.ok("assign", "-", "ana", stdin=f"{third}\n")[0]["assignees"] == ["ana"]
    assert len(here.ok("task", "show", str(third), "-", stdin=stdin)) == 3


def test_no_ids_on_stdin_is_nothing_to_do(here: Here, url: str) -> None:
    here.ok("task", "add", "one", "--tag", "bug")
    before = tables(url)
    for command in (
        "show", "start", "done", "cancel", "reopen", "delete", "restore", "assign", "unassign",
        "purge --yes", "move --project none", "edit --title x", "edit --append-description x",
    ):  # fmt: skip
        verb, *options = command.split()
        assert here.ok("task", verb, "-", *options) == [], command
        assert here("task", verb, "-", *options, "--quiet").out == "", command
    assert here.ok("assign", "-", "me") == here.ok("task", "tag", "-", "bug", stdin="\n") == []
    assert tables(url) == before


def test_all_of_them_or_none(here: Here, url: str) -> None:
    first, second, gone = map(str, add(here, "one", "two", "gone"))
    here.ok("task", "delete", gone)
    here.ok("tag", "add", "late")
    before = tables(url)
    for command in (
        "start", "done", "cancel", "delete", "assign", "unassign", "move --project none",
        "edit --priority high", "edit --append-description x", "tag late", "untag late",
    ):  # fmt: skip
        verb, *options = command.split()
        told = here.refused("task", verb, first, gone, second, *options, code=3)
        assert f"in the trash: {gone}" in told, command
        told = here.refused("task", verb, "-", *options, stdin=f"{first}\n404\n405\n", code=3)
        assert "no such task: 404, 405" in told, command
    here.refused("task", "show", first, "404", code=3)
    here.refused("task", "restore", gone, "404", code=3)
    assert tables(url) == before


def test_only_the_trash_is_purged(here: Here, url: str) -> None:
    kept, trashed = map(str, add(here, "one", "two"))
    here.ok("task", "delete", trashed)
    before = tables(url)
    assert f"not in the trash: {kept}" in here.refused(
        "task", "purge", trashed, kept, "--yes", code=1
    )
    assert tables(url) == before


def test_history_outlives_its_task(here: Here) -> None:
    task = str(add(here, "Remember me")[0])
    here.ok("task", "edit", task, "--title", "Remember this", "--priority", "high")
    here.ok("task", "delete", task)
    here.ok("task", "purge", task, "--yes")
    rows = here.ok("history", task)
    assert [row["id"] for row in rows] == sorted((row["id"] for row in rows), reverse=True)
    edited = next(row for row in rows if row["operation"] == "task edit")
    assert edited["old"] == {"title": "Remember me", "priority": "none"}
    assert edited["new"] == {"title": "Remember this", "priority": "high"}
    assert (edited["actor"], edited["entity"], edited["entity_id"]) == ("ana", "task", int(task))
    assert list(edited) == [
        "id", "at", "actor", "operation", "entity", "entity_id", "task", "version", "old", "new",
        "xid",
    ]  # fmt: skip
    assert here.ok("history", "--xid", edited["xid"]) == [edited]
    assert "no such task, now or ever: 999" in here.refused("history", "999", code=3)


def test_history_tells_who_did_it(here: Here) -> None:
    here.ok("user", "add", "bo")
    task = str(add(here, "one")[0])
    here.ok("--as", "bo", "task", "start", task)
    here.ok("task", "done", task, "--as", "bo")
    assert operations(here, "--actor", "bo") == ["task done", "task start"]
    assert operations(here, "--actor", "me") == ["task add", "user add"]
    assert operations(here, "--actor", "nobody") == []


def test_history_a_page_at_a_time(here: Here) -> None:
    add(here, *"abcdefg")
    whole = here.ok("history")
    assert here.ok("history", "--limit", "0") == whole
    assert here.ok("history", "--limit", "2", "--skip", "3") == whole[3:5]
    told = here("history", "--limit", "3").err
    assert f"the list is cut at 3; next page: --after {whole[2]['id']}; all: --limit 0\n" == told
    assert here.ok("history", "--limit", "3", "--after", str(whole[2]["id"])) == whole[3:6]
    assert here.ok("history", "--after", str(whole[-1]["id"])) == []


def test_edit_changes_what_is_named_and_nothing_else(here: Here) -> None:
    here.ok("user", "add", "bo")
    made = here.ok("task", "add", "one", "--due", "2030-01-02 10:00", "--description", "text")
    task = str(made["id"])
    edited = here.ok("task", "edit", task, "--priority", "urgent", "--owner", "bo")
    changed = {name for name in made if made[name] != edited[name]}
    assert changed == {"priority", "owner", "version", "updated_at"}
    assert here.ok("task", "edit", task, "--due", "none")["due"] is None
    assert here.ok("task", "edit", task, "--description", "")["description"] == ""
    assert here.ok("task", "edit", task, "--append-description", "a")["description"] == "a"
    assert here.ok("task", "edit", task, "--append-description", "b")["description"] == "a\n\nb"
    assert here.ok("task", "edit", task, "--description", "-", stdin="from\nstdin")[
        "description"
    ] == ("from\nstdin")
    appended = here.ok("task", "edit", task, "--append-description", "-", stdin="p.s.\n")
    assert appended["description"] == "from\nstdin\n\np.s.\n"


def test_an_edit_that_changes_nothing_makes_no_version(here: Here) -> None:
    task = str(add(here, "one")[0])
    assert here.ok("task", "edit", task, "--title", "one")["version"] == 1
    assert here.ok("task", "done", task)["version"] == here.ok("task", "done", task)["version"] == 2


def test_a_stale_version_says_what_happened_meanwhile(here: Here, url: str) -> None:
    here.ok("user", "add", "bo")
    task = str(add(here, "one")[0])
    assert here.ok("task", "edit", task, "--title", "two", "--if-version", "1")["version"] == 2
    here.ok("--as", "bo", "task", "edit", task, "--priority", "high", "--due", "2030-01-02")
    here.ok("--as", "bo", "task", "tag", task, "late")
    before = tables(url)
    told = here.refused("task", "edit", task, "--title", "three", "--if-version", "2", code=4)
    assert f"task {task} is at version 4, not 2: bo changed due, priority at 20" in told
    assert "(version 3); bo changed tags at 20" in told
    assert tables(url) == before
    result = here("task", "edit", task, "--title", "three", "--if-version", "2", "--json")
    details = result.error["details"]
    assert (details["task"], details["version"], details["expected"]) == (int(task), 4, 2)
    assert [(change["actor"], change["version"]) for change in details["changes"]] == [
        ("bo", 3),
        ("bo", 4),
    ]
    assert details["changes"][0]["new"] == {"priority": "high", "due": "2030-01-02T23:59:59Z"}
    assert "is at version 4, not 9" in here.refused(
        "task", "edit", task, "--title", "x", "--if-version", "9", code=4
    )


def test_flags_go_before_or_after_the_noun_and_the_verb(here: Here) -> None:
    here.ok("user", "add", "bo")
    add(here, "one")
    expected = here("task", "list", "--as", "bo", "--fields", "id,title", "--json")
    for arguments in (
        ["--as", "bo", "--fields", "id,title", "--json", "task", "list"],
        ["--as", "bo", "task", "--json", "list", "--fields", "id,title"],
        ["task", "--as", "bo", "--fields", "id,title", "--json", "list"],
        ["task", "list", "--json", "--fields=id,title", "--as=bo"],
    ):
        assert here(*arguments) == expected, arguments
    assert here("--csv", "task", "list", "--json").out.startswith("["), "the later one counts"


def test_stdin_serves_one_purpose(here: Here, url: str) -> None:
    task = str(here.ok("task", "add", "one", "--description", "precious")["id"])
    before = tables(url)
    for arguments in (
        ["task", "edit", "-", "--description", "-"],
        ["task", "edit", "-", "--append-description", "-"],
        ["task", "done", "-", "-"],
    ):
        assert "stdin twice" in here.refused(*arguments, stdin=task, code=2)
    assert tables(url) == before


def test_dates_as_people_type_them(here: Here) -> None:
    def titles(*filters: str) -> list[str]:
        return [task["title"] for task in here.ok("task", "list", "--sort", "due", *filters)]

    with zone("Asia/Tokyo"):
        made = here.ok("task", "add", "a", "--due", "2030-06-28 09:00")
        assert made["due"] == "2030-06-28T00:00:00Z", "local in, UTC stored"
        assert here.ok("task", "add", "b", "--due", "2030-06-28")["due"] == "2030-06-28T14:59:59Z"
        assert here.ok("task", "add", "c", "--due", "2030-06-28T01:00+02:00")["due"] == (
            "2030-06-27T23:00:00Z"
        )
        here.ok("task", "add", "d")
        assert titles() == ["c", "a", "b", "d"]
        assert titles("--due-before", "2030-06-28") == [], "the day itself is not before it"
        assert titles("--due-before", "2030-06-28 09:00") == ["c"]
        assert titles("--due-after", "2030-06-28 09:00") == ["b"]
        assert titles("--due-after", "2030-06-27", "--due-before", "2030-06-29") == ["c", "a", "b"]
        for phrase in ("today", "tomorrow", "fri", "next tue", "+3d", "+2w", "eow", "eom", "now"):
            assert titles("--due-before", phrase) == [], phrase
            assert titles("--due-after", phrase) == ["c", "a", "b"], phrase
            assert here.ok("task", "edit", "4", "--due", phrase)["due"].endswith("Z"), phrase
            here.ok("task", "edit", "4", "--due", "none")
    with zone("America/New_York"):
        assert titles("--due-after", "2030-06-27 20:00") == ["b"], "the same moment, elsewhere"


def test_filters_of_one_field_are_alternatives_and_fields_add_up(here: Here) -> None:
    here.ok("user", "add", "bo")
    here.ok("project", "add", "api")
    here.ok("task", "add", "Alpha 100%", "--project", "api", "--tag", "x", "--assign", "bo")
    here.ok("task", "add", "Beta", "--priority", "high", "--tag", "y", "--status", "in_progress")
    here.ok("task", "add", "Gamma", "--project", "api", "--priority", "low")
    here.ok("task", "edit", "3", "--owner", "bo")

    def found(*filters: str) -> str:
        return "".join(task["title"][0] for task in here.ok("task", "list", *filters))

    assert found("--tag", "X", "--tag", "y") == "AB"
    assert found("--tag", "x", "--priority", "high") == ""
    assert found("--project", "api") == "AG"
    assert found("--project", "none") == "B"
    assert found("--project", "API", "--project", "none") == "ABG"
    assert found("--status", "todo", "--project", "api") == "AG"
    assert found("--assignee", "none") == "BG"
    assert found("--assignee", "BO") == found("--assigned") == "A"
    assert found("--assignee", "me") == ""
    assert found("--unassigned", "--priority", "low") == "G"
    assert found("--owner", "me") == "AB"
    assert found("--owner", "bo") == "G"
    assert found("--title", "A") == "ABG"
    assert found("--title", "0%", "--title", "GAM") == "AG", "a percent sign is itself"
    assert found("--title", "_") == ""
    assert found("--sort", "-title") == "GBA"
    assert found("--sort", "priority", "--limit", "1") == "B"
    for wrong in (["--project", "zzz"], ["--tag", "zzz"], ["--assignee", "zzz"], ["--owner", "z"]):
        assert "no such" in here.refused("task", "list", *wrong, code=3)


def test_where_a_task_goes_that_names_no_project(here: Here) -> None:
    here.ok("project", "add", "api")
    assert here.ok("task", "add", "a")["project"] is None
    (here.home / ".concord.toml").write_text("project = 'api'\n")
    assert here.ok("task", "add", "b")["project"] == "API"
    assert here.ok("task", "add", "c", "--project", "none")["project"] is None
    told = here.refused("task", "add", "d", "--project", "web", code=3)
    assert "no such project: WEB" in told
    assert "concord project add WEB" in told


def test_projects(here: Here) -> None:
    made = here.ok("project", "add", "api", "--name", "Interface", "--description", "public")
    assert (made["key"], made["name"], made["description"]) == ("API", "Interface", "public")
    edited = here.ok("project", "edit", "Api", "--key", "web", "--description", "none")
    assert (edited["key"], edited["description"], edited["version"]) == ("WEB", None, 2)
    here.ok("task", "add", "a", "--project", "web")
    assert "it still has tasks" in here.refused("project", "delete", "web", "--yes", code=1)
    assert here.ok("project", "archive", "web")["archived_at"] is not None
    assert here.ok("project", "list") == []
    assert [row["key"] for row in here.ok("project", "list", "--archived")] == ["WEB"]
    assert "archived" in here.refused("task", "add", "b", "--project", "web", code=1)
    assert here.ok("project", "archive", "web", "--undo")["archived_at"] is None
    here.ok("task", "move", "1", "--project", "none")
    assert here.ok("project", "delete", "web", "--yes")["key"] == "WEB"
    assert here.ok("project", "list") == []
    assert "no such project" in here.refused("project", "show", "web", code=3)


def test_users(here: Here) -> None:
    made = here.ok("user", "add", "bo", "--email", "bo@example.org")
    assert here.ok("user", "show", "BO") == made
    assert here.ok("user", "show", "me")["username"] == "ana"
    assert here.ok("user", "edit", "bo", "--name", "bob", "--email", "none")["email"] is None
    assert [user["username"] for user in here.ok("user", "list")] == ["ana", "bob"]
    task = str(add(here, "one")[0])
    here.ok("assign", task, "bob")
    assert here.ok("user", "delete", "bob", "--yes")["username"] == "bob"
    assert here.ok("task", "show", task)["assignees"] == []
    assert "still owns tasks" in here.refused("user", "delete", "ana", "--yes", code=1)


def test_tags(here: Here) -> None:
    here.ok("tag", "add", "bug")
    first, second = map(str, add(here, "one", "two"))
    here.ok("task", "tag", first, second, "BUG", "ui")
    assert [(tag["name"], tag["tasks"]) for tag in here.ok("tag", "list")] == [
        ("bug", 2),
        ("ui", 2),
    ]
    here.ok("tag", "rename", "bug", "defect")
    assert here.ok("task", "show", first)["tags"] == ["defect", "ui"]
    assert here.ok("tag", "delete", "ui", "--yes")["tasks"] == 2
    assert here.ok("task", "show", second)["tags"] == ["defect"]
    assert "no such tag: nope" in here.refused("task", "untag", first, "nope", code=3)


def names(arguments: list[str]) -> str:
    return " ".join(arguments)


@pytest.mark.parametrize(
    "command",
    [["task", "purge", "1"], ["project", "delete", "api"], ["tag", "delete", "bug"],
     ["user", "delete", "bo"]],
    ids=names,
)  # fmt: skip
def test_what_cannot_be_taken_back_asks_only_on_a_terminal(
    here: Here, concord: CommandLine, url: str, command: list[str]
) -> None:
    here.ok("user", "add", "bo")
    here.ok("project", "add", "api")
    here.ok("task", "add", "one", "--tag", "bug")
    here.ok("task", "delete", "1")
    before = tables(url)
    told = here.refused(*command, code=2, stdin="y\n")
    assert "Nobody is there to confirm it" in told
    assert "--yes" in told

    with Terminal(concord, *command) as terminal:
        refused = terminal.wait_for("[y/N]").type("n\n").end()
    assert refused.code == 130
    assert tables(url) == before

    with Terminal(concord, *command) as terminal:
        assert terminal.wait_for("[y/N]").type("y\n").end().code == 0
    assert tables(url) != before


def test_a_real_process_does_it_too(concord: CommandLine) -> None:
    made: Any = concord.ok("task", "add", "Grüße, 世界 🎉", "--due", "2030-01-01")
    assert made["title"] == "Grüße, 世界 🎉"
    assert concord("task", "list", "--quiet").out == f"{made['id']}\n"
    assert concord.ok("task", "done", "-", stdin=f"{made['id']}\n")[0]["status"] == "completed"
