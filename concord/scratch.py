"""A scratch database: a schema of its own, built by the real migrations and dropped at the end."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import psycopg

from concord import database, migrate
from concord.connections import connect, open_connection
from concord.sql import scratch
from concord.translation import translate

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from concord.settings import Settings


@contextmanager
def scratch_schema(settings: Settings, command: str) -> Generator[str]:
    """Yield the name of a new schema with Concord's tables, which is dropped afterwards.

    What an earlier process left behind when it was killed is dropped first. The user's own
    tables are never touched. Raises `ConcordError`.
    """
    with connect(settings, command) as owner:
        try:
            schema = scratch.create(owner)
        except psycopg.Error as error:
            raise translate(error) from error
        try:
            migrate.upgrade(settings, schema=schema)
            yield schema
        finally:
            try:
                scratch.drop(owner, schema)
            except psycopg.OperationalError:
                # The server went away meanwhile. If it is not back yet, the schema is a leftover,
                # for whoever comes next to drop.
                with suppress(psycopg.Error), open_connection(settings, command) as another:
                    scratch.drop(another, schema)


@contextmanager
def scratch_database(
    settings: Settings, command: str, observe: Callable[[database.Record], None] | None = None
) -> Generator[database.Database]:
    """Yield a database that works in a scratch schema. Raises `ConcordError`."""
    with (
        scratch_schema(settings, command) as schema,
        database.Database(
            settings, command, observe=observe, schema=schema, newcomer="add"
        ) as made,
    ):
        yield made
