"""A whole log, judged anew line by line: no more than one race of it is ever held in memory."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

from concord.errors import Usage
from concord.plain import jsonable
from concord.race.judge import events
from concord.race.judge.events import Malformed
from concord.race.judge.evidence import Evidence
from concord.race.judge.results import Result
from concord.race.judge.verdict import judge_evidence, objections

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

FORMAT: Final = 1
"""Of the logs that are understood here."""

PROSE: Final = frozenset({"reason", "text"})
"""Keys that put into words what other keys say, in another release perhaps in other words."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A key of a recorded verdict whose value the log does not bear out."""

    race: int
    name: str
    key: str
    recorded: Any
    judged: Any

    def __str__(self) -> str:
        told, found = _brief(self.recorded), _brief(self.judged)
        return f"race {self.race} ({self.name}): {self.key} was recorded as {told}, but is {found}"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a log proves.

    `differences`: where its own verdicts are not confirmed. `missing`: what the run set out to
    race and did not, by its own account. `finished`: it came to its end, with the status `exit`.
    """

    settings: Mapping[str, Any]
    results: tuple[Result, ...]
    differences: tuple[Difference, ...]
    missing: tuple[str, ...]
    finished: bool
    exit: int | None

    @property
    def whole(self) -> bool:
        """Whether nothing that the run set out to do is missing."""
        return self.finished and not self.missing

    @property
    def agrees(self) -> bool:
        """Whether every verdict that the run recorded is confirmed."""
        return not self.differences

    @property
    def objections(self) -> list[str]:
        """What keeps this log from being a proof; nothing if it is one."""
        found = objections(self.results)
        overturned = {one.race for one in self.differences if one.key == "verdict"}
        found += [
            str(one)
            for one in self.differences
            if one.key == "verdict" or one.race not in overturned
        ]
        found += [f"the run set out to race {name}, which is not here" for name in self.missing]
        if not self.finished:
            found.append("the log is cut short: the end of the run is missing")
        elif self.exit and not found:
            found.append(f"the run itself says that it ended with status {self.exit}")
        return found


def judge_log(lines: Iterable[bytes], name: str) -> Judgement:
    """Return what a log proves; `name` is what to call it in errors.

    A last line that its writer did not get to the end of is none. Raises `Usage`, which names the
    line, for what is no log of races.
    """
    reader = _Reader()
    number = 0
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            event = _parse(line)
        except Malformed as error:
            if not line.endswith(b"\n") and number > 1:
                break
            _refuse(name, number, error)
        try:
            reader.take(event)
        except Malformed as error:
            _refuse(name, number, error)
    if not reader.begun:
        _refuse(name, number + 1, Malformed("the line that begins a log is missing"))
    return reader.judgement()


class _Reader:
    """Takes a log's lines one by one and judges each race when it is over."""

    def __init__(self) -> None:
        self.begun = False
        self._settings: Mapping[str, Any] = {}
        self._open: Evidence | None = None
        self._results: list[Result] = []
        self._differences: list[Difference] = []
        self._finished = False
        self._exit: int | None = None

    def take(self, event: Mapping[str, Any]) -> None:
        """Take the next line. Raises `Malformed` if it has no place here."""
        kind = events.kind(event)
        if self._finished:
            raise Malformed("the log has ended already")
        if self.begun is (kind == "run"):
            raise Malformed(
                "another log begins" if self.begun else "the line that begins a log is missing"
            )
        match kind:
            case "run":
                self._begin(event)
            case "race":
                self._close(None)
                header = events.header(event)
                if header.number != len(self._results) + 1:
                    raise Malformed(
                        f"race {header.number} follows race {len(self._results)}"
                        if self._results
                        else f"the first race has the number {header.number}"
                    )
                self._open = Evidence(header)
            case "finished":
                self._close(None)
                self._finished = True
                status = event.get("exit")
                if type(status) is not int:
                    raise Malformed(f"exit is {status!r}, no whole number")
                self._exit = status
                told = event.get("races", len(self._results))
                if told != len(self._results):
                    raise Malformed(f"{told} races were run, but {len(self._results)} are here")
            case _ if self._open is None:
                raise Malformed(f"the type {kind!r} comes without a race")
            case "verdict":
                if events.race_number(event) != self._open.header.number:
                    raise Malformed(f"a verdict on race {event['race']} after another one")
                self._close(event)
            case _:
                self._open.add(event)

    def judgement(self) -> Judgement:
        """Return what the lines so far prove."""
        if self._open is not None:
            self._results.append(judge_evidence(self._open))
            self._open = None
        return Judgement(
            self._settings,
            tuple(self._results),
            tuple(self._differences),
            self._missing() if self._finished else (),
            self._finished,
            self._exit,
        )

    def _missing(self) -> tuple[str, ...]:
        """Return the scenarios and strategies of the settings that were not raced."""
        missing: list[str] = []
        for key, name in (("scenarios", "scenario"), ("strategies", "strategy")):
            planned = self._settings.get(key)
            raced = [getattr(result, name) for result in self._results]
            if isinstance(planned, list):
                missing += [str(one) for one in cast("list[Any]", planned) if one not in raced]
        return tuple(missing)

    def _begin(self, event: Mapping[str, Any]) -> None:
        if event.get("format") != FORMAT:
            raise Malformed(f"the format is {event.get('format')!r}, not {FORMAT}")
        settings = event.get("settings")
        if not isinstance(settings, dict):
            raise Malformed("it has no settings")
        self._settings = cast("dict[str, Any]", settings)
        self.begun = True

    def _close(self, recorded: Mapping[str, Any] | None) -> None:
        """Judge the race that is over, and compare with what was recorded of it."""
        if self._open is None:
            return
        evidence, self._open = self._open, None
        result = judge_evidence(evidence)
        self._results.append(result)
        number = evidence.header.number
        if recorded is None:
            self._differences.append(
                Difference(number, result.name, "verdict", None, result.verdict)
            )
        else:
            self._differences += _differences(number, recorded, result)


def _differences(number: int, recorded: Mapping[str, Any], result: Result) -> Iterator[Difference]:
    for field in fields(Result):
        # What an earlier release did not record, it did not claim either.
        if field.name in PROSE or (field.name not in recorded and field.name != "verdict"):
            continue
        told, found = recorded.get(field.name), jsonable(getattr(result, field.name))
        if not _same(told, found):
            yield Difference(number, result.name, field.name, told, found)


def _brief(value: Any) -> str:
    """Return a value in few words: of a witness, its rule and its operations."""
    if isinstance(value, dict):
        witness = cast("dict[str, Any]", value)
        return f"{witness.get('rule')} by ops {witness.get('ops')}"
    return "nothing" if value is None else str(value)


def _same(told: object, found: object) -> bool:
    if isinstance(found, float) and isinstance(told, int | float):
        # The run may have judged times before they were rounded for the log.
        return math.isclose(told, found, rel_tol=0.001, abs_tol=0.01)
    if isinstance(found, dict) and isinstance(told, dict):
        said = cast("dict[str, object]", told)
        known = cast("dict[str, object]", found).items()
        return all(_same(said.get(key), value) for key, value in known if key not in PROSE)
    # In Python, true equals 1.
    return isinstance(told, bool) == isinstance(found, bool) and told == found


def _parse(line: bytes) -> dict[str, Any]:
    try:
        event: Any = json.loads(line.decode())
    except (ValueError, RecursionError):
        raise Malformed("it is not JSON") from None
    if not isinstance(event, dict):
        raise Malformed("it is no JSON object")
    return cast("dict[str, Any]", event)


def _refuse(name: str, number: int, error: Malformed) -> NoReturn:
    raise Usage(
        f"{name} is no log of races: line {number}: {error}",
        hint="Make one with: concord demo race --log FILE.jsonl",
        line=number,
    ) from None
