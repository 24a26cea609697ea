"""`HandSequence`: the one object that datasets make, models read and fill, and metrics compare.

Legend: T frames, K cameras (1 for monocular), H hands (1, or 2 with left 0 and right 1), V mesh vertices, O object
classes, A actions, C feature channels, S random samples, F future frames; a batch has a leading B on every field.
Units are metres, pixels, radians and seconds; camera axes are OpenCV's (x right, y down, z forward).
Absent is None, never zeros.
"""

from dataclasses import dataclass, field, fields
from typing import NamedTuple

import torch

FRAMES = ('camera', 'world', 'wrist')
JOINTS = 21


class FieldSpec(NamedTuple):
    """What a field must look like and how it may be filled where a sample lacks it."""

    shape: tuple  # symbols from the legend, or numbers
    dtype: torch.dtype
    mask: str | None = None  # the boolean field that says where this one is true data
    unknown: float | None = None  # the value that means "unknown" in this field itself


_F, _I, _L = torch.float32, torch.uint8, torch.int64
SPECS = {
    'frame_valid': FieldSpec(('T',), torch.bool),
    'timestamps': FieldSpec(('T',), torch.float64),
    'hand_side': FieldSpec(('H',), _L),
    'hand_valid': FieldSpec(('T', 'H'), torch.bool),
    'images': FieldSpec(('T', 'K', 3, 'h', 'w'), _I),
    'features': FieldSpec(('T', 'K', 'C'), _F),
    'intrinsics': FieldSpec(('T', 'K', 3, 3), _F),
    'extrinsics': FieldSpec(('T', 'K', 4, 4), _F),
    'boxes': FieldSpec(('T', 'K', 'H', 4), _F),
    'object_boxes': FieldSpec(('T', 'K', 4), _F),
    'joints_3d': FieldSpec(('T', 'H', JOINTS, 3), _F, mask='joints_valid'),
    'joints_valid': FieldSpec(('T', 'H', JOINTS), torch.bool),
    'joints_2d': FieldSpec(('T', 'K', 'H', JOINTS, 2), _F, mask='joints_2d_valid'),
    'joints_2d_valid': FieldSpec(('T', 'K', 'H', JOINTS), torch.bool),
    'hand_pose': FieldSpec(('T', 'H', 16, 3), _F, mask='hand_pose_valid'),
    'hand_shape': FieldSpec(('H', 10), _F, mask='hand_pose_valid'),
    'hand_transl': FieldSpec(('T', 'H', 3), _F, mask='hand_pose_valid'),
    'hand_pose_valid': FieldSpec(('T', 'H'), torch.bool),
    'occlusion': FieldSpec(('T', 'K', 'H'), _F, unknown=float('nan')),
    'input_joints_3d': FieldSpec(('T', 'H', JOINTS, 3), _F, mask='input_valid'),
    'input_confidence': FieldSpec(('T', 'H', JOINTS), _F, mask='input_valid'),
    'input_valid': FieldSpec(('T', 'H'), torch.bool),
    'object_label': FieldSpec(('T',), _L, unknown=-1),
    'action_label': FieldSpec((), _L, unknown=-1),
    'verb_label': FieldSpec((), _L, unknown=-1),
    'vertices': FieldSpec(('T', 'H', 'V', 3), _F),
    'joint_confidence': FieldSpec(('T', 'H', JOINTS), _F),
    'frame_confidence': FieldSpec(('T', 'H'), _F),
    'hand_scores': FieldSpec(('T', 'H'), _F),
    'object_scores': FieldSpec(('T', 'O'), _F),
    'action_scores': FieldSpec(('A',), _F),
    'future_joints_3d': FieldSpec(('S', 'F', 'H', JOINTS, 3), _F),
}


class SequenceError(ValueError):
    """A `HandSequence` that breaks the data contract; the sentence names field, sample and what to do."""


@dataclass
class HandSequence:
    """A clip of one or two hands seen by one or several cameras, or (after `stack`) a batch of clips.

    Fields and shapes are listed in `SPECS` and in docs/data_contract.md. `frame` says what the 3D numbers are in:
    'camera' (camera 0 of the clip), 'world', or 'wrist' (relative to each hand's wrist in each frame).
    `meta` is a dict (a list of dicts in a batch): dataset, sequence, cameras, frame_indices, fps, hand_model, ...
    """

    meta: dict | list = field(default_factory=dict)
    frame: str = 'camera'
    batched: bool = False
    frame_valid: torch.Tensor | None = None
    timestamps: torch.Tensor | None = None
    hand_side: torch.Tensor | None = None
    hand_valid: torch.Tensor | None = None
    images: torch.Tensor | None = None
    features: torch.Tensor | None = None
    intrinsics: torch.Tensor | None = None
    extrinsics: torch.Tensor | None = None
    boxes: torch.Tensor | None = None
    object_boxes: torch.Tensor | None = None
    joints_3d: torch.Tensor | None = None
    joints_valid: torch.Tensor | None = None
    joints_2d: torch.Tensor | None = None
    joints_2d_valid: torch.Tensor | None = None
    hand_pose: torch.Tensor | None = None
    hand_shape: torch.Tensor | None = None
    hand_transl: torch.Tensor | None = None
    hand_pose_valid: torch.Tensor | None = None
    occlusion: torch.Tensor | None = None
    input_joints_3d: torch.Tensor | None = None
    input_confidence: torch.Tensor | None = None
    input_valid: torch.Tensor | None = None
    object_label: torch.Tensor | None = None
    action_label: torch.Tensor | None = None
    verb_label: torch.Tensor | None = None
    vertices: torch.Tensor | None = None
    joint_confidence: torch.Tensor | None = None
    frame_confidence: torch.Tensor | None = None
    hand_scores: torch.Tensor | None = None
    object_scores: torch.Tensor | None = None
    action_scores: torch.Tensor | None = None
    future_joints_3d: torch.Tensor | None = None

    def require(self, name: str) -> torch.Tensor:
        """Returns a field that the caller cannot do without.

        Args:
            name: a key of `SPECS`.

        Returns:
            The tensor.

        Raises:
            SequenceError: the field is absent; names it and the sample.
        """
        value = getattr(self, name)
        if value is None:
            raise SequenceError(f'{self._where()} has no field {name!r}, which is needed here')
        return value

    def present(self):
        """Returns {name: tensor} of the fields that are not None, in the order of `SPECS`."""
        return {name: getattr(self, name) for name in SPECS if getattr(self, name) is not None}

    def to(self, device, non_blocking=False):
        """Returns a copy whose tensors all live on `device`."""
        moved = {name: value.to(device, non_blocking=non_blocking) for name, value in self.present().items()}
        return self.replace(**moved)

    def replace(self, **changes):
        """Returns a shallow copy with some fields changed (`meta` and `frame` too)."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        unknown = set(changes) - set(values)
        if unknown:
            raise SequenceError(f'HandSequence has no field {sorted(unknown)[0]!r}')
        return HandSequence(**{**values, **changes})

    def select_frames(self, index):
        """Returns the clip (not a batch) made of the frames `index`: a list, array or tensor of T' numbers."""
        self._refuse_batch('select_frames')
        index = torch.as_tensor(index, dtype=torch.int64)
        changes = {n: v[index] for n, v in self.present().items() if SPECS[n].shape[:1] == ('T',)}
        meta = dict(self.meta)
        for key, value in self.meta.items():
            if key in ('frame_indices', 'official_indices', 'hand_types', 'paths'):
                meta[key] = [value[i] for i in index.tolist()]
        return self.replace(meta=meta, **changes)

    def validate(self):
        """Checks every field against the contract and returns self.

        Raises:
            SequenceError: names the field, the shape or dtype expected and got, and the sample.
        """
        if self.frame not in FRAMES:
            raise SequenceError(f'{self._where()}: frame must be one of {FRAMES}, got {self.frame!r}')
        sizes = {}
        for name, value in self.present().items():
            self._check_field(name, value, sizes)
        for name, value in self.present().items():
            mask = SPECS[name].mask
            if mask and getattr(self, mask) is None:
                raise SequenceError(f'{self._where()}: field {name!r} is given without its mask {mask!r}')
            if value.is_floating_point() and not value.is_meta and not self._finite(name, value):
                raise SequenceError(f'{self._where()}: field {name!r} is NaN or infinite where marked valid')
        sides = self.hand_side
        two_known = sizes.get('H') == 2 and sides is not None and not sides.is_meta
        if two_known and (sides != sides.new_tensor([0, 1])).any():
            raise SequenceError(f'{self._where()}: with two hands hand_side must be [0, 1] (left, right)')
        return self

    def _check_field(self, name, value, sizes):
        spec = SPECS[name]
        symbols = ('B', *spec.shape) if self.batched else spec.shape
        if not isinstance(value, torch.Tensor) or value.dtype != spec.dtype:
            got = getattr(value, 'dtype', type(value).__name__)
            raise SequenceError(f'{self._where()}: field {name!r} must be a {spec.dtype} tensor, got {got}')
        fits = value.ndim == len(symbols) and all(
            n == (s if isinstance(s, int) else sizes.setdefault(s, n))
            for n, s in zip(value.shape, symbols, strict=True)
        )
        if not fits:
            known = ', '.join(f'{k}={v}' for k, v in sizes.items())
            expected = '(' + ', '.join(map(str, symbols)) + ')'
            raise SequenceError(
                f'{self._where()}: field {name!r} must have shape {expected} with {known}, got {tuple(value.shape)}'
            )

    def _finite(self, name, value):
        spec = SPECS[name]
        if spec.unknown is not None and spec.unknown != spec.unknown:
            return not value.isinf().any()
        mask = getattr(self, spec.mask) if spec.mask else None
        finite = value.isfinite()
        if mask is None:
            return bool(finite.all())
        if name == 'hand_shape':  # one for all frames: data if any of them is
            return bool(finite.all(-1)[mask.any(-2)].all())
        trailing = value.ndim - mask.ndim
        return trailing < 0 or bool(finite.flatten(mask.ndim).all(-1)[mask].all() if trailing else finite[mask].all())

    def _where(self):
        if self.batched:
            return 'batch of ' + ', '.join(sample_name(m) for m in self.meta[:4])
        return sample_name(self.meta)

    def _refuse_batch(self, what):
        if self.batched:
            raise SequenceError(f'{what} works on a clip; this is a batch, call unstack() first')

    @staticmethod
    def stack(samples):
        """Makes one batch (a leading B) of clips.

        Takes the union of the fields. A field absent in some samples is filled where its mask or its "unknown" value
        can say so; T and H are padded with False in the masks (fields without a mask repeat their last frame).

        Raises:
            SequenceError: no samples, different coordinate frames, or a field without a mask that a sample lacks.
        """
        from handpose.structures.stacking import stack

        return stack(samples)

    def unstack(self):
        """Undoes `stack`: a list of B clips. Padding added by `stack` is kept, with its masks False."""
        if not self.batched:
            raise SequenceError('unstack works on a batch; this is one clip')
        values = self.present()
        return [
            HandSequence(meta=meta, frame=self.frame, **{n: v[b] for n, v in values.items()})
            for b, meta in enumerate(self.meta)
        ]


def sample_name(meta):
    """Names a sample for error sentences: dataset, sequence, cameras and first frame, as far as known."""
    parts = [str(meta[k]) for k in ('dataset', 'sequence') if k in meta]
    parts += ['camera ' + '+'.join(map(str, meta['cameras']))] if meta.get('cameras') else []
    parts += [f'frame {meta["frame_indices"][0]}'] if meta.get('frame_indices') else []
    return ' '.join(parts) or 'unnamed sample'
