"""spec-kit files for tests: the standard one, and any with phases and dependencies."""

from __future__ import annotations

from io import BytesIO

from hypothesis import strategies as st

from concord.formats import spec_kit
from concord.formats.words import Words
from concord.models import BadRow, ImportedTask

STANDARD = """\
# Tasks: API

## Phase 1: Setup (Shared Infrastructure)

**Purpose**: Project initialization
and basic structure

- [x] T001 Create the project
- [X] T002 [P] Choose a linter

## Phase 2: Foundational (Blocking Prerequisites)

**CRITICAL**: no part of the description

- [x] T003 Schema
- [ ] T004 [P] Logging

**Checkpoint**: Foundation ready

---

## Phase 3: User Story 1 - Browse (Priority: P1) 🎯 MVP

**Goal**: See what there is.

**Independent Test**: Open the page.

### Tests for User Story 1

- [ ] T005 [P] [US1] Contract test
- [ ] T006 [P] [US1] Integration test

### Implementation

- [ ] T007 [US1] Model
- [ ] T008 [US1] Service

## Phase 4: User Story 2 - Search (Priority: P2)

- [ ] T009 [US2] Index

## Phase 5: Polish & Cross-Cutting Concerns

- [ ] T010 [P] Documentation
- [ ] T011 Clean up
- [ ] T012 [P] Release notes

## Dependencies & Execution Order

- **Phase 1**: nothing but prose
"""


def parse(document: str) -> dict[str, ImportedTask]:
    rows = list(spec_kit.parse(BytesIO(document.encode()), Words()))
    assert [row.line for row in rows if isinstance(row, ImportedTask)] == sorted(
        row.line for row in rows if isinstance(row, ImportedTask)
    )
    assert not [row for row in rows if isinstance(row, BadRow)]
    return {row.ref: row for row in rows if isinstance(row, ImportedTask)}


def waits(document: str) -> dict[str, set[str]]:
    """Return what waits for what, without those that wait for nothing."""
    return {ref: set(row.blocked_by) for ref, row in parse(document).items() if row.blocked_by}


def items(*lines: str, phase: str = "Phase 1: Setup") -> str:
    """Return a phase of items, numbered from T001."""
    told = [f"- [ ] T{number:03} {line}" for number, line in enumerate(lines, 1)]
    return "\n".join([f"## {phase}", *told])


def phases(*headings: str) -> str:
    """Return phases of one item each, numbered from 1."""
    return "\n".join(
        f"## Phase {number}: {heading}\n- [ ] T{number:03} x\n"
        for number, heading in enumerate(headings, 1)
    )


REFS = [f"T{number:03}" for number in range(1, 9)]
HEADINGS = ["Setup", "Foundational", "User Story 1", "US2", "Wiring", "Polish"]


@st.composite
def documents(draw: st.DrawFn) -> str:
    """Return files whose tasks depend on any others."""
    lines = list[str]()
    number = 0
    for ref in REFS:
        if draw(st.booleans()):
            number += 1
            lines.append(f"## Phase {number}: {draw(st.sampled_from(HEADINGS))}")
        marker = draw(st.sampled_from(["", "[P] "]))
        depends = draw(st.lists(st.sampled_from(REFS), max_size=2, unique=True))
        text = f" (depends on {', '.join(depends)})" if depends else ""
        lines.append(f"- [ ] {ref} {marker}x{text}")
    return "\n".join(lines)
