"""Processes that start together: spawned, gathered at a barrier, let go, and waited for.

They are forked from a small server process that has imported what they need and has no connection
and no thread (https://docs.python.org/3/library/multiprocessing.html#contexts-and-start-methods).
"""

from __future__ import annotations

import multiprocessing
import signal
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any, Final

from concord.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess
    from typing import Self

START_PATIENCE: Final = 60.0
"""Seconds for all processes to reach the barrier."""

END_PATIENCE: Final = 10.0
"""Seconds for a process to end that has said goodbye."""


@dataclass(slots=True)
class Member:
    """A process, our end of its pipe, and what became of it."""

    number: int
    process: BaseProcess
    pipe: Connection
    pid: int | None = None
    """Of its backend."""
    done: int = 0
    """Operations it has told of so far."""
    ended: str | None = None
    """`done` or `died`."""
    why: str | None = None


class Crew:
    """Processes that run `target(job, pipe)`, one for each job.

    Over the pipe a process sends (`ready`, backend pid), (`progress`, n), and last (`done`, n) or
    (`died`, why).
    """

    def __init__(self, target: Callable[[Any, Connection], None], jobs: Sequence[Any]) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["concord.race.worker", "concord.race.observer"])
        resource_tracker.ensure_running()  # which would unblock signals, if it were not
        with _undisturbed():
            forkserver.ensure_running()
        self.members: list[Member] = []
        try:
            for number, job in enumerate(jobs):
                with _undisturbed():
                    ours, theirs = context.Pipe()
                    process = context.Process(target=target, args=(job, theirs), daemon=True)
                    process.start()
                    theirs.close()
                    self.members.append(Member(number, process, ours))
        except BaseException:
            self.__exit__()
            raise

    def gather(self) -> None:
        """Wait until all are ready. Raises `DatabaseUnavailable` if one is not, in good time."""
        deadline = time.monotonic() + START_PATIENCE
        while waiting := [one for one in self.members if one.pid is None]:
            self._listen(waiting, deadline - time.monotonic())
            for member in self.members:
                if member.ended is not None:
                    raise DatabaseUnavailable(
                        f"process {member.number} did not reach the start: {member.why}",
                        hint="Is there room for so many connections? concord doctor looks into it.",
                    )
            if time.monotonic() > deadline:
                raise DatabaseUnavailable(
                    f"{len(waiting)} processes did not reach the start in {START_PATIENCE:.0f} s",
                    hint="Try fewer --workers.",
                )

    def tell(self, word: str) -> None:
        """Send a word to all that are still there."""
        for member in self.members:
            with suppress(OSError):  # it died; its pipe says so next
                member.pipe.send(word)

    def finish(self, tick: float, *, stop_on_death: bool = False) -> Iterator[int]:
        """Wait for all to end; yield how many operations are done, every `tick` seconds or less.

        With `stop_on_death`, the others are told to stop when one has died.
        """
        stopped = False
        while running := [one for one in self.members if one.ended is None]:
            self._listen(running, tick)
            if stop_on_death and not stopped and any(one.ended == "died" for one in self.members):
                self.tell("stop")
                stopped = True
            yield sum(one.done for one in self.members)
        for member in self.members:
            member.process.join(END_PATIENCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for member in self.members:
            if member.process.is_alive():
                member.process.kill()
            member.process.join()
            member.pipe.close()

    def _listen(self, members: Sequence[Member], patience: float) -> None:
        """Take in what is said in the next `patience` seconds, if anything; notice who died."""
        heard = wait([one.pipe for one in members], max(0, patience))
        for member in members:
            if member.pipe not in heard:
                continue
            try:
                what, value = member.pipe.recv()
            except (EOFError, OSError):  # gone without a word
                member.process.join(END_PATIENCE)
                member.ended, member.why = "died", _how(member.process.exitcode)
                continue
            match what:
                case "ready":
                    member.pid = value
                case "progress":
                    member.done = value
                case "done":
                    member.done, member.ended = value, "done"
                case _:
                    member.ended, member.why = "died", value


@contextmanager
def _undisturbed() -> Generator[None]:
    """Put Ctrl-C off. Processes begun meanwhile inherit that, and leave it to us to end them."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _how(code: int | None) -> str:
    """Return how a process ended, from its exit code as `multiprocessing` has it."""
    if code is None:
        return "it does not answer"
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"it ended with status {code}"
