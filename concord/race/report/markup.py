"""HTML that cannot be forgotten to be escaped: text is text unless an element was made of it."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

VOID = frozenset({"meta", "br", "col"})
"""Elements without an end."""


class Markup(str):
    """Text that is HTML already; every other text is escaped where it is put into an element."""

    __slots__ = ()


def element(name: str, /, *content: str | None, **attributes: str | int | bool | None) -> Markup:
    """Return an element. `class_` stands for `class`, `data_id` for `data-id`.

    An attribute that is `True` has no value; one that is `None` or `False` is left out, and so is
    content that is `None`.
    """
    told = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{quoted(value)}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in VOID:
        return Markup(f"<{name}{told}>")
    return Markup(f"<{name}{told}>{joined(content)}</{name}>")


def joined(content: Iterable[str | None]) -> Markup:
    """Return contents one after the other, each escaped if it is not markup."""
    return Markup(
        "".join(
            one if isinstance(one, Markup) else escape(one, quote=False)
            for one in content
            if one is not None
        )
    )


def quoted(value: object) -> str:
    """Return a value as it stands between the quotes of an attribute."""
    return escape(str(value), quote=True)
