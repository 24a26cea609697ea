"""Small inputs for the published weights, and what the weights predict for them.

`published/INPUT.npz` holds clips of the built-in test data with their truth, `published/NAME.json` the predictions.
To record the predictions again, which is needed for new weights only: python tests/zoo/published_weights.py NAME
To choose an input again: the same with --input DATA_ROOT, where DATA_ROOT is the data of the weights' config.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import handpose
from handpose.engine import load_config
from handpose.models import Estimator, Forecaster
from handpose.registry import DATASETS
from handpose.structures import HandSequence

FOLDER = Path(__file__).parent / 'published'
OPTIONS = {'mvexonet': {'test_views': 3}}  # eight views would be megabytes
# Of each input: the config and the dataset of it that it is from, items of that dataset, and their frames.
INPUTS = {
    'deformer': ('deformer/synthetic', 'test_dataset', (0, 20), range(10, 14)),
    'htt': ('htt/synthetic', 'test_dataset', (3,), range(0, 36, 6)),
    'pdtm': ('pdtm/synthetic', 'test_dataset', (5,), range(20, 50)),
    'kernel_smoother': ('kernel_smoother/synthetic', 'test_dataset', (20,), range(20, 50)),
    'ghtt': ('ghtt/synthetic_action', 'test_actions', (0, 300), range(40)),
    'mvexonet': ('assemblyhands/synthetic_mvexonet', 'test_dataset', (1,), range(1)),
    'svegonet': ('assemblyhands/synthetic_svegonet', 'test_dataset', (0, 40), range(1)),
    'verbs': ('assemblyhands/synthetic_verbs', 'test_dataset', (0, 200), range(20)),
}
# Of all weights that ship with the package: their input.
INPUT_OF = {
    'deformer_synthetic': 'deformer',
    'pdtm_dexycb_motion': 'pdtm',
    'htt_synthetic': 'htt',
    'pdtm_synthetic': 'pdtm',
    'kernel_smoother_synthetic': 'kernel_smoother',
    'pdtm_mediapipe': 'pdtm',
    'ghtt_synthetic': 'ghtt',
    'mvexonet_synthetic': 'mvexonet',
    'svegonet_synthetic': 'svegonet',
    'verbs_synthetic': 'verbs',
}
NOT_STORED = ('object_boxes', 'joints_2d', 'joints_2d_valid', 'verb_label') + tuple(
    f'hand_{part}' for part in ('pose', 'shape', 'transl', 'pose_valid')
)
DECIMALS = 7
FUTURE_FRAMES = 40


def write_input(name: str, data_root: str) -> None:
    """Stores the input of weights: the fields of clips of the test split, without paths."""
    config, split, items, frames = INPUTS[INPUT_OF[name]]
    dataset = DATASETS.build(load_config(config, {'data_root': data_root, **OPTIONS.get(INPUT_OF[name], {})})[split])
    clips = [dataset[item].select_frames(list(frames)) for item in items]
    fields = {}
    for clip in clips:
        clip.meta = {'fps': clip.meta['fps'], 'sequence': clip.meta['sequence'], 'dataset': clip.meta['dataset']}
    batch = HandSequence.stack(clips)
    for field, value in batch.present().items():
        if field not in NOT_STORED and (field != 'extrinsics' or INPUT_OF[name] == 'mvexonet'):
            fields[field] = value.numpy()
    fields['meta'] = np.array(json.dumps(batch.meta))
    np.savez_compressed(FOLDER / f'{INPUT_OF[name]}.npz', **fields)


def read_input(name: str) -> HandSequence:
    """The stored batch of clips for weights, inputs and truth."""
    with np.load(FOLDER / f'{INPUT_OF[name]}.npz') as stored:
        fields = {field: torch.from_numpy(stored[field]) for field in stored.files if field != 'meta'}
        return HandSequence(meta=json.loads(str(stored['meta'])), batched=True, **fields)


def predict(name: str, estimator: Estimator, batch: HandSequence) -> dict[str, Tensor]:
    """What an estimator predicts for a stored batch: joints (B, T, H, 21, 3) in metres, scores, and sampled futures."""
    with torch.no_grad():
        if name.startswith('htt'):  # the stored frames are one clip of the network, not a video that is cut into clips
            output = estimator.eval()(batch.images[:, :, 0], batch.intrinsics[:, :, 0])
            objects, actions = output.object_logits.softmax(-1), output.action_logits.softmax(-1)
            return {'joints_3d': output.joints, 'object_scores': objects, 'action_scores': actions}
        prediction = estimator.eval().predict(batch)
        found = {} if prediction.joints_3d is None else {'joints_3d': prediction.joints_3d}
        if prediction.action_scores is not None:
            found['action_scores'] = prediction.action_scores
        if isinstance(estimator, Forecaster):
            generator = torch.Generator().manual_seed(0)
            samples = estimator.forecast(batch, FUTURE_FRAMES, num_samples=2, generator=generator)
            found['samples'] = samples.require('joints_3d')[:, -1]
        return found


def numbers(prediction: dict[str, Tensor]) -> dict[str, list[float]]:
    """A few numbers of every predicted tensor, those of one frame."""
    shown = dict(prediction)
    for field in ('joints_3d', 'object_scores'):  # (B, T, ...)
        if field in shown:
            shown[field] = shown[field][:, shown[field].shape[1] // 2]
    return {field: [round(x, DECIMALS) for x in value.flatten().tolist()] for field, value in shown.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('name', choices=INPUT_OF)
    parser.add_argument('--input', metavar='DATA_ROOT')
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.input:
        write_input(arguments.name, arguments.input)
    found = numbers(predict(arguments.name, handpose.load(arguments.name), read_input(arguments.name)))
    lines = ',\n'.join(f' {json.dumps(field)}: {json.dumps(values)}' for field, values in found.items())
    (FOLDER / f'{arguments.name}.json').write_text(f'{{\n{lines}\n}}\n')


if __name__ == '__main__':
    main()
