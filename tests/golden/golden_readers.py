"""Golden numbers of the dataset readers: how many samples each split has, and sums of what a few of them hold."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from golden_systems import deterministic
from torch import Tensor
from torch.utils.data import Dataset

from handpose.datasets import (
    FPHA,
    H2O,
    HO3D,
    ActionClips,
    ClipSampling,
    DexYCB,
    HanCo,
    InterHand26M,
    ReInterHand,
    Tracks,
)
from handpose.structures import HandSequence
from handpose.synthesis import EgocentricOptions, MultiViewOptions, write_dataset

META = ('dataset', 'sequence', 'cameras', 'frame_indices', 'fps', 'hand_model')


class Layout(NamedTuple):
    """How the built-in data of one layout is written, and the arguments of its reader."""

    write: Callable[[str], Any]  # of a root
    reader: Callable[..., Dataset]
    options: dict[str, Any]  # of every sample
    splits: dict[str, dict[str, Any]]  # options of each; the first is for training, the last for testing
    clips: dict[str, Any]
    tracks: dict[str, Any]


def write_hands(layout: str, subjects: int = 3, seed: int = 3) -> Callable[[str], Any]:
    options = dict(layout=layout, subjects=subjects, sequences=5, frames=24, cameras=2, size=64, seed=seed, workers=1)
    return lambda root: write_dataset(MultiViewOptions(root, **options))


def write_actions(layout: str, subjects: int, actions: tuple[str, ...]) -> Callable[[str], Any]:
    options = dict(layout=layout, subjects=subjects, actions=actions, frames=16, max_frames=20, seed=3, workers=1)
    options |= dict(videos=2 if layout == 'h2o' else 1, test_videos=1, width=64, height=36)
    return lambda root: write_dataset(EgocentricOptions(root, **options))


IMAGES = dict(pipeline=[dict(type='LoadImages')])
TRACKS = dict(sampling=Tracks())
CENTRED = dict(sampling=ClipSampling(5, frame_step=3, clip_step=2, centred=True))
ACROSS_GAPS = dict(sampling=ClipSampling(5, frame_step=3, clip_step=2, centred=True, across_gaps=True))
COVERING = dict(sampling=ClipSampling(9, clip_step=4))
ACTIONS = dict(sampling=ActionClips(8, frame_step=2, window=2))
# What the readers are given is here and nowhere else in these tests.
LAYOUTS = {
    'dexycb': Layout(
        write_hands('dexycb'), DexYCB, dict(setup='s0', **IMAGES), dict(train={}, val={}, test={}), CENTRED, TRACKS
    ),
    'ho3d': Layout(
        write_hands('ho3d', subjects=2, seed=4),
        HO3D,
        IMAGES,
        dict(train=dict(held_out=['P02S00']), val=dict(held_out=['P02S00']), evaluation=dict(labels='joints_only')),
        ACROSS_GAPS,
        TRACKS,
    ),
    'interhand': Layout(write_hands('interhand'), InterHand26M, {}, dict(train={}, val={}, test={}), COVERING, TRACKS),
    'reinterhand': Layout(
        write_hands('reinterhand'),
        ReInterHand,
        {},
        dict(train=dict(held_out=['TRO760']), val=dict(held_out=['TRO760']), test={}),
        COVERING,
        TRACKS,
    ),
    'hanco': Layout(
        write_hands('hanco'),
        HanCo,
        dict(train_sequences=10, held_out=3),
        dict(train={}, val={}, test={}),
        COVERING,
        TRACKS,
    ),
    'h2o': Layout(
        write_actions('h2o', 3, ('grab milk', 'open lotion')),
        H2O,
        dict(labels='full', **IMAGES),
        dict(train={}, val={}, test={}),
        ACTIONS,
        TRACKS,
    ),
    'fpha': Layout(
        write_actions('fpha', 3, ('close_milk', 'flip_sponge')),
        FPHA,
        IMAGES,
        dict(train=dict(held_out=['Subject_2']), val=dict(held_out=['Subject_2']), test={}),
        ACTIONS,
        TRACKS,
    ),
}


def read_layouts() -> dict[str, Any]:
    """{layout: what `read_layout` says}, of data written into a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        return {name: read_layout(name, Path(folder)) for name in LAYOUTS}


def read_layout(name: str, folder: Path) -> dict[str, Any]:
    """Writes the data of a layout below `folder`, and says what its reader gives.

    Returns:
        dict of 'clips' and 'tracks' (how many there are in each split), 'first_clip' and 'last_clip' of the training
        split, and 'track', the first of the test split.
    """
    layout, root = LAYOUTS[name], str(folder / name)

    def build(split: str, mode: dict[str, Any]) -> Dataset:
        return layout.reader(root, split=split, **layout.options, **layout.splits[split], **mode)

    with deterministic():
        layout.write(root)
        clips = {split: build(split, layout.clips) for split in layout.splits}
        tracks = {split: build(split, layout.tracks) for split in layout.splits}
        train, *_, test = layout.splits
        return {
            'clips': {split: len(dataset) for split, dataset in clips.items()},
            'tracks': {split: len(dataset) for split, dataset in tracks.items()},
            'first_clip': sample_digest(clips[train][0]),
            'last_clip': sample_digest(clips[train][len(clips[train]) - 1]),
            'track': sample_digest(tracks[test][0]),
        }


def sample_digest(sample: HandSequence) -> dict[str, Any]:
    """Metadata, and each field's type, shape and sum."""
    meta = {key: sample.meta[key] for key in META if key in sample.meta}
    return {'frame': sample.frame, **meta, **{name: field_digest(value) for name, value in sample.present().items()}}


def field_digest(value: Tensor) -> list[Any]:
    """Type, shape, the sum, and the sum weighted by position, which a changed order changes; both leave out NaN."""
    flat = value.double().flatten()
    weights = torch.linspace(0, 1, len(flat), dtype=torch.float64)
    return [str(value.dtype), list(value.shape), float(flat.nansum()), float((weights * flat).nansum())]
