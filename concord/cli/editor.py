"""The user's own editor: for a task (`task edit ID` without options) and for a comment."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from concord.cli.options import DUE, PRIORITY, STATUS
from concord.errors import ConcordError, Usage
from concord.formats import front_matter
from concord.plain import moment

if TYPE_CHECKING:
    from collections.abc import Generator
    from datetime import datetime
    from types import FrameType

    from concord.cli.app import App
    from concord.models import Task

FIELDS = ("title", "status", "priority", "due", "owner")


def edit_task(app: App, task_id: int, if_version: int | None) -> None:
    """Let the user edit a task as a file, and write the fields that they changed.

    The transaction begins only when the editor is closed. What others changed meanwhile in other
    fields stays; with `if_version` nobody may have changed anything. Raises `Conflict` where both
    changed the same field: the user's text is then kept in a file that the message names.
    """
    from concord.sql import tasks

    (base,) = app.run(tasks.show, [task_id])
    if if_version is not None and if_version < base.version:
        # Versions only grow: this can match no row, and says what made the version stale.
        app.run(tasks.edit, [task_id], {"title": base.title}, if_version=if_version)
    before = _dump(base)
    with draft(app, f"concord-task-{task_id}-", before) as path:
        changes = _changes(before, _read(path))
        if not changes:
            app.render.notice("unchanged", f"task {task_id} is unchanged")
            return
        if if_version is None:
            edited = app.run(tasks.merge, base, changes)
        else:
            (edited,) = app.run(tasks.edit, [task_id], changes, if_version=if_version)
    app.show([edited], many=False)


def write_comment(app: App, task_id: int) -> None:
    """Let the user write a comment as a file. Raises `ConcordError`; their text is then kept."""
    from concord.sql import comments

    with draft(app, f"concord-comment-{task_id}-", "") as path:
        body = _read(path).strip()
        if not body:
            app.render.notice("unchanged", "an empty comment says nothing; nobody will read it")
            return
        commented = app.run(comments.add, [task_id], body)
    app.show(commented, many=False)


@contextmanager
def draft(app: App, prefix: str, before: str) -> Generator[Path]:
    """Let the user edit a text as a file, and yield that.

    The file goes when the work is done. Where the work fails, it stays if the user wrote
    anything, and the error or a notice says where it is.
    """
    path = _write(prefix, before)
    try:
        _open(path)
        yield path
    except ConcordError as error:
        if _worth_keeping(path, before):
            error.message += f"; your text is kept in {path}"
            error.details["file"] = str(path)
        raise
    except BaseException:
        if _worth_keeping(path, before):
            app.render.notice("kept", f"your text is kept in {path}", file=str(path))
        raise
    path.unlink()


def _dump(task: Task) -> str:
    fields = {name: str(getattr(task, name)) for name in FIELDS} | {"due": _due(task.due)}
    return front_matter.dump(fields, task.description or "")


def _due(due: datetime | None) -> str:
    if due is None:
        return "none"
    try:
        return f"{due.astimezone():%Y-%m-%d %H:%M:%S}"
    except (OverflowError, ValueError):
        return moment(due)  # within hours of the calendar's ends no local form exists


def _changes(before: str, after: str) -> dict[str, Any]:
    """Return the fields that differ from what the user was shown."""
    known = frozenset(FIELDS)
    shown, old_body = front_matter.load(before, known)
    given, body = front_matter.load(after, known)
    changes: dict[str, Any] = {}
    for name in FIELDS:
        value = given.get(name, "")
        if value != shown[name]:
            changes[name] = _value(name, value)
    if body != old_body:
        changes["description"] = body or None
    return changes


def _value(name: str, text: str) -> Any:
    reader = {"status": STATUS, "priority": PRIORITY, "due": DUE}.get(name)
    if reader is None:
        return text
    try:
        value = reader.convert(text, None, None)
    except click.BadParameter as error:
        raise Usage(f"{name}: {error.message}", hint="Mend the file.", field=name) from None
    return None if name == "due" and value == "none" else value


def _write(prefix: str, text: str) -> Path:
    """Return a new file that only its owner can read."""
    handle, name = tempfile.mkstemp(prefix=prefix, suffix=".md")
    with open(handle, "w", encoding="utf-8") as file:  # noqa: PTH123 - it is open already
        file.write(text)
    return Path(name)


def _read(path: Path) -> str:
    try:
        # Not as text, which would take a carriage return in the description for a line end.
        return path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise Usage(f"cannot read what the editor left: {error}", hint="Save as UTF-8.") from None


def _worth_keeping(path: Path, before: str) -> bool:
    """Remove the file if it holds nothing but what it began with; whether there is more."""
    with suppress(OSError):
        if path.read_bytes() == before.encode():
            path.unlink()
    return path.exists()


def _open(path: Path) -> None:
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not editor:
        if not sys.stdin.isatty():
            raise Usage(
                "nothing is given on the command line, and there is no editor",
                hint="Give the text or a field such as --title, or set VISUAL or EDITOR.",
            )
        editor = "vi"
    # Ctrl-C in the editor is meant for the editor, which gets it as well. A handler, and not
    # SIG_IGN, because the editor would inherit that.
    handler = signal.signal(signal.SIGINT, _leave_alone)
    try:
        status = subprocess.run([*_command(editor), str(path)], check=False).returncode
    except (OSError, ValueError) as error:
        raise Usage(
            f"cannot run the editor {editor!r}: {error}", hint="Set VISUAL or EDITOR."
        ) from None
    finally:
        signal.signal(signal.SIGINT, handler)
    if status != 0:
        raise Usage(
            f"the editor {editor!r} ended with status {status}; nothing was written",
            hint="Set VISUAL or EDITOR, or give the text on the command line.",
        )


def _command(editor: str) -> list[str]:
    """Return the words of an editor's command: quoted as for a shell, or a path as it is."""
    return [editor] if shutil.which(editor) else shlex.split(editor)


def _leave_alone(_: int, __: FrameType | None) -> None:
    """Do nothing about a signal."""
