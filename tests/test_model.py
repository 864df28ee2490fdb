"""The task commands against a plain model of them, in any order, on a real database."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from audit import check_history
from conftest import settings_for
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from concord.database import Database
from concord.errors import ConcordError, Conflict, NotFound, Refused
from concord.sql import assignments, listing, projects, tags, tasks, users
from concord.vocabulary import PRIORITIES, STATUSES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from databases import Databases

pytestmark = pytest.mark.crew

PROJECTS = ("API", "WEB")
ARCHIVED = "OLD"
USERS = ("ana", "bo")
TAGS = ("bug", "ui", "x")

TITLES = st.sampled_from(["Alpha", "alpha beta", "Beta", "50%", "5_0"])
PEOPLE = st.lists(st.sampled_from(["ana", "BO", "me"]), unique_by=str.lower, max_size=2)
LABELS = st.lists(st.sampled_from(["bug", "BUG", "ui", "x"]), unique_by=str.lower, min_size=1)
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "title": TITLES,
        "description": st.sampled_from([None, "", "text"]),
        "status": st.sampled_from(STATUSES),
        "priority": st.sampled_from(PRIORITIES),
        "owner": st.sampled_from(USERS),
    },
).filter(bool)
WHICH = st.lists(st.integers(0, 7), min_size=1, max_size=3, unique=True)
"""Tasks by the order in which they were made; numbers beyond the last stand for none."""

FILTERS: dict[str, st.SearchStrategy[Any]] = {
    "projects": st.lists(st.sampled_from([*PROJECTS, "none"]), unique=True),
    "statuses": st.lists(st.sampled_from(STATUSES), unique=True),
    "tags": st.lists(st.sampled_from(["BUG", "ui"]), unique=True),
    "assignees": st.lists(st.sampled_from(["me", "Bo", "none"]), unique=True),
    "owners": st.lists(st.sampled_from(["me", "Bo"]), unique=True),
    "priorities": st.lists(st.sampled_from(PRIORITIES), unique=True),
    "titles": st.lists(st.sampled_from(["ALPHA", "%", "_", "a b"]), unique=True),
    "assigned": st.sampled_from([None, True, False]),
    "trash": st.sampled_from([None, True, False]),
}
SORTS: dict[str, Callable[[Modelled], Any]] = {
    "id": lambda task: task.id,
    "title": lambda task: task.title.lower(),
    "status": lambda task: STATUSES.index(task.status),
    "priority": lambda task: -PRIORITIES.index(task.priority),
}


@dataclass
class Modelled:
    """A task as it has to be."""

    id: int
    title: str
    project: str | None = None
    description: str | None = None
    status: Any = "todo"
    priority: Any = "none"
    owner: str = "ana"
    tags: set[str] = field(default_factory=set[str])
    assignees: set[str] = field(default_factory=set[str])
    deleted: bool = False
    version: int = 1

    def matches(self, filters: dict[str, Any]) -> bool:
        """Whether a list with these filters shows it."""
        people = {"me" if name == "ana" else name for name in self.assignees} or {"none"}
        return all(
            [
                not filters["projects"] or (self.project or "none") in filters["projects"],
                not filters["statuses"] or self.status in filters["statuses"],
                not filters["tags"] or {tag.lower() for tag in filters["tags"]} & self.tags,
                not filters["assignees"] or {n.lower() for n in filters["assignees"]} & people,
                not filters["owners"]
                or ("me" if self.owner == "ana" else "Bo") in filters["owners"],
                not filters["priorities"] or self.priority in filters["priorities"],
                not filters["titles"]
                or any(text.lower() in self.title.lower() for text in filters["titles"]),
                filters["assigned"] in (None, bool(self.assignees)),
                filters["trash"] in (None, self.deleted),
            ]
        )


class TaskCommands(RuleBasedStateMachine):
    """Runs each command on the database and on the model, and compares the two."""

    def __init__(self, databases: Databases) -> None:
        super().__init__()
        self.model: dict[int, Modelled] = {}
        self.made: list[int] = []
        self.tags: set[str] = set()
        self._opened = ExitStack()
        self.url = self._opened.enter_context(databases.lent())
        self.database = self._opened.enter_context(Database(settings_for(self.url), "test"))
        self.database.run(users.add, "bo")
        for key in (*PROJECTS, ARCHIVED):
            self.database.run(projects.add, key)
        self.database.run(projects.archive, ARCHIVED)

    def teardown(self) -> None:
        """Compare the history as well, once a run."""
        with self._opened:
            assert check_history(self.url) == len(self.model)

    def ids(self, which: list[int]) -> list[int]:
        """Return ids of tasks that exist, are in the trash, are gone or never were."""
        return [self.made[n] if n < len(self.made) else 1_000_000 + n for n in which]

    def run(
        self, expected: type[ConcordError] | None, operation: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """Run an operation that has to succeed, or to raise what was expected."""
        if expected is None:
            return self.database.run(operation, *args, **kwargs)
        with pytest.raises(expected):
            self.database.run(operation, *args, **kwargs)
        return None

    def change(self, ids: Iterable[int], **values: Any) -> None:
        """Give tasks of the model values; one that changes gets a version."""
        for task in map(self.model.__getitem__, ids):
            if any(getattr(task, name) != value for name, value in values.items()):
                task.version += 1
            vars(task).update(values)

    def missing(self, ids: Iterable[int], *, trashed: bool = False) -> type[ConcordError] | None:
        """Return the error if one of the tasks is not there (or in the trash, if that is asked)."""
        there = {i for i, task in self.model.items() if task.deleted == trashed}
        return None if there >= set(ids) else NotFound

    @rule(
        title=TITLES,
        project=st.sampled_from([None, *PROJECTS, ARCHIVED, "NOPE"]),
        labels=st.one_of(st.just([]), LABELS),
        people=st.one_of(PEOPLE, st.just(["nobody"])),
        priority=st.sampled_from(PRIORITIES),
    )
    def add(
        self, title: str, project: str | None, labels: list[str], people: list[str], priority: Any
    ) -> None:
        error = {ARCHIVED: Refused, "NOPE": NotFound}.get(project or "")
        error = error or (NotFound if people == ["nobody"] else None)
        new = tasks.NewTask(
            title, project=project, tags=labels, assignees=people, priority=priority
        )
        added = self.run(error, tasks.add, new)
        if added is not None:
            self.made.append(added.id)
            self.model[added.id] = Modelled(added.id, title, project, priority=priority)
            self.label(added.id, labels)
            self.model[added.id].assignees = named(people)

    def label(self, task: int, labels: list[str]) -> None:
        """Put tags on a task of the model: the first spelling of a tag is its name."""
        self.tags |= {label.lower() for label in labels}
        self.model[task].tags = self.model[task].tags | {label.lower() for label in labels}

    @rule(which=WHICH, changes=CHANGES)
    def edit(self, which: list[int], changes: dict[str, Any]) -> None:
        ids = self.ids(which)
        if self.run(self.missing(ids), tasks.edit, ids, changes) is not None:
            self.change(ids, **changes)

    @rule(which=st.integers(0, 7), behind=st.integers(0, 2), title=TITLES)
    def edit_at_a_version(self, which: int, behind: int, title: str) -> None:
        (task,) = self.ids([which])
        version = self.model[task].version - behind if task in self.model else 1
        error = self.missing([task]) or (Conflict if behind else None)
        if self.run(error, tasks.edit, [task], {"title": title}, if_version=version) is not None:
            self.change([task], title=title)

    @rule(which=WHICH)
    def append(self, which: list[int]) -> None:
        ids = self.ids(which)
        if self.run(self.missing(ids), tasks.edit, ids, {}, append_description="+") is None:
            return
        for task in ids:
            before = self.model[task].description
            self.change([task], description=f"{before}\n\n+" if before else "+")

    @rule(which=WHICH, status=st.sampled_from(STATUSES))
    def set_status(self, which: list[int], status: Any) -> None:
        ids = self.ids(which)
        if self.run(self.missing(ids), tasks.set_status, ids, status) is not None:
            self.change(ids, status=status)

    @rule(which=WHICH, people=st.one_of(PEOPLE, st.just(["nobody"])))
    def assign(self, which: list[int], people: list[str]) -> None:
        ids = self.ids(which)
        error = self.missing(ids) or (NotFound if people == ["nobody"] else None)
        if self.run(error, assignments.assign, ids, people) is not None:
            for task in ids:
                self.change([task], assignees=self.model[task].assignees | named(people))

    @rule(which=WHICH, people=PEOPLE)
    def unassign(self, which: list[int], people: list[str]) -> None:
        ids = self.ids(which)
        if self.run(self.missing(ids), assignments.unassign, ids, people) is not None:
            for task in ids:
                left = self.model[task].assignees - named(people) if people else set[str]()
                self.change([task], assignees=left)

    @rule(which=WHICH, labels=LABELS)
    def tag(self, which: list[int], labels: list[str]) -> None:
        ids = self.ids(which)
        if self.run(self.missing(ids), tags.tag, ids, labels) is not None:
            for task in ids:
                before = self.model[task].tags
                self.label(task, labels)
                self.model[task].version += self.model[task].tags != before

    @rule(which=WHICH, labels=LABELS)
    def untag(self, which: list[int], labels: list[str]) -> None:
        ids = self.ids(which)
        gone = {label.lower() for label in labels}
        error = self.missing(ids) or (None if gone <= self.tags else NotFound)
        if self.run(error, tags.untag, ids, labels) is not None:
            for task in ids:
                self.change([task], tags=self.model[task].tags - gone)

    @rule(which=WHICH, project=st.sampled_from([None, *PROJECTS, ARCHIVED, "NOPE"]))
    def move(self, which: list[int], project: str | None) -> None:
        ids = self.ids(which)
        error = {ARCHIVED: Refused, "NOPE": NotFound}.get(project or "") or self.missing(ids)
        if self.run(error, tasks.move, ids, project) is not None:
            self.change(ids, project=project)

    @rule(which=WHICH)
    def delete(self, which: list[int]) -> None:
        ids = self.ids(which)
        if self.run(self.missing(ids), tasks.delete, ids) is not None:
            self.change(ids, deleted=True)

    @rule(which=WHICH)
    def restore(self, which: list[int]) -> None:
        ids = self.ids(which)
        error = None if self.model.keys() >= set(ids) else NotFound
        if self.run(error, tasks.restore, ids) is not None:
            self.change(ids, deleted=False)

    @rule(which=WHICH)
    def purge(self, which: list[int]) -> None:
        ids = self.ids(which)
        present = any(not self.model[task].deleted for task in ids if task in self.model)
        error = Refused if present else self.missing(ids, trashed=True)
        if self.run(error, tasks.purge, ids) is not None:
            for task in ids:
                del self.model[task]

    @rule(
        filters=st.fixed_dictionaries(FILTERS),
        sort=st.sampled_from([*SORTS, *(f"-{name}" for name in SORTS)]),
        limit=st.integers(1, 3),
    )
    def list(self, filters: dict[str, Any], sort: str, limit: int) -> None:
        """Page through a list; it has to be the model's, in order, nothing twice."""
        key = SORTS[sort.removeprefix("-")]
        expected = sorted(
            (task for task in self.model.values() if task.matches(filters)),
            key=lambda task: (key(task), task.id),
            reverse=sort.startswith("-"),
        )
        wanted = listing.Filters(**filters)
        if not expected and not {tag.lower() for tag in filters["tags"]} <= self.tags:
            self.run(NotFound, listing.page, wanted, sort=sort, limit=limit)
            return
        shown: list[int] = []
        after = None
        for _ in range(len(expected) + 1):
            page = self.database.run(listing.page, wanted, sort=sort, limit=limit, after=after)
            shown += [task.id for task in page.items]
            after = page.after
            if after is None:
                break
        assert shown == [task.id for task in expected]
        assert after is None

    @invariant()
    def the_tasks_are_those_of_the_model(self) -> None:
        found = self.database.run(listing.page, listing.Filters(trash=None)).items
        for task in found:
            assert (task.completed_at is not None) == (task.status == "completed")
        assert [
            {
                **{name: getattr(task, name) for name in asdict(expected) if name != "deleted"},
                "tags": {tag.lower() for tag in task.tags},
                "assignees": set(task.assignees),
                "deleted": task.deleted_at is not None,
            }
            for task, expected in zip(found, self.model.values(), strict=True)
        ] == [asdict(task) for task in self.model.values()]


def named(people: list[str]) -> set[str]:
    """Return the usernames that names on the command line stand for."""
    return {"ana" if name == "me" else name.lower() for name in people}


def test_the_commands_do_what_the_model_says(crew_databases: Databases) -> None:
    class OnThisServer(TaskCommands):
        def __init__(self) -> None:
            super().__init__(crew_databases)

    run_state_machine_as_test(
        OnThisServer,
        settings=settings(
            max_examples=30,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
