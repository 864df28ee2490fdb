"""A made-up tracker of any size: projects, people and tasks as years of work leave them behind."""
