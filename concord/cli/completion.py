"""`concord completion`."""

from __future__ import annotations

import click

from concord.cli.lazy import Command

SHELLS = ("bash", "zsh", "fish")


@click.command(
    "completion",
    cls=Command,
    examples=(
        'eval "$(concord completion bash)"        # in ~/.bashrc',
        'eval "$(concord completion zsh)"         # in ~/.zshrc',
        "concord completion fish > ~/.config/fish/completions/concord.fish",
    ),
)
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the completion script of a shell."""
    click.echo(script(shell), nl=False)


def script(shell: str) -> str:
    """Return the completion script of a shell, made by Click for this command line."""
    from click.shell_completion import get_completion_class

    from concord.cli import COMPLETE, root
    from concord.cli.bash import WholeWords

    made = WholeWords if shell == "bash" else get_completion_class(shell)
    assert made is not None
    return made(root, {}, "concord", COMPLETE).source().strip() + "\n"
