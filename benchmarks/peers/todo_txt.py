"""todo.txt-cli: one line a task in one file."""

from __future__ import annotations

import os
import shutil

from peers import Command, Peer, made_up


class TodoTxt(Peer):
    """The shell script of todo.txt, as Debian packages it."""

    name = "todo.txt"
    about = "one file, one line a task; it lists all of them, and the file is the export"

    @classmethod
    def missing(cls) -> str | None:
        return None if shutil.which("todo-txt") else "install it: apt-get install todotxt-cli"

    def fill(self, count: int, limit: float) -> None:
        del limit  # a file is written at once
        folder = self.folder
        settings = (
            f'export TODO_DIR="{folder}"\nexport TODO_FILE="{folder}/todo.txt"\n'
            f'export DONE_FILE="{folder}/done.txt"\nexport REPORT_FILE="{folder}/report.txt"\n'
        )
        (folder / "config").write_text(settings, encoding="utf-8")
        lines = (
            " ".join((made.title, *(f"@{tag}" for tag in made.tags))) for made in made_up(count)
        )
        (folder / "todo.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def add(self, title: str) -> Command:
        return self._todo("add", title)

    def page(self) -> Command:
        return self._todo("list")

    def filtered(self) -> Command:
        return self._todo("list", "@rare")

    def edit(self, number: int, title: str) -> Command:
        return self._todo("replace", str(number), title)

    def append(self, number: int, text: str) -> Command:
        return self._todo("append", str(number), text)

    def done(self, number: int) -> Command:
        return self._todo("do", str(number))

    def export(self) -> None:
        return None

    def content(self) -> str:
        return (self.folder / "todo.txt").read_text(encoding="utf-8", errors="replace")

    def _todo(self, *arguments: str) -> Command:
        # -a: done tasks stay where they are, so that the numbers of the others stay as well.
        options = ("-a", "-f", "-p", "-d", str(self.folder / "config"))
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "TERM": "dumb"}
        return Command(("todo-txt", *options, *arguments), environment, self.folder)
