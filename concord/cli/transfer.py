"""`concord import` and `concord export`."""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from concord.cli.app import App, pass_app
from concord.cli.lazy import Command, Group
from concord.cli.options import KEY
from concord.errors import Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from concord.models import BadRow, ImportedTask, ParsedRow, Task

SHOWN_BAD_ROWS = 20

import_command = Group(
    "import",
    help="Bring in tasks from a file, all of them or none. Safe to run again: what the file has"
    " already brought is not brought twice, and what was changed here since is never overwritten.",
)


def _importer(name: str, about: str, *, needs_project: bool) -> None:
    extra = " --project API" if needs_project else ""

    @import_command.command(
        name,
        help=about,
        examples=(f"concord import {name} FILE{extra}", f"... | concord import {name} -{extra}"),
    )
    @click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
    @click.option(
        "--project",
        type=KEY,
        required=needs_project,
        help="Where the tasks go; created if need be."
        if needs_project
        else "Put tasks without a project there.",
    )
    @click.option("--dry-run", is_flag=True, help="Only say what would be done.")
    @click.option("--skip-bad", is_flag=True, help="Leave out lines that cannot be read.")
    @pass_app
    def command(app: App, file: str, project: str | None, dry_run: bool, skip_bad: bool) -> None:
        _import(app, name, file, project, dry_run=dry_run, skip_bad=skip_bad)

    del command


_importer("spec-kit", "Bring in the T… items of a spec-kit tasks.md.", needs_project=True)
_importer("beads", "Bring in the issues of a beads JSON Lines file.", needs_project=True)
_importer("jsonl", "Bring in what `export jsonl` wrote.", needs_project=False)


@click.command(
    "export",
    cls=Command,
    examples=(
        "concord export jsonl tasks.jsonl",
        "concord export csv --project API > api.csv",
        "concord export spec-kit tasks.md --project API",
    ),
)
@click.argument("format_name", metavar="FORMAT", type=click.Choice(["jsonl", "csv", "spec-kit"]))
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True), default="-")
@click.option("--project", "projects", type=KEY, multiple=True, help="Only this project.")
@click.option("--trash", is_flag=True, help="What is in the trash too.")
@pass_app
def export(app: App, format_name: str, file: str, projects: tuple[str, ...], trash: bool) -> None:
    """Write tasks to a file, or to stdout, as they stood at one moment.

    FORMAT is jsonl, csv or spec-kit.
    """
    from concord.sql import exports, listing

    if app.fields is not None:
        raise click.UsageError("an export has all fields; choose some with: task list --fields")
    filters = listing.Filters(projects=projects, trash=None if trash else False)
    found: tuple[Task, ...] = (
        app.run(exports.in_full, filters)
        if format_name == "jsonl"
        else app.run(listing.snapshot, filters)
    )
    lines = _writer(format_name)(found, ", ".join(projects) or "Tasks")
    if file == "-":
        for line in lines:
            app.render.write(line)
        return
    with _written(Path(file)) as out:
        for line in lines:
            out.write(line + "\n")
    app.render.notice("exported", f"{len(found)} tasks written to {file}", tasks=len(found))


def _import(
    app: App, name: str, file: str, project: str | None, *, dry_run: bool, skip_bad: bool
) -> None:
    from concord.models import BadRow, ImportedTask, ImportReport, SkippedRow, Unlinked
    from concord.sql import imports

    app.render.check(ImportReport)
    rows: list[ImportedTask] = []
    skipped: list[SkippedRow] = []
    bad: list[BadRow] = []
    unlinked: list[Unlinked] = []
    for row in _parser(name)(_read(file)):
        match row:
            case ImportedTask():
                rows.append(row)
            case SkippedRow():
                skipped.append(row)
            case BadRow():
                bad.append(row)
            case Unlinked():
                unlinked.append(row)
    if bad and not skip_bad:
        raise _unreadable(file, bad)
    for row in bad:
        app.render.notice("bad_row", f"{file}, line {row.line}: {row.reason}; left out")
    with app.render.progress(f"import {name}") as watch:
        report = app.run(
            imports.run,
            rows,
            format_name=name,
            project=project,
            skipped=len(skipped) + len(bad),
            unlinked=unlinked,
            dry_run=dry_run,
            watch=watch,
        )
    for conflict in report.conflicts:
        app.render.notice(
            "conflict",
            f"{conflict.ref}: {', '.join(conflict.fields)} changed both in the file and here;"
            f" task {conflict.task} is left as it is",
            ref=conflict.ref,
            task=conflict.task,
            fields=conflict.fields,
        )
    for each in report.unlinked:
        said = "waits for" if each.field == "blocked_by" else "is part of"
        app.render.notice(
            "unlinked",
            f"{each.ref} {said} {each.other}: left out, {each.reason}",
            ref=each.ref,
            field=each.field,
            other=each.other,
        )
    kinds = ("created", "updated", "unchanged", "skipped", "conflicting")
    told = ", ".join(f"{getattr(report, kind)} {kind}" for kind in kinds)
    app.render.report(report, f"would be: {told}" if dry_run else told)


def _unreadable(file: str, bad: list[BadRow]) -> Usage:
    told = "; ".join(f"line {row.line}: {row.reason}" for row in bad[:SHOWN_BAD_ROWS])
    more = f"; and {len(bad) - SHOWN_BAD_ROWS} more" if len(bad) > SHOWN_BAD_ROWS else ""
    return Usage(
        f"{file}: {told}{more}; nothing was imported",
        hint="Mend the file, or leave such lines out with --skip-bad.",
        lines=[{"line": row.line, "reason": row.reason} for row in bad],
    )


def _parser(name: str) -> Callable[[bytes], Iterable[ParsedRow]]:
    match name:
        case "spec-kit":
            from concord.formats import spec_kit

            return spec_kit.parse
        case "beads":
            from concord.formats import beads

            return beads.parse
        case _:
            from concord.formats import jsonl

            return jsonl.parse


def _writer(name: str) -> Callable[[Iterable[Task], str], Iterable[str]]:
    match name:
        case "spec-kit":
            from concord.formats import spec_kit_dump

            return spec_kit_dump.dump
        case "csv":
            from concord.formats import table

            return lambda tasks, _: table.dump(tasks)
        case _:
            from concord.formats import jsonl

            return lambda tasks, _: jsonl.dump(tasks)


def _read(file: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise Usage(f"cannot read {file}: {error.strerror}", hint="Name a file, or -.") from None


@contextmanager
def _written(path: Path) -> Generator[IO[str]]:
    """Yield a file to write to that appears under its name only when it is complete."""
    try:
        if path.exists() and not path.is_file():
            with path.open("w", encoding="utf-8", newline="") as out:
                yield out  # a device or a pipe: no file is to take its place
            return
        target = path.resolve()  # behind a link: the link is to stay
        partial = target.with_name(f".concord-{os.getpid()}.part")
        with partial.open("x", encoding="utf-8", newline="") as out:
            try:
                yield out
                out.flush()
                if target.exists():
                    shutil.copymode(target, partial)
                partial.replace(target)
            except BaseException:
                partial.unlink()
                raise
    except BrokenPipeError:
        raise
    except OSError as error:
        raise Usage(f"cannot write {path}: {error.strerror}", hint="Name another file.") from None
