"""Episodes for robot learning: LeRobot datasets (v3.0) and HDF5 files; docs/guides/export.md describes both layouts.

Needs pyarrow or h5py: pip install 'handpose[export]'.
Legend: T frames on a regular time line, H hands, D = 63 H numbers of the state.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handpose.export.motion import TimeLine, held_note
from handpose.export.source import ExportError, ExportReport, ExportSource
from handpose.files.atomic import atomic_file, atomic_write
from handpose.hands import COMMON_JOINTS, SIDE_LABELS
from handpose.structures import Predictions

FORMAT = 'v3.0'
_CHUNK = 'chunk-000/file-000.parquet'
_PATTERN = 'chunk-{chunk_index:03d}/file-{file_index:03d}'


def write_hdf5(path: Path, source: ExportSource) -> ExportReport:
    """Writes one episode as HDF5 in robomimic's layout: data/demo_0 with obs, actions and attributes.

    Args:
        path: the file.
        source: what is exported.

    Returns:
        The file and notes.

    Raises:
        ModuleNotFoundError: h5py is not installed.
    """
    import h5py

    predictions = source.predictions
    line, joints, valid, notes = regular_joints(predictions)
    state = joints.reshape(len(joints), -1)
    with atomic_file(path) as file, h5py.File(file, 'w') as root:
        data = root.create_group('data')
        data.attrs['total'] = len(joints)
        data.attrs['env_args'] = json.dumps({'env_name': 'human_hands', 'type': 0, 'env_kwargs': {}})
        demo = data.create_group('demo_0')
        labels = [SIDE_LABELS[side] for side in predictions.hand_side]
        described = dict(frame=predictions.frame, scale=predictions.scale, unit='metre', source=predictions.source)
        for key, value in dict(num_samples=len(joints), fps=1 / line.period, **described).items():
            demo.attrs[key] = value
        demo.attrs['hands'], demo.attrs['joints'] = labels, list(COMMON_JOINTS)
        demo['obs/joints'], demo['obs/hand_valid'], demo['obs/timestamps'] = joints, valid, line.times
        demo['actions'] = next_states(state)
    return ExportReport([path], [*_episode_notes(source, 'actions'), *notes])


def write_lerobot(path: Path, source: ExportSource) -> ExportReport:
    """Writes a folder that is a LeRobot dataset of one episode, without video.

    Args:
        path: the folder; it must not exist.
        source: what is exported.

    Returns:
        The files and notes.

    Raises:
        ExportError: the folder exists.
        ModuleNotFoundError: pyarrow is not installed.
    """
    import pyarrow  # noqa: F401  (missing, it is told before anything is written)

    if path.exists():
        raise ExportError(f'{path} exists; a LeRobot dataset is a new folder: remove it or choose another name')
    predictions = source.predictions
    line, joints, valid, notes = regular_joints(predictions)
    state = joints.reshape(len(joints), -1).astype(np.float32)
    rate = 1 / line.period
    fps = round(rate) if abs(rate - round(rate)) < 0.01 * rate else round(rate, 3)
    number = np.arange(len(joints))
    zeros = np.zeros(len(joints), np.int64)
    columns = {
        'observation.state': state,
        'observation.hand_valid': valid.astype(np.float32),
        'action': next_states(state),
        'timestamp': (number / fps).astype(np.float32),
        'frame_index': number,
        'episode_index': zeros,
        'index': number,
        'task_index': zeros,
    }
    task = predictions.source or 'hand motion'
    try:
        _write_lerobot_files(path, predictions, columns, task, fps)
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise
    files = sorted(file for file in path.rglob('*') if file.is_file())
    notes = [f'LeRobot dataset {FORMAT}, {fps:g} frames per second, task {task!r}, without video', *notes]
    return ExportReport(files, [*_episode_notes(source, 'action'), *notes])


def regular_joints(predictions: Predictions) -> tuple[TimeLine, NDArray, NDArray, list[str]]:
    """Brings joints onto a regular time line; where a hand or a joint is missing, the last position is held.

    Args:
        predictions: the predictions.

    Returns:
        The time line, joints (T, H, 21, 3) float32 in metres, hands that are really there (T, H) bool, and notes.

    Raises:
        ExportError: a joint is known in no frame, so nothing can be held.
    """
    line = TimeLine.over(predictions.timestamps)
    frames, hands = len(line.times), len(predictions.hand_side)
    joints, valid = np.zeros((frames, hands, 21, 3), np.float32), np.zeros((frames, hands), bool)
    notes = line.notes()
    for hand, side in enumerate(predictions.hand_side):
        known = np.isfinite(predictions.joints[:, hand]).all(-1)
        if not predictions.valid[:, hand].any():
            notes.append(f'the {SIDE_LABELS[side]} hand is in no frame: its numbers are 0')
            continue
        if not known.any(0).all():
            name = COMMON_JOINTS[int(known.any(0).argmin())]
            raise ExportError(
                f'{SIDE_LABELS[side]} {name} is in no frame, and an episode needs all 21 joints: infer them first'
            )
        for joint in range(21):
            before, after, share, _ = line.place(known[:, joint])
            path = predictions.joints[known[:, joint], hand, joint]
            joints[:, hand, joint] = path[before] + share[:, None] * (path[after] - path[before])
        valid[:, hand] = line.place(predictions.valid[:, hand]).valid
        notes += held_note(SIDE_LABELS[side], valid[:, hand])
    return line, joints, valid, notes


def next_states(state: NDArray) -> NDArray:
    """Makes actions of states: the state of the next frame, in the last frame its own.

    Args:
        state: (T, D).

    Returns:
        (T, D).
    """
    return np.concatenate([state[1:], state[-1:]])


def _episode_notes(source: ExportSource, action: str) -> list[str]:
    return [f'joints are in metres relative to {source.origin()}; {action}: the next frame', *source.scale_notes()]


def _write_lerobot_files(
    path: Path, predictions: Predictions, columns: dict[str, NDArray], task: str, fps: float
) -> None:
    """Writes data, episodes, tasks, statistics and, last, info.json, without which nothing is a dataset."""
    frames = len(columns['index'])
    sides = [SIDE_LABELS[side] for side in predictions.hand_side]
    names = [f'{side}_{joint}_{axis}' for side in sides for joint in COMMON_JOINTS for axis in 'xyz']
    stats = {key: _statistics(values) for key, values in columns.items()}
    _write_table(path / 'data' / _CHUNK, columns)
    episode: dict[str, Any] = {
        'episode_index': 0,
        'tasks': [task],
        'length': frames,
        'data/chunk_index': 0,
        'data/file_index': 0,
        'dataset_from_index': 0,
        'dataset_to_index': frames,
        'meta/episodes/chunk_index': 0,
        'meta/episodes/file_index': 0,
        **{f'stats/{key}/{name}': value for key, values in stats.items() for name, value in values.items()},
    }
    _write_table(path / 'meta' / 'episodes' / _CHUNK, {key: [value] for key, value in episode.items()})
    _write_table(path / 'meta' / 'tasks.parquet', {'task_index': np.zeros(1, np.int64), 'task': [task]}, index='task')
    atomic_write(path / 'meta' / 'stats.json', json.dumps(stats, indent=4))
    labels = {'observation.state': names, 'action': names, 'observation.hand_valid': sides}
    features = {
        key: dict(dtype=str(values.dtype), shape=list(values.shape[1:]) or [1], names=labels.get(key))
        for key, values in columns.items()
    }
    info = dict(
        codebase_version=FORMAT,
        robot_type='human_hands',
        total_episodes=1,
        total_frames=frames,
        total_tasks=1,
        chunks_size=1000,
        data_files_size_in_mb=100,
        video_files_size_in_mb=200,
        fps=fps,
        splits={'train': '0:1'},
        data_path=f'data/{_PATTERN}.parquet',
        video_path=None,
        features=features,
    )
    atomic_write(path / 'meta' / 'info.json', json.dumps(info, indent=4))


def _statistics(values: NDArray) -> dict[str, list[float]]:
    values = values.astype(np.float64).reshape(len(values), -1)
    found = dict(min=values.min(0), max=values.max(0), mean=values.mean(0), std=values.std(0))
    quantiles = {f'q{100 * q:02.0f}': np.quantile(values, q, axis=0) for q in (0.01, 0.10, 0.50, 0.90, 0.99)}
    return {**{key: value.tolist() for key, value in (found | quantiles).items()}, 'count': [len(values)]}


def _write_table(path: Path, columns: dict[str, Any], index: str | None = None) -> None:
    """Writes a Parquet file; vectors become lists of fixed length. `index` is what pandas takes as the row labels."""
    import pyarrow
    from pyarrow import parquet

    arrays = {}
    for key, values in columns.items():
        if isinstance(values, np.ndarray) and values.ndim == 2:
            flat = pyarrow.array(values.reshape(-1))
            arrays[key] = pyarrow.FixedSizeListArray.from_arrays(flat, values.shape[1])
        else:
            arrays[key] = pyarrow.array(values)
    table = pyarrow.table(arrays)
    if index is not None:
        columns_as_pandas = [
            dict(name=f.name, field_name=f.name, pandas_type=kind, numpy_type=numpy_kind, metadata=None)
            for f in table.schema
            for kind, numpy_kind in [('unicode', 'object') if f.type == pyarrow.string() else (str(f.type),) * 2]
        ]
        described = dict(index_columns=[index], column_indexes=[], columns=columns_as_pandas, pandas_version='2.0.0')
        table = table.replace_schema_metadata({'pandas': json.dumps(described)})
    with atomic_file(path) as file:
        parquet.write_table(table, file)
