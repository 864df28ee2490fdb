"""`--replica`: reading from a standby, and saying so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from concord.errors import Usage

if TYPE_CHECKING:
    from concord.cli.app import App

READING = (
    *("task list", "task show", "task tree", "search", "board", "next", "due", "stats", "history"),
    *("export", "project list", "project show", "tag list", "view list", "view show"),
    *("user list", "user show"),
)
"""Commands that do nothing but read, each from one moment to the next."""


def require(app: App) -> None:
    """Raise `Usage` if a command does more than read, or no standby is known."""
    if app.command not in READING:
        raise Usage(
            f"--replica is for commands that only read, and not for {app.command}",
            hint=f"It is for {', '.join(READING)}.",
        )
    if app.settings.replica_url is None:
        raise Usage(
            "--replica: no standby is known to read from",
            hint="Give its URL in CONCORD_REPLICA_URL, or as replica_url in your config.toml.",
            setting="replica_url",
        )


def tell_age(app: App) -> None:
    """Say that what follows is read from a standby, and how old it may be.

    Raises `ConcordError`.
    """
    from concord.plain import moment
    from concord.sql import replicas

    age = app.database.run(replicas.age)
    host = app.database.connection().info.host
    behind = None if age.behind is None else round(age.behind, 3)
    if not age.standby:
        message, hint = f"read from {host}, which is no standby", "it is not behind"
    elif age.as_of is None:
        message = f"read from the standby {host}; how far it is behind is unknown"
        hint = "it has replayed nothing since it was started"
    else:
        message = f"read from the standby {host}, as it was {behind:.1f} s ago"
        hint = f"what was committed after {moment(age.as_of)} may be missing"
    app.render.notice(
        "replica",
        message,
        hint,
        host=host,
        standby=age.standby,
        as_of=age.as_of,
        behind_s=behind,
    )
