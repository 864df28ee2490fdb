"""CSV as other trackers export it: made of rows, or generated while it is read."""

from __future__ import annotations

import csv
import io
import tracemalloc
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence


def table(header: Sequence[str], *rows: Sequence[str], delimiter: str = ",") -> str:
    """Return a table as text."""
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=delimiter).writerows([header, *rows])
    return out.getvalue()


class Generated(io.RawIOBase):
    """A file that is made as it is read, and anew when it is read again from the start."""

    def __init__(self, pieces: Callable[[], Iterable[bytes]]) -> None:
        self._make = pieces
        self.seek(0)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        assert (offset, whence) == (0, 0)
        self._pieces: Iterator[bytes] = iter(self._make())
        self._rest = b""
        return 0

    def readinto(self, buffer: Any) -> int:
        self._rest = self._rest or next(self._pieces, b"")
        taken = self._rest[: len(buffer)]
        buffer[: len(taken)] = taken
        self._rest = self._rest[len(taken) :]
        return len(taken)


@contextmanager
def peak_below(limit: int) -> Generator[None]:
    """Check that no more bytes than these were held at any time."""
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < limit
