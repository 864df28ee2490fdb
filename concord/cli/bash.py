"""Completion in bash, of words that bash itself does not take for one."""

from __future__ import annotations

import os
from typing import Any

from click.shell_completion import BashComplete, CompletionItem, split_arg_string

_BREAKS = "@><=;|&(:"
"""Characters that are words by themselves, and stay as they are."""


class WholeWords(BashComplete):
    """Completion of whole words: to bash, `tag:bug` is three, of which it replaces the last.

    Bash splits at the characters of COMP_WORDBREAKS, a variable that belongs to the user.
    """

    source_template = BashComplete.source_template.replace(
        'env COMP_WORDS="${COMP_WORDS[*]}"',
        'env COMP_LINE="${COMP_LINE:0:COMP_POINT}" COMP_LAST="${COMP_WORDS[COMP_CWORD]}"'
        ' COMP_WORDS="${COMP_WORDS[*]}"',
    ).replace(
        "    return 0",
        "    # The value of a field is still to come.\n"
        "    [[ ${#COMPREPLY[@]} == 1 && $COMPREPLY == *: ]] && compopt -o nospace 2>/dev/null\n\n"
        "    return 0",
    )

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words before the one that is being typed, and that one."""
        line = os.environ.get("COMP_LINE")
        if not line:
            return super().get_completion_args()
        # With a character more, there is a last word behind a space too, unless it is quoted.
        *before, last = split_arg_string(f"{line}.")
        return before[1:], last.removesuffix(".")

    def format_completion(self, item: CompletionItem[Any]) -> str:
        """Return what bash is to put in place of what it takes for the last word."""
        _, typed = self.get_completion_args()
        if typed.startswith("-") and "=" in typed:
            typed = typed.partition("=")[2]
        last = os.environ.get("COMP_LAST", typed).lstrip(_BREAKS)
        kept = len(typed) - len(last) if typed.endswith(last) else 0
        return f"{item.type},{item.value[kept:]}"
