"""`HandSequence`: the one object that datasets make, models read and fill, and metrics compare.

Units are metres, pixels, radians and seconds; camera axes are OpenCV's (x right, y down, z forward). Fields, shapes and
masks are declared in fields.py and listed in docs/data/data_contract.md. Absent is None, never zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from handpose.structures.fields import FRAMES, SPECS, SequenceError, SequenceFields, sample_name
from handpose.structures.stacking import NamedFields, stack_fields
from handpose.structures.validation import check_fields

# Entries of `meta` with one value a frame.
_PER_FRAME_META = ('frame_indices', 'official_indices', 'hand_types', 'paths')


@dataclass(kw_only=True)
class HandSequence(SequenceFields):
    """A clip of one or two hands seen by one or several cameras, or (after `stack`) a batch of clips.

    Attributes:
        meta: dict of a clip, list of dicts of a batch: dataset, sequence, cameras, frame_indices, fps, hand_model, ...
        frame: the coordinate frame of 3D numbers: 'camera' (camera 0 of the clip), 'world', or 'wrist' (relative to
            each hand's wrist in each frame).
        batched: whether this is a batch, with a leading B in every field.
        future: S sampled futures of a clip as a batch of S clips, which has its own timestamps and masks, frame and
            meta, and no `future`. In a batch of B clips it is a batch of B * S clips, those of the first clip first;
            S is the same for all.
    """

    meta: Any = field(default_factory=dict)
    frame: str = 'camera'
    batched: bool = False
    future: HandSequence | None = None

    def require(self, name: str) -> Tensor:
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
            raise SequenceError(f'{self._name()} has no field {name!r}, which is needed here')
        return value

    def to(self, device: torch.device | str, non_blocking: bool = False) -> HandSequence:
        """Moves all tensors, those of `future` included.

        Args:
            device: where they go.
            non_blocking: as in `torch.Tensor.to`.

        Returns:
            A copy whose tensors live on `device`.
        """
        moved: dict[str, Any] = {
            name: value.to(device, non_blocking=non_blocking) for name, value in self.present().items()
        }
        if self.future is not None:
            moved['future'] = self.future.to(device, non_blocking)
        return self.replace(**moved)

    def pin_memory(self) -> HandSequence:
        """Copies all tensors, those of `future` included, to memory from which a GPU fetches them by itself.

        A `DataLoader` with `pin_memory` calls this; without it, `to(device, non_blocking=True)` waits for the copy.

        Returns:
            A copy whose tensors are pinned.
        """
        pinned: dict[str, Any] = {name: value.pin_memory() for name, value in self.present().items()}
        if self.future is not None:
            pinned['future'] = self.future.pin_memory()
        return self.replace(**pinned)

    def replace(self, **changes: Any) -> HandSequence:
        """Changes some fields.

        Args:
            changes: {name: new value}; `meta`, `frame`, `batched` and `future` may be among them.

        Returns:
            A shallow copy with the changes.

        Raises:
            SequenceError: a name is no field.
        """
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        unknown = set(changes) - set(values)
        if unknown:
            raise SequenceError(f'HandSequence has no field {sorted(unknown)[0]!r}')
        return HandSequence(**{**values, **changes})

    def select_frames(self, index: Sequence[int] | np.ndarray | Tensor | range) -> HandSequence:
        """Selects frames of a clip; `future` stays as it is.

        Args:
            index: (T',) frame positions, in any order and repeated if need be.

        Returns:
            The clip of T' frames.

        Raises:
            SequenceError: this is a batch.
        """
        self._refuse_batch('select_frames')
        index = torch.as_tensor(index, dtype=torch.int64)
        changes = {n: v[index] for n, v in self.present().items() if SPECS[n].shape[:1] == ('T',)}
        per_frame = {key: self.meta[key] for key in _PER_FRAME_META if key in self.meta}
        meta = {**self.meta, **{key: [value[i] for i in index.tolist()] for key, value in per_frame.items()}}
        return self.replace(meta=meta, **changes)

    def validate(self) -> HandSequence:
        """Checks every field against the data contract.

        Returns:
            Itself.

        Raises:
            SequenceError: names the sample, the field, and what was expected and found.
        """
        where = self._name()
        if self.frame not in FRAMES:
            raise SequenceError(f'{where}: frame must be one of {FRAMES}, got {self.frame!r}')
        sizes = check_fields(self.present(), batched=self.batched, where=where)
        sides = self.hand_side
        if sides is not None and not sides.is_meta and sizes['H'] == 2 and (sides != sides.new_tensor([0, 1])).any():
            raise SequenceError(f'{where}: with two hands hand_side must be [0, 1] (left, right)')
        if self.future is not None:
            self._check_future(self.future, where)
        return self

    def _check_future(self, future: HandSequence, where: str) -> None:
        clips = len(self.meta) if self.batched else 1
        if not future.batched or not future.meta or len(future.meta) % clips or future.future is not None:
            raise SequenceError(
                f"{where}: 'future' must be a batch of S clips for each of {clips} clips, without a future of their "
                f'own, got {f"a batch of {len(future.meta)} clips" if future.batched else "a clip"}'
            )
        try:
            future.validate()
        except SequenceError as error:
            raise SequenceError(f"{where}: 'future' is not valid: {error}") from error

    @staticmethod
    def stack(samples: Sequence[HandSequence]) -> HandSequence:
        """Makes a batch of clips.

        Takes the union of the fields. A field absent in some samples is filled where its mask or its "unknown" value
        can say so; T and H are padded with False in the masks (fields without a mask repeat their last frame).

        Args:
            samples: B clips.

        Returns:
            The batch; every field has a leading B.

        Raises:
            SequenceError: no samples, a batch among them, different coordinate frames, a field without a mask that
                a sample lacks, or futures of some samples only or in different numbers.
        """
        if not samples:
            raise SequenceError('stack needs at least one sample, got an empty list')
        frames = {sample.frame for sample in samples}
        if len(frames) > 1:
            raise SequenceError(f'samples in different coordinate frames cannot be stacked: {sorted(frames)}')
        for sample in samples:
            sample._refuse_batch('stack')
        stacked = stack_fields([NamedFields(sample._name(), sample.present()) for sample in samples])
        batch = HandSequence(meta=[sample.meta for sample in samples], frame=samples[0].frame, batched=True)
        return batch.replace(future=_stack_futures(samples), **stacked)

    def unstack(self) -> list[HandSequence]:
        """Undoes `stack`.

        Returns:
            B clips. Padding added by `stack` is kept, with its masks False.

        Raises:
            SequenceError: this is a clip.
        """
        if not self.batched:
            raise SequenceError('unstack works on a batch; this is one clip')
        clips = []
        for b, meta in enumerate(self.meta):
            values: dict[str, Any] = {name: value[b] for name, value in self.present().items()}
            if self.future is not None:
                count = len(self.future.meta) // len(self.meta)
                values['future'] = self.future._select_clips(slice(b * count, (b + 1) * count))
            clips.append(HandSequence(meta=meta, frame=self.frame).replace(**values))
        return clips

    def _select_clips(self, chosen: slice) -> HandSequence:
        """Some clips of a batch, as a batch."""
        return self.replace(meta=self.meta[chosen], **{name: value[chosen] for name, value in self.present().items()})

    def _name(self) -> str:
        if self.batched:
            return 'batch of ' + ', '.join(sample_name(meta) for meta in self.meta[:4])
        return sample_name(self.meta)

    def _refuse_batch(self, what: str) -> None:
        if self.batched:
            raise SequenceError(f'{what} works on a clip; this is a batch, call unstack() first')


def _stack_futures(samples: Sequence[HandSequence]) -> HandSequence | None:
    """One batch of the futures of all samples, or None where no sample has any."""
    futures = [sample.future for sample in samples if sample.future is not None]
    if not futures:
        return None
    counts = [0 if sample.future is None else len(sample.future.meta) for sample in samples]
    if len(set(counts)) > 1:
        few, many = counts.index(min(counts)), counts.index(max(counts))
        raise SequenceError(
            f'{samples[few]._name()} has {counts[few]} futures and {samples[many]._name()} has {counts[many]}; '
            f'give every sample of a batch the same number, or drop them from all'
        )
    return HandSequence.stack([clip for future in futures for clip in future.unstack()])
