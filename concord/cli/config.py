"""`concord config`."""

from __future__ import annotations

from dataclasses import dataclass

import click

from concord.cli.app import App, pass_app
from concord.cli.lazy import Command


@dataclass(frozen=True, slots=True)
class SettingRow:
    """A setting in use: its value, never a password, and the layer it came from."""

    name: str
    value: object
    source: str


@click.command("config", cls=Command, examples=("concord config", "concord config --json"))
@pass_app
def config(app: App) -> None:
    """Show the settings and where each came from."""
    from concord.settings import unknown_variables

    app.show([SettingRow(*row) for row in app.settings.shown()], many=True)
    for name in unknown_variables():
        app.render.notice("unknown_setting", f"{name} is set, but is no setting of Concord")
