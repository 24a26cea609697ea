"""Names of files made from names in data."""

import re

_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f]')  # on Windows; '/' everywhere
_DEVICES = re.compile(r'(con|prn|aux|nul|com\d|lpt\d)(\.|$)', re.IGNORECASE)  # of Windows, with any suffix


def file_stem(name: str) -> str:
    """Makes a name that Linux, macOS and Windows accept for a file.

    Args:
        name: of a sequence, a recording or a camera, as a dataset calls it.

    Returns:
        The name with '_' for each character that no file name may have on one of them, and before names of devices.
    """
    stem = _FORBIDDEN.sub('_', name)
    return f'_{stem}' if _DEVICES.match(stem) else stem
