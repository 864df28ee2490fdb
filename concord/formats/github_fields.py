"""How GitHub tells an issue's number, state and date, for both reading and writing them."""

from __future__ import annotations

import re
from datetime import datetime, time
from typing import TYPE_CHECKING, Any, cast

from concord.formats.json_stream import dict_at, objects_at, text_at, time_at

if TYPE_CHECKING:
    from collections.abc import Mapping

    from concord.vocabulary import Status

STATUSES: dict[str, Status] = {
    "open": "todo",
    "reopened": "todo",
    "closed": "completed",
    "completed": "completed",
    "not_planned": "canceled",
    "duplicate": "canceled",
}
"""States, and reasons of states."""

REF = re.compile("#[1-9][0-9]{0,17}")
"""What an issue of GitHub is called here."""

_REPOSITORY = re.compile(r"https?://[^/]+/([^/]+/[^/]+)/")
_LAST_SECOND = time(23, 59, 59)


def state_word(state: str, reason: str | None) -> str:
    """Return the word that decides what a state means: its reason, unless of an earlier state."""
    if reason and (state.upper() == "OPEN") == (reason.upper() == "REOPENED"):
        return reason
    return state


def is_open(status: str) -> bool:
    """Return whether a task of this status is an open issue."""
    return status in ("todo", "in_progress")


def number_of(issue: Mapping[str, Any]) -> str | None:
    """Return an issue's number as a ref. Raises ValueError for one that is no number."""
    number = issue.get("number")
    if number is None:
        return None
    if isinstance(number, int | str) and REF.fullmatch(ref := f"#{number}"):
        return ref
    raise ValueError(f"number is not a whole number from 1: {str(number)[:40]!r}")


def ref_in(url: str | None, other: Mapping[str, Any]) -> str | None:
    """Return the ref of another issue, as the issue at `url` names it; None where it names none."""
    number = number_of(other) or text_at(dict_at(other, "concord"), "ref")
    here, there = _repository(url), _repository(text_at(other, "url"))
    return f"{there}{number}" if number and here and there and here != there else number


def _repository(url: str | None) -> str | None:
    found = _REPOSITORY.match(url or "")
    return found[1] if found else None


def nodes_at(issue: Mapping[str, Any], key: str) -> tuple[list[dict[str, Any]], int]:
    """Return the issues at `key`, and how many there are: `gh` gives the first hundred only."""
    value = issue.get(key)
    if not isinstance(value, dict):
        nodes = objects_at(issue, key)
        return nodes, len(nodes)
    connection = cast("dict[str, Any]", value)
    nodes, total = objects_at(connection, "nodes"), connection.get("totalCount")
    return nodes, max(len(nodes), total) if isinstance(total, int) else len(nodes)


def due_of(milestone: Mapping[str, Any]) -> datetime | None:
    """Return when a milestone is due: a day, as all that GitHub knows, means its last second."""
    due = time_at(milestone, "dueOn")
    if due is not None and due.time() == time.min:
        return datetime.combine(due, _LAST_SECOND, due.tzinfo)
    return due


def comment_key(ref: str | None, created_at: datetime | None) -> str:
    """Return what tells a comment from the others of its issue, as far as anything does."""
    return ref or (created_at.isoformat() if created_at else "")
