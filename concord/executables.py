"""Programs of others: where PATH has them, and how this process becomes one of them."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from concord.errors import Usage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import NoReturn


def folders() -> Iterator[Path]:
    """Yield the folders of PATH, but for those that depend on where we are."""
    yield from (Path(folder) for folder in os.get_exec_path() if Path(folder).is_absolute())


def can_run(program: Path) -> bool:
    """Whether a file is a program that this user may run."""
    return program.is_file() and os.access(program, os.X_OK)


def find(name: str) -> Path | None:
    """Return the program of a name, the first on PATH."""
    return next((folder / name for folder in folders() if can_run(folder / name)), None)


def become(program: Path, arguments: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    """Become a program: its exit status, streams and signals are its own.

    Raises `Usage` if the system does not run it.
    """
    # Python ignores these two, and what it becomes would go on doing so.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execve(program, [program.name, *arguments], dict(environment))  # noqa: S606
    except OSError as error:
        raise Usage(
            f"cannot run {program}: {error.strerror}",
            hint="A script's first line names what runs it, such as #!/bin/sh.",
        ) from None
