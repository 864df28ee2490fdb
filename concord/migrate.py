"""Bringing a database to the schema of this code, by Alembic."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy.exc import DBAPIError

from concord import database
from concord.connections import Connection, connect
from concord.errors import SchemaMismatch
from concord.translation import translate

if TYPE_CHECKING:
    from collections.abc import Generator

    from concord.settings import Settings


def directory() -> Path:
    """Return the migrations: inside the package in a wheel, beside it in a checkout."""
    package = Path(__file__).parent
    shipped = package / "migrations"
    return shipped if shipped.is_dir() else package.parent / "migrations"


def config() -> Config:
    """Return Alembic's configuration, independent of the working directory."""
    made = Config()
    made.set_main_option("script_location", str(directory()).replace("%", "%%"))
    return made


def head() -> str | None:
    """Return the newest revision among the migrations."""
    return ScriptDirectory.from_config(config()).get_current_head()


def known() -> set[str]:
    """Return all revisions that this code can bring a schema to."""
    return {script.revision for script in ScriptDirectory.from_config(config()).walk_revisions()}


def engine(settings: Settings, name: str = "init", *, owner: bool = True) -> sa.Engine:
    """Return an SQLAlchemy engine over Concord's own way to connect, as the command `name`."""

    def creator() -> Connection:
        connection = connect(settings, name, owner=owner)
        connection.autocommit = False  # SQLAlchemy begins and commits in the driver's own way
        return connection

    return sa.create_engine("postgresql+psycopg://", creator=creator, poolclass=sa.NullPool)


def upgrade(settings: Settings, *, schema: str | None = None) -> tuple[str | None, str]:
    """Bring the database to the newest revision and return (revision before, revision now).

    Safe to run by many at once: each run waits for the one before it and finds nothing to do.
    Raises `SchemaMismatch` if the database is newer than this code, and `ConcordError` for what
    the server refuses.
    """
    try:
        # A schema of its own belongs to whoever has made it.
        with engine(settings, owner=schema is None).connect() as connection:
            if schema is not None:
                # Only for this transaction: a pooler may give the session to somebody else.
                connection.exec_driver_sql("SELECT set_config('search_path', %s, true)", (schema,))
            before = revision(connection)
            made = config()
            made.attributes["connection"] = connection
            command.upgrade(made, "head")
            now = revision(connection)
            # The server may have the extension by now, or let us make roles and trust operators.
            connection.exec_driver_sql("SELECT add_trigrams(), trust_operators(), admit_people()")
            connection.commit()
            return before, now or ""
    except CommandError as error:
        raise SchemaMismatch(
            "the database has a newer schema than this Concord knows",
            hint="Upgrade Concord: pip install --upgrade concord-tasks",
            found=str(error),
            expected=database.SCHEMA_HEAD,
        ) from error
    except DBAPIError as error:
        cause = error.orig
        raise (translate(cause) if isinstance(cause, psycopg.Error) else error) from error


class Movable:
    """A connection in whose transaction the schema can be moved to any revision, and back."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        driver = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        self.driver: Connection = driver

    def revision(self) -> str | None:
        """Return the revision of the schema, `None` if there is none."""
        return revision(self._connection)

    def move(self, wanted: str) -> None:
        """Bring the schema to a revision that this code knows, from one that it knows.

        What an older one has no place for is lost.
        """
        made, found = config(), self.revision()
        made.attributes["connection"] = self._connection
        # Revisions are numbered, so the order of their names is that in which they were made.
        if found is None or found < wanted:
            command.upgrade(made, wanted)
        elif found > wanted:
            command.downgrade(made, wanted)


@contextmanager
def movable(settings: Settings, name: str) -> Generator[Movable]:
    """Yield a new connection of the command `name`; what is not committed in the end is undone.

    Raises `ConcordError` for what the server refuses.
    """
    try:
        with engine(settings, name).connect() as connection:
            target = Movable(connection)
            try:
                yield target
            except BaseException:
                with suppress(psycopg.Error):
                    target.driver.rollback()
                connection.invalidate()  # or it would be asked to roll back even if it is gone
                raise
    except DBAPIError as error:
        cause = error.orig
        raise (translate(cause) if isinstance(cause, psycopg.Error) else error) from error
    except psycopg.Error as error:
        raise translate(error) from error


def revision(connection: sa.Connection) -> str | None:
    """Return the revision of the database behind a connection, `None` if it has no schema."""
    from alembic.migration import MigrationContext

    return MigrationContext.configure(connection).get_current_revision()
