"""`concord doctor`."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from concord.cli.app import App, pass_app
from concord.cli.config import SettingRow
from concord.cli.lazy import Command
from concord.errors import ConcordError, DatabaseUnavailable

if TYPE_CHECKING:
    from concord.connections import Connection

CLOCK_LIMIT = 5.0
"""Seconds by which the clocks here and at the server may differ before it is worth a warning."""

TRANSACTION_LIMIT = 300.0
"""Seconds after which a running transaction is old: it keeps dead rows from being removed."""


class _Xid(click.ParamType[str]):
    """The id of a transaction, as errors and `history` show it."""

    name = "xid"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the id. Raises `click.BadParameter` for what is none."""
        text = str(value)
        if not re.fullmatch("[0-9]{1,20}", text) or int(text) >= 2**64:
            self.fail(f"{text!r} is no id of a transaction, such as 741")
        return text


_XID = _Xid()


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    check: str
    ok: bool
    value: Any
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All that `doctor` found."""

    healthy: bool
    checks: list[Check]
    settings: list[SettingRow]


@click.command(
    "doctor",
    cls=Command,
    examples=(
        "concord doctor",
        "concord doctor --json",
        "concord doctor --unknown 741",
        "concord doctor --engine",
    ),
)
@click.argument("xids", metavar="[XID]...", type=_XID, nargs=-1)
@click.option(
    "--unknown",
    is_flag=True,
    help="Say what became of these transactions, whose commit had no answer; without XID, of those"
    " in the log.",
)
@click.option("--engine", is_flag=True, help="Try out on the server all that Concord needs of one.")
@pass_app
def doctor(app: App, xids: tuple[str, ...], unknown: bool, engine: bool) -> None:
    """Check the database and the settings; exit 7 if anything is wrong."""
    if unknown and engine:
        raise click.UsageError("--unknown and --engine are two questions: ask one")
    if xids and not unknown:
        raise click.UsageError("transactions are for --unknown")
    if unknown:
        from concord.cli.unknown import tell

        tell(app, xids)
        return
    if engine:
        from concord.cli.engine import probe

        probe(app)
        return
    checks = _checks(app)
    bad = [check for check in checks if not check.ok]
    settings = [SettingRow(*row) for row in app.settings.shown()]
    if app.render.output in ("json", "jsonl"):
        app.show([Diagnosis(not bad, checks, settings)], many=False)
    else:
        app.show(checks, many=True)
        if app.render.output in ("table", "tsv") and app.fields is None:
            app.render.write("")
            app.show(settings, many=True)
    if bad:
        raise DatabaseUnavailable(
            "; ".join(f"{check.check}: {check.value}" for check in bad),
            hint=bad[0].hint,
            checks=[check.check for check in bad],
        )


def _checks(app: App) -> list[Check]:
    import psycopg

    from concord import connections, database
    from concord.sql import server
    from concord.translation import translate

    server_kind = "embedded" if app.settings.embedded else "by URL"
    started = time.perf_counter()
    try:
        connection = connections.connect(app.settings, app.command, owner=True)
    except ConcordError as error:
        return [Check(f"server ({server_kind})", False, error.message, error.hint)]
    connected = (time.perf_counter() - started) * 1000
    try:
        with connection:
            facts = server.facts(connection)
            latency, clock = _latency(connection)
            found = server.revision(connection)
            if found != database.SCHEMA_HEAD and app.settings.embedded:
                # The embedded schema is brought up to date by the first command that needs it:
                # this one.
                from concord import migrate

                with suppress(ConcordError):
                    _, found = migrate.upgrade(app.settings)
            installed, indexed = server.trigrams(connection)
            apart, trusted = server.separation(connection)
            pooler = _pooler(connection)
    except psycopg.Error as error:
        failure = translate(error)
        return [Check(f"server ({server_kind})", False, failure.message, failure.hint)]
    oldest = facts.oldest_transaction
    replica = [_replica(app)] if app.settings.replica_url is not None else []
    return [
        Check(f"server ({server_kind})", True, f"reached in {connected:.1f} ms"),
        Check("latency", True, f"{latency * 1000:.2f} ms a round trip"),
        Check("server version", True, facts.server_version),
        Check("database", True, facts.database),
        Check(
            "accepts writes",
            not facts.standby,
            "no, it is a standby" if facts.standby else "yes",
            "Let CONCORD_DATABASE_URL lead to the primary, or name all servers in it: of several,"
            " the one that accepts writes is used.",
        ),
        pooler,
        *replica,
        Check(
            "schema",
            found == database.SCHEMA_HEAD,
            f"{found or 'none'} (this Concord: {database.SCHEMA_HEAD})",
            "Run: concord init",
        ),
        Check("typo tolerance", True, _tolerance(installed=installed, indexed=indexed)),
        Check("row security", True, _separation(apart=apart, trusted=trusted)),
        Check(
            "clock difference",
            abs(clock) <= CLOCK_LIMIT,
            f"{clock:+.2f} s",
            "Set the clock here or at the server; due dates are read by the one here.",
        ),
        Check(
            "oldest transaction",
            oldest is None or oldest <= TRANSACTION_LIMIT,
            "none" if oldest is None else f"{oldest:.0f} s",
            "Something holds a transaction open: look into pg_stat_activity.",
        ),
    ]


def _tolerance(*, installed: bool, indexed: bool) -> str:
    """Return whether a search finds what is similar, and what it takes where it does not.

    Nothing is wrong without it: it may not be the user's to have.
    """
    if indexed:
        return "on"
    if installed:
        return "off: titles are not indexed by trigrams; run: concord init"
    return (
        "off: pg_trgm is not installed; once an administrator has created it"
        " (CREATE EXTENSION pg_trgm), run: concord init"
    )


def _separation(*, apart: bool, trusted: bool) -> str:
    """Return whether the database keeps people apart, and what that costs there.

    Nothing is wrong without it, where all trust each other.
    """
    if not apart:
        return (
            "off: all work as the owner of the tables; once an administrator has made the roles"
            " (CREATE ROLE concord_user; CREATE ROLE concord_service IN ROLE concord_user), and"
            " granted concord_service to the owner, run: concord init"
        )
    if not trusted:
        return "on; lists and searches may look at more rows until a superuser runs: concord init"
    return "on"


def _replica(app: App) -> Check:
    """Return whether there is a standby to read from, and how old what it tells may be."""
    from concord.database import Database
    from concord.sql import replicas

    try:
        with Database(app.settings, app.command, newcomer="ignore", standby=True) as standby:
            age = standby.run(replicas.age)
    except ConcordError as error:
        return Check("replica", False, error.message, error.hint)
    if not age.standby:
        return Check("replica", True, "it is no standby")
    behind = "an unknown time" if age.behind is None else f"at most {age.behind:.1f} s"
    return Check("replica", True, f"{behind} behind")


def _pooler(connection: Connection) -> Check:
    """Return whether a pooler stands between us and the server, and takes transactions.

    One that does not ends the connection.
    """
    import psycopg

    from concord import connections

    if not connections.behind_pooler(connection):
        return Check("pooler", True, "none")
    try:
        with connection.transaction():
            return Check("pooler", True, "yes: each transaction may get another session")
    except psycopg.Error as error:
        return Check(
            "pooler",
            False,
            f"it takes no transactions: {' '.join(str(error).split())}",
            "Set its pool_mode to transaction.",
        )


def _latency(connection: Connection) -> tuple[float, float]:
    """Return the shortest of five round trips in seconds, and the clock difference it shows."""
    best = (float("inf"), 0.0)
    for _ in range(5):
        before, started = time.time(), time.perf_counter()
        row = connection.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone()
        taken = time.perf_counter() - started
        assert row is not None
        best = min(best, (taken, row[0] - (before + taken / 2)))
    return best
