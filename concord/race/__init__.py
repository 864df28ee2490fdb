"""The concurrency laboratory: contention on the user's own server, and what can be proved of it."""
