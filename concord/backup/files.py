"""Files that are complete or not there."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from concord.errors import Refused, Usage

if TYPE_CHECKING:
    from collections.abc import Generator


@contextmanager
def private(path: Path, *, replace: bool) -> Generator[BinaryIO]:
    """Yield a new file that only its owner may read, and that has its name once it is on disk.

    A link stays, and what it leads to is replaced. Raises `Refused` if there is such a file
    already, unless it is to be replaced, and `Usage` if it cannot be written.
    """
    target = Path(os.path.realpath(path))
    try:
        if target.exists() and not target.is_file():
            raise Usage(f"{path} is no file", hint="Name a file.")
        if target.exists() and not replace:
            raise _taken(path)
        descriptor, name = tempfile.mkstemp(".part", ".concord-", target.parent)
        partial = Path(name)
        try:
            with os.fdopen(descriptor, "w+b") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            _appear(partial, path, target, replace=replace)
        finally:
            partial.unlink(missing_ok=True)
        _settle(target.parent)
    except OSError as error:
        raise Usage(f"cannot write {path}: {error.strerror}", hint="Name another file.") from error


def _appear(partial: Path, path: Path, target: Path, *, replace: bool) -> None:
    if replace:
        partial.replace(target)
        return
    try:
        target.hardlink_to(partial)  # unlike a rename, it never takes the place of a file
    except FileExistsError:
        raise _taken(path) from None
    except OSError:  # a filesystem without links
        if target.exists():
            raise _taken(path) from None
        partial.replace(target)


def _settle(directory: Path) -> None:
    """Make sure that the name is on disk as well."""
    with suppress(OSError):  # not every filesystem lets a directory be synchronised
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _taken(path: Path) -> Refused:
    return Refused(
        f"{path} exists already, and is left as it is",
        hint="Name another file.",
    )
