"""Small files in each format that can be imported, all telling of the same kind of task."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from concord.models import Status


@dataclass(frozen=True)
class Told:
    """What a file says of its task `number`, in words that every format has."""

    number: int = 1
    title: str = "First"
    description: str | None = "As agreed."
    status: Status = "todo"
    tags: tuple[str, ...] = ()
    blocked_by: tuple[int, ...] = ()

    @property
    def uid(self) -> str:
        """The identity by which Concord's own format knows it."""
        return str(UUID(int=self.number))


def spec_kit(tasks: Iterable[Told]) -> str:
    """Return a `tasks.md`; of tags it knows `parallel` and `us1`."""
    return "\n".join(_item(task) for task in tasks)


def _item(task: Told) -> str:
    box = "x" if task.status == "completed" else " "
    markers = "".join(f"[{'P' if tag == 'parallel' else tag.upper()}] " for tag in task.tags)
    body = f"\n  {task.description}" if task.description else ""
    if task.blocked_by:
        body += f"\n  (depends on {', '.join(f'T{other:03}' for other in task.blocked_by)})"
    return f"- [{box}] T{task.number:03} {markers}{task.title}{body}"


def beads(tasks: Iterable[Told]) -> str:
    """Return a beads export."""
    return "\n".join(
        json.dumps(
            {
                "id": f"bd-{task.number}",
                "title": task.title,
                "description": task.description,
                "status": "closed" if task.status == "completed" else "open",
                "labels": list(task.tags),
                "updated_at": "2026-01-02T03:04:05Z",
                "dependencies": [
                    {"type": "blocks", "depends_on_id": f"bd-{other}"} for other in task.blocked_by
                ],
            }
        )
        for task in tasks
    )


def jsonl(tasks: Iterable[Told]) -> str:
    """Return what `export jsonl` writes, of tasks in project API."""
    return "\n".join(
        json.dumps(
            {
                "uid": task.uid,
                "id": task.number,
                "blocked_by": task.blocked_by,
                "project": "API",
                "title": task.title,
                "description": task.description,
                "status": task.status,
                "tags": list(task.tags),
                "owner": "ana",
            }
        )
        for task in tasks
    )


def own_line(number: int, **fields: Any) -> str:
    """Return a line that `import jsonl` takes, but for what the fields break."""
    told = {"uid": Told(number).uid, "title": f"t{number}", "owner": "ana"}
    return json.dumps(told | fields) + "\n"


FORMATS: dict[str, Callable[[Iterable[Told]], str]] = {
    "spec-kit": spec_kit,
    "beads": beads,
    "jsonl": jsonl,
}
