"""The way back: tasks as a spec-kit `tasks.md`."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from concord.formats import spec_kit, text
from concord.models import ImportedTask, Task
from concord.order import arrange

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

T = TypeVar("T")

_MARKER_LIKE = re.compile(rf"\\*{spec_kit.MARKER}")
_STORY_TAG = re.compile(r"us([0-9]{1,6}[a-z]?)")
_LABEL = r"[0-9]{1,6}(?:\.[0-9]{1,6})*[a-z]?|[a-z]|[ivx]{2,6}"
_PHASE_TAG = re.compile(rf"phase-({_LABEL})")
_PHASE_REF = re.compile(rf"phase ({_LABEL})")
# One digit less than `parse` reads: the number after the highest can be read as well.
_OWN_REF = re.compile(r"T([0-9]{3,17})[A-Za-z]?")
_CHECKPOINT = re.compile(r"\*\*checkpoint\b", re.IGNORECASE)


class _Item(NamedTuple):
    """A task, and what the file calls it."""

    ref: str
    task: Task


@dataclass(slots=True)
class _Phase:
    """A phase by its label: the task that it is, if there is one, and those that are in it."""

    label: str
    task: Task | None = None
    items: list[_Item] = field(default_factory=list[_Item])

    @property
    def ref(self) -> str:
        return spec_kit.phase_ref(self.label)


def dump(tasks: Iterable[Task], name: str) -> Iterator[str]:
    """Yield the lines (without line ends) of a `tasks.md` titled `name`, to be saved as UTF-8.

    `parse` reads the same refs, titles, descriptions, markers and dependencies back. A task whose
    `external_ref` is `Phase 3` is a heading, and below it stand its parts, else the tasks with the
    tag `phase-3`; those without a phase are in a section of their own at the end. Phases and tasks
    stand in the order in which they wait for each other, else in that of their numbers. A task
    whose `external_ref` is not a `T` number of its own gets the next free one.

    The format knows done and not done, one phase for a task (the first is taken), and no tags but
    `parallel`, `phase-N` and `usN`; the rest of a task has no place in it.
    """
    tasks = list(tasks)
    phases, loose = _sorted_out(tasks)
    yield f"# Tasks: {' '.join(name.split())}"
    if not all(f"{task.title}{task.description}".isascii() for task in tasks):
        yield text.INTACT
    yield from _document(phases, loose, _untold(phases, loose))


def _sorted_out(tasks: Sequence[Task]) -> tuple[list[_Phase], list[_Item]]:
    """Return the phases with their tasks, and the tasks without one, in the order of the file."""
    phases: dict[int, _Phase] = {}
    tagged: dict[tuple[str | None, str], _Phase] = {}
    for task in tasks:
        if label := _PHASE_REF.fullmatch((task.external_ref or "").lower()):
            phases[task.id] = _Phase(label[1], task)
            tagged.setdefault((task.project, label[1]), phases[task.id])
    parents = {task.id: task.parent for task in tasks}
    loose: list[_Item] = []
    for item in _items([task for task in tasks if task.id not in phases]):
        above = _phase_above(item.task, parents, phases)
        if above is not None:
            phases[above].items.append(item)
        elif labels := _labels(item.task, _PHASE_TAG):
            key = (item.task.project, labels[0])
            tagged.setdefault(key, _Phase(labels[0])).items.append(item)
        else:
            loose.append(item)
    unique = {id(phase): phase for phase in (*phases.values(), *tagged.values())}.values()
    ordered = _waiting_last(
        sorted(unique, key=lambda phase: _natural(phase.label)), lambda phase: phase.task
    )
    for phase in ordered:
        phase.items = _reproducible(phase.items)
    return ordered, loose


def _items(tasks: Sequence[Task]) -> Iterator[_Item]:
    """Yield tasks with their refs: their own `T` number, else the next after the highest of all."""
    own = [_OWN_REF.fullmatch(task.external_ref or "") for task in tasks]
    fresh = itertools.count(max((int(ref[1]) for ref in own if ref), default=0) + 1)
    used: set[str] = set()
    for task, match in zip(tasks, own, strict=True):
        ref = match[0] if match and match[0] not in used else f"T{next(fresh):03}"
        used.add(ref)
        yield _Item(ref, task)


def _phase_above(
    task: Task, parents: Mapping[int, int | None], phases: Mapping[int, _Phase]
) -> int | None:
    """Return the phase that a task is part of, itself or by what it is part of."""
    seen: set[int] = set()
    above = task.parent
    while above is not None and above not in phases and above not in seen:
        seen.add(above)
        above = parents.get(above)
    return above if above in phases else None


def _reproducible(items: Sequence[_Item]) -> list[_Item]:
    """Return the tasks of a phase so that `[P]` says again what waits for what among them.

    One with `[P]` stands before the first of those without that waits for it, the others last.
    """
    ordered = _waiting_last(
        sorted(items, key=lambda item: _natural(item.ref.lower())), lambda item: item.task
    )
    parallel = {item.task.id: item for item in ordered if _is_parallel(item.task)}
    placed: list[_Item] = []
    for item in ordered:
        if item.task.id not in parallel:
            waits = set(item.task.blocked_by)
            before = [each for each in ordered if each.task.id in waits & parallel.keys()]
            placed += [parallel.pop(each.task.id) for each in before]
            placed.append(item)
    return [*placed, *parallel.values()]


def _waiting_last(each: Sequence[T], task_of: Callable[[T], Task | None]) -> list[T]:
    """Return things in their order, but for those whose task waits for that of a later one."""
    tasks = {str(place): task for place, thing in enumerate(each) if (task := task_of(thing))}
    names = {task.id: name for name, task in tasks.items()}
    waits = {
        name: [names[other] for other in task.blocked_by if other in names]
        for name, task in tasks.items()
    }
    begins = arrange([str(place) for place in range(len(each))], {}, waits).begins
    return [each[int(name)] for name in sorted(begins, key=begins.__getitem__)]


def _untold(phases: Sequence[_Phase], loose: Sequence[_Item]) -> dict[str, list[str]]:
    """Return what waits for what without the file saying so, and without contradicting it."""
    items = [*(item for phase in phases for item in phase.items), *loose]
    refs = {item.task.id: item.ref for item in items}
    refs |= {phase.task.id: phase.ref for phase in phases if phase.task}
    tasks = {refs[item.task.id]: item.task for item in items}
    tasks |= {phase.ref: phase.task for phase in phases if phase.task}
    document = "\n".join([text.INTACT, *_document(phases, loose, {})])
    told = {
        row.ref: row
        for row in spec_kit.read(document.encode())
        if isinstance(row, ImportedTask) and row.ref in tasks
    }
    wanted = {
        ref: [refs[other] for other in tasks[ref].blocked_by if refs.get(other) in told]
        for ref in told
    }
    parents = {ref: row.parent for ref, row in told.items() if row.parent}
    for left_out in arrange(list(told), parents, wanted).left_out:
        wanted[left_out.name].remove(left_out.other)
    return {
        ref: [other for other in others if other not in told[ref].blocked_by]
        for ref, others in wanted.items()
    }


def _document(
    phases: Sequence[_Phase], loose: Sequence[_Item], untold: Mapping[str, Sequence[str]]
) -> Iterator[str]:
    """Yield the sections of the file."""
    for phase in phases:
        before, after = _prose(phase.task.description if phase.task else None)
        yield from ("", _heading(phase), "")
        yield from _depends(untold.get(phase.ref), "")
        if before:
            yield from (*before, "")
        for item in phase.items:
            yield from _item_lines(item, untold)
        if after:
            yield from ("", *after)
    if loose:
        yield from ("", "## Tasks without a phase", "")
    for item in loose:
        yield from _item_lines(item, untold)


def _heading(phase: _Phase) -> str:
    if phase.task is None:
        stories = {story for item in phase.items for story in _labels(item.task, _STORY_TAG)}
        what = f"User Story {stories.pop()}" if len(stories) == 1 else "Shared work"
        return f"## {phase.ref}: {what}"
    title = phase.task.title.strip()
    label = spec_kit.PHASE.match(title)
    own = label is not None and spec_kit.phase_ref(label["label"]) == phase.ref
    return f"## {title}" if own else f"## {phase.ref}: {title}"


def _prose(description: str | None) -> tuple[list[str], list[str]]:
    """Return the lines that describe a phase, before and after its tasks: plain, else as JSON."""
    if description is None:
        return [], []
    paragraphs = description.split("\n\n")
    last = len(paragraphs)
    while last > 1 and _CHECKPOINT.match(paragraphs[last - 1]):
        last -= 1
    before = "\n\n".join(paragraphs[:last]).split("\n")
    after = "\n\n".join(paragraphs[last:]).split("\n") if last < len(paragraphs) else []
    lines = [text.INTACT, "# Phase 1", "", *before, "", "- [ ] T001 -", "", *after]
    read = list(spec_kit.read("\n".join(lines).encode()))
    if len(read) == 2 and isinstance(read[0], ImportedTask) and read[0].description == description:
        return before, after
    return [_exactly(description)], []


def _item_lines(item: _Item, untold: Mapping[str, Sequence[str]]) -> Iterator[str]:
    task = item.task
    markers = ["[P]"] if _is_parallel(task) else []
    markers += [f"[US{story}]" for story in _labels(task, _STORY_TAG)]
    title = "\\" + task.title if _MARKER_LIKE.match(task.title) else task.title
    box = "x" if task.status == "completed" else " "
    yield " ".join([f"- [{box}] {item.ref}", *markers, title])
    yield from _depends(untold.get(item.ref), "  ")
    yield from _body(task.description)


def _depends(refs: Sequence[str] | None, indent: str) -> list[str]:
    return [f"{indent}<!-- concord:depends on {', '.join(refs)} -->"] if refs else []


def _body(description: str | None) -> list[str]:
    """Return `description` as indented lines where they read back the same, else as JSON."""
    if description is None:
        return []
    lines = [line and f"  {line}" for line in description.split("\n")]
    document = "\n".join([text.INTACT, "- [ ] T001 -", *lines]).encode()
    item = ImportedTask(ref="T001", title="-", line=2, description=description)
    # A description may well name what its task depends on.
    read = [
        replace(row, blocked_by=()) if isinstance(row, ImportedTask) else row
        for row in spec_kit.read(document)
    ]
    return lines if read == [item] else [f"  {_exactly(description)}"]


def _exactly(description: str) -> str:
    # The comment must not end inside the JSON.
    exact = json.dumps(description).replace(">", "\\u003e")
    return f"<!-- concord:description {exact} -->"


def _is_parallel(task: Task) -> bool:
    return "parallel" in map(str.lower, task.tags)


def _labels(task: Task, tag: re.Pattern[str]) -> list[str]:
    """Return what the tags of `task` that have the form `tag` tell, in natural order."""
    matches = (tag.fullmatch(name.lower()) for name in task.tags)
    return sorted((match[1] for match in matches if match), key=_natural)


def _natural(label: str) -> list[tuple[int, str]]:
    """Order labels as people count: 2 before 10, numbers before letters."""
    parts = re.findall(r"([0-9]+)|([a-z]+)", label)
    return [(int(number), "") if number else (10**6, letters) for number, letters in parts]
