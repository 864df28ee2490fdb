"""Task trackers that are measured beside each other: what each is asked in its own words."""

from __future__ import annotations

import os
import signal
import subprocess
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

FIRST = 1
"""The number of the task that is edited, and that many write to at once."""

MARK = "Made-up task number "
"""What the title of each task begins with that a store is filled with."""

RARE = 20
"""How many tasks of a store carry the tag `rare`, whatever its size."""

PAGE = 20
"""How many tasks a list shows, where the tracker can show only so many."""


@dataclass(frozen=True)
class Command:
    """A command line to be measured."""

    arguments: Sequence[str]
    environment: Mapping[str, str]
    folder: Path


@dataclass(frozen=True)
class Made:
    """A made-up task. Tasks are numbered from 1."""

    number: int
    title: str
    tags: tuple[str, ...] = field(default=())


def made_up(count: int) -> Iterator[Made]:
    """Yield tasks to fill a store with; `RARE` of them, or all if there are fewer, are tagged."""
    every = max(1, count // RARE)
    for number in range(1, count + 1):
        rare = number % every == 0 and number // every <= RARE
        yield Made(number, f"{MARK}{number}", ("rare",) if rare else ())


class Peer(ABC):
    """A tracker with a store of its own in a folder of its own.

    Each action returns the command line that does it. An action that a tracker does not have is
    `None`.
    """

    name: ClassVar[str]
    about: ClassVar[str]

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    @abstractmethod
    def missing(cls) -> str | None:
        """Return what has to be installed, `None` if nothing."""

    @abstractmethod
    def fill(self, count: int, limit: float) -> None:
        """Make a store with so many tasks. Raises `subprocess.TimeoutExpired` after the limit."""

    @abstractmethod
    def add(self, title: str) -> Command:
        """Add a task."""

    @abstractmethod
    def page(self) -> Command:
        """List `PAGE` tasks."""

    @abstractmethod
    def filtered(self) -> Command:
        """List the tasks with the tag `rare`."""

    @abstractmethod
    def edit(self, number: int, title: str) -> Command:
        """Give a task another title."""

    @abstractmethod
    def append(self, number: int, text: str) -> Command:
        """Add to what is said of a task, without taking away what others add."""

    @abstractmethod
    def done(self, number: int) -> Command:
        """Complete a task."""

    @abstractmethod
    def export(self) -> Command | None:
        """Write out all tasks."""

    @abstractmethod
    def content(self) -> str:
        """Return all that is in the store, as text."""

    def close(self) -> None:  # noqa: B027 - as a rule there is nothing
        """Give back what the store takes besides its folder."""


def call(command: Command, limit: float, stdin: str | None = None) -> str:
    """Run a command to its end and return what it printed.

    Raises `subprocess.TimeoutExpired` after so many seconds, and `subprocess.CalledProcessError`.
    """
    with subprocess.Popen(
        command.arguments,
        env=command.environment,
        cwd=command.folder,
        stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        start_new_session=True,
    ) as process:
        try:
            out, err = process.communicate(stdin, timeout=limit)
        except BaseException:
            # With all that it has started, or some of it goes on writing.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command.arguments, out, err)
    return out
