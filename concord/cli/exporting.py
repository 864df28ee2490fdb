"""`concord export`."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from concord.cli.app import App, pass_app
from concord.cli.lazy import Command
from concord.cli.options import KEY
from concord.errors import Usage
from concord.formats.catalogue import FORMATS, WRITTEN

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from concord.formats.catalogue import Format
    from concord.models import ExportedTask


class _FormatOrFile(click.Choice[str]):
    """The name of a format; with --all, which is one by itself, the file."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the name. Raises `click.BadParameter` if there is no such format."""
        if ctx is not None and ctx.params.get("everything"):
            return value
        return super().convert(value, param, ctx)


@click.command(
    "export",
    cls=Command,
    examples=(
        "concord export jsonl tasks.jsonl",
        "concord export csv --project API > api.csv",
        "concord export spec-kit tasks.md --project API",
        "concord export backlog-md backlog/tasks --project API",
        "concord export --all concord.jsonl",
    ),
)
@click.argument("format_name", metavar="FORMAT", type=_FormatOrFile(WRITTEN), required=False)
@click.argument("file", type=click.Path(allow_dash=True), default="-")
@click.option(
    "--all",
    "everything",
    is_flag=True,
    is_eager=True,
    help="All there is, history too, as an archive: --all [FILE].",
)
@click.option("--project", "projects", type=KEY, multiple=True, help="Only this project.")
@click.option("--trash", is_flag=True, help="What is in the trash too.")
@click.option(
    "--spreadsheet",
    is_flag=True,
    help="With csv: an apostrophe before what a spreadsheet would take for a formula.",
)
@pass_app
def export(
    app: App,
    format_name: str | None,
    file: str,
    everything: bool,
    projects: tuple[str, ...],
    trash: bool,
    spreadsheet: bool,
) -> None:
    """Write tasks to a file, or to stdout, as they stood at one moment.

    FORMAT is jsonl, spec-kit, taskwarrior, todo-txt, github, csv, markdown or ics; or backlog-md,
    which writes a file a task into a directory that is empty or not there yet. With --all it is an
    archive of everything, which import archive puts into a database on whatever server.
    """
    from concord.sql import exports, listing

    if app.fields is not None:
        raise click.UsageError("an export has all fields; choose some with: task list --fields")
    if everything:
        from concord.cli.archiving import export_everything

        if file != "-" or projects or trash or spreadsheet or app.replica:
            raise click.UsageError("--all takes a file, and nothing else")
        export_everything(app, format_name or "-")
        return
    if format_name is None:
        raise click.UsageError("say in which format, or that all there is: --all")
    if spreadsheet and format_name != "csv":
        raise click.UsageError("--spreadsheet goes with csv alone")
    kind = FORMATS[format_name]
    filters = listing.Filters(projects=projects, trash=None if trash else False)
    counted, title = _Counted(), ", ".join(projects) or "Tasks"
    if kind.directory:
        with _directory(file, kind) as directory:
            app.run(exports.write, filters, lambda tasks: _fill(directory, kind, counted.of(tasks)))
    elif file == "-":

        def show(tasks: Iterable[ExportedTask]) -> None:
            for line in kind.dumper(title, spreadsheet=spreadsheet)(tasks):
                app.render.write(line, end=kind.line_end, verbatim=True)

        app.run(exports.write, filters, show)
        return
    else:
        with written(Path(file)) as out:

            def write(tasks: Iterable[ExportedTask]) -> None:
                lines = kind.dumper(title, spreadsheet=spreadsheet)(counted.of(tasks))
                out.writelines(line + kind.line_end for line in lines)

            app.run(exports.write, filters, write)
    app.render.notice("exported", f"{counted.total} tasks written to {file}", tasks=counted.total)


class _Counted:
    """How many tasks there were, the last time that they were gone through."""

    total = 0

    def of(self, tasks: Iterable[ExportedTask]) -> Iterable[ExportedTask]:
        counting = self

        class Tasks:
            def __iter__(self) -> Generator[ExportedTask]:
                counting.total = 0
                for task in tasks:
                    counting.total += 1
                    yield task

        return Tasks()


@contextmanager
def _directory(file: str, kind: Format) -> Generator[Path]:
    """Yield a new directory that appears under its name only when it is complete."""
    target = Path(file).absolute()
    if file == "-" or (target.exists() and not (target.is_dir() and not any(target.iterdir()))):
        raise Usage(
            f"{kind.name} writes a file for each task, and {file} is no empty directory",
            hint="Name a directory that is empty, or not there yet.",
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=".concord-", dir=target.parent))
        try:
            yield partial
            partial.chmod(0o777 & ~_umask())
            partial.replace(target)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    except OSError as error:
        raise Usage(f"cannot write {file}: {error.strerror}", hint="Name another one.") from None


def _umask() -> int:
    current = os.umask(0o077)
    os.umask(current)
    return current


def _fill(directory: Path, kind: Format, tasks: Iterable[ExportedTask]) -> None:
    for name, content in kind.dumper(directory.name)(tasks):
        path = directory / name
        # The names are the format's own and safe; a second one of a name would be a lost task.
        with path.open("x", encoding="utf-8", newline="") as out:
            out.write(content)


@contextmanager
def written(path: Path) -> Generator[IO[str]]:
    """Yield a file to write to that appears under its name only when it is complete."""
    try:
        if path.exists() and not path.is_file():
            with path.open("w", encoding="utf-8", newline="") as out:
                yield out  # a device or a pipe: no file is to take its place
            return
        target = _behind_links(path)  # the links are to stay
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


def _behind_links(path: Path) -> Path:
    """Return the path of what a path leads to. Raises `OSError` where it leads in a circle."""
    target = Path(os.path.realpath(path))
    if target.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    return target
