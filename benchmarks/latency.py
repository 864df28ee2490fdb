"""What a network between a command and the server costs: how often a command waits for it.

    python benchmarks/latency.py [--url URL] [--rounds N] [--delay MS]

Commands reach the server through a proxy that keeps back every byte for a while, each way. What a
command takes longer than through the same proxy without a delay is waiting, and that divided by a
round trip is how often it waits; `-v` has to tell the same. Both are taken from the quickest round,
because what else happens on the machine only adds. psql with the least statement there is stands
beside them.

How long Python takes to start varies by more than a short round trip on a machine that is busy:
with `--delay 150` even that one tells.

The way to the proxy is a Unix socket, so to connect takes a single round trip. Over TCP the
handshake is one more, and TLS and a password have their own: the same for Concord and for psql.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import tempfile
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import click
from common import ACTOR, concord, describe, psql, seconds, server
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from concord.database import Database
from concord.sql import tasks

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping, Sequence

    from common import Server, Target

READY = b"Z\0\0\0\5I"
"""ReadyForQuery outside a transaction: the last that a server says to let a client in."""

Command = list[str]


@dataclass
class Proxy:
    """Relays connections from a Unix socket in `folder` to the server of `url`, with a delay.

    `delay` is in seconds, each way, of connections made from now on. `connecting` has the seconds
    from the beginning of each connection until the client was let in.
    """

    url: str
    folder: Path
    delay: float = 0.0
    connecting: list[float] = field(default_factory=list[float])
    _relaying: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])

    @property
    def conninfo(self) -> str:
        """The connection string of the same database by way of the proxy."""
        parameters = conninfo_to_dict(self.url) | {"host": str(self.folder), "port": 5432}
        parameters.pop("requirepeer", None)  # behind this socket sits the proxy
        return make_conninfo("", **parameters)

    @asynccontextmanager
    async def listening(self) -> AsyncGenerator[None]:
        """Relay connections for as long as the context lasts, and those of then to their end."""
        path = self.folder / ".s.PGSQL.5432"
        async with await asyncio.start_unix_server(self._accept, path):
            yield
        await asyncio.gather(*self._relaying)

    def _accept(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._relay(client, to_client))
        self._relaying.add(task)
        task.add_done_callback(self._relaying.discard)

    async def _relay(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        began, delay = time.perf_counter(), self.delay
        from_server, to_server = await self._connect()

        def look(said: bytes) -> bool:
            if said.endswith(READY):
                self.connecting.append(time.perf_counter() - began)
            return said.endswith(READY)

        await asyncio.gather(
            _delayed(client, to_server, delay), _delayed(from_server, to_client, delay, look)
        )

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        parameters = conninfo_to_dict(self.url)
        host, port = str(parameters.get("host") or "localhost"), parameters.get("port") or 5432
        if host.startswith("/"):
            return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        return await asyncio.open_connection(host, int(port))


async def _delayed(
    source: asyncio.StreamReader,
    target: asyncio.StreamWriter,
    delay: float,
    look: Callable[[bytes], bool] = lambda _: True,
) -> None:
    """Pass bytes on, each after the same delay, however many are under way.

    `look` sees what is passed on until it has seen what it wants to.
    """
    under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    async def read() -> None:
        said = b"?"
        while said:
            try:
                said = await source.read(65536)
            except ConnectionError:  # who left without a word has left as well
                said = b""
            await under_way.put((loop.time() + delay, said))

    reading = asyncio.create_task(read())
    seen = False
    while True:
        due, said = await under_way.get()
        await asyncio.sleep(due - loop.time())
        if not said:
            break
        target.write(said)
        seen = seen or look(said)
    await reading
    target.close()


@dataclass
class Samples:
    """Seconds that a command took in each round: with the delay, connecting, and without it."""

    delayed: list[float] = field(default_factory=list[float])
    connecting: list[float] = field(default_factory=list[float])
    direct: list[float] = field(default_factory=list[float])


@click.command()
@click.option("--url", help="A server of your own; otherwise an embedded one.")
@click.option("--rounds", default=10, show_default=True, help="How often each command is run.")
@click.option("--delay", default=25.0, show_default=True, help="Milliseconds each way.")
def main(url: str | None, rounds: int, delay: float) -> None:
    """Measure what commands cost over a slow network."""
    with server(url) as made, made.database() as target:
        with Database(target.settings, "benchmark") as database:
            for number in range(2 * rounds + 4):
                database.run(tasks.add, tasks.NewTask(f"Task number {number}", assignees=[ACTOR]))
        describe(made)
        asyncio.run(measure(made, target, rounds, delay / 1000))


async def measure(made: Server, target: Target, rounds: int, delay: float) -> None:
    """Run everything and print what it took."""
    with tempfile.TemporaryDirectory() as folder:
        proxy = Proxy(target.url, Path(folder))
        environment = {**target.environment, "CONCORD_DATABASE_URL": proxy.conninfo}
        target = replace(target, url=proxy.conninfo, environment=environment)
        async with proxy.listening():
            await asyncio.to_thread(_measure, proxy, made, target, rounds, delay)


def _measure(proxy: Proxy, made: Server, target: Target, rounds: int, delay: float) -> None:
    commands = to_run(target)
    # To warm up, and to be told; psql does not tell.
    told = {
        name: round_trips(command(), target, made.home) if name != "psql" else ""
        for name, command in commands.items()
    }
    samples = {name: Samples() for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            proxy.delay = 0.0
            samples[name].direct.append(seconds(command(), target.environment, made.home))
            proxy.delay = delay
            samples[name].delayed.append(seconds(command(), target.environment, made.home))
            samples[name].connecting.append(proxy.connecting[-1])
    report(samples, told, delay)


def to_run(target: Target) -> dict[str, Callable[[], Command]]:
    """Return what is measured; each call returns a command that finds something to do."""
    undone = count(1)

    def having(*arguments: str) -> Callable[[], Command]:
        return lambda: [concord(), *arguments]

    return {
        "task show": having("task", "show", "1"),
        "task list": having("task", "list"),
        "task add": having("task", "add", "Measure it"),
        "task edit": having("task", "edit", "1", "--append-description", "more"),
        "task done": lambda: [concord(), "task", "done", str(next(undone))],
        "board": having("board"),
        "psql": lambda: [psql(), "-X", "-d", target.url, "-c", "select 1"],
    }


def round_trips(command: Sequence[str], target: Target, cwd: Path) -> str:
    """Run a command with `-v` and return how many round trips it tells, connecting included."""
    done = subprocess.run(
        [*command, "-v"],
        env=target.environment,
        cwd=cwd,
        capture_output=True,
        text=True,
        check=True,
    )
    found = re.findall(r"^concord: (\d+) round trip", done.stderr, re.MULTILINE)
    assert found, done.stderr
    return found[-1]


def report(samples: Mapping[str, Samples], told: Mapping[str, str], delay: float) -> None:
    """Print the quickest in milliseconds, and round trips as measured and as told."""
    print(f"\n{delay * 1000:g} ms each way; times in ms")
    print(f"  {'':<12}{'time':>8}{'connecting':>12}{'no delay':>10}{'round trips':>13}{'-v':>5}")
    for name, taken in samples.items():
        waits = (min(taken.delayed) - min(taken.direct)) / (2 * delay)
        print(
            f"  {name:<12}{min(taken.delayed) * 1000:8.0f}"
            f"{min(taken.connecting) * 1000:12.0f}{min(taken.direct) * 1000:10.0f}"
            f"{waits:13.1f}{told[name]:>5}"
        )


if __name__ == "__main__":
    main()
