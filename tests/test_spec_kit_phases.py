"""spec-kit's phases as tasks, and the order that phases, `[P]` and texts ask for."""

from __future__ import annotations

from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spec_kit_files import REFS, STANDARD, documents, items, parse, phases, waits

from concord.formats import spec_kit
from concord.formats.words import Words
from concord.models import BadRow, ImportedTask
from concord.order import arrange

# Phases


def test_a_phase_is_a_task_and_its_items_are_parts_of_it() -> None:
    tasks = parse(STANDARD)
    assert list(tasks)[:3] == ["Phase 1", "T001", "T002"]
    assert tasks["Phase 3"] == ImportedTask(
        ref="Phase 3",
        title="Phase 3: User Story 1 - Browse (Priority: P1) 🎯 MVP",
        line=22,
        description="**Goal**: See what there is.\n\n**Independent Test**: Open the page.",
        auto_close=True,
        blocked_by=("Phase 2",),
    )
    assert tasks["Phase 1"].description == (
        "**Purpose**: Project initialization\nand basic structure"
    )
    assert tasks["Phase 2"].description == "**Checkpoint**: Foundation ready"
    assert tasks["Phase 4"].description is None
    parents = {ref: task.parent for ref, task in tasks.items() if ref.startswith("T")}
    assert parents == {
        f"T{number:03}": f"Phase {phase}"
        for phase, numbers in {
            1: (1, 2),
            2: (3, 4),
            3: (5, 6, 7, 8),
            4: (9,),
            5: (10, 11, 12),
        }.items()
        for number in numbers
    }
    assert not any(task.auto_close for ref, task in tasks.items() if ref.startswith("T"))


def test_a_phase_is_completed_when_all_in_it_is() -> None:
    tasks = parse(STANDARD)
    done = [ref for ref, task in tasks.items() if task.status == "completed"]
    assert done == ["Phase 1", "T001", "T002", "T003"]


def test_a_phase_without_tasks_is_prose() -> None:
    assert list(parse("## Phase 1: Setup\n\nText.\n\n## Phase 2: Core\n- [ ] T001 x")) == [
        "Phase 2",
        "T001",
    ]


def test_a_phase_that_comes_again_goes_on() -> None:
    tasks = parse("## Phase 1: a\n- [x] T001 x\n## Other\n## PHASE 1 - again\n- [ ] T002 x\n")
    assert [(task.title, task.status) for task in tasks.values()][:1] == [("Phase 1: a", "todo")]
    assert {task.parent for ref, task in tasks.items() if ref != "Phase 1"} == {"Phase 1"}


@pytest.mark.parametrize(
    ("heading", "ref", "title"),
    [
        ("## Phase 3: Core", "Phase 3", "Phase 3: Core"),
        ("## PHASE 3 Core", "Phase 3", "PHASE 3 Core"),
        ("### **Phase 3: Core**", "Phase 3", "Phase 3: Core"),
        ("## 🚀 Phase 3A – Core", "Phase 3a", "🚀 Phase 3A – Core"),
        ("## Phase 3.1", "Phase 3.1", "Phase 3.1"),
        ("## Phase N: Polish", "Phase N", "Phase N: Polish"),
        ("## Phase IV – Polish", "Phase IV", "Phase IV – Polish"),
    ],
)
def test_the_ref_of_a_phase_is_its_number_however_it_is_written(
    heading: str, ref: str, title: str
) -> None:
    task = parse(f"{heading}\n- [ ] T001 x")[ref]
    assert (task.ref, task.title) == (ref, title)


@pytest.mark.parametrize(
    ("text", "description"),
    [
        ("**Goal:** one", "**Goal:** one"),
        ("**GOAL**: one\n- two\n\nthree", "**GOAL**: one\n- two"),
        ("Goal: one", None),
        ("**Goals**: one", None),
        ("```\n**Goal**: one\n```", None),
        ("<!--\n**Goal**: one\n-->", None),
        ("**Goal**: one\n```\ncode\n```", "**Goal**: one"),
        ('<!-- concord:description "a\\nb" -->', "a\nb"),
        ("**Goal**: one\n### Tests\n**Checkpoint**: two", "**Goal**: one\n\n**Checkpoint**: two"),
    ],
)
def test_what_describes_a_phase(text: str, description: str | None) -> None:
    assert parse(f"## Phase 1: x\n{text}\n\n- [ ] T001 x")["Phase 1"].description == description


def test_a_heading_that_is_too_long_is_cut() -> None:
    title = f"Phase 1: {'x' * 300}"
    task = parse(f"## {title}\n**Goal**: y\n\n- [ ] T001 x")["Phase 1"]
    assert len(task.title) == 255
    assert task.description == f"{title}\n\n**Goal**: y"


def test_a_description_of_a_phase_that_cannot_be_stored_is_a_bad_row() -> None:
    document = '## Phase 1: x\n<!-- concord:description "\\u0000" -->\n- [ ] T001 x'
    bad, task = spec_kit.parse(BytesIO(document.encode()), Words())
    assert isinstance(bad, BadRow)
    assert bad.reason == "Phase 1 holds a NUL character, which PostgreSQL cannot store"
    assert isinstance(task, ImportedTask)


# The order of phases


def test_the_order_of_a_standard_file() -> None:
    assert waits(STANDARD) == {
        "Phase 2": {"Phase 1"},
        "Phase 3": {"Phase 2"},
        "Phase 4": {"Phase 2"},
        "Phase 5": {"Phase 3", "Phase 4"},
        "T007": {"T005", "T006"},
        "T008": {"T007"},
        "T011": {"T010"},
    }


@pytest.mark.parametrize(
    ("headings", "expected"),
    [
        (["Setup", "Core", "Wiring"], {2: {1}, 3: {2}}),
        (["Setup", "User Story 1", "US2: more", "Find (Priority: P3)"], {2: {1}, 3: {1}, 4: {1}}),
        (["User Story 1", "User Story 2"], {}),
        (["User Story 1", "Wiring", "Release"], {2: {1}, 3: {2}}),
        (["US1", "US2", "Wiring", "US3"], {3: {1, 2}, 4: {3}}),
        # What the heading says goes before its place.
        (["US1", "Polish (all user stories)", "US2"], {2: {1, 3}}),
        (["Setup", "US1", "Foundational (blocks all user stories)"], {3: {1}, 2: {3}}),
        (["Polish", "Core"], {2: {1}}),
    ],
)
def test_the_order_of_phases(headings: list[str], expected: dict[int, set[int]]) -> None:
    assert waits(phases(*headings)) == {
        f"Phase {blocked}": {f"Phase {blocker}" for blocker in blockers}
        for blocked, blockers in expected.items()
    }


def test_a_phase_is_a_story_when_all_its_items_are() -> None:
    document = (
        "## Phase 1: Browse\n- [ ] T001 [US1] x\n## Phase 2: Search\n- [ ] T002 [US2] x\n"
        "## Phase 3: Mixed\n- [ ] T003 [US2] x\n- [ ] T004 [P] x\n"
    )
    assert waits(document) == {"Phase 3": {"Phase 1", "Phase 2"}}


# The order within a phase


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["a", "a", "a"], {2: {1}, 3: {2}}),
        (["[P] a", "[P] a", "[P] a"], {}),
        (["[P] a", "[P] a", "a", "[P] a", "a"], {3: {1, 2}, 5: {3, 4}}),
        (["a", "[P] a", "[P] a"], {}),
    ],
)
def test_the_order_within_a_phase(lines: list[str], expected: dict[int, set[int]]) -> None:
    assert waits(items(*lines)) == {
        f"T{blocked:03}": {f"T{blocker:03}" for blocker in blockers}
        for blocked, blockers in expected.items()
    }


def test_tasks_without_a_phase_have_no_order() -> None:
    assert waits("- [ ] T001 a\n- [ ] T002 a") == {}


@given(st.lists(st.booleans(), max_size=12))
def test_a_task_without_p_waits_for_all_before_it_and_one_with_p_for_none(
    parallel: list[bool],
) -> None:
    links = waits(items(*("[P] a" if free else "a" for free in parallel)))
    assert sum(map(len, links.values())) <= len(parallel)
    for number, free in enumerate(parallel, 1):
        reached = set[str]()
        ahead = {f"T{number:03}"}
        while ahead:
            ahead = {other for ref in ahead for other in links.get(ref, ())} - reached
            reached |= ahead
        expected = {f"T{earlier:03}" for earlier in range(1, number) if not free}
        assert reached == expected


# What texts say


@pytest.mark.parametrize(
    ("text", "refs"),
    [
        ("(depends on T012)", "T012"),
        ("(Depends On T012, T013)", "T012 T013"),
        ("(depends on T012 and T013)", "T012 T013"),
        ("(depends on T012, T013, and T014)", "T012 T013 T014"),
        ("(depends on: T012 & T013)", "T012 T013"),
        ("(depends on tasks T012,T013)", "T012 T013"),
        ("(depends on **T012**, `T013`)", "T012 T013"),
        ("(see the plan; depends on T012) in a.py", "T012"),
        ("(depends on T012; blocks T013)", "T012"),
        ("(depends on T012) and (depends on T014)", "T012 T014"),
        ("(depends on T012-T015)", "T012 T013 T014 T015"),
        ("(depends on T012 – T014, T020a)", "T012 T013 T014 T020a"),
        ("(depends on T999)", "T999"),
        ("\n  - Depends on: T012", "T012"),
        ("\n  (depends on T012)", "T012"),
        ("that depends on T012", ""),
        ("(depends on the plan of T012)", ""),
        ("(depends on T01)", ""),
        ("(depends on T012x5)", ""),
        ("", ""),
    ],
)
def test_a_text_may_say_what_a_task_depends_on(text: str, refs: str) -> None:
    others = "\n".join(f"- [ ] {ref} x" for ref in ("T012", "T013", "T014", "T015", "T020a"))
    task = parse(f"{others}\n- [ ] T100 Do it {text}")["T100"]
    assert set(task.blocked_by) == set(refs.split())
    assert task.title.startswith("Do it")


def test_a_dependency_goes_before_the_order_of_the_file() -> None:
    assert waits(items("a", "b (depends on T003)", "c", "d")) == {
        "T002": {"T003"},
        "T003": {"T001"},
        "T004": {"T002"},
    }


def test_a_dependency_goes_before_the_order_of_the_phases() -> None:
    document = phases("Setup", "Core", "More", "Wiring").replace("T002 x", "T002 (depends on T004)")
    # Phase 2 cannot end before Phase 4 has begun; all else stays in order.
    assert waits(document) == {
        "Phase 2": {"Phase 1"},
        "T002": {"T004"},
        "Phase 3": {"Phase 1"},
        "Phase 4": {"Phase 3"},
    }


def test_dependencies_that_contradict_each_other_are_all_that_is_told() -> None:
    circle = items("a (depends on T002)", "b (depends on T003)", "c (depends on T001)", "d")
    assert waits(circle) == {"T001": {"T002"}, "T002": {"T003"}, "T003": {"T001"}}
    assert waits(items("a (depends on T001)")) == {"T001": {"T001"}}


@settings(deadline=None)
@given(documents())
def test_an_order_is_told_that_has_no_circle_unless_the_texts_have_one(document: str) -> None:
    tasks = parse(document)
    told = {ref: list(task.blocked_by) for ref, task in tasks.items()}
    parents = {ref: task.parent for ref, task in tasks.items() if task.parent}
    said = {ref: [other for other in REFS if other in task.title] for ref, task in tasks.items()}
    for ref, others in said.items():
        assert set(others) <= set(told[ref])
    possible = not arrange(list(tasks), parents, said).left_out
    assert possible == (not arrange(list(tasks), parents, told).left_out)
    if not possible:
        assert {ref: set(others) for ref, others in told.items()} == {
            ref: set(others) for ref, others in said.items()
        }
