"""Checks of the project on a machine with a GPU: `wheels` to carry, `driver` that runs `steps`, one process each."""
