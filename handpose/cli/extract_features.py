"""Writes what a trained backbone says of every image, so that what stands on it trains in minutes (docs/htt.md).

python tools/convert/extract_features.py configs/htt/synthetic.py -o data/synthetic_h2o_features.npz
"""

import argparse
import sys

from rich.progress import track

from handpose.datasets.io.frame_features import image_names, save_features
from handpose.engine import OptionsAction, load_config, load_weights, run_settings
from handpose.engine.checkpoints import choose_checkpoint
from handpose.engine.errors import exit_on_user_error
from handpose.models import VideoEstimator
from handpose.registry import DATASETS, MODELS

SPLITS = ('train', 'val', 'test')


def parse_arguments(words=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config of the trained model')
    parser.add_argument('-o', '--out', required=True, metavar='FILE.npz', help='the features file to write')
    parser.add_argument('--checkpoint', metavar='FILE', help='weights (default: the newest of the config)')
    parser.add_argument('--cfg-options', nargs='+', action=OptionsAction, help='overrides of that config')
    parser.add_argument('--device', default='cpu', help='where the backbone runs, e.g. cuda')
    return parser.parse_args(words)


def main(words=None):
    arguments = parse_arguments(words)
    config = load_config(arguments.config, arguments.cfg_options)
    checkpoint = choose_checkpoint(arguments.checkpoint or 'auto', run_settings(config).work_dir)
    if checkpoint is None:
        sys.exit(
            f'error: no checkpoint of {arguments.config} yet; train first: python tools/train.py {arguments.config}'
        )
    estimator = MODELS.build(config.model).eval().to(arguments.device)
    one_per_image = isinstance(estimator, VideoEstimator) and 'boxes' not in estimator.reads.fields
    if not one_per_image or 'images' not in estimator.reads.fields:
        sys.exit(f'error: {config.model.type} of {arguments.config} has no backbone that gives a feature an image')
    load_weights(estimator, checkpoint, config.model)
    features = {}
    for split in SPLITS:
        if config.get(f'{split}_dataset') is not None:
            features |= extract(estimator, whole_videos(config, split), split)
    save_features(arguments.out, features, f'{config.model.type} of {arguments.config}, {checkpoint}')
    print(f'{arguments.out}: {len(features)} images; read it with LoadFeatures (docs/htt.md)')


def whole_videos(config, split):
    """The data set of a split as whole videos, without the changes that training makes to images."""
    options = {**config[f'{split}_dataset'].to_dict(), 'mode': 'videos', 'pipeline': config.test_pipeline}
    return DATASETS.build(options)


def extract(estimator, videos, split):
    """{name of an image: feature (C,)} of the whole videos of a split."""
    found, device = {}, next(estimator.parameters()).device
    for index in track(range(len(videos)), description=split):
        video = videos[index]
        encoded = estimator.encode_frames(video.images[:, 0].to(device)).features.float().cpu().numpy()
        found.update(zip(image_names(video.meta['paths'], videos.root), encoded, strict=True))
    return found


if __name__ == '__main__':
    try:
        with exit_on_user_error():
            main()
    except KeyboardInterrupt:
        sys.exit('interrupted; nothing was written')
