"""Reads pretrained weights from a local file, or from a URL with its sha256."""

from pathlib import Path
from urllib.parse import urlparse

import torch
from torch import Tensor

from handpose.files.hashes import file_sha256
from handpose.files.pth import read_pth

_OLD_FORMAT_ADVICE = ', or give its sha256, with which the format of PyTorch before 1.6 is read too'


def read_pretrained(source: str | dict[str, str]) -> dict[str, Tensor]:
    """Reads a state dict of plain tensors; nothing in the file is executed.

    Args:
        source: the path of a `.pth`, `.pt` or `.safetensors` file, `dict(path=..., sha256=...)`, or
            `dict(url=..., sha256=...)`. A URL is downloaded once, into torch's hub folder.

    Returns:
        The state dict (its `state_dict` entry if there is one).

    Raises:
        ValueError: the source names neither a path nor a URL, a URL has no sha256, the hash does not match, or the file
            is damaged, contains more than tensors, or is in the format of PyTorch before 1.6 and no sha256 was given.
        FileNotFoundError: the path does not exist.
        OSError: the URL cannot be reached.
    """
    source = {'path': source} if isinstance(source, str) else dict(source)
    sha256 = source.pop('sha256', None)
    if set(source) == {'url'} and sha256:
        path = _download(source['url'], sha256)
    elif set(source) == {'path'}:
        path = Path(source['path'])
        if not path.is_file():
            raise FileNotFoundError(f'pretrained weights {path} do not exist')
    else:
        raise ValueError(
            f'pretrained must be a path, dict(path=..., sha256=...) or dict(url=..., sha256=...), got {source}'
        )
    if sha256:
        check_sha256(path, sha256)
    if path.suffix == '.safetensors':
        return _read_safetensors(path)
    advice = f'fetch it again{"" if sha256 else _OLD_FORMAT_ADVICE}'
    content = read_pth(path, allow_old=bool(sha256), error=ValueError, advice=advice)
    state = content.get('state_dict', content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f'{path} contains no dict of tensors; give a file of pretrained weights')
    return state


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f'{path} cannot be read as a safetensors file: it is cut off or damaged; fetch it again'
        ) from error


def check_sha256(path: Path, sha256: str) -> None:
    """Compares a file with its hash.

    Args:
        path: of the file.
        sha256: its sha256, or the first 8 or more digits of it.

    Raises:
        ValueError: the file has another hash.
    """
    found = file_sha256(path)
    if len(sha256) < 8 or not found.startswith(sha256.lower()):
        raise ValueError(f'{path} has the sha256 {found}, expected {sha256}; delete the file and fetch it again')


def _download(url: str, sha256: str) -> Path:
    """The local copy of `url`; its name contains the hash, so two versions never share a file."""
    path = Path(torch.hub.get_dir(), 'checkpoints', f'{sha256[:8]}-{Path(urlparse(url).path).name}')
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), progress=False)
    return path
