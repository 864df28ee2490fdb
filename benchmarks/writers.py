"""Many who write at once, and what became of their writes.

A write is acknowledged when its command exits with 0. It is lost when it was acknowledged and is
not there afterwards: each writes a word of its own, which is looked for in what the store holds.
"""

from __future__ import annotations

import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from peers import FIRST, MARK, call

if TYPE_CHECKING:
    from collections.abc import Callable

    from peers import Command, Peer


@dataclass(frozen=True)
class Outcome:
    """What became of the writes of many. `lost` is among the `acknowledged`.

    `gone` is how many tasks went that had been there before, and that nobody had touched.
    """

    acknowledged: int
    refused: int
    lost: int
    seconds: float
    gone: int = 0

    @property
    def rate(self) -> float:
        """Writes a second that were acknowledged and kept."""
        return (self.acknowledged - self.lost) / self.seconds


Together: TypeAlias = "Callable[[Peer, int, int, float], Outcome]"
"""Lets so many writers make so many writes each, within so many seconds."""


def adding(peer: Peer, writers: int, each: int, limit: float) -> Outcome:
    """Let writers add tasks, each its own."""
    return _at_once(peer.add, peer.content, writers, each, limit)


def appending(peer: Peer, writers: int, each: int, limit: float) -> Outcome:
    """Let writers add to what is said of one task, all of the same one."""
    return _at_once(lambda word: peer.append(FIRST, word), peer.content, writers, each, limit)


def _at_once(
    write: Callable[[str], Command],
    content: Callable[[], str],
    writers: int,
    each: int,
    limit: float,
) -> Outcome:
    """Run writers that each send one command after the other. `limit` is that of all, in seconds.

    What comes too late is not begun any more, and counts as refused.
    """
    deadline = time.monotonic() + limit

    def run(writer: int) -> list[str]:
        kept: list[str] = []
        for number in range(each):
            word = f"word{writer:03}x{number:05}"
            left = deadline - time.monotonic()
            if left <= 0:
                break
            try:
                call(write(word), left)
            except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
                continue
            kept.append(word)
        return kept

    before = content().count(MARK)
    started = time.perf_counter()
    with ThreadPoolExecutor(writers) as pool:
        acknowledged = [word for words in pool.map(run, range(writers)) for word in words]
    seconds = time.perf_counter() - started
    found = content()
    lost = [word for word in acknowledged if word not in found]
    refused = writers * each - len(acknowledged)
    gone = max(0, before - found.count(MARK))
    return Outcome(len(acknowledged), refused, len(lost), seconds, gone)
