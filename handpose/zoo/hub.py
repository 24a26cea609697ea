"""Files of the Hugging Face Hub, downloaded with its own library."""

import tempfile
from collections.abc import Iterator

from handpose.zoo.cache import BLOCK
from handpose.zoo.errors import SourceError
from handpose.zoo.sources import HubFile, describe


def hub_blocks(source: HubFile) -> Iterator[bytes]:
    """Downloads a file of the Hub.

    Args:
        source: the file.

    Yields:
        Its bytes.

    Raises:
        SourceError: the extra `hf` is not installed, or the Hub does not give the file.
    """
    try:
        from huggingface_hub import hf_hub_download
    except ImportError:
        raise SourceError(f"{describe(source)} needs the Hub's library: pip install 'handpose[hf]'") from None
    with tempfile.TemporaryDirectory(prefix='handpose-') as folder:
        try:
            path = hf_hub_download(source.repository, filename=source.path, revision=source.revision, local_dir=folder)
            file = open(path, 'rb')  # noqa: SIM115  (closed below; errors of the consumer are not the Hub's)
        # The library raises errors of its own, of requests or httpx by version, and of the disk.
        except Exception as error:
            raise SourceError(f'{describe(source)} cannot be downloaded ({type(error).__name__}: {error})') from error
        with file:
            while block := file.read(BLOCK):
                yield block
