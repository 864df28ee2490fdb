"""Aliases: command lines under names of the user's own, in the table `[alias]` of their file.

An alias stands for the beginning of a command line: what is typed after it is appended. There is
no shell in it.
"""

from __future__ import annotations

import fcntl
import os
import re
import shlex
import stat
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from concord.errors import Conflict, NotFound, Usage
from concord.settings import ALIASES, aliases, config_file

if TYPE_CHECKING:
    from collections.abc import Container, Generator, Mapping, MutableMapping, Sequence

NAME = re.compile(r"\w[\w.-]{0,63}")
"""What an alias may be called."""


@dataclass(frozen=True, slots=True)
class Alias:
    """A name, and the words of the command line that it stands for, without `concord`."""

    name: str
    command: str


def expand(
    words: Sequence[str], known: Mapping[str, str], commands: Container[str]
) -> tuple[str, ...]:
    """Return a command line with the alias that it begins with replaced by what it stands for.

    `known` are the aliases, `commands` the words that are commands, whatever an alias says.
    Raises `Usage` for one that stands for itself in the end, or cannot be split into words.
    """
    expanded, chain = tuple(words), list[str]()
    while expanded and (name := expanded[0]) in known and name not in commands:
        if name in chain:
            told = " → ".join([*chain, name])
            raise Usage(
                f"an alias that stands for itself: {told}",
                hint=f"Give one of them another meaning: concord alias {name} ... --replace",
                chain=[*chain, name],
            )
        chain.append(name)
        expanded = (*split(name, known[name]), *expanded[1:])
    return expanded


def split(name: str, command: str) -> tuple[str, ...]:
    """Return the words that an alias stands for. Raises `Usage` where they are no command line."""
    try:
        words = tuple(shlex.split(command))
    except ValueError as error:
        raise Usage(
            f"alias {name}: {command!r} cannot be split into words: {error}",
            hint="Quote it as for a shell.",
        ) from None
    if not words or not words[0]:
        raise Usage(f"alias {name} stands for nothing", hint="Give it a command: task list")
    if words[0].startswith("!"):
        raise Usage(
            f"alias {name}: an alias runs no shell",
            hint=f"Put a program named concord-{name} on your PATH.",
        )
    if words[0].startswith("-"):
        raise Usage(
            f"alias {name} begins with the option {words[0]}",
            hint="Begin with a command; options go after it as well.",
        )
    return words


def save(name: str, command: str, *, replace: bool = False) -> Alias:
    """Write an alias into the user's file; what else is there stays, comments too.

    Raises `Conflict` if the name stands for something else and that is not to be replaced, and
    `Usage` if the file cannot be read or written.
    """
    with _changing() as table:
        current = table.get(name)
        if current not in (None, command) and not replace:
            raise Conflict(
                f"{name} stands for {current} already",
                hint="Choose another name, or replace it with --replace.",
                alias=name,
            )
        table[name] = command
    return Alias(name, command)


def remove(name: str) -> Alias:
    """Take an alias out of the user's file and return it. Raises `NotFound` and `Usage`."""
    with _changing() as table:
        if name not in table:
            raise not_found(name)
        command = str(table.pop(name))
    return Alias(name, command)


def not_found(name: str) -> NotFound:
    """Return the error for a name that stands for nothing."""
    return NotFound(f"no alias {name}", hint="See what there is: concord alias", alias=name)


@contextmanager
def _changing() -> Generator[MutableMapping[str, str]]:
    """Yield the table of the user's file, and write the file if the block succeeds."""
    import tomlkit

    # A link stays one: it is where such files are kept together.
    path = config_file().resolve()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone_in(path.parent):
            before = aliases()  # says what is wrong with the file, if anything
            text = path.read_bytes().decode() if path.exists() else ""
            document = tomlkit.parse(text)
            table = cast("MutableMapping[str, str]", document.setdefault(ALIASES, tomlkit.table()))
            yield table
            if dict(table) != before:
                _replace(path, tomlkit.dumps(document))
    except OSError as error:
        raise Usage(f"cannot write {path}: {error.strerror}", hint="Mend its rights.") from None


@contextmanager
def _alone_in(folder: Path) -> Generator[None]:
    """Keep out others who change a file here: each would write what the other has not seen."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _replace(path: Path, text: str) -> None:
    """Write a file so that whoever reads it finds all of the old one or all of the new one."""
    descriptor, made = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            with suppress(FileNotFoundError):
                os.fchmod(descriptor, stat.S_IMODE(path.stat().st_mode))
            file.write(text.encode())
            file.flush()
            os.fsync(descriptor)
        Path(made).replace(path)
    except BaseException:
        Path(made).unlink()
        raise
