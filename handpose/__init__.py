"""Hand pose in video: parts, systems, data and metrics behind one data contract."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import torch

    from handpose.inference.session import FrameHands, Session
    from handpose.models import Estimator

__all__ = ['Session', 'load', 'stream']

__version__ = '0.2.0'


def load(name_or_path: 'str | Path', device: 'torch.device | str' = 'cpu') -> 'Estimator':
    """Builds an estimator with its weights: `handpose.load('deformer_synthetic')`.

    Args:
        name_or_path: a name that `handpose zoo list` shows, whose file is downloaded if it is missing, or the path of a
            `.safetensors` file that `handpose publish` wrote.
        device: of the estimator.

    Returns:
        The estimator, in float32 and in evaluation mode.

    Raises:
        ValueError: an unknown name, a file that is no estimator, or one that cannot be had or is damaged.
    """
    from handpose.zoo.estimators import load_estimator

    return load_estimator(name_or_path, device)


def stream(source: 'str | Path | int', session: 'Session | None' = None) -> 'Iterator[FrameHands]':
    """Iterates over the hands of each image of a video or a live camera: `for found in handpose.stream(0)`.

    Args:
        source: the path of a video, of an image or of a folder of images (30 per second), or the number of a camera.
        session: default one that keeps no images.

    Yields:
        The hands of each image, tracked so far.

    Raises:
        ValueError: the source cannot be opened or breaks off, or the networks cannot be downloaded.
    """
    from handpose.inference.video_hands import stream as stream_hands

    yield from stream_hands(source, session)


def __getattr__(name: str) -> Any:
    # `import handpose` stays light: a session imports OpenCV, scipy and torch.
    if name == 'Session':
        from handpose.inference.session import Session

        return Session
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
