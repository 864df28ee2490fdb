"""`concord doctor --engine`: what the connected server does of what Concord relies on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from concord.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from concord.cli.app import App
    from concord.sql.engine import Finding


@dataclass(frozen=True, slots=True)
class Probe:
    """One thing that was tried: `ok` is `False` where Concord needs what is not there."""

    check: str
    ok: bool
    value: str
    needed_by: str
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the server says it is, and all that was tried on it."""

    suitable: bool
    server: str
    checks: list[Probe]


def probe(app: App) -> None:
    """Show whether the server does what Concord relies on.

    Raises `DatabaseUnavailable` if it lacks anything that Concord needs, or cannot be reached.
    """
    import psycopg

    from concord import connections
    from concord.sql import engine
    from concord.translation import translate

    try:
        with connections.connect(app.settings, app.command, owner=True) as connection:
            server = engine.version(connection)
        probes = [
            _told(found)
            for found in engine.examine(
                lambda: connections.connect(app.settings, app.command, owner=True)
            )
        ]
    except psycopg.Error as error:
        raise translate(error) from error
    bad = [each for each in probes if not each.ok]
    if app.render.output in ("json", "jsonl"):
        app.show([Judgement(not bad, server, probes)], many=False)
    else:
        app.show(probes, many=True)
    if bad:
        raise DatabaseUnavailable(
            f"Concord needs what was not found on this server ({server.partition(' on ')[0]}):"
            f" {', '.join(each.check for each in bad)}",
            hint=bad[0].hint,
            checks=[each.check for each in bad],
        )


def _told(found: Finding) -> Probe:
    fault = found.fault
    if fault is None:
        return Probe(found.name, True, "yes", found.needed_by)
    if fault.denied:
        value = f"not tried: {fault.reason}"
        hint = "Ask again as a role that may create schemas in this database, such as its owner."
    elif found.optional:
        value, hint = f"no, and not needed: {fault.reason}", None
    else:
        value = f"no: {fault.reason}"
        hint = "What that would cost Concord is in ARCHITECTURE.md, Scaling."
    return Probe(found.name, found.optional, value, found.needed_by, hint)
