"""Real task files, in and out again: every task once, and nothing lost on the way."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from audit import check_history, tables
from commands import Here

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Server

DATA_LAYER = "spec-kit-backend-data-layer.md"
DISCOVERY = "spec-kit-event-discovery.md"
BEADS = "beads-issues.jsonl"

_numbers = count(1)


class Databases:
    """The command line in this process, as `ana`, on one database after the other."""

    def __init__(self, here: Here, use: Callable[[], str]) -> None:
        self._here = here
        self._use = use
        self.url = use()

    def use_another(self) -> None:
        """From now on use a new, empty database."""
        self.url = self._use()

    def __call__(self, *arguments: str) -> Any:
        """Run a command line that has to succeed, and return what it printed as JSON."""
        printed = self._here.ok(*arguments)
        if arguments[0] == "import":
            assert printed.pop("conflicts") == []
            self.unlinked = [tuple(told.values()) for told in printed.pop("unlinked")]
            printed.pop("words")
        return printed


@pytest.fixture
def concord(
    server: Server,
    template: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Databases]:
    """The command line in a directory of its own."""
    with ExitStack() as made:

        def use() -> str:
            janitor = server.janitor(f"real_{next(_numbers)}", template)
            made.enter_context(janitor)
            url = server.url(janitor.dbname)
            monkeypatch.setenv("CONCORD_DATABASE_URL", url)
            return url

        yield Databases(Here(None, tmp_path, monkeypatch, capsys), use)


def counts(**kinds: int) -> dict[str, int]:
    return dict.fromkeys(["created", "updated", "unchanged", "skipped", "conflicting"], 0) | kinds


def listed(concord: Databases) -> list[Any]:
    return concord("task", "list", "--limit", "0")


def told(tasks: list[Any]) -> list[Any]:
    """Return what a `tasks.md` has words for, by reference."""
    refs = {task["id"]: task["external_ref"] for task in tasks}
    fields = ("external_ref", "title", "description", "status", "tags", "auto_close")
    return sorted(
        [
            *(task[name] for name in fields),
            refs.get(task["parent"]),
            sorted(refs[other] for other in task["blocked_by"]),
        ]
        for task in tasks
    )


def test_spec_kit(concord: Databases, shared_data: Path) -> None:
    file = str(shared_data / DATA_LAYER)
    assert concord("import", "spec-kit", file, "--project", "api") == counts(created=50 + 9)
    tasks = listed(concord)
    assert Counter(task["status"] for task in tasks) == {"completed": 47 + 8, "todo": 3 + 1}
    refs = [task["external_ref"] for task in tasks]
    for kind in ("T", "Phase"):
        of_kind = [ref for ref in refs if ref.startswith(kind)]
        assert of_kind == sorted(of_kind)
    assert concord.unlinked == []
    phases = [task for task in tasks if task["auto_close"]]
    assert Counter(task["parent"] for task in tasks if not task["auto_close"]) == {
        phase["id"]: len(phase["children"]) for phase in phases
    }
    assert [len(phase["blocked_by"]) for phase in phases] == [0, 1, 1, 1, 1, 1, 1, 1, 6]
    (ready,) = concord("task", "list", "--ready")
    assert ready["external_ref"] == "T048"
    before = tables(concord.url)
    assert concord("import", "spec-kit", file, "--project", "api") == counts(unchanged=59)
    assert tables(concord.url) == before
    assert check_history(concord.url) == 59


SAVED: dict[str, Callable[[bytes], bytes]] = {
    "cp1252": lambda data: data.decode().encode("cp1252", "replace"),  # of no title's characters
    "utf-16": lambda data: data.decode().encode("utf-16"),
    "utf-8 with a mark": lambda data: data.decode().encode("utf-8-sig"),
    "utf-8 read as latin-1": lambda data: data.decode("latin-1").encode(),
    "utf-8 read as cp1252": lambda data: data.decode("cp1252").encode(),
}
"""How an editor may have saved a file: in another encoding, or having misread its own."""


@pytest.mark.parametrize("saved", SAVED)
def test_spec_kit_in_another_encoding(
    saved: str, concord: Databases, shared_data: Path, tmp_path: Path
) -> None:
    original = shared_data / DATA_LAYER
    concord("import", "spec-kit", str(original), "--project", "API")
    (tmp_path / "tasks.md").write_bytes(SAVED[saved](original.read_bytes()))
    concord("import", "spec-kit", "tasks.md", "--project", "OTHER")
    tasks = listed(concord)
    assert Counter((task["project"], task["status"]) for task in tasks) == {
        ("API", "completed"): 55,
        ("API", "todo"): 4,
        ("OTHER", "completed"): 55,
        ("OTHER", "todo"): 4,
    }
    # The headings have characters that the narrower encodings lack.
    ours, others = (
        [words for words in told(some) if words[0][0] == "T"] for some in (tasks[:59], tasks[59:])
    )
    assert ours == others


def test_spec_kit_in_an_encoding_that_lacks_characters(
    concord: Databases, shared_data: Path, tmp_path: Path
) -> None:
    lossy = (shared_data / DATA_LAYER).read_text("utf-8").encode("latin-1", "replace")
    (tmp_path / "tasks.md").write_bytes(lossy)
    assert concord("import", "spec-kit", "tasks.md", "--project", "API") == counts(created=59)
    assert Counter(task["status"] for task in listed(concord)) == {"completed": 55, "todo": 4}


def test_a_larger_spec_kit_file(concord: Databases, shared_data: Path) -> None:
    file = str(shared_data / DISCOVERY)
    assert concord("import", "spec-kit", file, "--project", "APP") == counts(created=81)
    assert concord("import", "spec-kit", file, "--project", "APP") == counts(unchanged=81)
    assert check_history(concord.url) == 81


@pytest.mark.parametrize("name", [DATA_LAYER, DISCOVERY])
def test_spec_kit_out_and_in_again(name: str, concord: Databases, shared_data: Path) -> None:
    concord("import", "spec-kit", str(shared_data / name), "--project", "API")
    concord("export", "spec-kit", "tasks.md", "--project", "API")
    before = listed(concord)
    report = concord("import", "spec-kit", "tasks.md", "--project", "API")
    assert report == counts(unchanged=len(before))
    concord.use_another()
    concord("import", "spec-kit", "tasks.md", "--project", "API")
    assert told(listed(concord)) == told(before)


def test_beads(concord: Databases, shared_data: Path) -> None:
    file = str(shared_data / BEADS)
    first = concord("import", "beads", file, "--project", "BD")
    assert first == counts(created=1868, skipped=342)
    tasks = listed(concord)
    assert Counter(task["status"] for task in tasks) == {
        "completed": 1789,
        "in_progress": 12,
        "todo": 67,
    }
    # Second parents, and two parents that were deleted there.
    assert Counter(field for _, field, _, _ in concord.unlinked) == {"parent": 4 + 2}
    assert sum(len(task["blocked_by"]) for task in tasks) == 303
    assert sum(task["parent"] is not None for task in tasks) == 295
    spoken = concord("task", "show", *(str(task["id"]) for task in tasks))
    assert sum(len(task["comments"]) for task in spoken) == 11
    before = tables(concord.url)
    again = concord("import", "beads", file, "--project", "BD")
    assert again == counts(unchanged=1868, skipped=342)
    assert tables(concord.url) == before
    assert check_history(concord.url) == 1868


def test_what_was_exported_comes_back_the_same(
    concord: Databases, shared_data: Path, tmp_path: Path
) -> None:
    concord("import", "beads", str(shared_data / BEADS), "--project", "BD")
    concord("import", "spec-kit", str(shared_data / DISCOVERY), "--project", "APP")
    concord("task", "edit", "1", "2", "--due", "2026-12-24 17:00", "--priority", "low")
    concord("task", "add", "In the inbox", "--tag", "ours", "--assign", "me")
    concord("export", "jsonl", "first.jsonl")
    concord.use_another()
    assert concord("import", "jsonl", "first.jsonl") == counts(created=1868 + 81 + 1)
    concord("export", "jsonl", "second.jsonl")
    assert (tmp_path / "second.jsonl").read_bytes() == (tmp_path / "first.jsonl").read_bytes()
    before = tables(concord.url)
    assert concord("import", "jsonl", "first.jsonl") == counts(unchanged=1868 + 81 + 1)
    assert tables(concord.url) == before
    assert check_history(concord.url) == 1868 + 81 + 1
