"""What an agent is told from outside, and how its waits end early for it."""

from __future__ import annotations

import os
import select
import signal
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType
    from typing import IO, Self

STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Signals that ask an agent to stop; what it was told to ignore when it began, it ignores."""

SAME = 1.0
"""Seconds within which a second signal is the first one again: timeout(1) sends it twice."""


class Signals:
    """Takes note of the first signal to stop; a later one raises `KeyboardInterrupt` at once.

    Within its block the main thread may wait for signals, a child's end among them.
    """

    def __init__(self) -> None:
        self.told: signal.Signals | None = None
        self._told_at = 0.0
        self._block = ExitStack()

    def __enter__(self) -> Self:
        self._reader, self._writer = os.pipe()
        for end in (self._reader, self._writer):
            self._block.callback(os.close, end)
            os.set_blocking(end, False)
        before = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        self._block.callback(signal.set_wakeup_fd, before)
        for number in STOPPING:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._block.callback(signal.signal, number, signal.signal(number, self._stop))
        handler = signal.signal(signal.SIGCHLD, _wake)
        self._block.callback(signal.signal, signal.SIGCHLD, handler)
        return self

    def __exit__(self, *_: object) -> None:
        self._block.close()

    def wake(self) -> None:
        """End the wait that is under way, or the next one. May be called in any thread."""
        with suppress(OSError):  # full, so it wakes anyway; or closed, and nobody waits any more
            os.write(self._writer, b"\0")

    def wait(self, until: float, also: IO[bytes] | None = None) -> None:
        """Wait until a time of the monotonic clock, a signal, or data of `also`."""
        sources = [self._reader] if also is None else [self._reader, also.fileno()]
        left = max(0, until - time.monotonic())
        if self._reader in select.select(sources, [], [], left)[0]:
            with suppress(BlockingIOError):
                while os.read(self._reader, 4096):
                    pass

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.told is None:
            self.told, self._told_at = signal.Signals(number), now
        elif now - self._told_at > SAME:
            raise KeyboardInterrupt


def _wake(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: that there is a handler is what ends a wait."""
