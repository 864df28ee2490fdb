"""The file format of PostgreSQL's isolationtester: sessions, their steps, and permutations.

    setup { SQL }                any number, run once before each permutation
    teardown { SQL }             run once after it
    session NAME                 a connection of its own
      setup { SQL }              as a rule: BEGIN
      step NAME { SQL }
      teardown { SQL }
    permutation STEP STEP(MARKER, ...) ...

Names are bare or in double quotes. `#` begins a comment, except in SQL, which ends at the first
`}`. Without a permutation, all interleavings of the sessions' steps are meant. A marker delays
the report that a step is done: `*` until another step was sent, `OTHER` until that step is done,
`OTHER notices N` until that step's session has had N notices.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from math import factorial, prod
from typing import TYPE_CHECKING, NoReturn

from concord.errors import Usage

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_INTERLEAVINGS = 2000
"""Permutations that a spec without any may stand for; nobody reads more."""

MOST_SESSIONS = 20
"""Sessions of a spec: each is a connection, of which a server has about a hundred."""

_KEYWORDS = frozenset({"notices", "permutation", "session", "setup", "step", "teardown"})

_TOKEN = re.compile(
    r"""
      (?P<space>[ \t\r\f\n\ufeff]+ | \#[^\n]*)
    | (?P<word>[^\W\d][\w$]*)
    | "(?P<quoted>(?:[^"\n]|"")*)"
    | (?P<number>[0-9]+)
    | \{(?P<sql>[^}]*)\}
    | (?P<mark>[(),*])
    """,
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Block:
    """SQL as it stands in a spec, without the spaces around it; `line` and `column` from 1."""

    sql: str
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a session."""

    name: str
    session: str
    block: Block

    @property
    def sql(self) -> str:
        """What the step sends."""
        return self.block.sql


@dataclass(frozen=True, slots=True)
class Session:
    """A session with what it runs before, in and after each permutation."""

    name: str
    setup: Block | None
    steps: tuple[Step, ...]
    teardown: Block | None


@dataclass(frozen=True, slots=True)
class Marker:
    """What delays the report that a step is done.

    Without `step`: that another step was sent. With `notices`: that this many notices reached
    the step's session. Otherwise: that the step is done.
    """

    step: Step | None
    notices: int | None = None


@dataclass(frozen=True, slots=True)
class Slot:
    """A place in a permutation: a step and its markers."""

    step: Step
    markers: tuple[Marker, ...] = ()


@dataclass(frozen=True)
class Spec:
    """A whole spec. `name` says where it came from; `given` are the permutations in it."""

    name: str
    setups: tuple[Block, ...]
    teardown: Block | None
    sessions: tuple[Session, ...]
    given: tuple[tuple[Slot, ...], ...]

    @cached_property
    def permutations(self) -> tuple[tuple[Slot, ...], ...]:
        """The permutations to run, in order: those given, or all interleavings."""
        return self.given or tuple(_interleavings([session.steps for session in self.sessions]))

    @cached_property
    def sets_timeouts(self) -> bool:
        """Whether a wait may end by itself, by a time-out that the spec has set."""
        blocks = [*self.setups, *(step.block for one in self.sessions for step in one.steps)]
        blocks += [one.setup for one in self.sessions if one.setup is not None]
        return any("timeout" in block.sql.lower() for block in blocks)


def parse(text: str, name: str) -> Spec:
    """Return the spec that a text holds.

    Raises `Usage`, which says `NAME:LINE:COLUMN` and what was expected there.
    """
    return _Reader(text, name).spec()


def _interleavings(piles: list[tuple[Step, ...]]) -> Iterator[tuple[Slot, ...]]:
    """Yield every order of all steps that keeps each session's own; the first session first."""
    if not any(piles):
        yield ()
    for number, pile in enumerate(piles):
        if pile:
            for rest in _interleavings([*piles[:number], pile[1:], *piles[number + 1 :]]):
                yield (Slot(pile[0]), *rest)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int

    def __str__(self) -> str:
        match self.kind:
            case "end":
                return "the end of the file"
            case "sql":
                return "a block of SQL"
            case _:
                return f"{self.text!r}"


class _Reader:
    """A recursive-descent parser, one token ahead."""

    def __init__(self, text: str, name: str) -> None:
        self._text = text
        self._name = name
        self._tokens = self._scan()
        self._next = next(self._tokens)

    def spec(self) -> Spec:
        setups: list[Block] = []
        while self._is("setup"):
            setups.append(self._block_after_keyword())
        teardown = self._optional("teardown")
        sessions: list[Session] = []
        steps: dict[str, Step] = {}
        while self._is("session"):
            sessions.append(self._session({one.name for one in sessions}, steps))
        if not sessions:
            self._expected("'setup', 'teardown' or 'session'" if not teardown else "'session'")
        given: list[tuple[Slot, ...]] = []
        while self._is("permutation"):
            given.append(self._permutation(steps))
        if self._next.kind != "end":
            self._expected(
                "'permutation' or the end of the file"
                if given
                else "'step', 'teardown', 'session', 'permutation' or the end of the file"
            )
        if not given:
            self._bound(sessions)
        return Spec(self._name, tuple(setups), teardown, tuple(sessions), tuple(given))

    def _session(self, others: set[str], steps: dict[str, Step]) -> Session:
        self._take()
        token = self._next
        name = self._named("a session's name")
        if name in others:
            self._fail(token.at, f"there is a session {name!r} already")
        if len(others) == MOST_SESSIONS:
            self._fail(token.at, f"more than {MOST_SESSIONS} sessions")
        setup = self._optional("setup")
        own: list[Step] = []
        while self._is("step"):
            self._take()
            token = self._next
            step = Step(self._named("a step's name"), name, self._block())
            if step.name in steps:
                self._fail(token.at, f"there is a step {step.name!r} already")
            steps[step.name] = step
            own.append(step)
        if not own:
            self._expected("'step'" if setup else "'setup' or 'step'")
        return Session(name, setup, tuple(own), self._optional("teardown"))

    def _permutation(self, steps: dict[str, Step]) -> tuple[Slot, ...]:
        self._take()
        slots: list[Slot] = []
        wanted: list[tuple[str, int]] = []
        while not slots or self._next.kind == "name":
            step = steps[self._known(steps)]
            markers: list[Marker] = []
            if self._is("(", "mark"):
                while not markers or self._is(",", "mark"):
                    self._take()
                    at = self._next.at
                    markers.append(marker := self._marker(steps))
                    if marker.step is not None:
                        wanted.append((marker.step.name, at))
                if not self._is(")", "mark"):
                    self._expected("',' or ')'")
                self._take()
            slots.append(Slot(step, tuple(markers)))
        present = {slot.step.name for slot in slots}
        for name, at in wanted:
            if name not in present:
                self._fail(at, f"step {name!r} is not part of this permutation")
        return tuple(slots)

    def _marker(self, steps: dict[str, Step]) -> Marker:
        if self._is("*", "mark"):
            self._take()
            return Marker(None)
        step = steps[self._known(steps, "'*' or a step's name")]
        if not self._is("notices"):
            return Marker(step)
        self._take()
        if self._next.kind != "number":
            self._expected("a number of notices")
        return Marker(step, int(self._take().text[:9]))

    def _known(self, steps: dict[str, Step], what: str = "a step's name") -> str:
        at = self._next.at
        name = self._named(what)
        if name not in steps:
            from difflib import get_close_matches

            near = get_close_matches(name, steps, n=2)
            more = f"; did you mean {' or '.join(near)}?" if near else ""
            self._fail(at, f"there is no step {name!r}{more}")
        return name

    def _bound(self, sessions: list[Session]) -> None:
        counts = [len(session.steps) for session in sessions]
        many = factorial(sum(counts)) // prod(factorial(count) for count in counts)
        if many > MOST_INTERLEAVINGS:
            self._fail(
                len(self._text),
                f"without a permutation this stands for {many:,} interleavings, of at most"
                f" {MOST_INTERLEAVINGS:,}: write down the permutations you mean",
            )

    def _optional(self, keyword: str) -> Block | None:
        return self._block_after_keyword() if self._is(keyword) else None

    def _block_after_keyword(self) -> Block:
        self._take()
        return self._block()

    def _block(self) -> Block:
        if self._next.kind != "sql":
            self._expected("a block of SQL in { }")
        token = self._take()
        sql = token.text.strip()
        begin = token.at + 1 + len(token.text) - len(token.text.lstrip())
        return Block(sql, *self._position(begin))

    def _named(self, what: str) -> str:
        if self._next.kind != "name":
            self._expected(what)
        return self._take().text

    def _is(self, text: str, kind: str = "keyword") -> bool:
        return (self._next.kind, self._next.text) == (kind, text)

    def _take(self) -> _Token:
        token, self._next = self._next, next(self._tokens)
        return token

    def _scan(self) -> Iterator[_Token]:
        at = 0
        if "\0" in self._text:
            self._fail(self._text.index("\0"), "a NUL character, which no SQL can hold")
        while at < len(self._text):
            match = _TOKEN.match(self._text, at)
            if match is None:
                self._fail(at, self._unreadable(at))
            kind, text = match.lastgroup or "", match[match.lastgroup or 0]
            if kind == "word":
                yield _Token("keyword" if text in _KEYWORDS else "name", text, at)
            elif kind == "quoted":
                yield _Token("name", text.replace('""', '"'), at)
            elif kind != "space":
                yield _Token(kind, text, at)
            at = match.end()
        while True:
            yield _Token("end", "", at)

    def _unreadable(self, at: int) -> str:
        match self._text[at]:
            case "{":
                return "this block of SQL has no closing }"
            case '"':
                return "this name has no closing quote on its line"
            case other:
                return f"unexpected character {other!r}"

    def _expected(self, what: str) -> NoReturn:
        self._fail(self._next.at, f"expected {what}, found {self._next}")

    def _position(self, at: int) -> tuple[int, int]:
        before = self._text[:at]
        return before.count("\n") + 1, at - (before.rfind("\n") + 1) + 1

    def _fail(self, at: int, why: str) -> NoReturn:
        line, column = self._position(at)
        raise Usage(
            f"{self._name}:{line}:{column}: {why}",
            hint="The format is that of PostgreSQL's isolation tests: setup, teardown, session,"
            " step and permutation, with SQL in { }.",
            file=self._name,
            line=line,
            column=column,
        )
