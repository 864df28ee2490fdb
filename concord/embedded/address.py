"""Where the embedded server of a data directory is, and as whom it runs: facts, no actions."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from concord.errors import DatabaseUnavailable

if TYPE_CHECKING:
    import pwd

NAME = "concord"
"""The role that owns everything, its database, and the map from the owner's account to roles."""

SERVICE = "concord_service"
"""The role that commands connect as: row-level security holds it, and it owns nothing."""

SERVICE_USER = "concord-postgres"
"""The account of root's server: PostgreSQL refuses to run as root."""

PORT = 5432
"""Only a part of the socket's name: the server does not listen on the network."""


def socket_name(port: int) -> str:
    """Return the file name that PostgreSQL gives its socket."""
    return f".s.PGSQL.{port}"


SOCKET = socket_name(PORT)

SOCKET_PATH_LONGEST = 103
"""Bytes in the path of a Unix socket on macOS; Linux has 107."""


def real(data_dir: Path) -> Path:
    """Return the data directory by its one name that holds no symbolic links."""
    return Path(os.path.realpath(data_dir))


def socket_directory(data_dir: Path) -> Path:
    """Return the directory of the server's socket.

    It follows from the data directory alone. `XDG_RUNTIME_DIR` would be the place for it, but
    cron and sudo do not set it, and it is emptied when the last session of the user ends, which
    the server outlives.
    """
    home = real(data_dir)
    inside = home / "run"
    # libpq takes a comma for the end of one directory of several, and text beyond ASCII has
    # other bytes in another locale.
    fit = str(inside).isascii() and str(inside).isprintable() and "," not in str(inside)
    if fit and len(str(inside / SOCKET)) <= SOCKET_PATH_LONGEST:
        return inside
    from hashlib import sha256

    digest = sha256(os.fsencode(home)).hexdigest()[:16]
    return Path("/tmp", f"concord-{os.geteuid()}-{digest}")  # noqa: S108 - verified before use


def own_account() -> pwd.struct_passwd:
    """Return the account of the user of this process.

    Raises `DatabaseUnavailable` if the system has no name for the user.
    """
    import pwd

    try:
        return pwd.getpwuid(os.geteuid())
    except KeyError:
        raise DatabaseUnavailable(
            f"the embedded server needs a user with a name: user id {os.geteuid()} has none here",
            hint="Add the user to the system, or set CONCORD_DATABASE_URL to a server of yours.",
        ) from None


def server_account_name() -> str:
    """Return the name of the account that the user's server runs as."""
    return SERVICE_USER if os.geteuid() == 0 else own_account().pw_name
