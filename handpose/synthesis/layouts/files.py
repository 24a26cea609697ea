"""Files whose bytes depend on nothing but their content."""

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

JPEG_QUALITY = 92


def write_yaml(path: Path, values: Mapping[str, Any]) -> None:
    """Writes plain values as YAML, keys in the given order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(values, sort_keys=False, default_flow_style=None), encoding='utf-8')


def write_json(path: Path, values: Any) -> None:
    """Writes plain values as JSON, compactly, into a folder that is there."""
    path.write_text(json.dumps(values, separators=(',', ':')), encoding='utf-8')


def write_npz(path: Path, arrays: Mapping[str, NDArray]) -> None:
    """Writes {name: array} as a compressed .npz without dates, quickly."""
    with zipfile.ZipFile(path, 'w') as archive:
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.ascontiguousarray(array), allow_pickle=False)
            entry = zipfile.ZipInfo(f'{name}.npy')  # dated 1980-01-01
            archive.writestr(entry, buffer.getvalue(), zipfile.ZIP_DEFLATED, compresslevel=1)


def write_image(path: Path, image: NDArray) -> None:
    """Writes an RGB image as JPEG, or any image as PNG, as the name says.

    Raises:
        OSError: OpenCV cannot encode it.
    """
    if image.ndim == 3:
        image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    settings = (
        [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        if path.suffix in ('.jpg', '.jpeg')
        else [cv2.IMWRITE_PNG_COMPRESSION, 1]
    )
    done, data = cv2.imencode(path.suffix, image, settings)
    if not done:
        raise OSError(f'{path}: OpenCV could not encode the image')
    path.write_bytes(data.tobytes())
