"""Programs that Concord runs: by the words of a command, or by a path as it is; no shell."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from commands import Here

SCRIPT = """#!/bin/sh
printf '%s\\n' "$@" > "$HOME/arguments"
for file; do :; done
sed -i 's/^title: .*/title: Edited/' "$file"
"""


@pytest.fixture
def here(here: Here) -> Here:
    here.ok("task", "add", "one")
    return here


def program(path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(SCRIPT)
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("variable", ["VISUAL", "EDITOR"])
@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("{path}", []),
        ("'{path}'", []),
        ("'{path}' --wait", ["--wait"]),
        ('"{path}" -c "set tw=80" \'a b\'', ["-c", "set tw=80", "a b"]),
        ("'{path}' $(touch owned) `touch owned` ; touch owned", None),
        ("'{path}' > owned | touch owned && touch owned", None),
    ],
)
def test_an_editor_with_spaces_and_quotes(
    here: Here,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    command: str,
    arguments: list[str] | None,
) -> None:
    path = program(here.home / "My Programs (x86)" / "my editor")
    monkeypatch.setenv(variable, command.format(path=path))
    assert here.ok("task", "edit", "1")["title"] == "Edited"
    given = (here.home / "arguments").read_text().splitlines()
    if arguments is not None:
        assert given[:-1] == arguments
    assert given[-1].endswith(".md")
    assert not (here.home / "owned").exists(), "a shell has read it"


def test_an_editor_s_name_is_found_on_path(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = program(here.home / "bin" / "my-editor").parent
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("EDITOR", "my-editor --wait")
    assert here.ok("task", "edit", "1")["title"] == "Edited"


@pytest.mark.parametrize("command", ["'unbalanced", "/no where/x", "\x1b]0;owned\x07", '""'])
def test_an_editor_that_is_none_is_named_safely(
    here: Here, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("EDITOR", command)
    told = here.refused("task", "edit", "1", code=2)
    assert "cannot run the editor" in told
    assert "Set VISUAL or EDITOR" in told
    assert "\x1b" not in told
    assert here.ok("task", "show", "1")["title"] == "one"
