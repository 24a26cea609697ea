"""Re:InterHand's folder structure: a capture a subject, a segment a sequence, three files a frame."""

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from handpose.files.atomic import atomic_write
from handpose.hands import joint_order
from handpose.hands.sides import SIDE_LABELS, Side
from handpose.synthesis.layouts.files import write_json
from handpose.synthesis.layouts.poses import BOTH_SIDES, MILLIMETRES, PoseLayout, both_hands, mano_entry
from handpose.synthesis.rendering.drawing import Render
from handpose.synthesis.scene import Scene

# Re:InterHand's own: RNS217, NKC880 and QZX685 are tested.
CAPTURES = (
    'm--20210927--1000--BKS383--pilot--synthetic--two-hands', 'm--20221215--0949--RNS217--pilot--synthetic--two-hands',
    'm--20230317--1433--TRO760--pilot--synthetic--two-hands', 'm--20221110--1000--HIR112--pilot--synthetic--two-hands',
    'm--20221216--0953--NKC880--pilot--synthetic--two-hands', 'm--20221110--1033--TQH976--pilot--synthetic--two-hands',
    'm--20221111--0944--JFQ550--pilot--synthetic--two-hands', 'm--20230317--1130--QZX685--pilot--synthetic--two-hands',
    'm--20230313--1433--TXB805--pilot--synthetic--two-hands', 'm--20210701--1058--0000000--pilot--synthetic--two-hands',
)  # fmt: skip
CAMERAS = ('400262', '400263', '400264', '400265', '400284', '400287', '400289', '400290')
STEP = 3  # frame numbers count at 90 per second
_ORDER = joint_order('reinterhand_24')
_PLACE = {name: _ORDER.index(name) for name in _ORDER}


class ReInterHandLayout(PoseLayout):
    """Re:InterHand: `<capture>/{orig_fits,keypoints_orig,mano_fits,Mugsy_cameras}`; see `Layout`.

    A frame list, which a reader asks for first, is written once all sequences are in place.
    """

    def hands(self, sequence: int) -> tuple[int, ...]:
        """See `PoseLayout.hands`: always both."""
        return Side.LEFT, Side.RIGHT

    def capture(self, subject: int) -> Path:
        """The folder of a subject's capture."""
        name = CAPTURES[subject] if subject < len(CAPTURES) else f'm--20230400--0900--SYN{subject:03d}--two-hands'
        return self.root / name

    def first_frame(self, sequence: int) -> int:
        """The number of a sequence's first frame."""
        return (100 + sequence * (self.options.frames + 30)) * STEP

    def write(self, scene: Scene, subject: int, sequence: int, render: Render) -> None:
        """Writes joints and MANO parameters, hand by hand, and the motion itself."""
        super().write(scene, subject, sequence, render)
        folder = self.capture(subject)
        points, params = folder / 'keypoints_orig' / 'keypoints_orig', folder / 'mano_fits' / 'params'
        fits = [folder / 'orig_fits' / SIDE_LABELS[side] / 'Keypoints' for side in BOTH_SIDES]
        for path in (points, params, *fits):
            path.mkdir(parents=True, exist_ok=True)
        fitted, _ = both_hands(scene, 'reinterhand_24')
        fitted = (MILLIMETRES * _with_extra_joints(fitted.reshape(len(fitted), 2, 24, 3))).round(4)
        joints = (MILLIMETRES * both_hands(scene)[0]).round(4)
        for frame, annotated in enumerate(scene.hand_valid):
            number = self.first_frame(sequence) + frame * STEP
            if annotated.all():
                write_json(points / f'{number}.json', joints[frame].tolist())
            for column, side in enumerate(BOTH_SIDES):
                hand = scene.sides.tolist().index(side)
                if annotated[hand]:
                    write_json(fits[column] / f'keypoint-{number:06d}.json', fitted[frame, column].tolist())
                    write_json(params / f'{number}_{SIDE_LABELS[side]}.json', mano_entry(scene, frame, hand))

    def finish(self) -> None:
        """Writes the cameras and the lists of frames."""
        for subject in range(self.options.subjects):
            folder, lines = self.capture(subject), list[str]()
            for sequence in range(self.options.sequences):
                scene = self.read_scene(subject, sequence)
                segment = f'{sequence:03d}_{scene.name}'
                lines += [
                    f'{segment} {self.first_frame(sequence) + STEP * frame}\n' for frame in range(len(scene.joints))
                ]
            (folder / 'Mugsy_cameras').mkdir(exist_ok=True)
            write_json(folder / 'Mugsy_cameras' / 'cam_params.json', capture_cameras(scene))
            atomic_write(folder / 'frame_list.txt', ''.join(lines))


def capture_cameras(scene: Scene) -> dict[str, Any]:
    """cam_params.json: X_cam = R X + t, millimetres."""
    return {
        name: {
            'R': extrinsics[:3, :3].tolist(), 't': (MILLIMETRES * extrinsics[:3, 3]).tolist(),
            'focal': [intrinsics[0, 0], intrinsics[1, 1]], 'princpt': intrinsics[:2, 2].tolist(),
        }
        for name, extrinsics, intrinsics in zip(CAMERAS, scene.extrinsics[0], scene.intrinsics, strict=False)
    }  # fmt: skip


def _with_extra_joints(fitted: NDArray) -> NDArray:
    """Puts the joints that the common 21 lack about where they belong: (F, 2, 24, 3)."""
    wrist, thumb, little = (fitted[:, :, _PLACE[name]] for name in ('wrist', 'thumb_cmc', 'little_mcp'))
    fitted[:, :, _PLACE['thumb_metacarpal_root']] = 0.6 * wrist + 0.4 * thumb
    fitted[:, :, _PLACE['little_cmc']] = 0.75 * wrist + 0.25 * little
    fitted[:, :, _PLACE['forearm_stub']] = 1.5 * wrist - 0.5 * little
    return fitted
