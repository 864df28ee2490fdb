"""The way back: tasks as lines of a todo.txt."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from concord.formats import text, todo_txt_line
from concord.formats.todo_txt_days import Days
from concord.formats.words import Words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from concord.formats.todo_txt_line import Kind, Line, Token
    from concord.models import ExportedTask, ImportedTask
    from concord.vocabulary import Priority

NAME = "todo-txt"
MEANT = ("status", "priority", "project")
"""What words that the reader of the file had been told may have made of a line."""

_LETTERS: dict[Priority, str] = {"urgent": "A", "high": "B", "medium": "C", "low": "D"}
_OWN_REF = re.compile("([0-9a-f]{32})(?:-[1-9][0-9]*)?")
_CLOSED = ("completed", "canceled")


def dump(tasks: Iterable[ExportedTask]) -> Iterator[str]:
    """Yield a line a task, without line ends. Days are those of the system's time zone.

    A task that came from a todo.txt is the line that it was there, changed where the task was.
    """
    days = Days()
    for task in tasks:
        yield _line(task, task.extra.get(NAME, {}), days)


def write(task: ImportedTask | ExportedTask, days: Days, kept: Line | None = None) -> list[str]:
    """Return the words of the line that tells a task, of which `kept` is what it was before."""
    letter = _letter(task.priority, kept)
    done = task.status in _CLOSED
    letter_first = not done or (kept is not None and kept.done and kept.letter is not None)
    fields: dict[Kind, Any] = {
        "due": days.day(task.due),
        "rec": task.recurrence if _rec(task.recurrence) else None,
        "pri": None if letter_first else letter,
        "status": task.status if task.status in ("canceled", "in_progress") else None,
    }
    told = _text(task, kept, fields)
    # A text that begins like a line's other parts needs both dates before it.
    dated = kept is None or todo_txt_line.begins_a_line(told[0])
    words = ["x"] if done else []
    if letter and letter_first:
        words.append(f"({letter})")
    done_on = days.day(task.completed_at or task.canceled_at)
    if done and done_on and (dated or not (kept and kept.done and kept.done_on is None)):
        words.append(done_on.isoformat())
    created_on = days.day(task.created_at)
    if created_on and (dated or (kept and kept.created_on)):
        words.append(created_on.isoformat())
    return words + told


def agrees(kept: ImportedTask, task: ImportedTask | ExportedTask, days: Days) -> bool:
    """Return whether a line still tells a task as it is, as far as a line tells it."""
    moments = (
        (kept.created_at, task.created_at),
        (kept.completed_at or kept.canceled_at, task.completed_at or task.canceled_at),
    )
    # A line that does not say when is not wrong about it.
    same = all(old is None or days.day(old) == days.day(new) for old, new in moments)
    return same and _told(kept, days) == _told(task, days)


def _line(task: ExportedTask, extra: Mapping[str, Any], days: Days) -> str:
    line: str | None = extra.get("line")
    kept = None if line is None else todo_txt_line.split(line)
    if line is not None and kept is not None:
        meant = todo_txt_line.read(kept, Words(), days, ref="", number=0)
        meant = replace(meant, **extra.get("meant", {}))
        if agrees(meant, task, days):
            return line
        if meant.project != task.project:
            kept = _moved(kept, task.project)
    words = write(task, days, kept)
    return " ".join([*words, *_name(task, words)])


def _told(task: ImportedTask | ExportedTask, days: Days) -> tuple[Any, ...]:
    fields = (task.title, task.status, task.priority, task.project, sorted(task.tags))
    return *fields, days.day(task.due), _rec(task.recurrence)


def _name(task: ExportedTask, words: Sequence[str]) -> Iterator[str]:
    """Yield the token by which an import finds the task again, where its words do not do so."""
    line = todo_txt_line.split(" ".join(words))
    own = _OWN_REF.fullmatch(task.external_ref or "")
    if line.name is not None and line.name == task.external_ref:
        return
    if own is None:
        yield f"uid:{task.uid}"
    elif line.name is not None or own[1] != line.fingerprint.hex():
        yield f"id:{task.external_ref}"


def _text(
    task: ImportedTask | ExportedTask, kept: Line | None, fields: dict[Kind, Any]
) -> list[str]:
    """Return the words of a line's text: those that there were as far as they hold, then others."""
    tokens, title_end = _tokens(task.title, kept)
    tags = {name.lower(): name for name in task.tags}
    told: set[Kind] = set()
    words: list[str] = []
    for index, token in enumerate(tokens):
        name = todo_txt_line.tag(token)
        if token.kind in fields:
            wanted = fields[token.kind]
            if wanted is not None and token.kind not in told:
                same = token.value == wanted
                words.append(token.text if same else _field(token.kind, wanted))
        elif index < title_end or name is None or tags.get(name.lower()) == name:
            words.append(token.text)
        elif name.lower() in tags:
            words.append(f"@{tags[name.lower()]}")
        told.add(token.kind)
        if name is not None:
            tags.pop(name.lower(), None)
    plain = Words()
    if task.project and not any(todo_txt_line.key(token, plain) for token in tokens):
        words.append(f"+{task.project}")
    words += [f"@{name}" for name in sorted(tags.values())]
    missing = [each for each in fields.items() if each[1] is not None and each[0] not in told]
    return words + [_field(kind, value) for kind, value in missing]


def _tokens(title: str, kept: Line | None) -> tuple[Sequence[Token], int]:
    """Return the tokens to begin with, and how many of them are the title's."""
    if kept is not None and text.fit_title(kept.full_title)[0] == title:
        return kept.tokens, kept.title_end
    tokens = todo_txt_line.title_words(title)
    rest = [
        token
        for index, token in enumerate(kept.tokens if kept else ())
        if kept and (index >= kept.title_end or token.kind in todo_txt_line.FIELDS)
    ]
    return [*tokens, *rest], len(tokens)


def _moved(kept: Line, project: str | None) -> Line:
    """Return a line with another project, unless the old one is a word of its title."""
    for index, token in enumerate(kept.tokens):
        if todo_txt_line.key(token, Words()) is None:
            continue
        if index >= kept.title_end:
            new = todo_txt_line.tokens(f"+{project}" if project else "")
            return replace(kept, tokens=(*kept.tokens[:index], *new, *kept.tokens[index + 1 :]))
        break
    return kept


def _letter(priority: Priority, kept: Line | None) -> str | None:
    """Return the letter of a priority: the one that there was, if it is one of several."""
    letter: str | None = (kept.letter or kept.first("pri")) if kept else None
    if letter and todo_txt_line.PRIORITIES[letter.lower()] == priority:
        return letter
    return _LETTERS.get(priority)


def _field(kind: str, value: Any) -> str:
    return f"{kind}:{_rec(value) if kind == 'rec' else value}"


def _rec(rule: str | None) -> str | None:
    """Return a rule as the value of `rec:`, None where it has no such value."""
    kind, _, step = (rule or "").partition(" ")
    if not re.fullmatch("[0-9]+[dwmy]", step):
        return None
    return f"+{step}" if kind == "every" else step
