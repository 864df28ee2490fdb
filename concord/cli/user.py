"""`concord user`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from concord.cli import completing
from concord.cli.app import App, pass_app
from concord.cli.lazy import Group

user = Group("user", help="Add and list the people, scripts and agents who act.")

_name = click.argument("name", shell_complete=completing.users)


@user.command(
    examples=(
        "concord user add ana --email ana@example.org",
        "concord user add bo --login",
        "pass show bo | concord user add bo --login --password-file -",
    )
)
@click.argument("name")
@click.option("--email", metavar="ADDRESS", help="An e-mail address.")
@click.option("--login", is_flag=True, help="Make a login of that name on the server too.")
@click.option(
    "--password-file",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
    help="Its password is the first line of this file; - is stdin.",
)
@pass_app
def add(app: App, name: str, email: str | None, login: bool, password_file: Path | None) -> None:
    """Add a user.

    With a login of their own they connect as themselves, by whatever program, and nobody else can
    act as them; the password is asked for twice, unless it is in a file. The server gets only what
    it can tell the password by. To make logins takes the right of the role that you connect as.
    """
    from concord.sql import users

    if password_file is not None and not login:
        raise click.UsageError("--password-file is the password of a login: say --login too")
    verifier = _verifier(app, name, password_file) if login else None
    app.show([app.run(users.add, name, email, verifier)], many=False)


def _verifier(app: App, name: str, file: Path | None) -> str:
    """Return by what the server is to tell the password of a login.

    Raises `Usage`, `Refused` for the embedded server, and `DatabaseUnavailable`.
    """
    from concord.errors import Refused
    from concord.sql import logins

    if app.settings.embedded:
        raise Refused(
            "the embedded server lets in nobody but its owner",
            hint="Add the user without --login; logins are for a server that people share, by"
            " CONCORD_DATABASE_URL.",
        )
    logins.require_fit(name)
    # Whoever cannot get in need not type a password.
    connection = app.database.connection()
    return logins.verifier(connection, name, _password(app, name, file))


def _password(app: App, name: str, file: Path | None) -> str:
    from concord.errors import Usage

    if file is None:
        if not sys.stdin.isatty():
            raise Usage(
                "nobody is there to type the password",
                hint="Name a file that it is in: --password-file FILE, or - for stdin.",
            )
        from concord.plain import visible

        return click.prompt(
            f"Password for {visible(name)}", hide_input=True, confirmation_prompt=True, err=True
        )
    if str(file) == "-":
        text = app.read_stdin()
    else:
        try:
            text = file.read_text(encoding="utf-8")
        except OSError as error:
            raise Usage(
                f"cannot read {file}: {error.strerror}", hint="Name another file."
            ) from None
        except UnicodeDecodeError:
            raise Usage(f"{file} is not valid Unicode", hint="Write it in UTF-8.") from None
    password = text.partition("\n")[0].removesuffix("\r")
    if not password:
        raise Usage("the password is empty", hint="It is the first line of the file.")
    return password


@user.command("list", examples=("concord user list --quiet",))
@pass_app
def list_users(app: App) -> None:
    """List all users by name."""
    from concord.sql import users

    app.show(app.run(users.list_all), many=True)


@user.command(examples=("concord user show me",))
@_name
@pass_app
def show(app: App, name: str) -> None:
    """Show a user; me is you."""
    from concord.sql import users

    app.render.details(app.run(users.show, name))


@user.command(examples=("concord user edit ana --email none", "concord user edit ana --name anna"))
@_name
@click.option("--name", "username", metavar="NAME", help="A new name.")
@click.option("--email", metavar="ADDRESS", help="A new e-mail address; none: no address.")
@pass_app
def edit(app: App, name: str, username: str | None, email: str | None) -> None:
    """Change a user's name or e-mail address. Who has a login keeps the name."""
    from concord.sql import users

    fields: dict[str, Any] = {}
    if username is not None:
        fields["username"] = username
    if email is not None:
        fields["email"] = None if email == "none" else email
    if not fields:
        raise click.UsageError("name what to change: --name or --email")
    app.show([app.run(users.edit, name, fields)], many=False)


@user.command(examples=("concord user delete bo --yes",))
@_name
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_app
def delete(app: App, name: str, yes: bool) -> None:
    """Remove a user who owns nothing; their assignments go too, their history stays.

    A login of theirs, if it may do no more than a user, is removed from the server.
    """
    from concord.sql import users

    app.confirm(f"Remove user {name} and all their assignments?", yes=yes)
    app.show([app.run(users.delete, name)], many=False)
