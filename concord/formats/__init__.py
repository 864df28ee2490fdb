"""Foreign formats: one file each, between bytes and dataclasses, without a database."""
