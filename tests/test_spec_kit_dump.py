"""The way back: phases, items and what waits for what come out of a `tasks.md` as they went in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spec_kit_files import STANDARD, documents, parse
from test_spec_kit import make_task

from concord.formats import spec_kit_dump
from concord.order import arrange

if TYPE_CHECKING:
    from collections.abc import Iterable

    from concord.models import Task

DATA = Path(__file__).parents[1].parent / "shared" / "data"


def imported(document: str) -> list[Task]:
    """Return the tasks that a file makes here."""
    tasks = parse(document)
    ids = {ref: number for number, ref in enumerate(tasks, 1)}
    return [
        make_task(
            task.title,
            id=ids[ref],
            description=task.description,
            status=task.status,
            tags=task.tags,
            external_ref=ref,
            parent=ids[task.parent] if task.parent else None,
            blocked_by=tuple(sorted(ids[other] for other in task.blocked_by if other in ids)),
            auto_close=task.auto_close,
        )
        for ref, task in tasks.items()
    ]


def dump(tasks: Iterable[Task]) -> str:
    return "".join(f"{line}\n" for line in spec_kit_dump.dump(tasks, "API"))


def kept(document: str) -> dict[str, Any]:
    """Return what a file tells, wherever in it."""
    return {
        ref: replace(task, line=0, blocked_by=tuple(sorted(task.blocked_by)))
        for ref, task in parse(document).items()
    }


def test_a_phase_becomes_a_heading_again() -> None:
    document = dump(imported(STANDARD))
    assert document.startswith(
        "# Tasks: API\n"
        "<!-- utf-8: ✓ -->\n"
        "\n"
        "## Phase 1: Setup (Shared Infrastructure)\n"
        "\n"
        "**Purpose**: Project initialization\n"
        "and basic structure\n"
        "\n"
        "- [x] T001 Create the project\n"
        "- [x] T002 [P] Choose a linter\n"
        "\n"
        "## Phase 2: Foundational (Blocking Prerequisites)\n"
        "\n"
        "**Checkpoint**: Foundation ready\n"
    )
    assert "concord:" not in document
    assert kept(document) == kept(STANDARD)


@pytest.mark.skipif(not DATA.is_dir(), reason="the real files are not here")
@pytest.mark.parametrize("name", ["backend-data-layer", "event-discovery"])
def test_a_real_file_comes_back_the_same(name: str) -> None:
    document = (DATA / f"spec-kit-{name}.md").read_text(encoding="utf-8")
    again = dump(imported(document))
    assert "concord:" not in again
    assert kept(again) == kept(document)
    assert dump(imported(again)) == again


@settings(deadline=None)
@given(documents())
def test_any_order_comes_back_the_same(document: str) -> None:
    tasks = parse(document)
    parents = {ref: task.parent for ref, task in tasks.items() if task.parent}
    told = {ref: task.blocked_by for ref, task in tasks.items()}
    if not arrange(list(tasks), parents, told).left_out:
        again = dump(imported(document))
        for ref, task in kept(document).items():
            # What the file says more than before is that there is an order where there was none.
            assert set(task.blocked_by) <= set(parse(again)[ref].blocked_by)
            assert replace(parse(again)[ref], line=0, blocked_by=task.blocked_by) == task


def test_items_stand_where_their_links_put_them() -> None:
    late = "## Phase 1: x\n- [ ] T001 a\n- [ ] T005 b\n- [ ] T003 [P] c\n- [ ] T002 d\n"
    assert kept(dump(imported(late))) == kept(late)
    assert [line for line in dump(imported(late)).splitlines() if line.startswith("-")] == [
        "- [ ] T001 a",
        "- [ ] T005 b",
        "- [ ] T003 [P] c",
        "- [ ] T002 d",
    ]


def test_what_neither_order_nor_text_tells_is_written_into_the_file() -> None:
    tasks = [
        make_task("Later", id=1, blocked_by=(3,), description="As agreed."),
        make_task("Phase 2: b", id=2, external_ref="Phase 2", blocked_by=(3,)),
        make_task("First", id=3),
        make_task("In it", id=4, parent=2, blocked_by=(1, 9)),
    ]
    document = dump(tasks)
    assert "- [ ] T001 Later\n  <!-- concord:depends on T002 -->\n  As agreed.\n" in document
    assert "## Phase 2: b\n\n<!-- concord:depends on T002 -->\n- [ ] T003 In it\n" in document
    read = parse(document)
    assert (read["T001"].blocked_by, read["T001"].description) == (("T002",), "As agreed.")
    assert read["Phase 2"].blocked_by == ("T002",)
    assert read["T003"].blocked_by == ("T001",)
    assert read["T003"].description is None


def test_a_dependency_that_the_headings_would_contradict_is_not_written() -> None:
    tasks = [
        make_task("Phase 1: a", id=1, external_ref="Phase 1", blocked_by=(2,)),
        make_task("By its tag", id=2, tags=("phase-1",)),
    ]
    document = dump(tasks)
    assert "concord:" not in document
    assert parse(document)["T001"].parent == "Phase 1"


def test_a_phase_that_was_renamed_keeps_its_number() -> None:
    tasks = [
        make_task("Groundwork", id=1, external_ref="Phase 1", description="Free text.\n\n- a"),
        make_task("One", id=2, parent=1),
        make_task("Part of one", id=3, parent=2),
    ]
    document = dump(tasks)
    assert "## Phase 1: Groundwork\n" in document
    read = parse(document)
    assert read["Phase 1"].description == "Free text.\n\n- a"
    assert [read[ref].parent for ref in ("T001", "T002")] == ["Phase 1", "Phase 1"]


@given(st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=40))
def test_any_description_of_a_phase_comes_back(description: str) -> None:
    tasks = [
        make_task("Phase 1: a", id=1, external_ref="Phase 1", description=description),
        make_task("One", id=2, parent=1),
    ]
    assert parse(dump(tasks))["Phase 1"].description == description
