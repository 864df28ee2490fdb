"""The documents say what is so: generated parts are fresh, examples work, claims match the code."""

from __future__ import annotations

import ast
import io
import os
import pkgutil
import pty
import re
import select
import shlex
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner
from conftest import TIMEOUT

import concord as package
from concord import reference, sql
from concord.cli import root, run
from concord.cli.lazy import Command
from concord.database import Operation
from concord.schema import metadata

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import CommandLine
    from forking import Nursery

CHECKOUT = Path(__file__).parents[1]
DOCUMENTS = ("README.md", "ARCHITECTURE.md", "CHANGELOG.md")

VOLATILE = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?"  # moments; a mere day is meant as it stands
    r"|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    r"|\d+\.\d ms|\d+\.\d{3} s\b|(transaction|xid) \d+"
)
"""What differs from one run of an example to the next."""


def text_of(document: str) -> str:
    return (CHECKOUT / document).read_text(encoding="utf-8")


def blocks(document: str, language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text_of(document), re.DOTALL | re.MULTILINE)


# Generated parts


@pytest.mark.parametrize("name", reference.documents(CHECKOUT))
def test_a_generated_document_is_fresh(name: str) -> None:
    assert text_of(name) == reference.documents(CHECKOUT)[name], "python -m concord.reference"


def test_stale_documents_are_named_and_then_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reference, "CHECKOUT", tmp_path)
    (tmp_path / "README.md").write_text(
        re.sub("^Usage: concord .*$", "Usage: another", text_of("README.md"), flags=re.MULTILINE)
    )
    check = CliRunner().invoke(reference.main, ["--check"])
    assert check.exit_code == 1
    stale = {line.removeprefix("stale: ") for line in check.stderr.splitlines()[:-1]}
    assert stale == set(reference.documents(CHECKOUT))
    assert not (tmp_path / "completions").exists(), "a check changes nothing"

    assert CliRunner().invoke(reference.main).exit_code == 0
    assert (tmp_path / "README.md").read_text() == text_of("README.md")
    assert CliRunner().invoke(reference.main, ["--check"]).exit_code == 0


@pytest.mark.parametrize("damage", ["begin exit codes", "end settings"])
def test_a_lost_marker_is_an_error(damage: str, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(text_of("README.md").replace(damage, "gone"))
    with pytest.raises(click.ClickException, match="needs one line"):
        reference.documents(tmp_path)


def test_a_directory_without_a_readme_is_no_checkout(tmp_path: Path) -> None:
    with pytest.raises(click.ClickException, match="no checkout"):
        reference.documents(tmp_path)


def test_the_reference_does_not_depend_on_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = reference.commands()
    for name, value in {"COLUMNS": "40", "LINES": "10", "FORCE_COLOR": "1"}.items():
        monkeypatch.setenv(name, value)
    for name in ("HOME", "USER", "LOGNAME", "TERM"):
        monkeypatch.delenv(name, raising=False)
    assert reference.commands() == expected


def test_every_command_says_what_it_does_and_gives_examples() -> None:
    for ctx in reference.contexts():
        command = ctx.command
        assert command.get_short_help_str(), ctx.command_path
        assert not isinstance(command, Command) or command.examples, ctx.command_path
        assert all(option.help for option in command.params if isinstance(option, click.Option)), (
            ctx.command_path
        )


def test_every_option_is_under_options_and_no_argument_is() -> None:
    for ctx in reference.contexts():
        rows = ctx.get_help().partition("\nOptions:\n")[2].splitlines()
        named = [row.split()[0].rstrip(",") for row in rows if re.match(r"  \S", row)]
        assert named, ctx.command_path
        assert [name for name in named if not name.startswith("-")] in ([], ["Exit"])


# Examples


def invocations(script: str) -> Iterator[list[str]]:
    """Yield the arguments of each `concord` in a piece of shell."""
    script = re.sub(r"(^|\s)#.*$", r"\1", script, flags=re.MULTILINE)
    script = re.sub(r'"\$\((.*?)\)"', r"(\1)", script)  # "$(concord …)"
    script = re.sub(r"\$[a-z]+\b", "1", script)  # $id, $cursor
    lexer = shlex.shlex(script, posix=True, punctuation_chars="();<>|&\n")
    lexer.whitespace, lexer.commenters, lexer.whitespace_split = " \t", "", True
    words: list[str] = []
    for token in [*lexer, "\n"]:
        if not set(token) <= set("();<>|&\n"):
            if words or not re.match(r"\w+=", token):  # settings before the command
                words.append(token)
            continue
        match words:
            case ["concord", *arguments]:
                yield arguments
            case ["xargs", *_] if "concord" in words:
                yield [*words[words.index("concord") + 1 :], "1"]
            case _:
                pass
        words = []


def parse(arguments: list[str]) -> None:
    """Parse a command line as the real one does, and stop short of running it."""
    ctx = click.Context(root, info_name="concord")
    rest = list(arguments)
    while isinstance(ctx.command, click.Group) and rest:
        name, command, rest = ctx.command.resolve_command(ctx, rest)
        assert command is not None
        ctx = (
            click.Context(command, info_name=name, parent=ctx)
            if isinstance(command, click.Group)
            else command.make_context(name, rest, parent=ctx)
        )
    assert not isinstance(ctx.command, click.Group), f"{arguments} names a group only"


def shell_examples() -> Iterator[tuple[str, list[str]]]:
    for document in DOCUMENTS:
        for block in blocks(document, "sh"):
            yield from ((document, words) for words in invocations(block))
    for ctx in reference.contexts():
        for example in getattr(ctx.command, "examples", ()):
            yield from ((ctx.command_path, words) for words in invocations(example))


EXAMPLES = [
    pytest.param(words, id=f"{where}: {' '.join(words)}") for where, words in shell_examples()
]


@pytest.mark.parametrize("arguments", EXAMPLES)
def test_an_example_is_a_command_line_that_concord_takes(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("1\n"))
    parse(arguments)


def test_examples_are_found() -> None:
    assert len(EXAMPLES) > 80
    assert list(invocations("id=$(concord task add 'a b' -q) # x\nx | xargs concord tag add")) == [
        ["task", "add", "a b", "-q"],
        ["tag", "add", "1"],
    ]
    with pytest.raises(click.UsageError):
        parse(["task", "list", "--colour"])


# Transcripts


def at_terminal(command: str, concord: CommandLine, nursery: Nursery) -> str:
    """Run a command line on a terminal of 100 columns and return what it shows."""
    program, *arguments = shlex.split(command)
    assert program == "concord", command
    assert not set(command) & set("|&;<>$`"), "it takes a shell"
    controller, terminal = pty.openpty()
    environment = {"TERM": "xterm", "COLUMNS": "100"}
    process = nursery.on_terminal(terminal, concord, *arguments, **environment)
    os.close(terminal)
    shown = b""
    try:
        while select.select([controller], [], [], TIMEOUT)[0]:
            try:
                shown += os.read(controller, 65536)
            except OSError:  # the other end is closed
                break
        else:
            pytest.fail(f"still running after {TIMEOUT} s: {command}")
    finally:
        process.kill()
        process.finish()
        os.close(controller)
    return re.sub("\x1b\\[[0-9;]*m", "", shown.decode()).replace("\r\n", "\n")


def transcript(block: str) -> list[tuple[str, str]]:
    """Return the commands of a block with what each is said to print."""
    pieces = re.split(r"^\$ (.*)\n", block, flags=re.MULTILINE)
    return list(zip(pieces[1::2], pieces[2::2], strict=True))


def test_the_tour_of_the_readme_shows_what_really_happens(
    concord: CommandLine, nursery: Nursery
) -> None:
    tour = [step for block in blocks("README.md", "console") for step in transcript(block)]
    assert len(tour) > 15
    for command, told in tour:
        shown = "\n".join(
            line.rstrip() for line in at_terminal(command, concord, nursery).splitlines()
        )
        # A line of "…" stands for lines that are left out.
        pattern = re.escape(VOLATILE.sub("#", told)).replace("…\\\n", "(?:.*\\\n)*?")
        assert re.fullmatch(pattern, VOLATILE.sub("#", shown) + "\n"), f"{command}\n{shown}"


@pytest.mark.parametrize("user", ["ana", "bo", "somebody"])
def test_the_demonstration_runs_for_whoever_you_are(
    user: str, url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CONCORD_DATABASE_URL", url)
    monkeypatch.setenv("CONCORD_USER", user)
    assert run(["demo", "workflow", "--json"]) == 0, capsys.readouterr().err


# Claims


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text_of(document))
    local = [link for link in links if "://" not in link]
    assert [link for link in local if not (CHECKOUT / link).exists()] == []


def test_files_that_the_architecture_names_exist() -> None:
    named = re.findall(
        r"`((?:concord|migrations|tests|benchmarks|completions)/[\w./*-]+|[\w-]+\.(?:py|toml|ini))`",
        text_of("ARCHITECTURE.md"),
    )
    assert len(named) > 20
    missing = [
        name
        for name in named
        if not any(CHECKOUT.glob(name)) and not any(CHECKOUT.glob(f"concord/**/{name}"))
    ]
    assert missing == []


def operations() -> dict[str, Operation[..., object]]:
    """Return every operation of the SQL layer by the name that logs show."""
    found: dict[str, Operation[..., object]] = {}
    for module in pkgutil.walk_packages(sql.__path__, "concord.sql."):
        for value in vars(import_module(module.name)).values():
            if isinstance(value, Operation):
                found[value.name] = value
    return found


def test_the_isolation_table_tells_what_operations_declare() -> None:
    told: dict[str, str] = {}
    for row in re.findall(
        r"^\| (`\w+\.\w+`.*?) \| (.*?) \|", text_of("ARCHITECTURE.md"), re.MULTILINE
    ):
        told |= dict.fromkeys(re.findall(r"`(\w+\.\w+)`", row[0]), row[1])
    declared = {
        name: f"{operation.isolation}{', read only' if operation.read_only else ''}"
        for name, operation in operations().items()
    }
    assert told == declared


def test_the_architecture_quotes_the_statements_that_run() -> None:
    sources = [*CHECKOUT.glob("concord/**/*.py"), *CHECKOUT.glob("migrations/versions/*.py")]
    constants = [
        " ".join(node.value.split())
        for path in sources
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    quoted = blocks("ARCHITECTURE.md", "sql")
    assert quoted
    for part in (part for block in quoted for part in block.split("…\n")):
        assert any(" ".join(part.split()) in constant for constant in constants), part


def test_the_diagram_has_the_tables_and_columns_of_the_schema() -> None:
    (diagram,) = blocks("ARCHITECTURE.md", "mermaid")
    drawn = {
        table: [line.split()[1] for line in body.strip().splitlines()]
        for table, body in re.findall(
            r"^    (\w+) \{\n(.*?)^    \}", diagram, re.DOTALL | re.MULTILINE
        )
    }
    assert drawn == {
        table.name: [column.name for column in table.columns] for table in metadata.sorted_tables
    }
    references = {
        (foreign.column.table.name, table.name)
        for table in metadata.sorted_tables
        for foreign in table.foreign_keys
    }
    assert set(re.findall(r"^    (\w+) [|o}{.-]+ (\w+) :", diagram, re.MULTILINE)) == references


def test_the_changelog_tells_of_this_version() -> None:
    assert re.search(
        rf"^## \[{re.escape(package.__version__)}\] - (\d{{4}}-\d\d-\d\d|unreleased)$",
        text_of("CHANGELOG.md"),
        re.MULTILINE,
    )
