"""The thin SQL layer: one file a noun, SQL constants beside the functions that run them."""
