"""A task's file as Backlog.md keeps it: a front matter, and sections between markers.

Of the sections, the description and the comments are told apart. All others (acceptance criteria,
plan, notes …) follow the description as they stand, markers and all.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from concord.formats import front_yaml

_FRONT = re.compile(r"---[ \t]*\n(.*?)(?:(?<=\n)|\n)---[ \t]*(?:\n|\Z)", re.DOTALL)
_BEGIN = "<!-- SECTION:DESCRIPTION:BEGIN -->"
_END = "<!-- SECTION:DESCRIPTION:END -->"
_HEADING = (
    r"^## (?:Acceptance Criteria|Definition of Done|Implementation Plan|Implementation Notes"
    r"|Final Summary)[ \t]*$"
)
_LATER = re.compile(_HEADING, re.MULTILINE)
_MARKED = re.compile(rf"\s*## Description[ \t]*\n+{_BEGIN}\n(.*?){_END}(.*)", re.DOTALL)
_UNMARKED = re.compile(r"\s*## Description[ \t]*\n(.*)", re.DOTALL)
_SUMMARY = re.compile(r"^## Final Summary[ \t]*$", re.MULTILINE)
_COMMENTS_BEGIN = "<!-- COMMENTS:BEGIN -->\n"
_COMMENTS_END = "<!-- COMMENTS:END -->"
_COMMENTS_HEADING = re.compile(r"(?:\A|\n)## Comments[ \t]*\n+\Z")
_RULE = re.compile(r"^---(?=[ \t]*$)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Comment:
    """What somebody said, with the author and the time as they are written."""

    body: str
    author: str | None
    created: str | None


@dataclass(frozen=True, slots=True)
class Document:
    """What a file says. `fields` are those of the front matter, in JSON's types."""

    fields: dict[str, Any]
    description: str | None
    comments: tuple[Comment, ...]


def load(text: str) -> Document:
    """Return what a file says. Raises ValueError where it has no front matter that can be read."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    found = _FRONT.match(text)
    if found is None:
        raise ValueError("no front matter between two lines of ---")
    body, comments = _without_comments(text[found.end() :])
    if marked := _MARKED.fullmatch(body):
        parts = [marked[1], marked[2]]
    elif unmarked := _UNMARKED.fullmatch(body):
        later = _LATER.search(unmarked[1])
        end = later.start() if later else len(unmarked[1])
        parts = [unmarked[1][:end], unmarked[1][end:]]
    else:
        parts = [body]
    parts = [part.strip("\n") for part in parts]
    description = "\n\n".join(filter(None, parts))
    return Document(
        front_yaml.load(found[1]), description if description.strip() else None, comments
    )


def write(document: Document) -> str:
    """Return the text of a file, laid out as Backlog.md does."""
    description = (document.description or "").strip("\n")
    later = _LATER.search(description)
    end = later.start() if later else len(description)
    parts = [_described(description[:end].strip("\n"))]
    rest = description[end:].strip("\n")
    # Comments come before the summary, which is the last section.
    summary = _SUMMARY.search(rest)
    cut = summary.start() if summary else len(rest)
    parts += [rest[:cut].strip("\n"), _said(document.comments), rest[cut:]]
    body = "\n\n".join(filter(None, parts))
    return f"---\n{front_yaml.dump(document.fields)}---\n\n{body}\n"


def _without_comments(body: str) -> tuple[str, tuple[Comment, ...]]:
    """Return a body without the last section of comments, and these."""
    end = body.rfind(_COMMENTS_END)
    begin = body.rfind(_COMMENTS_BEGIN, 0, max(end, 0))
    heading = _COMMENTS_HEADING.search(body, max(begin - 40, 0), max(begin, 0))
    section = body.rfind("<!-- SECTION:", 0, max(begin, 0))
    if heading is None or re.match(r"<!-- SECTION:\w+:BEGIN -->", body[section : section + 60]):
        return body, ()  # there are none, or they are within another section
    comments = _comments(body[begin + len(_COMMENTS_BEGIN) : end])
    if comments is None:
        return body, ()
    before = body[: heading.start()].rstrip("\n")
    after = body[end + len(_COMMENTS_END) :].lstrip("\n")
    return f"{before}\n\n{after}", comments


def _comments(section: str) -> tuple[Comment, ...] | None:
    """Return the comments of a section, None for one that holds anything else."""
    comments: list[Comment] = []
    told: dict[str, str] = {}
    body: list[str] | None = None
    for line in section.split("\n"):
        if line.rstrip() == "---" and body is None:
            body = []
        elif line.rstrip() == "---":
            said = "\n".join(body or ()).strip("\n")
            if not said.strip():
                return None
            comments.append(Comment(said, told.get("author"), told.get("created")))
            told, body = {}, None
        elif body is not None:
            body.append(line)
        elif line.strip():
            name, _, value = line.partition(":")
            if name not in ("author", "created") or name in told or not value.strip():
                return None
            told[name] = value.strip()
    return None if body is not None or told else tuple(comments)


def _said(comments: tuple[Comment, ...]) -> str:
    if not comments:
        return ""
    blocks: list[str] = []
    for each in comments:
        told = {"author": each.author, "created": each.created}
        head = "".join(f"{name}: {value}\n" for name, value in told.items() if value)
        # A line of --- ends a comment, another rule looks the same; markers end all of them.
        body = _RULE.sub("***", each.body.strip("\n")).replace("<!-- COMMENTS:", "<!--COMMENTS:")
        blocks.append(f"{head}---\n{body}\n---\n")
    section = "\n".join(blocks)
    return f"## Comments\n\n{_COMMENTS_BEGIN}{section}{_COMMENTS_END}"


def _described(text: str) -> str:
    if not text:
        return ""
    if _END in text:
        return f"## Description\n\n{text}"
    return f"## Description\n\n{_BEGIN}\n{text}\n{_END}"
