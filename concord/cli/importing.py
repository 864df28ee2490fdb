"""`concord import`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from concord.cli.app import App, pass_app
from concord.cli.lazy import Entry, Group
from concord.cli.options import KEY
from concord.formats.catalogue import FORMATS, READ

if TYPE_CHECKING:
    from concord.formats.catalogue import Format
    from concord.models import ImportReport

import_command = Group(
    "import",
    entries={
        "archive": Entry(
            "archiving:import_archive",
            "Bring in what `export --all` wrote, into an empty database.",
        )
    },
    help="Bring in tasks from a file, all of them or none. Safe to run again: what the file has"
    " already brought is not brought twice, and what was changed here since is never overwritten.",
)


def _importer(kind: Format) -> None:
    name = kind.name
    extra = " --project API" if kind.needs_project else ""
    where = "DIRECTORY" if kind.directory else "FILE"
    piped = () if kind.directory else (f"... | concord import {name} -{extra}",)

    @import_command.command(
        name,
        help=f"Bring in {kind.reads}.",
        examples=(f"concord import {name} {where}{extra}", *piped),
    )
    @click.argument(
        "file",
        metavar=where,
        type=click.Path(
            dir_okay=kind.directory, file_okay=not kind.directory, allow_dash=not kind.directory
        ),
    )
    @click.option(
        "--project",
        type=KEY,
        required=kind.needs_project,
        help="Where tasks go that the file gives no project; created if need be."
        if kind.needs_project
        else "Put tasks without a project there.",
    )
    @click.option(
        "--map",
        "rules",
        metavar="KIND:WORD=MEANING",
        multiple=True,
        help="What a word of the file means: status:Doing=in_progress.",
    )
    @click.option("--dry-run", is_flag=True, help="Only say what would be done.")
    @click.option("--skip-bad", is_flag=True, help="Leave out what cannot be read.")
    @pass_app
    def command(
        app: App,
        file: str,
        project: str | None,
        rules: tuple[str, ...],
        dry_run: bool,
        skip_bad: bool,
    ) -> None:
        _import(app, kind, file, project, rules, dry_run=dry_run, skip_bad=skip_bad)

    del command


for _name in READ:
    _importer(FORMATS[_name])


def _import(
    app: App,
    kind: Format,
    file: str,
    project: str | None,
    rules: tuple[str, ...],
    *,
    dry_run: bool,
    skip_bad: bool,
) -> None:
    from concord.formats.reading import Reading, opened
    from concord.models import ImportReport
    from concord.sql import imports

    app.render.check(ImportReport)
    with opened(file, kind) as source, app.render.progress(f"import {kind.name}") as watch:
        reading = Reading(source, file, kind, rules=rules, skip=skip_bad, dry_run=dry_run)
        report = app.run(
            imports.run,
            watch(reading),
            format_name=kind.name,
            project=project,
            finish=reading.finish,
            dry_run=dry_run,
        )
    for row in reading.bad:
        app.render.notice("bad_row", f"{file}, {kind.entry} {row.line}: {row.reason}; left out")
    _tell(app, report)
    if dry_run:
        _explain(app, report)
    kinds = ("created", "updated", "unchanged", "skipped", "conflicting")
    told = ", ".join(f"{getattr(report, kind)} {kind}" for kind in kinds)
    app.render.report(report, f"would be: {told}" if dry_run else told)


def _tell(app: App, report: ImportReport) -> None:
    """Say what was left out or left alone."""
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


def _explain(app: App, report: ImportReport) -> None:
    """Say which words of the file are others here."""
    for word in report.words:
        if word.word != word.meaning:
            app.render.notice(
                "word",
                f"{word.kind} {word.word} is {word.meaning or 'unknown'} here ({word.tasks})",
                kind=word.kind,
                word=word.word,
                meaning=word.meaning,
                tasks=word.tasks,
            )
