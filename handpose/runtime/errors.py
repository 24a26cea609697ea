"""Errors of exported networks and of the packages that run them."""

from handpose.files.reading import FileError


class RuntimeUnavailable(ValueError):
    """A runtime that is unknown or not installed, or a precision that it does not have on this machine."""


class RuntimeFileError(FileError):
    """An .onnx file that this library did not write, or that is damaged."""
