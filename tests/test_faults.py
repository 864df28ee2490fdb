"""Whatever goes wrong, nothing acknowledged is lost and nothing is half done: the short form.

`benchmarks/faults.py` is the long one.
"""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from conftest import open_directory
from faulty import FAULTS, Ground, disk_full, nothing, small_disk

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    """A server on which everything may go wrong."""
    directory = open_directory()
    made = Ground(directory, seed=7)
    try:
        yield made
        assert made.check() > 0
    finally:
        made.close()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.mark.parametrize("name", FAULTS)
def test_nothing_is_lost_and_nothing_half_done(ground: Ground, name: str) -> None:
    for _ in range(2):
        ground.round(FAULTS[name])
    assert ground.answers


@pytest.fixture
def cramped() -> Iterator[Ground]:
    """A server on a disk that is soon full."""
    with ExitStack() as stack:
        try:
            directory = stack.enter_context(small_disk())
        except OSError as error:
            pytest.skip(str(error))
        made = Ground(directory, seed=7)
        stack.callback(made.close)
        yield made


def test_a_full_disk_loses_nothing(cramped: Ground) -> None:
    for _ in range(30):  # at first, a little fits into pages that are there
        cramped.round(disk_full)
        if cramped.answers.keys() != {"0"}:
            break
    assert "7" in cramped.answers
    cramped.round(nothing)
    assert cramped.check() > 0
