"""`concord task edit ID` without options: the task in the user's own editor."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from concord.cli.options import DUE, PRIORITY, STATUS
from concord.errors import ConcordError, Conflict, Usage
from concord.formats import front_matter

if TYPE_CHECKING:
    from concord.cli.app import App
    from concord.models import Task

FIELDS = ("title", "status", "priority", "due", "owner")


def edit_task(app: App, task_id: int, if_version: int | None) -> None:
    """Let the user edit a task as a file, and write the fields that they changed.

    The transaction begins only when the editor is closed. What others changed meanwhile in other
    fields stays. Raises `Conflict` where both changed the same field: the user's text is then
    kept in a file that the message names.
    """
    from concord.sql import tasks

    (base,) = app.run(tasks.show, [task_id])
    if if_version is not None and base.version != if_version:
        app.run(tasks.edit, [task_id], {"title": base.title}, if_version=if_version)
    before = _dump(base)
    path = _write(f"concord-task-{task_id}-", before)
    try:
        _open(path)
        after = path.read_text(encoding="utf-8")
        changes = _changes(before, after)
        if not changes:
            path.unlink()
            app.render.notice("unchanged", f"task {task_id} is unchanged")
            return
        merged = app.run(tasks.merge, base, changes)
    except (ConcordError, click.ClickException, UnicodeDecodeError) as error:
        raise _kept(error, path) from error
    path.unlink()
    app.show([merged], many=False)


def _dump(task: Task) -> str:
    due = f"{task.due.astimezone():%Y-%m-%d %H:%M:%S}" if task.due else "none"
    fields = {name: str(getattr(task, name)) for name in FIELDS} | {"due": due}
    return front_matter.dump(fields, task.description or "")


def _changes(before: str, after: str) -> dict[str, Any]:
    """Return the fields that differ from what the user was shown."""
    known = frozenset(FIELDS)
    shown, old_body = front_matter.load(before, known)
    given, body = front_matter.load(after, known)
    readers = {"status": STATUS, "priority": PRIORITY, "due": DUE}
    changes: dict[str, Any] = {}
    for name in FIELDS:
        value = given.get(name, "")
        if value == shown[name]:
            continue
        if name in readers:
            moment = readers[name].convert(value, None, None)
            changes[name] = None if moment == "none" and name == "due" else moment
        else:
            changes[name] = value
    if body != old_body:
        changes["description"] = body or None
    return changes


def _write(prefix: str, text: str) -> Path:
    """Return a new file that only its owner can read."""
    handle, name = tempfile.mkstemp(prefix=prefix, suffix=".md")
    with open(handle, "w", encoding="utf-8") as file:  # noqa: PTH123 - it is open already
        file.write(text)
    return Path(name)


def _open(path: Path) -> None:
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not editor:
        if not sys.stdin.isatty():
            raise Usage(
                "nothing to change: no field is named, and there is no editor",
                hint="Name a field such as --title, or set VISUAL or EDITOR.",
            )
        editor = "vi"
    try:
        status = subprocess.run([*shlex.split(editor), str(path)], check=False).returncode
    except (OSError, ValueError) as error:
        raise Usage(
            f"cannot run the editor {editor!r}: {error}", hint="Set VISUAL or EDITOR."
        ) from None
    if status != 0:
        raise Usage(
            f"the editor {editor!r} ended with status {status}; the task is unchanged",
            hint="Set VISUAL or EDITOR, or name a field such as --title.",
        )


def _kept(error: Exception, path: Path) -> ConcordError:
    """Return the error with a word on where the user's text is."""
    if not isinstance(error, ConcordError):
        message = error.format_message() if isinstance(error, click.ClickException) else str(error)
        error = Usage(message)
    kind = Conflict if isinstance(error, Conflict) else type(error)
    return kind(
        f"{error.message}; your text is kept in {path}",
        hint=error.hint,
        **error.details | {"file": str(path)},
    )
