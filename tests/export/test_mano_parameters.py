import numpy as np
import pytest
import smplx
import torch
from mano_files import write_plain
from predicted_hands import make_predictions

from handpose.export import ExportError, export
from handpose.hands import MANO, load_mano_file


@pytest.mark.parametrize('flat', [True, False])
def test_smplx_gives_the_fitted_joints(tmp_path, flat):
    """Both conventions, in smplx itself, put the wrist and the other 15 joints where the fit has them."""
    write_plain(tmp_path)
    predictions = make_predictions(3, ('left', 'right'), missing=[1], noise=0.0)
    report = export(predictions, tmp_path / 'x.npz', hand_model=MANO(tmp_path))
    assert [file.name for file in report.files] == ['x_left.npz', 'x_right.npz']
    assert 'flat_hand_mean=True' in report.notes[0] and '1 of 6' in report.notes[1]
    for file in report.files:
        values = np.load(file)
        side = 'RIGHT' if values['is_rhand'] else 'LEFT'
        assert values['valid'].tolist() == ([True] * 3 if values['is_rhand'] else [True, False, True])
        data = load_mano_file(tmp_path / f'MANO_{side}.pkl')
        layer = smplx.MANO(
            'unused', data_struct=smplx.utils.Struct(**data), is_rhand=bool(values['is_rhand']), use_pca=False,
            flat_hand_mean=flat, batch_size=3,
        )  # fmt: skip
        pose = values['hand_pose' if flat else 'hand_pose_without_mean']
        arguments = dict(global_orient=values['global_orient'], hand_pose=pose, transl=values['transl'])
        tensors = {key: torch.from_numpy(value) for key, value in arguments.items()}
        joints = layer(**tensors, betas=torch.from_numpy(values['betas']).expand(3, 10)).joints[:, :16].detach()
        model = MANO(tmp_path)
        full = torch.cat([tensors['global_orient'][:, None], torch.from_numpy(values['hand_pose']).view(3, 15, 3)], 1)
        expected = model(
            full, torch.from_numpy(values['betas']), tensors['transl'], torch.tensor(side == 'RIGHT').int()
        )
        wrist = expected.joints[:, 0].detach()
        assert (joints[:, 0] - wrist).abs().max() < 1e-5
        middle = expected.joints[:, 9].detach()  # the middle finger's base, joint 4 of MANO
        assert (joints[:, 4] - middle).abs().max() < 1e-5


def test_mano_files_are_needed(tmp_path):
    with pytest.raises(ExportError, match='--hand-model FOLDER'):
        export(make_predictions(2), tmp_path / 'x.npz')
