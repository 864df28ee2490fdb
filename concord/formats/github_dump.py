"""Tasks as GitHub's issues, with what GitHub said of them when they were imported.

What a task says by now comes first. Of what GitHub said beyond it, that is given back which is
still about it: the colour of a label that it still has, why it was closed while it is closed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from concord.formats import text
from concord.formats.github_fields import (
    REF,
    STATUSES,
    comment_key,
    due_of,
    nodes_at,
    ref_in,
    state_word,
)
from concord.formats.json_stream import dict_at, line_at, objects_at, text_at, time_at
from concord.formats.names import tag_name, user_name
from concord.formats.outgoing import again, outgoing
from concord.plain import dumps, moment

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping
    from datetime import datetime

    from concord.models import ExportedTask, ImportedComment, ImportedTask

NAME = "github"

_STATES = {
    "todo": ("OPEN", ""),
    "in_progress": ("OPEN", ""),
    "completed": ("CLOSED", "COMPLETED"),
    "canceled": ("CLOSED", "NOT_PLANNED"),
}
_GIVEN_BACK = ("number", "body", "closed", "comments", "concord")
"""What the task itself says in full, or `rest` by other means."""


def dump(tasks: Iterable[ExportedTask]) -> Iterator[str]:
    """Yield the lines, without line ends, of a JSON array of issues: one a line.

    A task that did not come from GitHub has no number there: `number` is null, and `concord.ref`
    has its uid.
    """
    tasks = again(tasks)
    refs = {task.id: _ref(task) for task in tasks}
    known = frozenset(refs.values())
    yield "["
    line = None
    for each in outgoing(tasks, refs, NAME):
        if line is not None:
            yield f"{line},"
        line = dumps(issue(each.told, each.extra, known, each.children))
    if line is not None:
        yield line
    yield "]"


def _ref(task: ExportedTask) -> str:
    ref = task.external_ref or ""
    own = dict_at(task.extra.get(NAME, {}), "concord")
    return ref if REF.fullmatch(ref) or ref == own.get("ref") else str(task.uid)


def issue(
    row: ImportedTask,
    kept: Mapping[str, Any],
    known: Container[str] = frozenset(),
    children: Iterable[str] = (),
) -> dict[str, Any]:
    """Return a task as an issue. `kept` is what `rest` returned when it was imported.

    `known` are the refs of the tasks that are written with it. Of other issues, `kept` is right.
    """
    people: Mapping[str, str] = kept.get("concord", {}).get("people", {})
    title, body = _title_and_body(row, kept.get("title"))
    state, reason = _state(row, kept)
    author = _people(_present(row.owner), _present(kept.get("author")), people)
    told: dict[str, Any] = {
        "number": int(row.ref[1:]) if REF.fullmatch(row.ref) else None,
        "title": title,
        "body": body,
        "state": state,
        "stateReason": reason,
        "closed": state.upper() == "CLOSED",
        "labels": _labels(row.tags, kept.get("labels") or ()),
        "assignees": _people(row.assignees, kept.get("assignees") or (), people),
        "author": author[0] if author else None,
        "createdAt": _time(row.created_at, kept.get("createdAt")),
        "updatedAt": _time(row.updated_at, kept.get("updatedAt")),
        "closedAt": _time(row.completed_at or row.canceled_at, kept.get("closedAt")),
        "comments": [_comment(each, kept.get("comments") or {}, people) for each in row.comments],
        "milestone": kept.get("milestone"),
        "url": kept.get("url"),
        "parent": _parent(row.parent, kept, known),
        "subIssues": _connection(tuple(children), kept, "subIssues", known),
        "blockedBy": _connection(row.blocked_by, kept, "blockedBy", known),
    }
    beyond = {key: value for key, value in kept.items() if key not in (*told, "concord")}
    own = _own(row, kept, state_word(state, reason))
    return told | beyond | ({"concord": own} if own else {})


def rest(
    issue_told: Mapping[str, Any], row: ImportedTask, people: Mapping[str, str]
) -> dict[str, Any]:
    """Return what an issue says that the task made of it does not give back.

    `people` has their logins by what they are called here.
    """
    odd = {name: login for name, login in people.items() if name != login}
    own: dict[str, Any] = {"people": odd} if odd else {}
    plain = issue(row, {"concord": own})
    kept = {
        key: value
        for key, value in issue_told.items()
        if key not in _GIVEN_BACK and (key not in plain or plain[key] != value)
    }
    if not REF.fullmatch(row.ref):
        own["ref"] = row.ref
    if kept.get("closedAt", "") is None:
        del kept["closedAt"]
    if kept.get("stateReason", "") is None and not plain["stateReason"]:
        del kept["stateReason"]
    if kept.keys() & {"state", "stateReason"}:
        own["status"] = row.status
    said = {
        comment_key(text_at(each, "id"), time_at(each, "createdAt")): each
        for each in objects_at(issue_told, "comments")
    }
    comments: dict[str, Any] = {}
    for comment in row.comments:
        key, told = comment_key(comment.ref, comment.created_at), _comment(comment, {}, odd)
        if left := {name: each for name, each in said[key].items() if told.get(name, 0) != each}:
            comments[key] = left
    return kept | ({"comments": comments} if comments else {}) | ({"concord": own} if own else {})


def _own(row: ImportedTask, kept: Mapping[str, Any], word: str) -> dict[str, Any]:
    """Return what GitHub has no words for, and what it says otherwise."""
    own: dict[str, Any] = {}
    if not REF.fullmatch(row.ref):
        own["ref"] = row.ref
    if STATUSES.get(word.lower()) != row.status:
        own["status"] = row.status
    if row.priority != "none":
        own["priority"] = row.priority
    if row.due != due_of(kept.get("milestone") or {}):
        own["due"] = row.due
    if row.started_at is not None:
        own["startedAt"] = row.started_at
    return own


def _title_and_body(row: ImportedTask, said: object) -> tuple[str, str]:
    body = row.description or ""
    if not isinstance(said, str):
        return row.title, body
    title, full_title = text.fit_title(line_at({"title": said}, "title"))
    if title != row.title:
        return row.title, body
    return said, body.removeprefix(full_title).removeprefix("\n\n") if full_title else body


def _state(row: ImportedTask, kept: Mapping[str, Any]) -> tuple[str, str | None]:
    state, reason = _STATES[row.status]
    if kept.get("concord", {}).get("status") != row.status:
        return state, reason
    return kept.get("state", state), kept.get("stateReason", reason)


def _labels(tags: tuple[str, ...], said: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return a label for each tag: GitHub's own one if it is still there."""
    wanted = {tag.lower(): tag for tag in tags}
    labels: list[Mapping[str, Any]] = []
    found: set[str] = set()
    for label in said:
        try:
            tag = tag_name(str(label.get("name") or "")).lower()
        except ValueError:  # never was a tag, so nobody took it away
            labels.append(label)
            continue
        if tag in wanted:
            labels.append(label)
            found.add(tag)
    return labels + [{"name": tag} for low, tag in wanted.items() if low not in found]


def _people(
    names: Iterable[str], said: Iterable[Mapping[str, Any]], people: Mapping[str, str]
) -> list[Mapping[str, Any]]:
    """Return somebody with a login for each username: as GitHub told them, if it did."""
    usernames = {login.lower(): name.lower() for name, login in people.items()}
    by_name: dict[str, Mapping[str, Any]] = {}
    for person in said:
        if login := text_at(person, "login"):
            by_name[usernames.get(login.lower()) or user_name(login).lower()] = person
    wanted = {name.lower(): name for name in names}
    found = [person for low, person in by_name.items() if low in wanted]
    return found + [
        {"login": people.get(name, name)} for low, name in wanted.items() if low not in by_name
    ]


def _comment(
    comment: ImportedComment, kept: Mapping[str, Any], people: Mapping[str, str]
) -> dict[str, Any]:
    left: Mapping[str, Any] = kept.get(comment_key(comment.ref, comment.created_at), {})
    author = _people(_present(comment.author), _present(left.get("author")), people)
    return {
        "id": comment.ref,
        "author": author[0] if author else None,
        "body": comment.body,
        "createdAt": _time(comment.created_at, left.get("createdAt")),
        **{key: value for key, value in left.items() if key not in ("author", "createdAt")},
    }


def _time(time: datetime | None, said: object) -> object:
    """Return a time as it was said, if it is still that one."""
    if time is None:
        return None
    if isinstance(said, str) and time_at({"time": said}, "time") == time:
        return said
    return moment(time)


def _parent(ref: str | None, kept: Mapping[str, Any], known: Container[str]) -> object:
    said = dict_at(kept, "parent")
    meant = ref_in(kept.get("url"), said)
    if meant is not None and (meant == ref or (ref is None and meant not in known)):
        return said
    return None if ref is None else _node(ref)


def _connection(
    refs: tuple[str, ...], kept: Mapping[str, Any], key: str, known: Container[str]
) -> object:
    """Return the issues with these refs, and those which GitHub names but which are not here."""
    said, total = nodes_at(kept, key)
    nodes: list[Mapping[str, Any]] = []
    missing = dict.fromkeys(refs)
    for node in said:
        ref = ref_in(kept.get("url"), node)
        if ref is None or ref in missing or ref not in known:
            nodes.append(node)
            missing.pop(ref or "", None)
    nodes += map(_node, missing)
    if isinstance(kept.get(key), list):
        return nodes
    return {"nodes": nodes, "totalCount": len(nodes) + total - len(said)}


def _node(ref: str) -> dict[str, Any]:
    if REF.fullmatch(ref):
        return {"number": int(ref[1:])}
    return {"number": None, "concord": {"ref": ref}}


def _present(value: Any) -> tuple[Any, ...]:
    return () if value is None else (value,)
