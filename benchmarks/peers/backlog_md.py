"""Backlog.md: one Markdown file a task, in a git repository."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from peers import PAGE, Command, Peer, call, made_up

FRONT = """---
id: TASK-{number}
title: {title}
status: To Do
assignee: []
created_date: '2026-01-01 00:00'
labels: [{labels}]
dependencies: []
ordinal: {ordinal}
---

"""


class BacklogMd(Peer):
    """Backlog.md of the npm registry: on PATH, or where `BACKLOG_BIN` says."""

    name = "backlog.md"
    about = "one Markdown file a task, read by a Node.js program"

    @classmethod
    def missing(cls) -> str | None:
        if _program() is None:
            return "install it: npm install backlog.md, and set BACKLOG_BIN to its `backlog`"
        return None

    def fill(self, count: int, limit: float) -> None:
        call(Command(("git", "init", "-q", "."), self._environment(), self.folder), limit)
        call(self._backlog("init", "bench", "--defaults"), limit)
        config = self.folder / "backlog" / "config.yml"
        text = config.read_text(encoding="utf-8").replace(
            "remote_operations: true", "remote_operations: false"
        )
        config.write_text(text, encoding="utf-8")
        tasks = self.folder / "backlog" / "tasks"
        for made in made_up(count):
            body = FRONT.format(
                number=made.number,
                title=made.title,
                labels=", ".join(made.tags),
                ordinal=made.number * 1000,
            )
            name = f"task-{made.number} - {made.title.replace(' ', '-')}.md"
            (tasks / name).write_text(body, encoding="utf-8")

    def add(self, title: str) -> Command:
        return self._backlog("task", "create", title, "--plain")

    def page(self) -> Command:
        return self._backlog("task", "list", "--plain", "--limit", str(PAGE))

    def filtered(self) -> Command:
        return self._backlog("task", "list", "--plain", "--labels", "rare")

    def edit(self, number: int, title: str) -> Command:
        return self._backlog("task", "edit", str(number), "--title", title, "--plain")

    def append(self, number: int, text: str) -> Command:
        return self._backlog("task", "edit", str(number), "--append-notes", text, "--plain")

    def done(self, number: int) -> Command:
        return self._backlog("task", "edit", str(number), "--status", "Done", "--plain")

    def export(self) -> Command:
        return self._backlog("task", "list", "--json")

    def content(self) -> str:
        files = sorted((self.folder / "backlog").rglob("*.md"))
        return "\n".join(file.read_text(encoding="utf-8", errors="replace") for file in files)

    def _backlog(self, *arguments: str) -> Command:
        return Command((_program() or "backlog", *arguments), self._environment(), self.folder)

    def _environment(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "HOME": str(self.folder), "NO_COLOR": "1"}


def _program() -> str | None:
    given = os.environ.get("BACKLOG_BIN")
    if given and Path(given).is_file():
        return given
    return shutil.which("backlog")
