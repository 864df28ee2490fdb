"""Tasks on their way to a foreign file: as that file's format will tell them, refs and all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from concord.models import ExportedTask, ImportedComment, ImportedTask

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A task to be written: `told` has refs where the task has ids.

    Other tasks that are not written with it have no ref, and are left out. `extra` is what the
    format said when the task was imported from it.
    """

    told: ImportedTask
    children: tuple[str, ...]
    extra: Mapping[str, Any]


def again(tasks: Iterable[ExportedTask]) -> Iterable[ExportedTask]:
    """Return tasks so that they can be gone through twice.

    A task names others by their refs, which may be further on. What can be gone through only once
    is thus held in memory, and anything else is not.
    """
    return tuple(tasks) if isinstance(tasks, Iterator) else tasks


def outgoing(
    tasks: Iterable[ExportedTask], refs: Mapping[int, str], format_name: str
) -> Iterator[Outgoing]:
    """Yield each task with refs for ids."""
    for task in tasks:
        yield Outgoing(
            told=_told(task, refs),
            children=_named(task.children, refs),
            extra=task.extra.get(format_name, {}),
        )


def _told(task: ExportedTask, refs: Mapping[int, str]) -> ImportedTask:
    return ImportedTask(
        ref=refs[task.id],
        line=task.id,
        title=task.title,
        description=task.description,
        status=task.status,
        priority=task.priority,
        due=task.due,
        tags=task.tags,
        assignees=task.assignees,
        owner=task.owner,
        created_at=task.created_at,
        updated_at=task.updated_at,
        completed_at=task.completed_at,
        canceled_at=task.canceled_at,
        started_at=task.started_at,
        parent=None if task.parent is None else refs.get(task.parent),
        blocked_by=_named(task.blocked_by, refs),
        comments=tuple(
            ImportedComment(each.body, each.author, each.created_at, each.external_ref)
            for each in task.comments
        ),
    )


def _named(ids: Iterable[int], refs: Mapping[int, str]) -> tuple[str, ...]:
    return tuple(refs[each] for each in ids if each in refs)
