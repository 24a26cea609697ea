"""Errors of the model zoo."""


class ZooError(ValueError):
    """A file of the model zoo that cannot be had or used; the message says why and what to do."""


class SourceError(ZooError):
    """One source does not give the file; the next one is tried."""
