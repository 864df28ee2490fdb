"""The words of a foreign file and what they mean here: statuses, priorities, people, projects.

A format knows words of its own; whoever imports may add to them or change them
(`--map status:Doing=in_progress`). Every word that a file uses is remembered with its meaning, so
that an import can show the whole table, and can refuse a word that nobody has told it.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, TypeVar, cast, get_args

from concord.errors import Usage
from concord.formats.names import user_name
from concord.models import MappedWord
from concord.vocabulary import PRIORITIES, STATUSES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from concord.vocabulary import Priority, Status

Kind = Literal["status", "priority", "user", "project"]
KINDS: tuple[Kind, ...] = get_args(Kind)

Meaning = TypeVar("Meaning", bound=str)
Noted = TypeVar("Noted", bound=str | None)

_MEANINGS: dict[str, tuple[str, ...]] = {"status": STATUSES, "priority": PRIORITIES}
_PROJECT_LIMIT = 32


class Words:
    """What the words of one file mean. Case and surrounding space make no difference."""

    def __init__(self, rules: Iterable[str] = ()) -> None:
        """Take rules as they are typed: `KIND:WORD=MEANING`. Raises `Usage` for what is none."""
        self._rules = dict(map(_rule, rules))
        self._used: dict[tuple[Kind, str], MappedWord] = {}
        self._counts: Counter[tuple[Kind, str]] = Counter()

    def status(self, word: str, known: Mapping[str, Status]) -> Status:
        """Return the status that a word stands for; `todo` for one that nobody knows.

        `known` has the format's own words in lower case.
        """
        return self._choose("status", word, known) or "todo"

    def priority(self, word: str, known: Mapping[str, Priority]) -> Priority:
        """Return the priority that a word stands for; `none` for one that nobody knows."""
        return self._choose("priority", word, known) or "none"

    def user(self, word: str) -> str:
        """Return the username for a person. Raises ValueError where no name is left."""
        folded = _folded(word)
        given = self._rules.get(("user", folded))
        return self._note("user", word, folded, given or user_name(word))

    def project(self, word: str) -> str:
        """Return the key for a project: `home.garden` is HOME-GARDEN.

        Raises ValueError where nothing is left to make a key of.
        """
        folded = _folded(word)
        given = self._rules.get(("project", folded))
        return self._note("project", word, folded, given or _project_key(word))

    @property
    def ruled(self) -> bool:
        """Whether words may mean something else than their format says."""
        return bool(self._rules)

    def afresh(self) -> Words:
        """Return words with the same rules, of which none has been used."""
        made = Words()
        made._rules = self._rules
        return made

    @property
    def used(self) -> tuple[MappedWord, ...]:
        """The words that the file has used so far, by kind and word."""
        return tuple(
            replace(self._used[key], tasks=self._counts[key]) for key in sorted(self._used)
        )

    @property
    def unknown(self) -> tuple[MappedWord, ...]:
        """Those of them that nobody has told the meaning of."""
        return tuple(word for word in self.used if word.meaning is None)

    def _choose(self, kind: Kind, word: str, known: Mapping[str, Meaning]) -> Meaning | None:
        folded = _folded(word)
        # A rule has been checked to have one of these meanings.
        given = cast("Meaning | None", self._rules.get((kind, folded)))
        return self._note(kind, word, folded, given or known.get(folded))

    def _note(self, kind: Kind, word: str, folded: str, meaning: Noted) -> Noted:
        key = kind, folded
        if key not in self._used:
            self._used[key] = MappedWord(kind, word.strip(), meaning, 0)
        self._counts[key] += 1
        return meaning


def _rule(text: str) -> tuple[tuple[str, str], str]:
    kind, colon, rest = text.partition(":")
    # The last one: a word may hold one itself, a meaning never does.
    word, equals, meaning = rest.rpartition("=")
    if kind not in KINDS or not colon or not equals or not word.strip() or not meaning.strip():
        raise Usage(
            f"{text!r} is no mapping",
            hint=f"Write KIND:WORD=MEANING, as status:Doing=in_progress; KIND is one of "
            f"{', '.join(KINDS)}.",
        )
    meaning = meaning.strip()
    choices = _MEANINGS.get(kind)
    if choices is not None and meaning not in choices:
        raise Usage(
            f"{text!r}: {meaning!r} is no {kind}", hint=f"It is one of {', '.join(choices)}."
        )
    return (kind, _folded(word)), meaning


def _folded(word: str) -> str:
    return word.strip().casefold()


@lru_cache(maxsize=1024)  # a file of many tasks has few projects
def _project_key(word: str) -> str:
    key = re.sub(r"[^A-Z0-9_-]+", "-", word.strip().upper()).strip("-")
    key = key if key[:1].isalpha() else f"P-{key}" if key else ""
    if not key:
        raise ValueError(f"{word!r} holds nothing to make a project's key of")
    return key[:_PROJECT_LIMIT].rstrip("-")
