"""What the generator asks of a layout: where a sequence lies and which files it is made of."""

import shutil
from pathlib import Path

import cv2
import yaml

PARTIAL = '.partial'  # where unfinished sequences lie
JPEG_QUALITY = 92


class Layout:
    """Writes scenes in one data set's folder structure.

    A sequence is one or several folders. They are written under `<root>/.partial/` and moved to their places together,
    so that a folder in its place is whole. `place` is (subject, sequence), both from 0.

    Args:
        options: `SyntheticOptions`.
    """

    side = None  # of every hand, 0 left, 1 right; None: drawn for each sequence
    takes_pictures = True  # False: `write_motion(motion, subject, sequence)` stands for write_scene and write_camera

    def __init__(self, options):
        self.options = options
        self.root = Path(options.root)

    def folders(self, subject, sequence):
        """Folders of one sequence, relative to the root."""
        raise NotImplementedError

    def begin(self, intrinsics):
        """Writes the files that belong to no sequence; intrinsics (K, 3, 3)."""

    def write_scene(self, scene, subject, sequence, facts):
        """Makes the partial folders of a sequence empty and writes what is not of one camera; `facts` about it too."""
        raise NotImplementedError

    def write_camera(self, scene, subject, sequence, camera, frames):
        """Writes one camera's `frames`, an iterator of rendered `Frame`s that must be used up."""
        raise NotImplementedError

    def read_facts(self):
        """The `facts` of all sequences that are in place."""
        raise NotImplementedError

    def finish(self):
        """Writes what can only be written once every sequence is in place."""

    @property
    def partial(self):
        """Where unfinished sequences lie."""
        return self.root / PARTIAL

    def is_written(self, subject, sequence):
        """Whether every folder of a sequence is in its place."""
        return all((self.root / folder).exists() for folder in self.folders(subject, sequence))

    def empty_partial(self, subject, sequence):
        """Makes the partial folders of a sequence, empty; returns them."""
        partial = [self.partial / folder for folder in self.folders(subject, sequence)]
        for folder in partial:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        return partial

    def move_to_place(self, subject, sequence):
        """Moves the partial folders of a sequence to their places; one that an interrupted run moved stays."""
        for folder in self.folders(subject, sequence):
            if not (self.root / folder).exists():
                (self.root / folder).parent.mkdir(parents=True, exist_ok=True)
                (self.partial / folder).rename(self.root / folder)


def write_yaml(path, values):
    """Writes plain values as YAML, keys in the given order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(values, sort_keys=False, default_flow_style=None), encoding='utf-8')


def write_image(path, image):
    """Writes an RGB image as JPEG, or any image as PNG, as the name says."""
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
