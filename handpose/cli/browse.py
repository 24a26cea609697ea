"""Draws what a config feeds its model, after its transforms: handpose browse CONFIG"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handpose.cli import arguments as shared
from handpose.engine import load_config
from handpose.engine.epochs import SeededDataset
from handpose.registry import DATASETS
from handpose.structures import HandSequence, sample_name
from handpose.visualization import (
    add_caption,
    contact_sheet,
    draw_boxes,
    draw_skeleton,
    put_label,
    save_image,
    side_by_side,
)

MOST_FRAMES = 8  # of a clip in one row; a long track is shown thinned out


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand to its parser."""
    shared.add_config(parser)
    parser.add_argument('--split', choices=['train', 'val', 'test'], default='train')
    parser.add_argument('--num', type=int, default=8, help='clips, spread over the split (default 8)')
    parser.add_argument('--epoch', type=int, default=0, help='random draws of this epoch (default 0)')
    parser.add_argument('-o', '--out', default='work_dirs/browse', help='folder of the drawing')
    shared.add_cfg_options(parser)


def run(arguments: argparse.Namespace) -> None:
    """Draws clips of a split and prints the fields of the first one.

    Args:
        arguments: those of `add_arguments`.
    """
    config = load_config(arguments.config, arguments.cfg_options)
    dataset = DATASETS.build(config[f'{arguments.split}_dataloader']['dataset'])
    if isinstance(dataset, SeededDataset):
        dataset.set_epoch(arguments.epoch)
    indices = np.unique(np.linspace(0, len(dataset) - 1, max(1, arguments.num)).astype(int))
    clips = [dataset[int(i)].validate() for i in indices]
    rows = [draw_row(clip) for clip in clips]
    path = Path(arguments.out) / f'{Path(arguments.config).parent.name}_{arguments.split}.png'
    path.parent.mkdir(parents=True, exist_ok=True)
    save_image(path, contact_sheet(rows, columns=1))
    print(f'{arguments.split}: {len(dataset)} samples; fields of the first one drawn:')
    for name, value in clips[0].present().items():
        print(f'  {name:16s} {tuple(value.shape)} {value.dtype}')
    print(f'drawn: {path} (boxes: hands yellow, object blue; grey frames are padding)')


def draw_row(clip: HandSequence) -> NDArray[np.uint8]:
    """Draws a clip as a row of frames of camera 0, with a caption."""
    frames = np.unique(np.linspace(0, len(clip.require('images')) - 1, MOST_FRAMES).astype(int))
    return add_caption(side_by_side([draw_frame(clip, int(t)) for t in frames], pad=2), sample_name(clip.meta))


def draw_frame(clip: HandSequence, t: int) -> NDArray[np.uint8]:
    """Draws frame `t` with skeletons, boxes, its number and its occlusion where that is annotated."""
    image = clip.require('images')[t, 0].permute(1, 2, 0).numpy()
    if not clip.require('frame_valid')[t]:
        image = image // 3 + 80
    if clip.object_boxes is not None:
        image = draw_boxes(image, clip.object_boxes[t, 0], color=(80, 140, 255))
    if clip.boxes is not None:
        image = draw_boxes(image, clip.boxes[t, 0])
    label = f'{clip.meta["frame_indices"][t]}'
    for hand in range(len(clip.require('hand_side'))):
        if clip.joints_2d is not None and clip.require('hand_valid')[t, hand]:
            image = draw_skeleton(image, clip.joints_2d[t, 0, hand], clip.require('joints_2d_valid')[t, 0, hand])
        if clip.occlusion is not None and not clip.occlusion[t, 0, hand].isnan():
            label += f'  hidden {clip.occlusion[t, 0, hand].item():.0%}'
    return put_label(image, label)
