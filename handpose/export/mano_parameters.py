"""MANO parameters (.npz) under the names of smplx, for those who have MANO's files."""

from pathlib import Path

import numpy as np

from handpose.export.source import ExportError, ExportReport, ExportSource
from handpose.files.atomic import atomic_file
from handpose.hands import MANO, SIDE_LABELS, Side


def write_mano(path: Path, source: ExportSource) -> ExportReport:
    """Writes one file per hand: `path`, or with two hands NAME_left.npz and NAME_right.npz.

    Args:
        path: the file.
        source: what is exported; its hand model is a `MANO`.

    Returns:
        The files and notes.

    Raises:
        ExportError: the hand model is not MANO.
    """
    if not isinstance(source.hand_model, MANO):
        raise ExportError(
            "a .npz export holds MANO parameters and needs MANO's files: give their folder (--hand-model FOLDER); "
            'for the joints alone use .csv, or --to dex-retargeting'
        )
    fitted = source.fitted
    report = ExportReport()
    for hand in np.flatnonzero(fitted.valid.any(0)):
        side = int(fitted.hand_side[hand])
        name = path if fitted.valid.any(0).sum() == 1 else path.with_name(f'{path.stem}_{SIDE_LABELS[side]}.npz')
        mean = source.hand_model.pose_mean_of(side).numpy()
        full = fitted.pose[:, hand, 1:].reshape(len(fitted), 45)
        with atomic_file(name) as file:
            np.savez_compressed(
                file,
                global_orient=fitted.pose[:, hand, 0].astype(np.float32),
                hand_pose=full.astype(np.float32),
                hand_pose_without_mean=(full - mean).astype(np.float32),
                betas=fitted.shape[hand].astype(np.float32),
                transl=fitted.transl[:, hand].astype(np.float32),
                valid=fitted.valid[:, hand],
                timestamps=fitted.timestamps,
                is_rhand=side == Side.RIGHT,
                hands_mean=mean,
                frame=fitted.frame,
                scale=fitted.scale,
            )
        report.files.append(name)
    report.notes += [
        'hand_pose is for smplx.MANO(use_pca=False, flat_hand_mean=True), hand_pose_without_mean for '
        'flat_hand_mean=False; metres, camera axes (x right, y down, z forward)',
        f'{int((~fitted.valid).sum())} of {fitted.valid.size} frames have no hand: valid is False, parameters are 0',
        *source.fit_notes(),
        *source.scale_notes(),
    ]
    return report
