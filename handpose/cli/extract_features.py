"""Writes a trained backbone's features of every image, to train the layers behind it in minutes (docs/systems/htt.md).

handpose extract-features htt/synthetic -o data/synthetic_h2o_features.npz
"""

import argparse
from typing import Any

import numpy as np
from mmengine.config import Config
from numpy.typing import NDArray
from rich.progress import track

from handpose.cli import arguments as shared
from handpose.cli.checkpoints import require_checkpoint
from handpose.cli.errors import UserError
from handpose.datasets.io.frame_features import image_names, save_features
from handpose.engine import load_config, load_weights
from handpose.models import VideoEstimator
from handpose.models.prediction import prepare_for_prediction
from handpose.registry import DATASETS, MODELS

SPLITS = ('train', 'val', 'test')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand to its parser."""
    shared.add_config(parser)
    parser.add_argument('-o', '--out', required=True, metavar='FILE.npz', help='the features file to write')
    parser.add_argument(
        '--checkpoint', metavar='WEIGHTS', help='a file, or a name in the zoo (default: the newest of the config)'
    )
    shared.add_cfg_options(parser)
    parser.add_argument('--device', default='cpu', help='where the backbone runs, e.g. cuda')


def run(arguments: argparse.Namespace) -> None:
    """Writes the features file.

    Args:
        arguments: those of `add_arguments`.
    """
    config = load_config(arguments.config, arguments.cfg_options)
    checkpoint = require_checkpoint(config, arguments.config, arguments.checkpoint)
    estimator = MODELS.build(config.model).eval().to(arguments.device)
    one_per_image = isinstance(estimator, VideoEstimator) and 'boxes' not in estimator.reads.fields
    if not one_per_image or 'images' not in estimator.reads.fields:
        raise UserError(f'{config.model.type} of {arguments.config} has no backbone that gives a feature an image')
    load_weights(estimator, checkpoint, config.model)
    prepare_for_prediction(estimator)
    features: dict[str, NDArray[np.float32]] = {}
    for split in SPLITS:
        if config.get(f'{split}_dataset') is not None:
            features |= extract(estimator, video_tracks(config, split), split)
    save_features(arguments.out, features, f'{config.model.type} of {arguments.config}, {checkpoint}')
    print(f'{arguments.out}: {len(features)} images; read it with LoadFeatures (docs/systems/htt.md)')


def video_tracks(config: Config, split: str) -> Any:
    """Builds the dataset of a split as whole videos, without the augmentations of training."""
    options = {**config[f'{split}_dataset'].to_dict(), 'sampling': {'type': 'Tracks'}, 'pipeline': config.test_pipeline}
    return DATASETS.build(options)


def extract(estimator: VideoEstimator, videos: Any, split: str) -> dict[str, NDArray[np.float32]]:
    """Encodes the whole videos of a split.

    Args:
        estimator: the trained system.
        videos: the dataset, from `video_tracks`.
        split: its name, for the progress bar.

    Returns:
        {name of an image: feature (C,)}.
    """
    found: dict[str, NDArray[np.float32]] = {}
    device = next(estimator.parameters()).device
    for index in track(range(len(videos)), description=split):
        video = videos[index]
        encoded = estimator.encode_frames(video.images[:, 0].to(device)).features.float().cpu().numpy()
        found.update(zip(image_names(video.meta['paths'], videos.root), encoded, strict=True))
    return found
