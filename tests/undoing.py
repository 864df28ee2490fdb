"""Those who undo: users of one database, and what people see of it before and after."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, LiteralString, Self

import psycopg
import pytest
from conftest import settings_for

from concord.database import Database
from concord.sql import history, tasks, undo

if TYPE_CHECKING:
    from concord.database import Operation
    from concord.errors import ConcordError
    from concord.models import Change, Task, Undone

# All that an undo restores. Not versions, the times of changes, whose a tag was, nor the trash: a
# task that was made and undone lies there.
TASKS: LiteralString = """
SELECT t.id, task_fields(t) || jsonb_build_object(
    'tags', ARRAY(SELECT g.name FROM task_tags x JOIN tags g ON g.id = x.tag_id
                  WHERE x.task_id = t.id ORDER BY g.name),
    'assignees', ARRAY(SELECT u.username FROM assignments x JOIN users u ON u.id = x.user_id
                       WHERE x.task_id = t.id ORDER BY u.username),
    'blocked_by', ARRAY(SELECT blocker_id FROM links WHERE blocked_id = t.id ORDER BY 1),
    'comments', ARRAY(SELECT to_jsonb(c) FROM comments c WHERE c.task_id = t.id ORDER BY c.id))
FROM tasks t WHERE t.deleted_at IS NULL
"""
OTHERS: LiteralString = """
SELECT 'user', id, to_jsonb(u) - 'created_at' FROM users u
UNION ALL
SELECT 'project', id, to_jsonb(p) - '{version,created_at,updated_at}'::text[] FROM projects p
UNION ALL
SELECT 'tag', id, to_jsonb(g) - 'made_by' FROM tags g
UNION ALL
SELECT 'view', id, to_jsonb(v) - '{created_at,updated_at}'::text[] FROM views v
"""

State = dict[tuple[str, int], Any]
"""(entity, id) → its fields."""


def by_hand(url: str, *queries: LiteralString) -> None:
    """Run statements as `ana` would in psql, in one transaction."""
    with psycopg.connect(url, application_name="psql") as connection:
        connection.execute("SELECT set_config('concord.actor', 'ana', true)")
        for query in queries:
            connection.execute(query)


class Users:
    """`ana` and `bo` on one database: `users.bo(operation, …)`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._opened = ExitStack()
        self._ana, self._bo = (
            self._opened.enter_context(
                Database(settings_for(url, user=name), f"by {name}", newcomer="add")
            )
            for name in ("ana", "bo")
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def ana(self, operation: Operation[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run an operation as `ana`."""
        return self._ana.run(operation, *args, **kwargs)

    def bo(self, operation: Operation[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run an operation as `bo`."""
        return self._bo.run(operation, *args, **kwargs)

    def undo(self, **options: Any) -> tuple[Undone, ...]:
        """Undo what `ana` did."""
        return self.ana(undo.run, **options)

    def refused(self, error: type[ConcordError], **options: Any) -> ConcordError:
        """Undo what `ana` did, which must fail and change nothing; return the error."""
        before, told = self.state(), self.newest()
        with pytest.raises(error) as caught:
            self.undo(**options)
        assert (self.state(), self.newest()) == (before, told)
        assert type(caught.value) is error
        return caught.value

    def add(self, title: str = "x", **fields: Any) -> int:
        """Return the id of a new task of `ana`'s."""
        return self.ana(tasks.add, tasks.NewTask(title, **fields)).id

    def task(self, number: int) -> Task:
        """Return a task."""
        return self.ana(tasks.show, [number])[0]

    def newest(self) -> Change:
        """Return the newest row of history."""
        return self.ana(history.page, history.Filters(), limit=1).items[0]

    def state(self) -> State:
        """Return what people see."""
        with psycopg.connect(self.url) as connection:
            tasks = connection.execute(TASKS).fetchall()
            others = connection.execute(OTHERS).fetchall()
        return {("task", number): fields for number, fields in tasks} | {
            (entity, number): fields for entity, number, fields in others
        }


def clashes(error: Any) -> list[tuple[str, int, tuple[str, ...]]]:
    """Return what a conflict names."""
    return [(one["entity"], one["id"], one["fields"]) for one in error.details["conflicts"]]
