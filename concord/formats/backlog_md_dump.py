"""Tasks as files of Backlog.md: a name and a content each, for its folder `tasks`."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from concord.formats import backlog_file
from concord.formats.backlog_fields import NAME, REF, comments_of, description_of, fields_of
from concord.formats.backlog_file import Document
from concord.formats.outgoing import again, outgoing

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping

    from concord.formats.outgoing import Outgoing
    from concord.models import ExportedTask, ImportedTask

NAME_BYTES = 200
"""The most bytes of a file's name: file systems take 255, archives and encrypted ones less."""

_SUFFIX = ".md"
_OWN = re.compile(r"(?:TASK|DRAFT)-")


def dump(tasks: Iterable[ExportedTask]) -> Iterator[tuple[str, str]]:
    """Yield `(file name, content)` of each task.

    A file comes back as it was where nothing has changed, else as Backlog.md would write it. Tasks
    that came from elsewhere are numbered behind those which are Backlog.md's own.
    """
    tasks = again(tasks)
    refs = _refs(tasks)
    known = frozenset(refs.values())
    for each in outgoing(tasks, refs, NAME):
        yield file_name(each.told.ref, each.told.title), _content(each, known)


def document_of(
    row: ImportedTask, extra: Mapping[str, Any], known: Container[str] = frozenset()
) -> Document:
    """Return what a task's file says. `known` are the refs of the tasks written with it."""
    return Document(
        fields_of(row, extra, known), description_of(row, extra), comments_of(row, extra)
    )


def file_name(ref: str, title: str) -> str:
    """Return the name of a task's file, `task-12 - Some-words.md`, fit for every file system."""
    chars = (char if _stands(char) else "-" for char in unicodedata.normalize("NFC", title))
    words = re.sub("-+", "-", "".join(chars)).strip("-.")
    stem = f"{ref.lower()} - {words or 'Untitled'}".encode()[: NAME_BYTES - len(_SUFFIX)]
    return stem.decode("utf-8", "ignore").rstrip("-. ") + _SUFFIX


def _stands(char: str) -> bool:
    return (
        char in "._" or unicodedata.category(char)[0] in "LMN" or unicodedata.category(char) == "So"
    )


def _refs(tasks: Iterable[ExportedTask]) -> dict[int, str]:
    """Return a ref for each task. Of two from different projects with one id, the first has it."""
    owners: dict[str, int] = {}
    ids: list[int] = []
    for task in tasks:
        ids.append(task.id)
        if task.external_ref and _is_own(task):
            owners.setdefault(task.external_ref, task.id)
    highest = max((int(re.findall("[0-9]+", ref)[0]) for ref in owners), default=0)
    known = {task: ref for ref, task in owners.items()}
    return {task: known.get(task) or f"TASK-{highest + task}" for task in ids}


def _is_own(task: ExportedTask) -> bool:
    ref = task.external_ref or ""
    return bool(REF.fullmatch(ref) and (NAME in task.extra or _OWN.match(ref)))


def _content(each: Outgoing, known: Container[str]) -> str:
    now = document_of(each.told, each.extra, known)
    said = each.extra.get("text")
    if isinstance(said, str) and _told(backlog_file.load(said)) == _told(now):
        return said
    return backlog_file.write(now)


def _told(document: Document) -> Document:
    """Return a document without its empty fields, for comparison."""
    fields = {key: value for key, value in document.fields.items() if value is not None}
    description = (document.description or "").strip("\n") or None
    return replace(document, fields=fields, description=description)
