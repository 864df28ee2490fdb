"""The words that tasks are described in, without the cost of the models."""

from __future__ import annotations

from typing import Literal, get_args

Status = Literal["todo", "in_progress", "completed", "canceled"]
Priority = Literal["none", "low", "medium", "high", "urgent"]

STATUSES: tuple[Status, ...] = get_args(Status)
PRIORITIES: tuple[Priority, ...] = get_args(Priority)
"""From the least to the most urgent."""

TITLE_LIMIT = 255
"""The most characters a task's title holds (constraint `tasks_title_length`)."""

ROLES = ("viewer", "member", "owner")
"""What somebody may be in a project, the least first."""

VISIBILITIES = ("shared", "private")
"""Whom a project is for: everybody whom the database knows, or those with a role in it."""
