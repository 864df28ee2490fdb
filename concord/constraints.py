"""Constraint names and the domain errors that their violation means.

The names are those of the migrations. The values of the offending key come from the server's
detail, which is safe to show but never parsed for a decision.
"""

from __future__ import annotations

from typing import NamedTuple

from concord.errors import ConcordError, Conflict, NotFound, Refused, Usage


class _Meaning(NamedTuple):
    error: type[ConcordError]
    message: str
    hint: str


_NAME_RULE = "1 to 64 characters without spaces or commas, not a number, not starting with a dash"

CONSTRAINTS: dict[str, _Meaning] = {
    "users_username_key": _Meaning(
        Conflict, "a user of that name exists already", "See: concord user list"
    ),
    "users_email_key": _Meaning(
        Conflict, "a user with that e-mail address exists already", "See: concord user list"
    ),
    "users_username_check": _Meaning(
        Usage, "that is no username", f"A username has {_NAME_RULE}, nor `me` or `none`."
    ),
    "users_email_check": _Meaning(
        Usage, "that is no e-mail address", "It has the form name@example.org."
    ),
    "projects_key_key": _Meaning(
        Conflict, "a project with that key exists already", "See: concord project list"
    ),
    "projects_key_check": _Meaning(
        Usage,
        "that is no project key",
        "A key is a letter, then up to 31 letters, digits, dashes or underscores, such as API.",
    ),
    "projects_name_length": _Meaning(
        Usage, "a project's name has 1 to 255 characters", "Choose a shorter name."
    ),
    "projects_wip_limit_positive": _Meaning(
        Usage, "a work-in-progress limit is at least 1", "Give a number from 1 on."
    ),
    "projects_owner_id_fkey": _Meaning(
        Refused,
        "a project needs its owner: the user still owns projects, or was deleted just now",
        "Give them to somebody else first: concord project edit KEY --owner NAME",
    ),
    "project_members_project_id_fkey": _Meaning(
        NotFound, "the project is gone", "Somebody deleted it just now; see: concord project list"
    ),
    "project_members_user_id_fkey": _Meaning(
        NotFound, "the user is gone", "Somebody deleted it just now; see: concord user list"
    ),
    "project_members_owner": _Meaning(
        Refused,
        "that is the last owner that a project has to have, the one whose name it bears",
        "Give the project to somebody else first: concord project edit KEY --owner NAME",
    ),
    "tasks_owner_id_fkey": _Meaning(
        Refused,
        "a task needs its owner: the user still owns tasks, or was deleted just now",
        "Give them to somebody else first: concord task edit ID --owner NAME",
    ),
    "tasks_project_id_fkey": _Meaning(
        Refused,
        "a task needs its project: it still has tasks, in the trash perhaps, or is gone",
        "Move them first: concord task move ID --project KEY",
    ),
    "tasks_title_length": _Meaning(
        Usage,
        "a title has 1 to 255 characters, not only spaces",
        "Put the rest into the description.",
    ),
    "tasks_title_one_line": _Meaning(
        Usage, "a title is a single line", "Put the rest into the description."
    ),
    "tasks_due_check": _Meaning(
        Usage, "a due date is in the years 1 to 9999", "Say `none` for no due date."
    ),
    "tasks_uid_key": _Meaning(
        Conflict, "a task with that uid exists already", "It was imported before."
    ),
    "tasks_project_id_external_ref_key": _Meaning(
        Conflict,
        "the project already has a task with that external reference",
        "Find it with: concord task list --project KEY",
    ),
    "tasks_parent_id_fkey": _Meaning(
        Refused,
        "a child needs its parent: the task still has children, or the parent is gone",
        "See: concord task show ID",
    ),
    "tasks_parent_not_itself": _Meaning(
        Refused, "a task cannot be its own parent", "Name another task."
    ),
    "tasks_completed_at_check": _Meaning(
        Usage, "only a completed task has a completion time", "Set the status instead."
    ),
    "tasks_canceled_at_check": _Meaning(
        Usage, "only a canceled task has a time of that", "Set the status instead."
    ),
    "tasks_recurrence_check": _Meaning(
        Usage, "that is no recurrence", "Say --every 2w, --every mon,wed or --every-after 3d."
    ),
    "tasks_recurrence_zone_check": _Meaning(
        Usage, "a task recurs in a time zone", "Set TZ to one, such as Europe/Berlin."
    ),
    "tasks_extra_object": _Meaning(
        Usage, "what a foreign file said besides is kept by its fields", "Import the file again."
    ),
    "tasks_previous_id_fkey": _Meaning(
        NotFound, "the task is gone", "Somebody purged it just now."
    ),
    "tasks_previous_id_key": _Meaning(
        Conflict, "the task has its next one already", "See: concord task show ID"
    ),
    "tasks_wip_limit": _Meaning(
        Refused,
        "the work-in-progress limit is reached",
        "Finish one of them first, or raise it: concord project edit KEY --wip-limit N",
    ),
    "projects_wip_limit_exceeded": _Meaning(
        Refused,
        "the limit is below what is in progress",
        "Finish some of them first, or choose a higher limit.",
    ),
    "projects_wip_limit_isolation": _Meaning(
        Refused,
        "a work-in-progress limit cannot be set as a part of this",
        "Set it by itself: concord project edit KEY --wip-limit N",
    ),
    "links_not_itself": _Meaning(Refused, "a task cannot wait for itself", "Name another task."),
    "links_blocked_id_fkey": _Meaning(NotFound, "the task is gone", "Somebody purged it just now."),
    "links_blocker_id_fkey": _Meaning(NotFound, "the task is gone", "Somebody purged it just now."),
    "claims_task_id_fkey": _Meaning(NotFound, "the task is gone", "Somebody purged it just now."),
    "claims_user_id_fkey": _Meaning(
        Refused,
        "the user still holds tasks",
        "Take the tasks back first: concord task reopen ID; "
        "see: concord task list --assignee NAME --status in_progress",
    ),
    "claims_epoch_positive": _Meaning(Usage, "an epoch counts from 1", "See: concord task show ID"),
    "claims_held": _Meaning(
        Usage,
        "a claim has a holder, a beginning and an end, or none of them",
        "Take one with: concord task claim",
    ),
    "comments_task_id_fkey": _Meaning(NotFound, "the task is gone", "Somebody purged it just now."),
    "task_texts_task_id_fkey": _Meaning(
        NotFound, "the task is gone", "Somebody purged it just now."
    ),
    "comments_author_id_fkey": _Meaning(
        Refused, "the user has written comments, which keep their author", "Leave the user be."
    ),
    "comments_body_check": _Meaning(Usage, "a comment says something", "Give it some text."),
    "comments_task_id_external_ref_key": _Meaning(
        Conflict, "another import brought the same comment just now", "Run the import again."
    ),
    "views_owner_id_fkey": _Meaning(
        NotFound, "you are gone", "Somebody deleted you just now; see: concord user list"
    ),
    "views_name_check": _Meaning(
        Usage,
        "that is no name of a view",
        "It has 1 to 64 characters without spaces or commas, and does not start with a dash.",
    ),
    "views_owner_id_name_key": _Meaning(
        Conflict, "you have a view of that name", "Replace it: concord view save NAME --replace"
    ),
    "tags_name_key": _Meaning(
        Conflict, "a tag of that name exists already", "See: concord tag list"
    ),
    "tags_name_check": _Meaning(Usage, "that is no tag", f"A tag has {_NAME_RULE}."),
    "tags_made_by_fkey": _Meaning(
        NotFound, "you are gone", "Somebody deleted you just now; see: concord user list"
    ),
    "assignments_user_id_fkey": _Meaning(
        NotFound, "the user is gone", "Somebody deleted it just now; see: concord user list"
    ),
    "task_tags_tag_id_fkey": _Meaning(
        NotFound, "the tag is gone", "Somebody deleted it just now; see: concord tag list"
    ),
    "assignments_task_id_fkey": _Meaning(
        NotFound, "the task is gone", "Somebody purged it just now."
    ),
    "task_tags_task_id_fkey": _Meaning(
        NotFound, "the task is gone", "Somebody purged it just now."
    ),
    "assignments_assigned_by_fkey": _Meaning(
        NotFound, "you are gone", "Somebody deleted you just now; see: concord user list"
    ),
    "import_bases_task_id_fkey": _Meaning(
        NotFound, "the task is gone", "Somebody purged it just now."
    ),
    "import_bases_project_id_fkey": _Meaning(
        NotFound, "the project is gone", "Somebody deleted it just now; see: concord project list"
    ),
    "import_bases_project_id_format_ref_key": _Meaning(
        Conflict, "another import brought the same task just now", "Run the import again."
    ),
}
"""Constraint name → its meaning. A test holds it complete against the schema."""

_TELLING = frozenset({"tasks_wip_limit", "projects_wip_limit_exceeded"})
"""Rules of our own triggers, whose detail names what is concerned."""


def domain_error(constraint: str | None, detail: str | None) -> ConcordError | None:
    """Return the domain error for a violated constraint, `None` for an unknown one."""
    meaning = CONSTRAINTS.get(constraint or "")
    if meaning is None:
        return None
    message = f"{meaning.message}: {detail}" if constraint in _TELLING else meaning.message
    return meaning.error(message, hint=meaning.hint, constraint=constraint, detail=detail)
