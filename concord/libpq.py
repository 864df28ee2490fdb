"""The database in use, for programs other than Concord: the way there, and client programs."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, LiteralString
from urllib.parse import quote, urlencode

import psycopg
from psycopg.conninfo import conninfo_to_dict

from concord import connections, executables
from concord.embedded.programs import installed, major
from concord.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from pathlib import Path

    from concord.connections import Connection
    from concord.settings import Settings

HELD: LiteralString = """
-- is_held: whether commands of this session give up its rights for those of the service
SELECT to_regproc('may_name_actor') IS NOT NULL
   AND pg_has_role(session_user, to_regrole('concord_service'), 'MEMBER')
"""

# Where to connect to is Concord's to say; how to speak, and how long to wait, is not.
_LEFT_ALONE = frozenset({"client_encoding", "connect_timeout"})

_SECRET = frozenset(
    {"password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key"}
)

# The rest of what Concord says to reach it would mean nothing to other libraries.
_OF_EMBEDDED = frozenset({"user", "host", "port", "dbname", "requirepeer"})


def parts(settings: Settings) -> tuple[dict[str, str], bool]:
    """Return what the connection string of the database in use says, and whether it has a secret.

    Of secrets, such as the password, it returns nothing. Raises `Usage`.
    """
    try:
        given = conninfo_to_dict(connections.conninfo(settings))
    except (psycopg.ProgrammingError, UnicodeError):
        raise connections.misread(settings) from None
    if settings.embedded:
        given = {name: given[name] for name in given.keys() & _OF_EMBEDDED}
    told = {name: str(value) for name, value in given.items() if name not in _SECRET}
    return told, len(told) < len(given)


def url(told: dict[str, str]) -> str:
    """Return the URL that says the same as the parts of a connection string."""
    rest = dict(told)
    user, database = (quote(rest.pop(name, ""), safe="") for name in ("user", "dbname"))
    hosts = rest.get("host", "").split(",")
    ports = rest.get("port", "").split(",")
    authority = ""
    # A socket's directory goes where more programs than libpq look for it.
    if all(host and host[0] not in "/@" for host in hosts) and len(ports) in {1, len(hosts)}:
        del rest["host"]
        rest.pop("port", None)
        each = zip(hosts, ports if len(ports) > 1 else ports * len(hosts), strict=True)
        authority = ",".join(_with_port(host, port) for host, port in each)
    query = urlencode(sorted(rest.items()), quote_via=quote, safe="")
    return f"postgresql://{user and user + '@'}{authority}/{database}{query and '?' + query}"


def _with_port(host: str, port: str) -> str:
    name = f"[{host}]" if ":" in host else quote(host, safe="")
    return f"{name}:{port}" if port else name


def program(name: str, *, at_least: int = 0) -> Path:
    """Return a client program by its name, such as `psql` or `pg_dump`.

    The first on PATH, unless its major version is below `at_least`; else that of the `embedded`
    extra. `pg_dump` refuses a server that is newer than itself; of `psql` any will do.

    Raises `DatabaseUnavailable` if there is none.
    """
    extra = installed()
    candidates = (executables.find(name), None if extra is None else extra / name)
    found = [path for path in candidates if path is not None and executables.can_run(path)]
    for path in found:
        if not at_least or major(path) >= at_least:
            return path
    needed = f" of version {at_least} or newer" if at_least else ""
    there = ", ".join(f"{path} is of version {major(path)}" for path in found)
    raise DatabaseUnavailable(
        f"there is no {name}{needed} here" + (f": {there}" if there else ""),
        hint="Install PostgreSQL's client programs (on Debian and Ubuntu: postgresql-client), "
        "or run: pip install 'concord-tasks[embedded]'",
        program=name,
    )


def environment(settings: Settings, *, owner: bool = False, acts: bool = False) -> dict[str, str]:
    """Return the environment in which a client program finds the database in use, and gets in.

    It gets in as commands do, or as the `owner` of the tables in the embedded server, and if it
    `acts`, in the user's name and held by row-level security as commands are.

    Nothing has to be said on its command line, where everybody on this machine could read it. Of
    the libpq variables of other programs none is left that would lead elsewhere. It connects
    once, and starts the embedded server if it is down. Raises `DatabaseUnavailable`.
    """
    made = dict(os.environ)
    # The connection knows what applies in the end, of the URL, a service file and variables.
    with connections.connect(settings, "db", owner=owner) as connection:
        options, host = connection.pgconn.info, connection.info.host
        given = _acting(connection, settings.user) if acts else ()
    for option in options:
        if option.envvar is None or option.keyword.decode() in _LEFT_ALONE:
            continue
        name = option.envvar.decode()
        made.pop(name, None)
        # What is done goes into history by the name that the program gives itself.
        if option.val and name != "PGAPPNAME":
            made[name] = os.fsdecode(option.val)
    if given:
        # Of two settings of one name the later one is in force.
        said = [made["PGOPTIONS"]] if made.get("PGOPTIONS") else []
        made["PGOPTIONS"] = " ".join([*said, *(f"-c {_escaped(one)}" for one in given)])
    # A service would go before the variables, of which it is a part by now.
    for name in ("PGSERVICE", "PGSERVICEFILE"):
        made.pop(name, None)
    if "PGHOSTADDR" not in made:
        # Another libpq may have another default.
        made.setdefault("PGHOST", host)
    return made


def _acting(connection: Connection, actor: str) -> tuple[str, ...]:
    """Return the settings of a session by which it does as commands do, who set them by turns."""
    if connections.behind_pooler(connection):
        # Its sessions are everybody's, and it lets in nobody who asks for such a setting.
        return ()
    row = connection.execute(HELD).fetchone()
    assert row is not None
    return (f"concord.actor={actor}", *(("role=concord_service",) if row[0] else ()))


def _escaped(option: str) -> str:
    return re.sub(r"([\\\s])", r"\\\1", option)
