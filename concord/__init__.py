"""Concord: a task tracker for the terminal that many hands use at once."""

__version__ = "0.1.0"
