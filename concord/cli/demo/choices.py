"""Values that the commands of the laboratory share: scenarios by name, and isolation levels."""

from __future__ import annotations

import re
from typing import Any

import click
from click.shell_completion import CompletionItem

from concord.race.plan import ISOLATIONS


class _Level(click.ParamType[str]):
    """An isolation level as SQL spells it, in any case; a dash will do for the space."""

    name = "level"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the level in lower case, with spaces."""
        level = re.sub(r"[\s_-]+", " ", str(value).strip().lower())
        if level not in ISOLATIONS:
            self.fail(f"{value!r} is not one of {', '.join(map(repr, ISOLATIONS))}")
        return level

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the levels with dashes, which need no quotes."""
        spelled = (level.replace(" ", "-") for level in ISOLATIONS)
        return [CompletionItem(one) for one in spelled if one.startswith(incomplete.lower())]


class _Scenario(click.ParamType[str]):
    """The name of a built-in scenario, or a code that the literature has for it."""

    name = "scenario"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the scenario's name. Raises `Usage`."""
        from concord.race.interleaving import catalogue

        return catalogue.find(str(value)).name

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the names of scenarios, with their codes as help."""
        from concord.race.interleaving import catalogue

        return [
            CompletionItem(scenario.name, help=", ".join(scenario.codes).upper() or None)
            for scenario in catalogue.SCENARIOS
            if scenario.name.startswith(incomplete.lower())
        ]


LEVEL = _Level()
SCENARIO = _Scenario()
