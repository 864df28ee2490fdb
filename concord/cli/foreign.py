"""What a user is told of a `.env` that may not be theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from concord.cli.app import App


def tell(app: App) -> None:
    """Say that the `.env` of the working directory is not used, or where it leads to."""
    dotenv = app.settings.dotenv
    if dotenv is not None and dotenv.distrust is not None:
        app.render.notice(
            "dotenv",
            f"{dotenv.path} is not used: {dotenv.distrust}",
            "make it yours alone, or set what it says in the environment",
            file=str(dotenv.path),
        )
    elif dotenv is not None and app.settings.foreign_urls:
        from concord import redirection

        for server in redirection.untold(app.settings):
            app.render.notice(
                "dotenv",
                f"{dotenv.path} leads to the database server {server}, which is not your own",
                "this is told once; take it out of the file if you do not want to go there",
                file=str(dotenv.path),
                server=server,
            )
            redirection.remember(app.settings, server)
