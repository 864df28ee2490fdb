"""The error tree: every way Concord can say no, each with its slug, exit code and hint.

An operation raises one of these and knows nothing of terminals; `concord.cli` alone prints
them and turns them into an exit status. `EXIT_CODES` is the source of the published table.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, ClassVar


class ExitCode(IntEnum):
    """The process exit status of `concord`, one meaning each."""

    OK = 0
    REFUSED = 1
    USAGE = 2
    NOT_FOUND = 3
    CONFLICT = 4
    CONTENTION = 5
    FORBIDDEN = 6
    DATABASE = 7
    EMPTY = 8
    BUG = 70
    INTERRUPTED = 130


EXIT_CODES: dict[ExitCode, tuple[str, str]] = {
    ExitCode.OK: ("–", "done"),
    ExitCode.REFUSED: (
        "refused",
        "a rule said no (the user still owns tasks, a project is archived)",
    ),
    ExitCode.USAGE: ("usage", "bad option, value or input file"),
    ExitCode.NOT_FOUND: ("not_found", "no such task, project, tag or user"),
    ExitCode.CONFLICT: ("conflict", "stale version, duplicate name, both sides changed a field"),
    ExitCode.CONTENTION: (
        "contention",
        "locked (`--nowait`, lock time-out), retries used up, commit unknown",
    ),
    ExitCode.FORBIDDEN: (
        "forbidden",
        "not yours to change or undo; or the database does not let this user do it",
    ),
    ExitCode.DATABASE: ("database", "unreachable, not initialised, unhealthy"),
    ExitCode.EMPTY: ("empty", "nothing there: no task is ready, due or to do, nothing to undo"),
    ExitCode.BUG: ("bug", "unexpected; says where the log is"),
    ExitCode.INTERRUPTED: ("–", "interrupted; nothing half-done"),
}
"""Exit code → (slug, when), in the order in which they are documented."""


class ConcordError(Exception):
    """Something Concord has to say to its user.

    `message` says what happened and to what; `hint` what to do now; `details` holds the same
    facts for programs and is printed under `--json`.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.BUG

    def __init__(self, message: str, *, hint: str | None = None, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details

    @property
    def slug(self) -> str:
        """The stable name of this kind of error, `code` in JSON."""
        return EXIT_CODES[self.exit_code][0]

    def as_json(self) -> dict[str, Any]:
        """Return the error as `{"error": {"code", "message", "hint", "details"}}`."""
        return {
            "error": {
                "code": self.slug,
                "message": self.message,
                "hint": self.hint,
                "details": self.details,
            }
        }


class Refused(ConcordError):
    """A rule of the domain forbids it."""

    exit_code = ExitCode.REFUSED


class Usage(ConcordError):
    """An option, a value or an input file cannot be understood."""

    exit_code = ExitCode.USAGE


class NotFound(ConcordError):
    """A task, project, tag or user that was named does not exist."""

    exit_code = ExitCode.NOT_FOUND


class Conflict(ConcordError):
    """Somebody else got there first: a stale version or a name that is taken."""

    exit_code = ExitCode.CONFLICT


class Contention(ConcordError):
    """A lock could not be had in time, or a transaction kept losing to others."""

    exit_code = ExitCode.CONTENTION


class CommitUnknown(Contention):
    """COMMIT may or may not have happened: the connection was lost, or the server has doubts."""


class Forbidden(ConcordError):
    """It is somebody else's, or the database role lacks the right to do it."""

    exit_code = ExitCode.FORBIDDEN


class DatabaseUnavailable(ConcordError):
    """The database cannot be reached, or is not in a state to work with."""

    exit_code = ExitCode.DATABASE


class SchemaMismatch(DatabaseUnavailable):
    """The database holds no Concord schema, or one of another version.

    `found` is the revision in the database (`None`: no schema), `expected` the code's own.
    """

    def __init__(self, message: str, *, hint: str, found: str | None, expected: str) -> None:
        super().__init__(message, hint=hint, found=found, expected=expected)
        self.found = found


class Empty(ConcordError):
    """There was nothing to take."""

    exit_code = ExitCode.EMPTY


class Bug(ConcordError):
    """Concord broke a promise to itself."""

    exit_code = ExitCode.BUG
