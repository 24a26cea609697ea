"""Checks that a file is a video container before a video library opens it.

FFmpeg, which both PyAV and OpenCV use, also opens playlists and scripts that refer to other files or addresses,
regardless of their own name. Such files are refused here.
"""

from pathlib import Path

_HEAD = 400  # bytes that are checked
_TS_PACKET = 188  # bytes of an MPEG transport stream's packet
_MP4_BOXES = (b'ftyp', b'moov', b'mdat', b'free', b'skip', b'wide', b'pnot')
_MAGIC = {
    b'\x1a\x45\xdf\xa3': 'matroska',
    b'OggS': 'ogg',
    b'FLV\x01': 'flv',
    b'\x30\x26\xb2\x75': 'asf',
    b'GIF8': 'gif',
    b'\x00\x00\x01\xba': 'mpeg',
}
MAX_PIXELS = 2**26  # of a frame; 8K has 2**25


class VideoError(ValueError):
    """A video that cannot be read or written; the message says what was expected, what was found and what to do."""


def check_video_file(path: str | Path) -> str:
    """Checks that a file begins as a video container does.

    Args:
        path: the file.

    Returns:
        The container: 'mp4' (also MOV), 'matroska' (also WebM), 'avi', 'mpegts', 'mpeg', 'ogg', 'flv', 'asf' or 'gif'.

    Raises:
        VideoError: the file does not exist, is a folder, cannot be opened, is empty, or is not a video container.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise VideoError(f'{path} is a folder; give the path of a video file')
        if not path.exists():
            raise VideoError(f'video {path} does not exist')
        if not path.is_file():
            raise VideoError(f'{path} is not a regular file; give the path of a video file')
        with open(path, 'rb') as file:
            head = file.read(_HEAD)
    except (OSError, ValueError) as error:
        if isinstance(error, VideoError):
            raise
        reason = error.strerror if isinstance(error, OSError) else 'the name is not valid'
        raise VideoError(f'{path} cannot be opened: {reason}') from error
    if not head:
        raise VideoError(f'{path} cannot be read as a video: the file is empty')
    container = _container(head)
    if container is None:
        raise VideoError(
            f'{path} cannot be read as a video: expected an MP4, MOV, WebM, Matroska, AVI, MPEG, Ogg, FLV, ASF or GIF '
            f'file, got one that begins with {head[:8]!r}'
        )
    return container


def _container(head: bytes) -> str | None:
    for magic, name in _MAGIC.items():
        if head.startswith(magic):
            return name
    if head[4:8] in _MP4_BOXES:
        return 'mp4'
    if head[:4] == b'RIFF' and head[8:12] == b'AVI ':
        return 'avi'
    for start in (0, 4):  # M2TS files have four bytes before each packet
        if head[start : start + 1] == b'G' and head[2 * start + _TS_PACKET :][:1] == b'G':
            return 'mpegts'
    return None
