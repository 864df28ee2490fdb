"""A `.env` that sends its reader to another server than their own, and who has been told of it.

It may have come with a checkout, and whoever wrote it then sees what is done there. So the user is
told where it leads to: once for each directory and server, because what is said each time is soon
read no more. What was told is remembered in the user's directory for such things.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from concord.settings import state_directory

if TYPE_CHECKING:
    from pathlib import Path

    from concord.settings import Settings

REMEMBERED = "redirections"
"""The file of what was told: a line of path, tab and server each."""


def server_of(url: str) -> str:
    """Return the hosts and ports of a connection string; empty where libpq finds none in it."""
    try:
        given: dict[str, Any] = conninfo_to_dict(url)
    except ProgrammingError:
        return ""  # to connect will say so, too
    hosts = str(given.get("host") or given.get("hostaddr") or "").split(",")
    ports = str(given.get("port") or "").split(",")
    if len(ports) == 1:
        ports *= len(hosts)
    pairs = zip(hosts, ports, strict=False)
    return ",".join(f"{host or 'localhost'}:{port or 5432}" for host, port in pairs)


def untold(settings: Settings) -> list[str]:
    """Return the servers that `.env` leads to, none the user's own, which they do not know of."""
    foreign = {*map(server_of, settings.foreign_urls)} - {*map(server_of, settings.own_urls), ""}
    if not foreign or settings.dotenv is None:
        return []
    told = _told()
    return sorted(each for each in foreign if _line(settings.dotenv.path, each) not in told)


def remember(settings: Settings, server: str) -> None:
    """Take note that the user was told. Where that cannot be, they are told again."""
    assert settings.dotenv is not None
    folder = state_directory()
    line = _line(settings.dotenv.path, server) + b"\n"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(folder / REMEMBERED, flags, 0o600)
        with open(descriptor, "ab", buffering=0) as file:  # noqa: PTH123 - it is open already
            file.write(line)
    except OSError:
        pass


def _told() -> list[bytes]:
    try:
        return (state_directory() / REMEMBERED).read_bytes().splitlines()
    except OSError:
        return []


def _line(path: Path, server: str) -> bytes:
    # A path is any bytes, line ends too.
    return os.fsencode(repr(str(path))) + b"\t" + repr(server).encode("utf-8", "replace")
