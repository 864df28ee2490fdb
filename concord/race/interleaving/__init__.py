"""Interleavings: concurrent sessions driven step by step, in an order that is written down.

- `spec`: the file format: sessions, steps, permutations
- `session`: one connection that takes a step at a time and says when it is done
- `scheduler`: sends steps, and waits until each is done or blocked by a known session
- `laboratory`: the scratch schema and the connections that specs run on
- `events`: what happened, as plain data
- `catalogue`: the scenarios that come with Concord, and what PostgreSQL does in them
- `matrix`: every scenario at every isolation level, expected against observed
- `pages`: the versions of rows as they lie in a table
- `visibility`: PostgreSQL's rules of who sees which version, without a server
- `mvcc`: both together: who sees which version at a moment, and why
- `transcript`: a run as text in columns
"""
