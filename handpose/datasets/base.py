"""What every dataset of clips shares: transforms, seeds that survive a resume, broken files, and frames of labels."""

import logging

import numpy as np
import torch
from mmengine.logging import print_log
from torch.utils.data import Dataset

from handpose.datasets.io.errors import BrokenFrames, DatasetError
from handpose.datasets.io.packed_frames import open_packed
from handpose.geometry.rigid import transform_points
from handpose.geometry.rotations import rotmat_to_rotvec, rotvec_to_rotmat
from handpose.hands import COMMON_JOINTS
from handpose.registry import HAND_MODELS, TRANSFORMS, did_you_mean
from handpose.structures import centred_windows


def check_choice(name, value, choices):
    """Raises a `DatasetError` that names the nearest choice when `value` is not one of `choices`."""
    if value not in choices:
        known = ', '.join(repr(c) for c in choices)
        raise DatasetError(f'{name} must be one of {known}, got {value!r}.{did_you_mean(value, choices)}')


def hand_model_of(labels_name, hand_model, root):
    """Builds the hand model of the labels in `root` and checks that it is the one they were made with.

    Args:
        labels_name: the name that the data gives. hand_model: a `HandModel`, its config, or None for ProceduralHand.

    Raises:
        DatasetError: it is another one.
    """
    hand_model = {'type': 'ProceduralHand'} if hand_model is None else hand_model
    model = HAND_MODELS.build(hand_model) if isinstance(hand_model, dict) else hand_model
    if model.name != labels_name:
        raise DatasetError(
            f'the labels in {root} were made with the hand model {labels_name!r}, but hand_model is '
            f"{model.name!r}. Configure that one (for 'mano': hand_model=dict(type='MANO', model_path=...)), or "
            f"use labels='joints_only', which reads joints and no hand-model parameters."
        )
    return model


def nearest_known(known):
    """For each of T frames the nearest one that is `known` (T,) bool; the earlier of two equally near."""
    places = np.flatnonzero(known)
    return places[np.abs(np.arange(len(known))[:, None] - places).argmin(1)]


def to_world(sample, matrix, rest=None):
    """Moves the 3D labels of a clip in one camera's frame to the world; `extrinsics` then lead back to the camera.

    Args:
        sample: HandSequence, K = 1. matrix: (4, 4) float64 camera to world. rest: (1, 3) float64, the hand model's
            wrist at rest; None takes it from the labels, for data whose joints are the model's own.
    """
    matrix = torch.as_tensor(matrix, dtype=torch.float64)
    rotation, joints = matrix[:3, :3], sample.joints_3d.double()
    moved = transform_points(joints, matrix)
    changes = {'joints_3d': moved.float()}
    if sample.hand_pose is not None:
        pose = sample.hand_pose.clone()
        pose[:, :, 0] = rotmat_to_rotvec(rotation @ rotvec_to_rotmat(pose[:, :, 0].double())).float()
        # The model turns about its own wrist, so its translation follows the wrist, not the origin.
        transl = sample.hand_transl.double()
        offset = joints[:, :, 0] - transl if rest is None else rest
        transl = transform_points(transl + offset, matrix) - offset
        changes |= {'hand_pose': pose, 'hand_transl': transl.float()}
    extrinsics = torch.linalg.inv(matrix).float().expand_as(sample.extrinsics).clone()
    return sample.replace(frame='world', extrinsics=extrinsics, **changes)


def mark_padding(sample, real):
    """Sets `frame_valid` and every other mask of a clip to False where `real` (T,) bool says a frame is padding."""
    real = torch.as_tensor(real)
    masks = ('hand_valid', 'joints_valid', 'joints_2d_valid', 'hand_pose_valid')
    present = {name: value for name, value in sample.present().items() if name in masks}
    padded = {name: value & real.reshape(-1, *[1] * (value.ndim - 1)) for name, value in present.items()}
    return sample.replace(frame_valid=real, **padded)


def check_clips(mode, num_frames, gap, clip_stride):
    """Raises a sentence for clips that cannot be: a stride below 1, or a window that `centred_windows` refuses."""
    if clip_stride < 1:
        raise DatasetError(f'clip_stride must be at least 1, got {clip_stride}')
    if mode == 'clips':
        centred_windows(1, num_frames, gap)


class VideoDataset(Dataset):
    """A list of `HandSequence` clips that pass through transforms.

    A reader subclasses it and gives `__len__`, `read(index)` (a clip without images, `meta['paths']` naming them) and
    `sample_name(index)`; one whose images can be packed has `root`, the folder of its files.

    Args:
        pipeline: transforms, or configs of transforms, called in turn as `transform(sample, rng)`.
        seed: with the epoch and the index it decides every random draw of a sample, whichever worker makes it.
        on_broken: 'error' raises on a file that cannot be read; 'skip' logs it once, lists it in `skipped`, and takes
            the next readable clip, or, when `keep_rest` is set, the same clip without the broken frames.
        keep_rest: see `on_broken`; also stops the draws from changing with the epoch (testing).
        packed: a store of packed frames (docs/packed_frames.md) that `LoadImages` then reads instead of the files.
    """

    def __init__(self, pipeline=(), seed=0, on_broken='error', keep_rest=False, packed=None):
        check_choice('on_broken', on_broken, ('error', 'skip'))
        self.pipeline = [TRANSFORMS.build(step) if isinstance(step, dict) else step for step in pipeline]
        self.seed = seed
        self.on_broken = on_broken
        self.keep_rest = keep_rest
        self.packed = packed
        # Shared memory: data loader workers, which hold a copy of the dataset, read the epoch and report what broke.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()
        self._broken = None

    @property
    def metainfo(self):
        """What mmengine shows to metrics and visualisers: the dataset's name and the order of joints."""
        return {'dataset': type(self).__name__, 'joints': list(COMMON_JOINTS)}

    def set_epoch(self, epoch):
        """Sets the epoch that random draws depend on; running data loader workers see it too."""
        self._epoch.fill_(epoch)

    @property
    def skipped(self):
        """Names of the samples that `on_broken='skip'` skipped or shortened so far, in any worker process."""
        return [] if self._broken is None else [self.sample_name(i) for i in self._broken.nonzero()[:, 0].tolist()]

    def read(self, index):
        """Returns clip `index` before the transforms."""
        raise NotImplementedError(f'{type(self).__name__} must define read(index)')

    def sample_name(self, index):
        """Names clip `index` in sentences."""
        raise NotImplementedError(f'{type(self).__name__} must define sample_name(index)')

    def image_paths(self):
        """The paths of all images that the samples name, for packing; a reader that knows them need not read labels."""
        rows = (row for index in range(len(self)) for row in self.read(index).meta.get('paths', ()))
        return list(dict.fromkeys(path for row in rows for path in ([row] if isinstance(row, str) else row)))

    def finish_opening(self):
        """To be called by the reader once `len(self)` is known.

        Raises:
            DatasetError: there is no such store of packed frames, it is damaged, or the images have changed since.
        """
        if self.packed is not None:
            open_packed(self.packed, self.root).check_sources()  # here, so that workers inherit it
        self._broken = torch.zeros(len(self), dtype=torch.bool).share_memory_()

    def __getitem__(self, index):
        if not -len(self) <= index < len(self):
            raise IndexError(f'sample {index} of a dataset with {len(self)} samples')
        index %= len(self)
        for attempt in range(len(self)):
            candidate, sample = (index + attempt) % len(self), None
            try:
                sample = self.read(candidate)
                return self._transformed(sample, index)
            except BrokenFrames as error:
                if self.on_broken == 'error':
                    raise
                self._report(candidate, error)
                frames = 0 if sample is None else len(sample.frame_valid)
                good = sorted(set(range(frames)) - set(error.positions))
                if self.keep_rest and good:
                    return self._transformed(sample.select_frames(good), index)
        raise DatasetError(f'every one of the {len(self)} samples is broken; the log names the first files')

    def _transformed(self, sample, index):
        epoch = 0 if self.keep_rest else int(self._epoch)
        rng = np.random.default_rng([self.seed, epoch, index])
        if self.packed is not None:
            sample = sample.replace(meta={**sample.meta, 'packed': str(self.packed), 'data_root': str(self.root)})
        for transform in self.pipeline:
            sample = transform(sample, rng)
        return sample

    def _report(self, index, error):
        if not self._broken[index]:
            self._broken[index] = True
            print_log(f'Skipped: {error}', logger='current', level=logging.WARNING)
