"""The log: structured JSON lines in a file, written by structlog, which is imported only then."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from concord.settings import hide_password

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, MutableMapping

    from concord.records import Cost, Record, Statement
    from concord.settings import Settings


def line(record: Record) -> str:
    """Return a transaction as the one line that `-v` prints."""
    parts = [
        record.operation,
        record.isolation + (" READ ONLY" if record.read_only else ""),
        f"attempt {record.attempt}",
        record.outcome + (f" {record.sqlstate}" if record.sqlstate else ""),
        *([f"xid {record.xid}"] if record.xid else []),
        f"{record.ms:.1f} ms",
    ]
    trips = ", ".join(
        f"{' + '.join(map(_statement, trip))} {trip[0].ms:.1f} ms" for trip in record.trips
    )
    return f"{' · '.join(parts)} · {_counted(record.round_trips, 'round trip')}: {trips}"


def total(cost: Cost, seconds: float) -> str:
    """Return what a command cost, and how long it took, as the last line that `-v` prints.

    To connect counts as one round trip, although it takes several.
    """
    return (
        f"concord: {_counted(cost.connects + cost.round_trips, 'round trip')}"
        f" (connect {cost.connects}, transactions {cost.round_trips}),"
        f" {_counted(cost.statements, 'statement')}, {seconds:.3f} s"
    )


def _statement(statement: Statement) -> str:
    return statement.name + (f" {statement.rows} rows" if statement.rows > 0 else "")


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def log_transaction(settings: Settings, command: str, record: Record, level: str) -> None:
    """Append a transaction to the log."""
    with _logger(settings) as logger:
        getattr(logger, level)(
            "transaction",
            command=command,
            database=settings.database_name,
            actor=settings.user,
            operation=record.operation,
            isolation=str(record.isolation),
            read_only=record.read_only,
            attempt=record.attempt,
            outcome=record.outcome,
            sqlstate=record.sqlstate,
            xid=record.xid,
            ms=round(record.ms, 3),
            connects=record.connects,
            round_trips=record.round_trips,
            statements=[
                {
                    "name": statement.name,
                    "trip": statement.trip,
                    "ms": round(statement.ms, 3),
                    "rows": statement.rows,
                }
                for statement in record.statements
            ],
        )


def log_bug(settings: Settings | None, command: str, error: Exception) -> str:
    """Append an unexpected error with its traceback to the log; return where to look."""
    from concord.settings import load

    try:
        settings = settings or load({}, {})
        with _logger(settings) as logger:
            logger.error("bug", command=command, exc_info=error)
    except Exception as failure:  # noqa: BLE001 - a report that fails must not hide the first error
        return f"The log could not be written ({failure})."
    return f"Please report it with the log: {settings.log_path}"


def _without_passwords(_: Any, __: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Hide what is a password in a traceback: what libpq or a library says may quote a URL."""
    if "exception" in event:
        lines = str(event["exception"]).splitlines()
        event["exception"] = "\n".join(map(hide_password, lines))
    return event


@contextmanager
def _logger(settings: Settings) -> Generator[Any]:
    """Yield a logger on the log file. Each line is one write, so that many may share the file."""
    import structlog

    levels = {"debug": 10, "info": 20, "warning": 30, "error": 40}
    path = settings.log_path
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
        yield structlog.wrap_logger(
            structlog.WriteLogger(file),
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.format_exc_info,
                _without_passwords,
                structlog.processors.JSONRenderer(),
            ],
            wrapper_class=structlog.make_filtering_bound_logger(levels[settings.log_level]),
        )
