"""Alembic's entry point: run migrations on the database that Concord's settings name.

Without a connection of its own caller (`concord init`, tests) it opens one, so that a plain
`alembic upgrade head` works with the same `CONCORD_DATABASE_URL`.
"""

from alembic import context
from sqlalchemy import Connection

from concord.schema import metadata

# "conc" in ASCII: one migration at a time, whatever the number of commands that want one.
MIGRATION_LOCK = 0x636F6E63


def migrate(connection: Connection) -> None:
    """Run the migrations that were asked for, in one transaction."""
    context.configure(connection=connection, target_metadata=metadata)
    with context.begin_transaction():
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (MIGRATION_LOCK,))
        context.run_migrations()


def main() -> None:
    """Use the caller's connection, or one of our own."""
    connection: Connection | None = context.config.attributes.get("connection")
    if connection is not None:
        migrate(connection)
        return
    from concord.migrate import engine
    from concord.settings import load

    with engine(load()).connect() as own:
        migrate(own)


main()
