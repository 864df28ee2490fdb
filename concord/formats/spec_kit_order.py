"""In which order the tasks of a spec-kit file are to be done.

Setup, then what is foundational, then all user stories beside each other, then polish, as the
headings of the phases say; a phase whose heading says nothing of this keeps its place in the file.
Within a phase, a task without `[P]` waits for all before it. `(depends on T012, T013)` adds to
this, and goes before it: where the file's order contradicts such a dependency, tasks come as late
as it asks for.
"""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from concord.order import arrange

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from concord.order import Arrangement

_FIRST = re.compile(r"\W*(?:set\s?up|foundation)", re.IGNORECASE)
_LAST = re.compile(r"\W*polish", re.IGNORECASE)
_STORY = re.compile(r"\bUser\s+Stor(?:y|ies)\b|\bUS[0-9]+|\bPriority:?\s*P[0-9]", re.IGNORECASE)

_REF = r"[*_`]{0,3}T[0-9]{3,18}[A-Za-z]?(?![0-9A-Za-z])[*_`]{0,3}"
_DEPENDS = re.compile(
    r"(?:\([^()]*|^[ \t>*+-]*)(?i:\bdepends\s+on)[\s:*_]+(?i:tasks?\s+)?"
    rf"(?P<refs>{_REF}(?:\s*(?:,\s*and\b|,|;|&|\band\b|[-–—])\s*{_REF})*)",
    re.MULTILINE,
)
_EACH_REF = re.compile(r"(?P<through>[-–—]\s*)?[*_`]{0,3}(?P<ref>T(?P<number>[0-9]+)[A-Za-z]?)")


@dataclass(frozen=True, slots=True)
class Step:
    """A task of a phase. `depends` are the refs that its text names."""

    ref: str
    parallel: bool
    story: bool
    depends: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Phase:
    """A phase: its heading without `Phase N`, and its tasks in the order of the file."""

    ref: str
    heading: str
    steps: tuple[Step, ...]
    depends: tuple[str, ...] = ()

    @property
    def is_story(self) -> bool:
        """Whether it is a user story, to be done beside the others."""
        if _FIRST.match(self.heading) or _LAST.match(self.heading):
            return False
        return bool(_STORY.search(self.heading)) or all(step.story for step in self.steps)


def depends(text: str, refs: Mapping[str, int]) -> tuple[str, ...]:
    """Return the refs that a task's text says it depends on; `T012-T015` are all those between.

    `refs` are those of the file, with their numbers.
    """
    found: dict[str, None] = {}
    for match in _DEPENDS.finditer(text):
        last = 0
        for each in _EACH_REF.finditer(match["refs"]):
            number = int(each["number"])
            if each["through"]:
                found |= {ref: None for ref in refs if last < refs[ref] < number}
            found[each["ref"]] = None
            last = number
    return tuple(found)


def blockers(phases: Sequence[Phase], loose: Sequence[Step]) -> dict[str, tuple[str, ...]]:
    """Return what each phase and each task waits for. `loose` are tasks that are in no phase.

    As few links as say it: what follows from others is left out. If what the texts say contradicts
    itself, that alone is returned.
    """
    groups = list(_groups(phases))
    ordered = [phase for group in groups for phase in group]
    names = [name for phase in ordered for name in (phase.ref, *(s.ref for s in phase.steps))]
    parents = {step.ref: phase.ref for phase in phases for step in phase.steps}
    steps = [*(step for phase in ordered for step in phase.steps), *loose]
    waits = {each.ref: list(each.depends) for each in (*steps, *ordered)}
    arrangement = arrange([*names, *(step.ref for step in loose)], parents, waits)
    if not arrangement.left_out:
        implied: defaultdict[str, list[str]] = defaultdict(list, waits)
        for blocked, blocker in itertools.chain(
            _between(groups, arrangement),
            *(_within(phase.steps, arrangement) for phase in ordered),
        ):
            if blocker not in implied[blocked]:
                implied[blocked].append(blocker)
        waits = implied
    return {ref: tuple(others) for ref, others in waits.items()}


def _groups(phases: Sequence[Phase]) -> Iterator[list[Phase]]:
    """Yield the phases in their order, those together that go beside each other."""
    stories = [place for place, phase in enumerate(phases) if phase.is_story]

    def place(given: int) -> float:
        heading = phases[given].heading
        if stories and _FIRST.match(heading):
            return min(given, stories[0] - 0.5)
        if stories and _LAST.match(heading):
            return max(given, stories[-1] + 0.5)
        return given

    ordered = [phases[given] for given in sorted(range(len(phases)), key=place)]
    for is_story, group in itertools.groupby(ordered, key=lambda phase: phase.is_story):
        if is_story:
            yield list(group)
        else:
            yield from ([phase] for phase in group)


def _between(
    groups: Iterable[Sequence[Phase]], arrangement: Arrangement
) -> Iterator[tuple[str, str]]:
    """Yield which phase waits for which."""
    waits: dict[str, set[str]] = {}
    open_ends: list[str] = []
    for group in groups:
        for phase in group:
            # Where one cannot be waited for, what comes before it can, as like as not.
            ahead, over = list(open_ends), set[str]()
            for earlier in ahead:
                if arrangement.is_over(earlier, phase.ref):
                    over.add(earlier)
                else:
                    ahead += [ref for ref in waits[earlier] if ref not in ahead]
            waits[phase.ref] = over - {ref for earlier in over for ref in waits[earlier]}
            yield from ((phase.ref, earlier) for earlier in ahead if earlier in waits[phase.ref])
        covered = {ref for phase in group for ref in waits[phase.ref]}
        open_ends = [ref for ref in open_ends if ref not in covered]
        open_ends += [phase.ref for phase in group]


def _within(steps: Sequence[Step], arrangement: Arrangement) -> Iterator[tuple[str, str]]:
    """Yield which task of a phase waits for which."""
    open_ends: list[str] = []
    for step in sorted(steps, key=lambda step: arrangement.begins[step.ref]):
        if not step.parallel:
            yield from ((step.ref, earlier) for earlier in open_ends)
            open_ends.clear()
        open_ends.append(step.ref)
