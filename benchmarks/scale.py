"""What each command costs with 1,000 tasks, and with a million.

    python benchmarks/scale.py [--url URL] [--small N] [--large N] [--rounds N] [--data-dir DIR]

Two databases are filled by `concord demo seed`'s own code. Each round runs every operation once on
both, in an order that rotates; what is compared is the median time of its transaction, from BEGIN
to the answer to COMMIT. Aims: at most 3 times as long, and below 50 ms; for the board and for
statistics, which count all tasks, below 2 s. Pages far back are compared with the first one.

With --data-dir the large database stays there, and is used again the next time. The exit status is
1 if an aim is missed.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, LiteralString

import click
import psycopg
from common import ACTOR, describe, server
from psycopg import sql
from psycopg.conninfo import make_conninfo

from concord import embedded, migrate
from concord.database import Database, Isolation, transaction
from concord.query import parse
from concord.seed import load as seeding
from concord.seed.rows import Plan
from concord.settings import load
from concord.sql import (
    assignments,
    board,
    claims,
    comments,
    completion,
    due,
    history,
    links,
    listing,
    projects,
    readiness,
    search,
    stats,
    tags,
    tasks,
    undo,
    urgency,
    users,
)
from concord.sql.listing import Filters

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from common import Server

    from concord.database import Record, Transaction
    from concord.vocabulary import Status

RATIO_AIM = 3.0
MS_AIM = 50.0
WHOLE_AIM = 2000.0
"""Milliseconds for what counts all tasks."""
NOISE = 5.0
"""Milliseconds below which a ratio says more about the machine than about the statement."""
FAR = 5_000
"""The page that is compared with the first."""
LEASE = timedelta(minutes=15)
SOON = timedelta(days=7)
NOW = datetime.now(UTC)
WEIGHTS = urgency.Weights(Decimal(6), Decimal(12), Decimal(2), Decimal(8), Decimal(4))

SAMPLE: LiteralString = """
-- sample_tasks: everyday ones that are open, spread over all
SELECT id FROM tasks
WHERE project_id IS NOT NULL AND status = 'todo' AND deleted_at IS NULL AND parent_id IS NULL
  AND NOT is_blocked(id) AND NOT has_open_child(id)
ORDER BY hashint8(id) LIMIT 400
"""

SIZE: LiteralString = """
-- database_size: in bytes, and its largest relations
SELECT pg_database_size(current_database())
"""

RELATIONS: LiteralString = """
-- relation_sizes: tables with their TOAST, and their indexes
SELECT c.relname, pg_table_size(c.oid), pg_indexes_size(c.oid)
FROM pg_class c WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace
ORDER BY pg_total_relation_size(c.oid) DESC LIMIT 6
"""


@dataclass
class Site:
    """A filled database: its connection, the records of what ran, and what to work on."""

    database: Database
    records: list[Record]
    plan: Plan
    ids: Iterator[int]

    def timed(self, work: Callable[[Site], object]) -> float:
        """Return the milliseconds that the transactions of a piece of work took."""
        self.records.clear()
        work(self)
        return sum(record.ms for record in self.records)

    def run(self, operation: Any, *given: Any, **named: Any) -> Any:
        """Run an operation."""
        return self.database.run(operation, *given, **named)

    def aside(self, operation: Any, *given: Any, **named: Any) -> Any:
        """Run an operation that is not what is measured."""
        before = len(self.records)
        result = self.run(operation, *given, **named)
        del self.records[before:]
        return result


def listed(
    filters: Filters | Callable[[Site], Filters] | None = None, sort: str = "id"
) -> Callable[[Site], object]:
    """Return what asks for the first page of a list."""

    def page(site: Site) -> object:
        wanted = filters(site) if callable(filters) else filters or Filters()
        return site.run(listing.page, wanted, sort=sort, limit=100)

    return page


def counted(by: stats.By | None) -> Callable[[Site], object]:
    """Return what asks for the statistics of twelve weeks."""
    last = NOW.date()
    first = last - timedelta(days=last.weekday() + 11 * 7)
    return lambda site: site.run(stats.flow, Filters(), first=first, last=last, zone="UTC", by=by)


def claimed(filters: Filters | None = None) -> Callable[[Site], object]:
    """Return what claims a task, and gives it back, for there to be some the next time."""

    def work(site: Site) -> None:
        for task in site.run(claims.claim, filters or Filters(), lease=LEASE):
            site.aside(claims.release, task.id, task.claim.epoch)

    return work


def searched(words: str) -> Callable[[Site], object]:
    """Return what searches for words, in the query language."""
    query = parse(words, now=NOW)
    return lambda site: site.run(search.find, query, Filters(), limit=20)


def asked(query: str, sort: str = "id") -> Callable[[Site], object]:
    """Return what asks for the first page of what a query finds."""
    return listed(Filters(query=parse(query, now=NOW)), sort)


def held(operation: Any, **named: Any) -> Callable[[Site], object]:
    """Return what does something to a claim that was just made."""

    def work(site: Site) -> None:
        (task,) = site.aside(claims.claim, Filters(), lease=LEASE)
        site.run(operation, task.id, task.claim.epoch, **named)
        if operation is not claims.release:
            site.aside(claims.release, task.id, task.claim.epoch)

    return work


def undone(site: Site) -> None:
    """Undo an edit."""
    site.aside(tasks.edit, [next(site.ids)], {"priority": "low"})
    site.run(undo.run)


def pair(site: Site) -> tuple[int, int]:
    """Return two tasks, the older one first, which therefore waits for nothing of the other."""
    one, other = sorted((next(site.ids), next(site.ids)))
    return one, other


def blocked(site: Site) -> None:
    """Block a task by another one, and unblock it again."""
    older, newer = pair(site)
    site.run(links.block, [newer], [older])
    site.aside(links.unblock, [newer], [older])


def parted(site: Site) -> None:
    """Make a task a part of another one, and take it out again."""
    older, newer = pair(site)
    site.run(tasks.edit, [older], {"parent": newer})
    site.aside(tasks.edit, [older], {"parent": None})


def deleted(site: Site) -> None:
    """Put a task into the trash, and take it back."""
    task = next(site.ids)
    site.run(tasks.delete, [task])
    site.aside(tasks.restore, [task])


def assigned(site: Site) -> None:
    """Assign a task, and take it back, for there to be some that may be claimed."""
    task = next(site.ids)
    site.run(assignments.assign, [task], ["heron"])
    site.aside(assignments.unassign, [task], ["heron"])


def becomes(status: Status) -> Callable[[Site], object]:
    """Return what gives a task a status, and then makes it a task to do again."""

    def work(site: Site) -> None:
        task = next(site.ids)
        site.run(tasks.set_status, [task], status)
        site.aside(tasks.set_status, [task], "todo")

    return work


def limited(site: Site) -> None:
    """Set a limit, and remove it again."""
    site.run(projects.edit, "WEB", {"wip_limit": 500_000})
    site.aside(projects.edit, "WEB", {"wip_limit": None})


def smallest(site: Site) -> str:
    """Return the project that has the fewest tasks."""
    return site.plan.projects[-1]


@transaction(isolation=Isolation.READ_COMMITTED, read_only=True)
def complete(tx: Transaction, prefix: str) -> None:
    """Ask for what a shell would offer."""
    tx.scalars(completion.TASKS, {"prefix": prefix})


COMMANDS: dict[str, Callable[[Site], object]] = {
    "task add": lambda site: site.run(tasks.add, tasks.NewTask("A new one")),
    "task add --project --tag --assign": lambda site: site.run(
        tasks.add, tasks.NewTask("A new one", "API", tags=["bug"], assignees=["otter"])
    ),
    "task show": lambda site: site.run(comments.show, [next(site.ids)]),
    "task edit": lambda site: site.run(tasks.edit, [next(site.ids)], {"title": "Another title"}),
    "task edit --priority": lambda site: site.run(
        tasks.edit, [next(site.ids)], {"priority": "high"}
    ),
    "undo": undone,
    "task assign": assigned,
    "task tag": lambda site: site.run(tags.tag, [next(site.ids)], ["docs"]),
    "task start": becomes("in_progress"),
    "task done": becomes("completed"),
    "task comment": lambda site: site.run(comments.add, [next(site.ids)], "It is so."),
    "task block": blocked,
    "task edit --parent": parted,
    "task delete": deleted,
    "task claim": claimed(),
    "task renew": held(claims.renew, lease=LEASE),
    "task release": held(claims.release),
    "task claim --project": claimed(Filters(projects=["WEB"])),
    "task claim --project, two": claimed(Filters(projects=["WEB", "BILLING"])),
    "task claim --tag": claimed(Filters(tags=["cleanup"])),
    "task claim --priority low": claimed(Filters(priorities=["low"])),
    "task claim --assignee": claimed(Filters(assignees=["otter"])),
    "task claim --owner": claimed(Filters(owners=["otter"])),
    "task claim --title": claimed(Filters(titles=["server"])),
    "task claim --explain": lambda site: site.run(readiness.explain, Filters()),
    "task list": listed(),
    **{f"task list --sort {sort}": listed(sort=sort) for sort in listing.SORTS if sort != "id"},
    **{f"task list --sort -{sort}": listed(sort=f"-{sort}") for sort in listing.SORTS},
    "task list --status todo": listed(Filters(statuses=["todo"])),
    "task list --status todo --sort due": listed(Filters(statuses=["todo"]), "due"),
    "task list --status canceled": listed(Filters(statuses=["canceled"])),
    "task list --project": listed(Filters(projects=["WEB"])),
    "task list --project --sort due": listed(Filters(projects=["WEB"]), "due"),
    "task list --project --sort updated": listed(Filters(projects=["WEB"]), "updated"),
    "task list --project, the smallest": listed(lambda site: Filters(projects=[smallest(site)])),
    "task list --project, two": listed(Filters(projects=["WEB", "BILLING"])),
    "task list --project none": listed(Filters(projects=["none"])),
    "task list --project X --project none": listed(
        lambda site: Filters(projects=[smallest(site), "none"])
    ),
    "task list --tag": listed(Filters(tags=["bug"])),
    "task list --tag, a rare one": listed(lambda site: Filters(tags=[site.plan.tags[-1]])),
    "task list --tag --status todo": listed(Filters(tags=["cleanup"], statuses=["todo"])),
    "task list --assignee": listed(Filters(assignees=["otter"])),
    "task list --assignee --status todo": listed(Filters(assignees=["otter"], statuses=["todo"])),
    "task list --assignee none": listed(Filters(assignees=["none"])),
    "task list --unassigned --status todo": listed(Filters(assigned=False, statuses=["todo"])),
    "task list --owner": listed(Filters(owners=["otter"])),
    "task list --priority urgent": listed(Filters(priorities=["urgent"])),
    "task list --priority --status todo": listed(Filters(priorities=["urgent"], statuses=["todo"])),
    "task list --due-before": listed(Filters(due_before=NOW - timedelta(days=700))),
    "task list --due-before --status": listed(
        Filters(due_before=NOW + SOON, statuses=["todo"]), "due"
    ),
    "task list --title, frequent": listed(Filters(titles=["server"])),
    "task list --title, rare": listed(Filters(titles=["zzgl"])),
    "task list --parent": lambda site: site.run(
        listing.page, Filters(parents=[next(site.ids)]), limit=100
    ),
    "task list --trash": listed(Filters(trash=True)),
    "task list --ready": listed(Filters(ready=True)),
    "task list --ready --sort priority": listed(Filters(ready=True), "priority"),
    "task list --ready --project": listed(Filters(ready=True, projects=["WEB"])),
    "task list --blocked": listed(Filters(blocked=True)),
    "task list --blocked --project": listed(Filters(blocked=True, projects=["WEB"])),
    **{
        f"task list --ready --sort {sort}": listed(Filters(ready=True), sort)
        for sort in ("updated", "-updated", "created", "-created", "due", "title")
    },
    "task list QUERY": asked(
        "status:todo,in_progress -tag:question assignee:otter (priority>=high or blocked:no)"
    ),
    "task list QUERY, of due and text": asked("status:todo due<friday error", "due"),
    "search, a common word": searched("error"),
    "search, a rare word": searched("zzgl or dolker"),
    "search, two common words": searched("error deploy"),
    "search, never together": searched("migration invoice"),
    "search, a phrase": searched('"error file"'),
    "search, a prefix": searched("migr*"),
    "search, with filters": searched("error status:todo tag:bug"),
    "search, mistyped": searched("migratoin"),
    "next": lambda site: site.run(urgency.suggest, Filters(), weights=WEIGHTS, now=NOW, limit=6),
    "next --project": lambda site: site.run(
        urgency.suggest, Filters(projects=["WEB"]), weights=WEIGHTS, now=NOW, limit=6
    ),
    "due": lambda site: site.run(due.within, Filters(), SOON, limit=100),
    "history": lambda site: site.run(history.page, history.Filters(), limit=100),
    "history --actor": lambda site: site.run(
        history.page, history.Filters(actor="otter"), limit=100
    ),
    "task log": lambda site: site.run(
        history.page, history.Filters(task=next(site.ids)), limit=100
    ),
    "completion of ids": lambda site: site.run(complete, "1%"),
    "user list": lambda site: site.run(users.list_all),
    "project list": lambda site: site.run(projects.list_all),
    "project edit --wip-limit": limited,
}
"""Command → what asks for it."""

WHOLE: dict[str, Callable[[Site], object]] = {
    "board": lambda site: site.run(board.show, Filters()),
    "board --project": lambda site: site.run(board.show, Filters(projects=["WEB"])),
    "tag list": lambda site: site.run(tags.list_all),
    "stats": counted(None),
    "stats --by project": counted("project"),
    "stats --by person": counted("person"),
    "stats --by tag": counted("tag"),
}
"""Those that count all tasks."""


@click.command()
@click.option("--url", help="A server of your own; otherwise an embedded one.")
@click.option("--small", default=1_000, show_default=True, help="Tasks to compare with.")
@click.option("--large", default=1_000_000, show_default=True, help="Tasks to measure at.")
@click.option("--rounds", default=7, show_default=True, help="How often each is run.")
@click.option("--only", default="", metavar="WORD", help="Only commands with this in their name.")
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    help="An embedded server that stays there, with the large database.",
)
def main(
    url: str | None, small: int, large: int, rounds: int, only: str, data_dir: Path | None
) -> None:
    """Fill, measure and compare."""
    with ExitStack() as stack:
        if data_dir is not None:
            embedded.start(data_dir)
            stack.callback(embedded.stop, data_dir)
            url = embedded.conninfo(data_dir, owner=True)
        made = stack.enter_context(server(url))
        describe(made)
        sites = [
            # The small one has too few tasks to be worked on again and again.
            stack.enter_context(site(made, tasks, keep=data_dir is not None and tasks == large))
            for tasks in (small, large)
        ]
        missed = by_size(sites, rounds, only)
        missed |= deep_pages(sites[1], rounds)
        tell_size(sites[1])
    sys.exit(int(missed))


@contextmanager
def site(made: Server, count: int, *, keep: bool) -> Generator[Site]:
    """Yield a database of so many tasks, filling it if it is not there yet.

    It is dropped afterwards unless it is to `keep`.
    """
    name = f"concord_scale_{count}"
    url = make_conninfo(made.url, dbname=name)
    given = {"database_url": url, "user": ACTOR, "statement_timeout": "10min"}
    settings = load(given, {"XDG_CONFIG_HOME": "/nonexistent"}, Path("/"))
    plan = Plan(count, 1, NOW)
    if not keep:
        drop(made, name)
    with psycopg.connect(made.url, autocommit=True) as connection:
        known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
        if new := known.fetchone() is None:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    migrate.upgrade(settings)
    records: list[Record] = []
    with ExitStack() as stack:
        if not keep:
            stack.callback(drop, made, name)
        database = Database(settings, "benchmark", observe=records.append)
        stack.callback(database.close)
        if new:
            database.connection().execute("INSERT INTO users (username) VALUES (%s)", (ACTOR,))
            with Database(settings, "benchmark", owner=True) as owner:
                seeded = owner.run(seeding.fill, plan)
            print(f"{count:>9,} tasks seeded in {seeded.seconds:.1f} s")
        database.connection().execute(RUN_PROJECTS, (ACTOR,))
        database.connection().execute("VACUUM ANALYZE")
        ids = [row[0] for row in database.connection().execute(SAMPLE)]
        yield Site(database, records, plan, cycle(ids))


RUN_PROJECTS: LiteralString = """
INSERT INTO project_members (project_id, user_id, role)
SELECT p.id, u.id, 'owner' FROM projects p, users u WHERE u.username = %s
ON CONFLICT DO NOTHING
"""
"""Whoever measures may change the limits of projects."""


def drop(made: Server, name: str) -> None:
    """Remove a database, if it is there."""
    with psycopg.connect(made.url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))


def by_size(sites: Sequence[Site], rounds: int, only: str) -> bool:
    """Measure every command at both sizes; return whether an aim is missed."""
    chosen = {name: work for name, work in (COMMANDS | WHOLE).items() if only in name}
    names = list(chosen)
    taken: dict[str, tuple[list[float], ...]] = {name: tuple([] for _ in sites) for name in names}
    for number in range(rounds + 1):
        shift = number * len(names) // (rounds + 1)
        for name in names[shift:] + names[:shift]:
            for place, one in enumerate(sites):
                elapsed = one.timed(chosen[name])
                if number:  # the first round warms up
                    taken[name][place].append(elapsed)
    small, large = (one.plan.tasks for one in sites)
    print(f"\n{'':<40}{small:>10,}{large:>13,}      ratio")
    missed = False
    for name, samples in taken.items():
        before, after = (median(some) for some in samples)
        whole = name in WHOLE
        bad = after > (WHOLE_AIM if whole else MS_AIM) or (
            not whole and after > NOISE and after > RATIO_AIM * before
        )
        missed |= bad
        print(
            f"  {name:<38}{before:>7.1f} ms{after:>10.1f} ms{after / before:>11.1f}"
            + ("   misses its aim" if bad else "")
        )
    return missed


def deep_pages(large: Site, rounds: int) -> bool:
    """Compare the first page with one far back; return whether that costs more."""
    missed = False
    print(f"\n{'':<40}    page 1   page {FAR:,}      ratio")
    pages = large.plan.tasks // 100
    far = min(FAR, max(pages - 1, 1))
    for sort in ("id", "-updated", "due"):
        found = large.run(listing.page, Filters(), sort=sort, limit=1, skip=far * 100)
        samples: tuple[list[float], list[float]] = ([], [])
        for _ in range(rounds):
            for some, after in zip(samples, (None, found.after), strict=True):
                work = listed(sort=sort) if after is None else _page_after(sort, after)
                some.append(large.timed(work))
        first, last = median(samples[0]), median(samples[1])
        bad = last > NOISE and last > RATIO_AIM * first
        missed |= bad
        print(
            f"  task list --sort {sort:<21}{first:>7.1f} ms{last:>10.1f} ms{last / first:>11.1f}"
            + ("   misses its aim" if bad else "")
        )
    return missed


def _page_after(sort: str, after: str) -> Callable[[Site], object]:
    return lambda site: site.run(listing.page, Filters(), sort=sort, limit=100, after=after)


def tell_size(large: Site) -> None:
    """Print how large the database is, and what takes most of it."""
    connection = large.database.connection()
    for (size,) in connection.execute(SIZE):
        print(f"\n{large.plan.tasks:,} tasks take {size / 2**20:,.0f} MB")
    for name, table, indexes in connection.execute(RELATIONS):
        print(f"  {name:<16}{table / 2**20:>8,.0f} MB{indexes / 2**20:>8,.0f} MB of indexes")


if __name__ == "__main__":
    main()
