"""Concord itself, and bare psql on the same tables: each in a database of its own."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, ClassVar, LiteralString

import psycopg
from common import concord, psql

from peers import PAGE, Command, Peer, made_up

if TYPE_CHECKING:
    from pathlib import Path

    from common import Server, Target

COPY: LiteralString = "COPY made_up (id, title, rare) FROM STDIN"

# Without triggers: a row of history for each would take minutes, and is not measured.
FILL: tuple[LiteralString, ...] = (
    "SET LOCAL session_replication_role = replica",
    """INSERT INTO tasks (title, owner_id)
    SELECT title, (SELECT min(id) FROM users) FROM made_up ORDER BY id""",
    "INSERT INTO tags (name) VALUES ('rare')",
    """INSERT INTO task_tags (task_id, tag_id)
    SELECT made_up.id, tags.id FROM made_up, tags WHERE rare""",
    "DROP TABLE made_up",
)

CONTENT: LiteralString = "SELECT concat(title, ' ', description) FROM tasks"

ROWS = "SELECT id, title, status, priority FROM tasks WHERE deleted_at IS NULL"
BY_TAG = (
    f"{ROWS} AND id IN (SELECT task_id FROM task_tags x JOIN tags ON tags.id = x.tag_id"
    " WHERE tags.name = 'rare') ORDER BY id"
)


class InDatabase(Peer):
    """What has its store in a database of the server."""

    server: ClassVar[Server]

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._opened = ExitStack()
        self.target: Target = self._opened.enter_context(self.server.database())

    @classmethod
    def missing(cls) -> str | None:
        return None

    def fill(self, count: int, limit: float) -> None:
        with psycopg.connect(self.target.url) as connection:
            connection.execute("CREATE TEMPORARY TABLE made_up (id bigint, title text, rare bool)")
            with connection.cursor().copy(COPY) as copy:
                for made in made_up(count):
                    copy.write_row((made.number, made.title, "rare" in made.tags))
            for statement in FILL:
                connection.execute(statement)
        with psycopg.connect(self.target.url, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")

    def content(self) -> str:
        with psycopg.connect(self.target.url) as connection:
            return "\n".join(text for (text,) in connection.execute(CONTENT))

    def close(self) -> None:
        self._opened.close()

    def command(self, *arguments: str) -> Command:
        """Return a command line with the environment of the database."""
        return Command(arguments, self.target.environment, self.folder)


class Concord(InDatabase):
    """Concord's command line, on a server that is up."""

    name = "concord"
    about = "on an embedded server that is up, as it is from the second command on"

    def add(self, title: str) -> Command:
        return self.command(concord(), "task", "add", title)

    def page(self) -> Command:
        return self.command(concord(), "task", "list", "--limit", str(PAGE))

    def filtered(self) -> Command:
        return self.command(concord(), "task", "list", "--tag", "rare")

    def edit(self, number: int, title: str) -> Command:
        return self.command(concord(), "task", "edit", str(number), "--title", title)

    def append(self, number: int, text: str) -> Command:
        return self.command(concord(), "task", "edit", str(number), "--append-description", text)

    def done(self, number: int) -> Command:
        return self.command(concord(), "task", "done", str(number))

    def export(self) -> Command:
        return self.command(concord(), "export", "jsonl", "-")


class Psql(InDatabase):
    """The least that could be done with PostgreSQL: one statement, no more, from psql."""

    name = "psql"
    about = "one statement on the same tables: triggers and history, but no rule of Concord's"

    def add(self, title: str) -> Command:
        return self._sql(
            "INSERT INTO tasks (title, owner_id) SELECT :'title', min(id) FROM users"
            " RETURNING id, title, status",
            title=title,
        )

    def page(self) -> Command:
        return self._sql(f"{ROWS} ORDER BY id LIMIT {PAGE}")

    def filtered(self) -> Command:
        return self._sql(BY_TAG)

    def edit(self, number: int, title: str) -> Command:
        return self._sql(
            "UPDATE tasks SET title = :'title' WHERE id = :number RETURNING id, title",
            number=str(number),
            title=title,
        )

    def append(self, number: int, text: str) -> Command:
        return self._sql(
            "UPDATE tasks SET description = concat_ws(E'\\n', description, :'text')"
            " WHERE id = :number RETURNING id",
            number=str(number),
            text=text,
        )

    def done(self, number: int) -> Command:
        return self._sql(
            "UPDATE tasks SET status = 'completed' WHERE id = :number RETURNING id, status",
            number=str(number),
        )

    def export(self) -> Command:
        return self._sql("SELECT to_jsonb(tasks) FROM tasks ORDER BY id")

    def _sql(self, query: str, **values: str) -> Command:
        # Variables are put in for statements from a file only, not for those of -c.
        file = self.folder / f"{abs(hash((query, *values.values())))}.sql"
        file.write_text(query, encoding="utf-8")
        given = [f"--set={name}={value}" for name, value in values.items()]
        options = ("-X", "-A", "-t", "-q", "--set=ON_ERROR_STOP=1", *given)
        return self.command(psql(), *options, "-d", self.target.url, "-f", str(file))
