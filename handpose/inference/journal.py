"""`Journal`: the hands found so far, on the disk, so that a long video can be continued after an interruption."""

import json
import shutil
from pathlib import Path
from typing import Any

from handpose import __version__
from handpose.files.atomic import atomic_write, remove_unfinished
from handpose.files.reading import read_json
from handpose.inference.tracking.records import TrackRecords


def source_settings(source: str | Path, fps: float | None, networks: str) -> dict[str, Any]:
    """What the hands of a video depend on.

    Args:
        source: the video, or the folder of its images.
        fps: images per second of a folder of images.
        networks: that find the hands.

    Returns:
        Settings of a `Journal`.
    """
    path = Path(source)
    state = path.stat() if path.exists() else None
    return dict(
        video=str(path.resolve()),
        bytes=None if state is None or path.is_dir() else state.st_size,
        modified=None if state is None else state.st_mtime,
        fps=fps,
        networks=networks,
        version=__version__,
    )


class JournalError(ValueError):
    """A journal that does not belong to what is processed, or that cannot be read."""


class Journal:
    """A folder with the hands of consecutive images, in files that are complete or absent.

    Args:
        folder: is created by `load`.
        settings: what the hands depend on (the video, the networks), as JSON values.

    Attributes:
        count: images whose hands were read or written so far.
        finished: what `finish` was given; None while images are missing.

    Raises:
        JournalError: the folder has a journal with other settings, or parts of one without settings.
    """

    def __init__(self, folder: str | Path, settings: dict[str, Any]) -> None:
        self.folder, self._settings = Path(folder), settings
        self.count = 0
        self.finished: dict[str, Any] | None = None
        self._file, self._end = self.folder / 'settings.json', self.folder / 'finished.json'
        if self._file.exists():
            found = read_json(self._file, error=JournalError, advice=self._advice())
            if different := sorted(key for key in {*found, *settings} if found.get(key) != settings.get(key)):
                raise JournalError(
                    f'{folder} holds the beginning of another run, with other {", ".join(different)}; {self._advice()}'
                )
        elif self._part(0).exists():
            raise JournalError(f'{folder} lacks {self._file.name}, so its run is unknown; {self._advice()}')

    def load(self) -> TrackRecords:
        """Returns the hands so far; of no image if there is nothing yet. The folder exists afterwards.

        Raises:
            ValueError: a file is damaged.
            JournalError: the folder cannot be written.
        """
        remove_unfinished(self.folder)
        if not self._file.exists():
            try:
                atomic_write(self._file, json.dumps(self._settings, indent=1))
            except OSError as error:
                raise JournalError(
                    f'{self.folder} cannot be written: {error.strerror}; choose another output'
                ) from error
        parts, self.count = [], 0
        while (path := self._part(self.count)).exists():
            parts.append(TrackRecords.load(path))
            self.count += len(parts[-1])
        if self._end.exists():
            self.finished = read_json(self._end, error=JournalError, advice=self._advice())
            if not isinstance(self.finished, dict) or self.finished.get('images') != self.count:
                raise JournalError(f'{self._end} does not fit the hands of {self.count} images; {self._advice()}')
        return TrackRecords.concatenate(parts)

    def append(self, records: TrackRecords) -> None:
        """Writes the hands of the next images.

        Args:
            records: of at least one image.

        Raises:
            JournalError: the disk is full; what was written before is complete.
        """
        try:
            records.save(self._part(self.count))
        except OSError as error:
            raise JournalError(
                f'{self.folder} cannot be written: {error.strerror}; it has the hands of {self.count} images: make '
                f'room, and the same command goes on from there'
            ) from error
        self.count += len(records)

    def finish(self, summary: dict[str, Any]) -> None:
        """Notes that the hands of all images were written.

        Args:
            summary: what else is known of them, as JSON values.

        Raises:
            JournalError: the disk is full.
        """
        finished = dict(summary, images=self.count)
        try:
            atomic_write(self._end, json.dumps(finished, indent=1))
        except OSError as error:
            raise JournalError(f'{self.folder} cannot be written: {error.strerror}; make room') from error
        self.finished = finished

    def remove(self) -> None:
        """Deletes the folder, once the result is written."""
        if self.folder.exists():
            shutil.rmtree(self.folder)

    def _part(self, first: int) -> Path:
        return self.folder / f'images_{first:08d}.npz'

    def _advice(self) -> str:
        return f'delete the folder {self.folder} to begin again, or choose another output'
