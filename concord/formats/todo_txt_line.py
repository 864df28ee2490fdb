"""A line of a todo.txt: its parts, and the task that it tells."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from concord.formats import text
from concord.formats.names import tag_name
from concord.formats.todo_txt_days import BEGINNING, END
from concord.models import ImportedTask

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from concord.formats.todo_txt_days import Days
    from concord.formats.words import Words
    from concord.vocabulary import Priority, Status

STATUSES: dict[str, Status] = {
    "x": "completed",
    "canceled": "canceled",
    "in_progress": "in_progress",
}
PRIORITIES: dict[str, Priority] = {
    "a": "urgent",
    "b": "high",
    "c": "medium",
    **dict.fromkeys("defghijklmnopqrstuvwxyz", "low"),
}
UNTOLD = ("parent", "auto_close", "blocked_by", "comments")
"""What no line tells."""

Kind = Literal["word", "project", "tag", "key", "due", "rec", "pri", "status", "id", "own"]

FIELDS: frozenset[Kind] = frozenset({"due", "rec", "pri", "status", "id", "own"})
"""Tokens that are no part of a sentence, wherever they stand; `own` are those of other programs."""

_WORD = re.compile(r"[^ \t\r\n\v\f]+")
_LETTER = re.compile(r"\(([A-Z])\)")
_KEY = re.compile(r"([A-Za-z][A-Za-z0-9_-]*):(?!//)([^:]+)")
_DAY = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")
_REC = re.compile(r"(\+?)([1-9][0-9]{0,3}[dwmy])")
_MARKED = {"canceled": True, "in_progress": False}


class Token(NamedTuple):
    """A word of a line's text, what it is, and what it says as such."""

    kind: Kind
    text: str
    value: Any


@dataclass(frozen=True, slots=True)
class Line:
    """What a line says. Its title is among the first `title_end` tokens."""

    done: bool
    letter: str | None
    done_on: date | None
    created_on: date | None
    tokens: tuple[Token, ...]
    title_end: int

    def first(self, kind: Kind) -> Any:
        """Return what the first token of a kind says, None where there is none."""
        return next((token.value for token in self.tokens if token.kind == kind), None)

    @property
    def name(self) -> str | None:
        """What the line says that it is called: the last word counts, others may be a title's."""
        names = [token.value for token in self.tokens if token.kind == "id"]
        return names[-1] if names else None

    @property
    def full_title(self) -> str:
        """The words of the sentence, with the projects and contexts in it."""
        spoken = [token.text for token in self.tokens if token.kind not in FIELDS]
        told = [each.text for each in self.tokens[: self.title_end] if each.kind not in FIELDS]
        return " ".join(told or spoken)

    @property
    def fingerprint(self) -> bytes:
        """16 bytes that are the same as long as the words, projects, contexts and keys are.

        Whether and when it was done, its priority and its dates make no difference.
        """
        spoken = [token.text for token in self.tokens if token.kind not in FIELDS]
        return hashlib.blake2b(" ".join(spoken).encode("utf-8", "replace"), digest_size=16).digest()


def split(line: str) -> Line:
    """Return the parts of a line."""
    found = _WORD.findall(line)
    start = 0
    done = len(found) > 1 and line.startswith("x") and found[0] == "x"
    start += done
    letter = _LETTER.fullmatch(found[start]) if start < len(found) else None
    start += letter is not None
    days: list[date] = []
    while len(days) <= done and start < len(found) and (day := _day(found[start])):
        days.append(day)
        start += 1
    done_on = days[0] if done and days else None
    parts = tuple(map(_token, found[start:]))
    return Line(
        done=done,
        letter=letter[1] if letter else None,
        done_on=done_on,
        created_on=days[-1] if len(days) > done else None,
        tokens=parts,
        title_end=_title_end(parts),
    )


def begins_a_line(word: str) -> bool:
    """Return whether a text that begins with a word would not begin there in a line."""
    return word == "x" or bool(_LETTER.fullmatch(word) or _day(word))


def tokens(told: str) -> tuple[Token, ...]:
    """Return the words of a text, and what they are."""
    return tuple(map(_token, _WORD.findall(told)))


def title_words(title: str) -> tuple[Token, ...]:
    """Return the words of a title: nothing in it is a field."""
    return tuple(
        Token("word", each.text, each.text) if each.kind in FIELDS else each
        for each in tokens(title)
    )


@lru_cache(maxsize=4096)  # most words of a file are the same few
def _token(word: str) -> Token:
    # A key with a value that it cannot have is just a key.
    if len(word) > 1 and word[0] in "+@":
        return Token("project" if word[0] == "+" else "tag", word, word[1:])
    match = _KEY.fullmatch(word) if ":" in word else None
    if match is None:
        return Token("word", word, word)
    key, value = match.groups()
    meaning: Any = None
    kind: Kind = "key"
    match key:
        case "due":
            kind, meaning = "due", _day(value)
        case "rec":
            kind, meaning = "rec", _rule(value)
        case "pri":
            kind, meaning = "pri", value if re.fullmatch("[A-Z]", value) else None
        case "status":
            kind, meaning = "status", value if value in _MARKED else None
        case "id" | "uid":
            kind, meaning = "id", value
        case "t" | "h":
            kind, meaning = "own", value
        case _:
            pass
    return Token("key", word, value) if meaning is None else Token(kind, word, meaning)


def read(line: Line, words: Words, days: Days, *, ref: str, number: int) -> ImportedTask:
    """Return the task that a line tells, without `extra`. Raises ValueError for one of no text."""
    full = line.full_title
    if not full.strip():
        raise ValueError("no text")
    title, full_title = text.fit_title(full)
    status = _status(line, words)
    letter = line.letter or line.first("pri")
    created_at = days.moment(line.created_on, BEGINNING)
    done_at = days.moment(line.done_on, BEGINNING)
    return ImportedTask(
        ref=ref,
        title=title,
        line=number,
        description=full_title,
        status=status,
        priority=words.priority(letter, PRIORITIES) if letter else "none",
        due=days.moment(line.first("due"), END),
        tags=_tags(line.tokens),
        created_at=created_at,
        completed_at=(done_at or created_at) if status == "completed" else None,
        canceled_at=(done_at or created_at) if status == "canceled" else None,
        project=next(filter(None, (key(each, words) for each in line.tokens)), None),
        recurrence=line.first("rec"),
        partial=UNTOLD,
    )


def key(each: Token, words: Words) -> str | None:
    """Return the key of the project that a token is, None for one that is none."""
    try:
        return words.project(each.value) if each.kind == "project" else None
    except ValueError:
        return None


def tag(each: Token) -> str | None:
    """Return the tag that a token is, None for one that is none."""
    try:
        return tag_name(each.value) if each.kind == "tag" else None
    except ValueError:
        return None


def _tags(told: Iterable[Token]) -> tuple[str, ...]:
    tags: dict[str, str] = {}
    for name in filter(None, map(tag, told)):
        tags.setdefault(name.lower(), name)
    return tuple(sorted(tags.values()))


def _title_end(told: Sequence[Token]) -> int:
    end = len(told)
    while end and told[end - 1].kind != "word":
        end -= 1
    return end or len(told)


def _status(line: Line, words: Words) -> Status:
    told = line.first("status")
    if told is None or _MARKED[told] != line.done:
        told = "x" if line.done else None
    return words.status(told, STATUSES) if told else "todo"


def _day(word: str) -> date | None:
    try:
        return date.fromisoformat(word) if _DAY.fullmatch(word) else None
    except ValueError:
        return None


def _rule(value: str) -> str | None:
    match = _REC.fullmatch(value)
    return f"{'every' if match[1] else 'after'} {match[2]}" if match else None
