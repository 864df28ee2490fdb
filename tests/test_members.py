"""`concord project member`: roles in projects, and what each of them may do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import pytest
from conftest import settings_for
from workers import Worker, Workers, psql

from concord.database import Database
from concord.errors import Forbidden, NotFound, Refused
from concord.sql import members, projects, tasks
from concord.sql.tasks import NewTask

if TYPE_CHECKING:
    from collections.abc import Iterator

    from commands import Here

    from concord.database import Operation


class As(Protocol):
    """Runs an operation as somebody."""

    def __call__(self, user: str, operation: Operation[..., Any], *args: Any, **more: Any) -> Any:
        """Run it."""
        ...


@pytest.fixture
def run_as(url: str) -> Iterator[As]:
    """Ana, bo and cy, on a connection each; ana has the private project API."""
    psql(url, "INSERT INTO users (username) VALUES ('bo'), ('cy')")
    made = {user: Database(settings_for(url, user=user), "test") for user in ("ana", "bo", "cy")}

    def run(user: str, operation: Operation[..., Any], *args: Any, **more: Any) -> Any:
        return made[user].run(operation, *args, **more)

    run("ana", projects.add, "API", visibility="private")
    yield run
    for database in made.values():
        database.close()


def roles(run_as: As, user: str = "ana") -> list[tuple[str, str]]:
    return [(member.user, member.role) for member in run_as(user, members.list_all, "API")]


# Roles


def test_a_role_is_given_changed_and_taken_away(here: Here) -> None:
    here.ok("user", "add", "bo")
    here.ok("project", "add", "API")
    added = here.ok("project", "member", "add", "api", "BO")
    assert (added["user"], added["role"]) == ("bo", "member")
    assert here.ok("project", "member", "add", "API", "bo", "--role", "owner") == {
        **added,
        "role": "owner",
    }
    assert here.ok("project", "member", "add", "API", "bo", "--role", "viewer")["role"] == "viewer"
    listed = here.ok("project", "member", "list", "API")
    assert [(row["user"], row["role"]) for row in listed] == [("ana", "owner"), ("bo", "viewer")]
    assert here("project", "member", "list", "API", "-q").out == "ana\nbo\n"
    assert here.ok("project", "member", "remove", "API", "bo")["role"] == "viewer"
    told = here.refused("project", "member", "remove", "API", "bo", code=3)
    assert told == (
        "error: bo has no role in project API\nhint: See: concord project member list API\n"
    )


def test_what_is_not_there_is_named(here: Here) -> None:
    here.ok("project", "add", "API")
    assert "no such user: bo" in here.refused("project", "member", "add", "API", "bo", code=3)
    for words in (["add", "WEB", "ana"], ["remove", "WEB", "me"], ["list", "WEB"]):
        told = here.refused("project", "member", *words, code=3)
        assert told.startswith("error: no such project: WEB\n")


def test_the_role_that_one_has_is_no_change(run_as: As, url: str) -> None:
    first = run_as("ana", members.add, "API", "bo", "viewer")
    count = "SELECT count(*) FROM history WHERE entity = 'member'"
    assert psql(url, count) == [(1,)]
    assert run_as("ana", members.add, "API", "bo", "viewer") == first
    assert psql(url, count) == [(1,)]


@pytest.mark.parametrize("words", [["add", "API", "ana"], ["remove", "API", "me"]])
def test_a_project_keeps_the_owner_whose_name_it_bears(here: Here, words: list[str]) -> None:
    here.ok("user", "add", "bo")
    here.ok("project", "add", "API")
    here.ok("project", "member", "add", "API", "bo", "--role", "owner")
    told = here.refused("project", "member", *words, code=1)
    assert "the last owner" in told
    assert "concord project edit API --owner" in told.replace("KEY", "API")
    here.ok("project", "edit", "API", "--owner", "bo")
    assert here.ok("project", "member", *words)["user"] == "ana"


def test_whoever_gives_a_project_away_stays_an_owner_of_it(run_as: As) -> None:
    run_as("ana", projects.edit, "API", {"owner": "bo"})
    assert roles(run_as) == [("ana", "owner"), ("bo", "owner")]
    run_as("bo", members.remove, "API", "ana")
    with pytest.raises(NotFound):
        run_as("ana", projects.show, "API")


def test_a_user_who_is_deleted_is_no_member_any_more(here: Here) -> None:
    here.ok("user", "add", "bo")
    here.ok("project", "add", "API")
    here.ok("project", "member", "add", "API", "bo")
    here.ok("user", "delete", "bo", "--yes")
    assert here("project", "member", "list", "API", "-q").out == "ana\n"
    (change,) = (row for row in here.ok("history") if row["old"].get("role") == "member")
    assert (change["operation"], change["entity"]) == ("user delete", "member")


# Who may say so


@pytest.mark.parametrize("role", ["viewer", "member"])
def test_only_owners_change_a_project_and_its_members(run_as: As, role: str) -> None:
    run_as("ana", members.add, "API", "bo", role)
    asked: list[tuple[Any, ...]] = [
        (members.add, "API", "cy", "viewer"),
        (members.add, "API", "bo", "owner"),
        (members.remove, "API", "ana"),
        (projects.edit, "API", {"name": "Mine"}),
        (projects.edit, "API", {"owner": "bo"}),
        (projects.edit, "API", {"visibility": "shared"}),
        (projects.archive, "API"),
        (projects.delete, "API"),
    ]
    before = run_as("ana", projects.show, "API"), roles(run_as)
    for operation, *given in asked:
        with pytest.raises(Forbidden, match=r"^not yours to change: project API$") as raised:
            run_as("bo", operation, *given)
        assert "concord project member list API" in str(raised.value.hint)
    assert (run_as("ana", projects.show, "API"), roles(run_as, "bo")) == before
    run_as("ana", members.add, "API", "bo", "owner")
    run_as("bo", members.add, "API", "cy", "viewer")
    run_as("bo", projects.edit, "API", {"name": "Ours"})
    run_as("bo", projects.delete, "API")


def test_to_a_stranger_a_private_project_is_none(run_as: As) -> None:
    asked: list[tuple[Any, ...]] = [
        (members.list_all,),
        (members.add, "cy", "viewer"),
        (members.add, "nobody", "viewer"),
        (members.remove, "ana"),
        (members.remove, "bo"),
        (members.remove, "me"),
        (projects.show,),
        (projects.edit, {"name": "Mine"}),
        (projects.archive,),
        (projects.delete,),
    ]
    for operation, *given in asked:
        told: list[tuple[str, str | None]] = []
        for key in ("API", "NONE"):
            with pytest.raises(NotFound) as raised:
                run_as("bo", operation, key, *given)
            told.append((raised.value.message, raised.value.hint))
        missing = [text and text.replace("NONE", "API") for text in told[1]]
        assert [*told[0]] == missing, operation.name


def test_anybody_may_leave(run_as: As) -> None:
    for role in ("viewer", "member", "owner"):
        run_as("ana", members.add, "API", "bo", role)
        assert run_as("bo", members.remove, "API", "me").role == role
        with pytest.raises(NotFound):
            run_as("bo", projects.show, "API")
    assert roles(run_as) == [("ana", "owner")]


def test_in_a_shared_project_one_without_a_role_is_as_a_member(run_as: As) -> None:
    run_as("ana", projects.edit, "API", {"visibility": "shared"})
    run_as("ana", tasks.add, NewTask("One", project="API"))
    run_as("bo", tasks.edit, [1], {"priority": "low"})
    with pytest.raises(Forbidden, match="not yours to change: project API"):
        run_as("bo", members.add, "API", "bo", "owner")
    run_as("ana", members.add, "API", "bo", "viewer")
    with pytest.raises(Forbidden, match="not yours to change: 1"):
        run_as("bo", tasks.edit, [1], {"title": "Two"})


# Two at once


def test_of_two_owners_who_remove_each_other_one_stays(workers: Workers, ana: Worker) -> None:
    ana.run(projects.add, "API").result()
    for user in ("bo", "cy"):
        ana.run(members.add, "API", user, "owner").result()
    bo, cy, gate = workers.patient("bo"), workers.patient("cy"), workers.gate()
    first = bo.run(gate.before_commit(members.remove), "API", "cy")
    second = cy.run(members.remove, "API", "bo")
    assert cy.waits_for(bo)
    gate.open()
    assert first.result().user == "cy"
    with pytest.raises(Forbidden, match="not yours to change: project API"):
        second.result()


def test_who_is_just_given_the_project_is_not_removed(workers: Workers, ana: Worker) -> None:
    ana.run(projects.add, "API").result()
    ana.run(members.add, "API", "bo", "owner").result()
    other, gate = workers.patient("ana"), workers.gate()
    given = ana.run(gate.before_commit(projects.edit), "API", {"owner": "bo"})
    removed = other.run(members.remove, "API", "bo")
    assert other.waits_for(ana)
    gate.open()
    assert given.result().owner == "bo"
    with pytest.raises(Refused, match="the last owner"):
        removed.result()


def test_nobody_becomes_a_member_of_a_project_that_goes(workers: Workers, ana: Worker) -> None:
    ana.run(projects.add, "API").result()
    other, gate = workers.patient("ana"), workers.gate()
    gone = ana.run(gate.before_commit(projects.delete), "API")
    added = other.run(members.add, "API", "bo", "member")
    assert other.waits_for(ana)
    gate.open()
    gone.result()
    with pytest.raises(NotFound, match="no such project: API"):
        added.result()


# Tasks


def test_no_task_goes_where_one_may_only_look_on(run_as: As) -> None:
    run_as("ana", members.add, "API", "bo", "viewer")
    run_as("bo", tasks.add, NewTask("Mine"))
    for operation, *given in (
        (tasks.add, NewTask("Two", project="API")),
        (tasks.add, NewTask("Two", project="API", tags=["new"])),
        (tasks.move, [1], "API"),
    ):
        with pytest.raises(Forbidden, match=r"^you may only look on in project API$") as raised:
            run_as("bo", operation, *given)
        assert "concord project member add API NAME" in str(raised.value.hint)
    run_as("ana", members.add, "API", "bo", "member")
    assert run_as("bo", tasks.move, [1], "API")[0].project == "API"


def test_a_task_is_not_put_out_of_ones_own_sight(run_as: As) -> None:
    run_as("bo", tasks.add, NewTask("Mine"))
    with pytest.raises(Forbidden, match=r"^you would not see it any more: 1$") as raised:
        run_as("bo", tasks.edit, [1], {"owner": "ana"})
    assert "concord task assign 1" in str(raised.value.hint)
    run_as("ana", members.add, "API", "bo", "member")
    run_as("ana", tasks.add, NewTask("Hers", project="API"))
    with pytest.raises(Forbidden, match=r"^you would not see it any more: 2$"):
        run_as("bo", tasks.move, [2], None)
    assert run_as("bo", tasks.show, [1, 2])[1].project == "API"


# Visibility


def test_a_project_is_private_if_it_is_said_to_be(here: Here, url: str) -> None:
    here.ok("user", "add", "bo")
    assert here.ok("project", "add", "WEB")["visibility"] == "shared"
    assert here.ok("project", "add", "HR", "--visibility", "private")["visibility"] == "private"
    with Database(settings_for(url, user="bo"), "test") as bo:
        assert [project.key for project in bo.run(projects.list_all)] == ["WEB"]
        here.ok("project", "edit", "HR", "--visibility", "shared")
        here.ok("project", "edit", "WEB", "--visibility", "private")
        assert [project.key for project in bo.run(projects.list_all)] == ["HR"]
    assert "'open' is not one of 'shared', 'private'" in here.refused(
        "project", "edit", "HR", "--visibility", "open", code=2
    )
