"""An agent: claims one task after the other and runs a command for each.

Two things keep a task from being finished twice. The epoch of the claim is the fence: completing
and releasing name it, and the database refuses them once another claim was made or the lease is
over. And the command is not to run without a lease at all: the agent reckons its lease from the
moment before it asked for it, renews it early, and stops the command well before the end of one
that it cannot renew. The second spares work; the first alone makes it safe.
"""
