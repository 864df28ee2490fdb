"""A directory of Backlog.md: one Markdown file a task, in `tasks`, `completed` and `drafts`.

Ids are refs however they are spelled: `task-012` is TASK-12. A task's description has the section
of that name, then all other sections as they stand (acceptance criteria, plan, notes, summary);
comments are comments. Dates are in UTC, to the minute; `due_date` is the day's last second. The
last of `statuses` in `config.yml` means completed and `default_status` to do, where they are not
known otherwise. What is in the archive was put away, and is left out.

`extra` has the fields that have no home here (milestone, ordinal, references …), those which say
more than the task does, and the whole file where it is laid out otherwise than Backlog.md does it.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from concord.formats import backlog_fields, backlog_file, front_yaml, text
from concord.formats.backlog_fields import NAME, moment_of, ref_of
from concord.formats.backlog_md_dump import document_of, dump
from concord.formats.foreign_fields import described, tags_of
from concord.models import BadRow, ImportedComment, ImportedTask, SkippedRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime
    from pathlib import Path

    from concord.formats.backlog_file import Document
    from concord.formats.words import Words
    from concord.models import ParsedRow
    from concord.vocabulary import Status

__all__ = ["NAME", "dump", "parse"]

LIMIT = 1 << 25
"""The most bytes of a file."""

_FOLDERS = ("tasks", "completed", "drafts", "archive/tasks", "archive/drafts")
_FILE = re.compile(r"[a-z]+-([0-9]+(?:\.[0-9]+)*)\b.*\.md", re.IGNORECASE)
_CONFIG = "config.yml"


def parse(directory: Path, words: Words) -> Iterator[ParsedRow]:
    """Yield what each file means, folder by folder in the order of ids; `line` is its number.

    `directory` is the project's, its `backlog`, or `tasks` in it. Nothing in it raises: a file
    that cannot be read is a `BadRow` that names it. Links are not followed.
    """
    backlog = _backlog(directory)
    if backlog is None:
        yield BadRow(1, "expected a directory of Backlog.md: there are no tasks in it")
        return
    folders, config = backlog
    statuses = backlog_fields.STATUSES if config is None else _statuses(config)
    line = 0
    for name, folder in folders:
        for path in sorted(filter(_is_task, _files(folder)), key=_order):
            line += 1
            yield _row(line, path, name, words, statuses)


def _backlog(directory: Path) -> tuple[list[tuple[str, Path]], Path | None] | None:
    """Return the folders of tasks, and the configuration if there is one."""
    for root in (directory, directory / "backlog", directory / ".backlog"):
        if root != directory and root.is_symlink():
            continue
        found = [(name, root / name) for name in _FOLDERS if _is_folder(root, name)]
        if found:
            return found, root / _CONFIG
    if any(map(_is_task, _files(directory))):
        return [(directory.name, directory)], directory.parent / _CONFIG
    return None


def _is_folder(root: Path, name: str) -> bool:
    folder = root
    for part in name.split("/"):
        folder /= part
        if folder.is_symlink() or not folder.is_dir():
            return False
    return True


def _files(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _is_task(path: Path) -> bool:
    return _FILE.fullmatch(path.name) is not None and (path.is_symlink() or path.is_file())


def _order(path: Path) -> tuple[list[int], str]:
    found = _FILE.fullmatch(path.name)
    assert found is not None
    return [int(part[:18]) for part in found[1].split(".")], path.name


def _statuses(config: Path) -> Mapping[str, Status]:
    """Return what statuses mean, with what the project's own configuration says of them."""
    try:
        plain = not config.is_symlink() and config.is_file()
        told = front_yaml.load(_read(config)) if plain else {}
    except (OSError, ValueError):
        return backlog_fields.STATUSES
    own: dict[str, Status] = {}
    if isinstance(first := told.get("default_status"), str):
        own[first.casefold()] = "todo"
    if statuses := [each for each in _list(told.get("statuses")) if isinstance(each, str)]:
        own[statuses[-1].casefold()] = "completed"
    return own | backlog_fields.STATUSES


def _row(
    line: int, path: Path, folder: str, words: Words, statuses: Mapping[str, Status]
) -> ImportedTask | SkippedRow | BadRow:
    name = f"{folder}/{path.name}".encode("utf-8", "backslashreplace").decode()
    if folder.startswith("archive/"):
        return SkippedRow(line, f"{name} is archived")
    if path.is_symlink():
        return SkippedRow(line, f"{name} is a symbolic link")
    try:
        content = _read(path)
        document = backlog_file.load(content)
        row = _task(line, document, words, statuses)
        extra = backlog_fields.rest(document, row)
        if folder != "tasks":
            extra["folder"] = folder
        if backlog_file.write(document_of(row, extra)) != content:
            extra["text"] = content
    except OSError as error:
        return BadRow(line, f"{name}: {error.strerror}")
    except ValueError as error:
        return BadRow(line, f"{name}: {error}")
    return replace(row, extra=extra)


def _read(path: Path) -> str:
    with path.open("rb") as file:
        data = file.read(LIMIT + 1)
    if len(data) > LIMIT:
        raise ValueError(f"the file is longer than {LIMIT} bytes")
    try:
        content = data.decode("utf-8")
    except UnicodeDecodeError:
        content = "\n".join(text.prose(data)) + "\n"
    if why := text.fault(content):
        raise ValueError(f"the file {why}")
    return content


def _task(
    line: int, document: Document, words: Words, statuses: Mapping[str, Status]
) -> ImportedTask:
    fields = document.fields
    told_title = " ".join((_text(fields, "title") or "").split())
    if not told_title:
        raise ValueError("no title")
    title, full_title = text.fit_title(told_title)
    status = words.status(_text(fields, "status") or "To Do", statuses)
    priority_word = _text(fields, "priority")
    priority = words.priority(priority_word, backlog_fields.PRIORITIES) if priority_word else "none"
    if status == "completed" and fields.get(backlog_fields.OWN_STATUS) == "canceled":
        status = "canceled"
    if priority == "high" and fields.get(backlog_fields.OWN_PRIORITY) == "urgent":
        priority = "urgent"
    created_at = _moment(fields, "created_date")
    updated_at = _moment(fields, "updated_date") or created_at
    parent = _text(fields, "parent_task_id")
    assignees = {name.lower(): name for name in _people(_texts(fields, "assignee"), words)}
    return ImportedTask(
        ref=ref_of(_text(fields, "id") or ""),
        title=title,
        line=line,
        description=described(full_title, document.description),
        status=status,
        priority=priority,
        due=_moment(fields, "due_date"),
        tags=tags_of(_texts(fields, "labels")),
        assignees=tuple(sorted(assignees.values())),
        owner=next(iter(_people(_texts(fields, "reporter"), words)), None),
        created_at=created_at,
        updated_at=updated_at,
        completed_at=updated_at if status == "completed" else None,
        canceled_at=updated_at if status == "canceled" else None,
        parent=ref_of(parent) if parent else None,
        blocked_by=tuple(dict.fromkeys(map(ref_of, _texts(fields, "dependencies")))),
        comments=tuple(
            ImportedComment(
                each.body,
                next(iter(_people([each.author] if each.author else [], words)), None),
                moment_of(each.created) if each.created else None,
            )
            for each in document.comments
        ),
    )


def _text(fields: Mapping[str, Any], key: str) -> str | None:
    """Return a field as a text; None where it is missing or blank."""
    value = fields.get(key)
    if isinstance(value, list | dict):
        raise ValueError(f"{key} is not a text")
    if isinstance(value, bool):
        return str(value).lower()
    return None if value is None or not str(value).strip() else str(value)


def _texts(fields: Mapping[str, Any], key: str) -> list[str]:
    """Return a field as texts, of which it may be a single one."""
    told = (_text({key: value}, key) for value in _list(fields.get(key)))
    return [value for value in told if value is not None]


def _list(value: Any) -> list[Any]:
    return [] if value is None else cast("list[Any]", value) if isinstance(value, list) else [value]


def _people(told: Iterable[str], words: Words) -> list[str]:
    return [words.user(each.removeprefix("@")) for each in told]


def _moment(fields: Mapping[str, Any], key: str) -> datetime | None:
    told = _text(fields, key)
    try:
        return moment_of(told, due=key == "due_date") if told else None
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None
