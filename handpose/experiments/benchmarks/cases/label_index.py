"""Opening a dataset: the index of the labels against the label files themselves."""

from typing import Any

from handpose.datasets.dexycb import layout
from handpose.datasets.dexycb.index import open_index
from handpose.experiments.benchmarks.case import Settings, Work, case
from handpose.experiments.benchmarks.inputs import dexycb_root


@case('label')
def label_index(settings: Settings) -> Work:
    """Opening the index of a DexYCB folder and reading every track's labels from it."""
    root = dexycb_root(settings, 256, 256)
    intrinsics = layout.read_intrinsics(root)

    def run() -> list[Any]:
        index = open_index(root, intrinsics)
        return [index.track_labels(track) for track in range(len(index.track_serial))]

    return Work(run, sum(len(labels) for labels in run()))


@label_index.reference
def label_files(settings: Settings) -> Work:
    """Reading every label file, as without an index in each epoch."""
    root = dexycb_root(settings, 256, 256)
    intrinsics = layout.read_intrinsics(root)
    sequences = [layout.read_sequence(*row) for row in layout.sequence_folders(root)]

    def run() -> list[Any]:
        found = []
        for sequence in sequences:
            for serial in sequence.serials:
                focal = float(intrinsics[serial][0][0, 0])
                paths = (layout.label_path(root, sequence.name, serial, frame) for frame in range(sequence.num_frames))
                found.append([layout.read_label(path, sequence.grasped, focal)[1] for path in paths])
        return found

    return Work(run, sum(len(labels) for labels in run()))
