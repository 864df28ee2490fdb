"""The `.env` of the working directory: what it says of Concord, and whether it is to be trusted.

Whoever can put a file where somebody else will run a command could send them anywhere by it. So it
has to be the user's own (or root's), and nobody else may be able to write to it.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Dotenv:
    """A `.env`: its variables with a prefix, and why they are not used, if so (a predicate)."""

    path: Path
    values: Mapping[str, str]
    distrust: str | None


def read(directory: Path, prefix: str) -> Dotenv | None:
    """Return the `.env` of a directory, `None` where there is none that has to do with us.

    Raises `OSError` and `UnicodeDecodeError` for one that is of use to us and cannot be read.
    """
    path = directory / ".env"
    try:
        # A pipe would keep us waiting.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    status = os.fstat(descriptor)
    # As a rule it is another program's, and need not be UTF-8, nor a file at all.
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        return None
    with open(descriptor, "rb") as file:  # noqa: PTH123 - it is open already
        data = file.read()
    if prefix.encode() not in data:
        return None
    from io import StringIO

    from dotenv import dotenv_values

    told = dotenv_values(stream=StringIO(data.decode()), interpolate=False)
    values = {name: value for name, value in told.items() if value and name.startswith(prefix)}
    return Dotenv(path, values, _distrust(path.lstat(), status)) if values else None


def _distrust(link: os.stat_result, status: os.stat_result) -> str | None:
    if not {link.st_uid, status.st_uid} <= {os.geteuid(), 0}:
        return "it belongs to another user"
    # Where each user has a group of their own, it is usual that a group may write.
    if status.st_mode & stat.S_IWOTH or (
        status.st_mode & stat.S_IWGRP and status.st_gid != os.getegid()
    ):
        return "others may write to it"
    return None
