"""What a raced transaction was asked to do, and what it did."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Touch:
    """A change of one part of a task, from the value that was read to the one that was written.

    `part` tells apart what changes independently in one task: a field, or an assignee.
    """

    task: int
    part: str
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class Op:
    """An operation of a worker. Its id is unique in the race and outlives its retries."""

    id: int
    tasks: tuple[int, ...]
    retry: int = 0


class Again(Exception):
    """The attempt changed nothing, and another one may succeed. Says why."""


class Exhausted(Exception):
    """There is nothing left to do for anybody."""
