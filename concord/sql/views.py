"""Saved views: the options of a list that somebody keeps under a name of their own.

A view holds command-line options as they were typed, so that `due-before eow` means the end of
the week in which the view is used. What they mean is for whoever reads them again.
"""

from __future__ import annotations

import difflib
import shlex
from typing import TYPE_CHECKING, LiteralString

from concord.database import Isolation, transaction
from concord.errors import Conflict, NotFound, Usage
from concord.models import View

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from concord.database import Transaction

NONE = "none"
"""What is said for no view, and hence names none."""

# Somebody who is not known yet has no views, which is no error.
LIST: LiteralString = """
-- list_views: somebody's own, by name
SELECT v.id, v.name, v.options, v.created_at, v.updated_at
FROM views v
WHERE v.owner_id = (SELECT current_actor_id()) ORDER BY lower(v.name)
"""

SHOW: LiteralString = """
-- show_view: of somebody's own, without regard to case
SELECT v.id, v.name, v.options, v.created_at, v.updated_at
FROM views v
WHERE v.owner_id = (SELECT current_actor_id()) AND lower(v.name) = lower(%(name)s)
"""

# One statement, so that of two who save one name at once the second finds what the first saved.
SAVE: LiteralString = """
-- save_view: a name that is taken keeps its options, unless they are to be replaced
INSERT INTO views AS v (owner_id, name, options)
VALUES (current_actor_id(), %(name)s, %(options)s::text[])
ON CONFLICT (owner_id, lower(name)) DO UPDATE
    SET name = excluded.name, options = excluded.options, updated_at = clock_timestamp()
    WHERE %(replace)s
RETURNING v.id, v.name, v.options, v.created_at, v.updated_at
"""

DELETE: LiteralString = """
-- delete_view: one of somebody's own
DELETE FROM views v
WHERE v.owner_id = (SELECT current_actor_id()) AND lower(v.name) = lower(%(name)s)
RETURNING v.id, v.name, v.options, v.created_at, v.updated_at
"""


@transaction(isolation=Isolation.READ_COMMITTED, read_only=True)
def list_all(tx: Transaction) -> tuple[View, ...]:
    """Return the actor's views by name."""
    return tx.rows(LIST, None, _view)


@transaction(isolation=Isolation.READ_COMMITTED, read_only=True)
def show(tx: Transaction, name: str) -> View:
    """Return a view of the actor's. Raises `NotFound` with names that are near."""
    found = tx.row(SHOW, {"name": name}, _view)
    if found is None:
        raise _not_found(tx, name)
    return found


@transaction(isolation=Isolation.READ_COMMITTED)
def save(tx: Transaction, name: str, options: Sequence[str], *, replace: bool = False) -> View:
    """Keep options under a name of the actor's.

    Raises `Conflict` if the name is taken for others and they are not to be replaced, `Usage` if
    it is no name.
    """
    if name.lower() == NONE:
        raise Usage(f"{name!r} stands for no view", hint="Choose another name.")
    given = {"name": name, "options": list(options), "replace": replace}
    saved = tx.row(SAVE, given, _view)
    if saved is not None:
        return saved
    kept = tx.row(SHOW, {"name": name}, _view)
    if kept is not None and kept.options == tuple(options):
        return kept
    raise Conflict(
        f"you have a view {name} already" + (f": {kept.command}" if kept else ""),
        hint="Choose another name, or replace it with --replace.",
        view=name,
    )


@transaction(isolation=Isolation.READ_COMMITTED)
def delete(tx: Transaction, name: str) -> View:
    """Remove a view of the actor's and return what it was. Raises `NotFound`."""
    gone = tx.row(DELETE, {"name": name}, _view)
    if gone is None:
        raise _not_found(tx, name)
    return gone


def _view(
    number: int, name: str, options: Sequence[str], created_at: datetime, updated_at: datetime
) -> View:
    command = shlex.join(("task", "list", *options))
    return View(number, name, tuple(options), command, created_at, updated_at)


def _not_found(tx: Transaction, name: str) -> NotFound:
    names = [view.name for view in tx.rows(LIST, None, _view)]
    folded = {each.lower(): each for each in names}
    near = [folded[each] for each in difflib.get_close_matches(name.lower(), folded, n=3)]
    return NotFound(
        f"you have no view {name}" + (f"; did you mean {' or '.join(near)}?" if near else ""),
        hint="See: concord view list",
        view=name,
        near=near,
    )
