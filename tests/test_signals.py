"""Ctrl-C at any moment leaves nothing half-done, and a reader who has had enough is no error."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from audit import tables
from commands import Terminal, await_waiting, locked
from conftest import TIMEOUT, CommandLine, finish
from workers import psql

if TYPE_CHECKING:
    from conftest import Result

INTERRUPTED = "\ninterrupted; nothing half-done\n"


def interrupt(process: subprocess.Popen[str]) -> Result:
    """Press Ctrl-C, and return what the process did then."""
    process.send_signal(signal.SIGINT)
    result = finish(process)
    assert result.code == 130, result
    assert "Traceback" not in result.err, result
    return result


def await_reading(process: subprocess.Popen[str], *places: str) -> None:
    """Return once a process sleeps in the kernel, in a function named like one of these places.

    A signal that comes just before does not wake it: Python looks for signals between calls.
    """
    path = Path(f"/proc/{process.pid}/wchan")
    if not path.exists():
        pytest.skip("this system does not tell what a process waits for")
    for _ in range(1_000_000):
        if any(place in path.read_text() for place in places):
            return
    pytest.fail("it does not read")


@pytest.mark.parametrize("module", ["click", "psycopg", "concord.cli.history", "concord.sql.tasks"])
def test_while_it_starts(concord: CommandLine, url: str, module: str) -> None:
    # Python tells on stderr of each module that it has imported.
    before = tables(url)
    process = concord.start(
        "task",
        "add",
        "one",
        env=concord.environment | {"PYTHONPROFILEIMPORTTIME": "1"},
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.rstrip().endswith(f" {module}"):
            process.send_signal(signal.SIGINT)
            break
    else:
        pytest.fail(f"{module} is never imported")
    result = finish(process)
    assert (result.code, result.out) == (130, ""), result
    assert "Traceback" not in result.err
    assert tables(url) == before


def test_while_it_reads_its_settings(concord: CommandLine, url: str) -> None:
    path = Path(concord.environment["XDG_CONFIG_HOME"], "concord", "config.toml")
    path.parent.mkdir(parents=True)
    os.mkfifo(path)
    process = concord.start("task", "add", "one")
    with path.open("w"):  # opens once the other side does
        await_reading(process, "pipe")
        assert interrupt(process).err == INTERRUPTED
    assert tables(url)["tasks"] == []


def test_while_it_connects(concord: CommandLine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        process = concord.start(
            "task",
            "add",
            "one",
            env=concord.environment
            | {"CONCORD_DATABASE_URL": f"postgresql://ana@127.0.0.1:{port}/x?sslmode=disable"},
        )
        listener.settimeout(TIMEOUT)
        with listener.accept()[0]:  # and never an answer
            assert interrupt(process).err == INTERRUPTED


def test_while_it_reads_stdin(concord: CommandLine, url: str) -> None:
    concord.ok("task", "add", "one")
    before = tables(url)
    process = concord.start("-v", "task", "done", "-")
    assert process.stdin is not None
    process.stdin.write("1\n")
    process.stdin.flush()
    await_reading(process, "pipe")
    process.send_signal(signal.SIGINT)
    assert process.wait(TIMEOUT) == 130, "though stdin has not ended"
    assert finish(process).err == INTERRUPTED
    assert tables(url) == before


@pytest.mark.parametrize(
    "command",
    [
        ["task", "edit", "1", "2", "--append-description", "more"],
        ["task", "purge", "3", "--yes"],
        ["task", "add", "x", "--project", "API", "--tag", "new", "--assign", "me"],
    ],
    ids=" ".join,
)
def test_while_a_statement_waits(concord: CommandLine, url: str, command: list[str]) -> None:
    concord.ok("project", "add", "api")
    for title in ("one", "two", "three"):
        concord.ok("task", "add", title, "--project", "api")
    concord.ok("task", "delete", "3")
    before = tables(url)
    with psycopg.connect(url) as holder:
        holder.execute("LOCK TABLE task_tags, tasks IN ACCESS EXCLUSIVE MODE")
        process = concord.start(*command)
        await_waiting(url, " ".join(command[:2]), holder)
        assert interrupt(process).err == INTERRUPTED
    assert tables(url) == before


def test_in_the_middle_of_a_transaction(concord: CommandLine, url: str) -> None:
    # The first of two tasks is locked and changed already when the second one is waited for.
    ids = [str(concord.ok("task", "add", title)["id"]) for title in ("one", "two")]
    before = tables(url)
    with locked(url, int(ids[1])) as holder:
        process = concord.start("task", "tag", *ids, "new")
        await_waiting(url, "task tag", holder)
        interrupt(process)
    assert tables(url) == before


def test_in_the_middle_of_an_import(concord: CommandLine, url: str, tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    rows = [
        {"uid": f"00000000-0000-4000-8000-{number:012}", "title": f"t{number}", "owner": "ana"}
        for number in range(1000)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    before = tables(url)
    with psycopg.connect(url) as holder:
        holder.execute("LOCK TABLE history IN ACCESS EXCLUSIVE MODE")
        process = concord.start("import", "jsonl", str(path))
        await_waiting(url, "import jsonl", holder)
        interrupt(process)
    assert tables(url) == before
    assert concord.ok("import", "jsonl", str(path))["created"] == 1000


def test_in_the_middle_of_a_demonstration(concord: CommandLine, url: str) -> None:
    before = tables(url)
    process = concord.start("demo", "workflow", env=concord.environment | {"PYTHONUNBUFFERED": "1"})
    assert process.stdout is not None
    assert process.stdout.readline().startswith("1. concord user add")
    process.send_signal(signal.SIGINT)
    result = finish(process)
    assert result.code in (0, 130), result
    assert "Traceback" not in result.err
    assert tables(url) == before
    assert psql(url, "SELECT FROM pg_namespace WHERE nspname LIKE 'concord%'") == []


def test_while_it_asks(concord: CommandLine, url: str) -> None:
    concord.ok("tag", "add", "bug")
    before = tables(url)
    with Terminal(concord, "tag", "delete", "bug") as terminal:
        terminal.wait_for("[y/N]: ")
        await_reading(terminal.process, "tty", "wait_woken")
        result = terminal.type("\x03").end()
    assert result.code == 130
    assert "interrupted; nothing half-done" in result.out
    assert tables(url) == before


def test_while_nobody_reads_what_it_prints(concord: CommandLine, tmp_path: Path) -> None:
    # More than a pipe holds, so it waits for its reader; what it was told to do is done.
    text = "x" * 1_000_000
    path = tmp_path / "text"
    path.write_text(text)
    with path.open() as stdin:
        process = concord.start("task", "add", "one", "--description", "-", "--json", stdin=stdin)
        assert process.stdout is not None
        begun = process.stdout.read(1000)
    assert begun.startswith('{"id":1,')
    assert interrupt(process).err == INTERRUPTED
    assert concord.ok("task", "show", "1")["description"] == text


def test_an_export_that_is_interrupted_leaves_no_file(
    concord: CommandLine, url: str, tmp_path: Path
) -> None:
    concord.ok("task", "add", "one")
    (tmp_path / "tasks.jsonl").write_text("the one before\n")
    with psycopg.connect(url) as holder:
        holder.execute("LOCK TABLE tasks IN ACCESS EXCLUSIVE MODE")
        process = concord.start("export", "jsonl", "tasks.jsonl")
        await_waiting(url, "export", holder)
        interrupt(process)
    assert (tmp_path / "tasks.jsonl").read_text() == "the one before\n"
    assert [path.name for path in tmp_path.glob("*part*")] == []


# Pipes


@pytest.mark.parametrize(
    "command",
    [
        "task list --limit 0",
        "task list --json --limit 0",
        "export jsonl",
        "export csv",
        "history --limit 0",
    ],
)
def test_a_reader_who_has_had_enough(concord: CommandLine, url: str, command: str) -> None:
    psql(
        url,
        "INSERT INTO tasks (title, owner_id) SELECT repeat('x', 200) || i, users.id"
        " FROM users, generate_series(1, 2000) AS i",
    )
    process = concord.start(*command.split(), stdin=subprocess.DEVNULL)
    assert process.stdout is not None
    assert process.stdout.read(10)
    process.stdout.close()
    process.stdout = None
    result = finish(process)
    assert (result.code, result.err) == (0, "")


@pytest.mark.parametrize("command", ["--help", "task list", "task add x", "config", "doctor"])
def test_a_reader_who_never_was(concord: CommandLine, command: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    process = concord.start(*command.split(), stdout=writer)
    os.close(writer)
    result = finish(process)
    assert (result.code, result.err) == (0, "")


def test_a_pipeline_of_a_shell(concord: CommandLine) -> None:
    for title in ("one", "two"):
        concord.ok("task", "add", title)
    python = f"{sys.executable} -m concord"
    script = f"{python} task list | head -1; {python} task list -q | {python} task done - -q"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", script],
        env=concord.environment,
        cwd=concord.home,
        capture_output=True,
        encoding="utf-8",
        timeout=TIMEOUT,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0].startswith("1\ttodo")
    assert done.stdout.splitlines()[1:] == ["1", "2"]
