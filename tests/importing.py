"""Imports with the command line, in this process, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from made_up_files import FORMATS, Told

from concord.sql import listing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from commands import Here

    from concord.database import Database
    from concord.models import Task

NOTHING = {"created": 0, "updated": 0, "unchanged": 0, "skipped": 0, "conflicting": 0}


@dataclass
class Importing:
    """Imports files into project API with the command line, in this process."""

    here: Here
    name: str = "spec-kit"

    def __call__(self, told: Sequence[Told] | str, *options: str, code: int = 0) -> Any:
        """Import a file and return the counts, or the error; the exit code must be as given."""
        text = told if isinstance(told, str) else FORMATS[self.name](told)
        (self.here.home / "file").write_text(text, encoding="utf-8")
        result = self.here("import", self.name, "file", "--project", "API", "--json", *options)
        assert result.code == code, result
        if code:
            return result.error
        report = result.json
        report.pop("words")
        self.conflicts = [(told["task"], told["fields"]) for told in report.pop("conflicts")]
        self.unlinked = [tuple(told.values()) for told in report.pop("unlinked")]
        return report

    def export(self) -> str:
        """Return what `export jsonl` writes."""
        return self.here("export", "jsonl").out


def counts(**kinds: int) -> dict[str, int]:
    return NOTHING | kinds


def found(database: Database, **filters: Any) -> tuple[Task, ...]:
    return database.run(listing.page, listing.Filters(**filters)).items


def ids(database: Database) -> list[int]:
    return [task.id for task in found(database)]
