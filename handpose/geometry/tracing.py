"""Whether code runs for its result, or is traced by torch.export."""

import torch

_KNOWN = 'is_exporting' in dir(torch.compiler)  # from torch 2.7 on


def is_exporting() -> bool:
    """Whether torch.export traces the caller, whose graph may then depend on no size that is left open."""
    return _KNOWN and torch.compiler.is_exporting()
