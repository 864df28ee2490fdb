"""Taskwarrior: a folder of text files for one user."""

from __future__ import annotations

import json
import os
import shutil
from uuid import NAMESPACE_URL, uuid5

from peers import PAGE, Command, Peer, call, made_up


class Taskwarrior(Peer):
    """Taskwarrior, as Debian packages it."""

    name = "taskwarrior"
    about = "files in a folder, read as a whole by each command"

    @classmethod
    def missing(cls) -> str | None:
        return None if shutil.which("task") else "install it: apt-get install taskwarrior"

    def fill(self, count: int, limit: float) -> None:
        settings = f"data.location={self.folder}/data\nconfirmation=no\nverbose=nothing\n"
        (self.folder / "data").mkdir()
        (self.folder / "taskrc").write_text(settings, encoding="utf-8")
        rows = [
            {"uuid": _uuid(made.number), "description": made.title, "tags": list(made.tags)}
            for made in made_up(count)
        ]
        file = self.folder / "tasks.json"
        file.write_text(json.dumps(rows), encoding="utf-8")
        call(self._task("import", str(file)), limit)

    def add(self, title: str) -> Command:
        return self._task("add", title)

    def page(self) -> Command:
        return self._task(f"limit:{PAGE}", "list")

    def filtered(self) -> Command:
        return self._task("+rare", "list")

    def edit(self, number: int, title: str) -> Command:
        return self._task(_uuid(number), "modify", f"description:{title}")

    def append(self, number: int, text: str) -> Command:
        return self._task(_uuid(number), "annotate", text)

    def done(self, number: int) -> Command:
        return self._task(_uuid(number), "done")

    def export(self) -> Command:
        return self._task("export")

    def content(self) -> str:
        # As it would tell it itself: what is only somewhere in its files is of no use to anybody.
        return call(self.export(), 60)

    def _task(self, *arguments: str) -> Command:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "TASKRC": str(self.folder / "taskrc"),
        }
        return Command(("task", *arguments), environment, self.folder)


def _uuid(number: int) -> str:
    """Return the id of a made-up task: numbers change when a task is completed."""
    return str(uuid5(NAMESPACE_URL, f"concord:benchmark:{number}"))
