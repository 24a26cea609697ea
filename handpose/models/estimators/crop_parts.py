"""The networks of SVEgoNet and MVExoNet as functions of tensors, for `Estimator.network_parts`.

Legend: N hands, K cameras, s side of a crop, C channels, h w size of a map, J = 21 joints.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from handpose.models.estimators.network_parts import WHOLE, NetworkPart, PartTensor

ENCODE, DECODE = 'encode', 'decode'
CROP = 'square crop of a hand, RGB, 0 to 255; the file normalizes it'


def svegonet_part(
    compute: Callable[..., tuple[Tensor, ...]], crop_size: int, depth_range: float, with_depth: bool
) -> NetworkPart:
    """The network of SVEgoNet.

    Args:
        compute: from crops (N, 3, s, s) and intrinsics (N, 3, 3) to positions, scores and depths.
        crop_size: s, pixels.
        depth_range: metres from the nearest to the farthest depth of a joint.
        with_depth: the network gives the depth of the wrists.

    Returns:
        The part.
    """
    place = f'x and y in the crop from 0 to 1; depth minus that of the wrist, divided by {depth_range:g} m, plus 0.5'
    outputs = (
        PartTensor('positions', ('hands', 2, 21, 3), f'of a left and a right hand: {place}'),
        PartTensor('hand_scores', ('hands', 2), 'probability that the crop shows a left and a right hand'),
        PartTensor('wrist_depth', ('hands', 2), 'of a left and a right hand, metres'),
    )
    inputs = (
        PartTensor('crops', ('hands', 3, crop_size, crop_size), CROP, example=(0.0, 255.0)),
        PartTensor('intrinsics', ('hands', 3, 3), 'of the crops, pixels', example=(100.0, 200.0)),
    )
    return NetworkPart(WHOLE, compute, inputs, outputs if with_depth else outputs[:2])


def mvexonet_parts(
    encode: Callable[[Tensor], Tensor], fuse: Callable[..., Tensor], crop_size: int, channels: int
) -> tuple[NetworkPart, ...]:
    """The networks of MVExoNet.

    Args:
        encode: from crops (M, 3, s, s) to maps (M, C, h, w).
        fuse: from maps (N, K, C, h, w), projections, centres, view_valid and mirrored to joints (N, J, 3).
        crop_size: s, pixels.
        channels: C.

    Returns:
        The whole network of one round, the encoder of crops, and what makes joints of maps.
    """

    def whole(
        crops: Tensor, projections: Tensor, centres: Tensor, view_valid: Tensor, mirrored: Tensor
    ) -> tuple[Tensor, ...]:
        flipped = mirrored[:, None, None, None, None]
        seen = torch.where(flipped, crops.flip(-1), crops)
        maps = encode(seen.flatten(0, 1)).unflatten(0, crops.shape[:2])
        maps = torch.where(flipped, maps.flip(-1), maps)
        return (fuse(maps, projections, centres, view_valid, mirrored),)

    def encoded(crops: Tensor) -> tuple[Tensor, ...]:
        return (encode(crops),)

    def fused(*inputs: Tensor) -> tuple[Tensor, ...]:
        return (fuse(*inputs),)

    size = (3, crop_size, crop_size)
    place = (
        PartTensor(
            'projections',
            ('hands', 'views', 3, 4),
            'from metres in the frame of the joints to pixels of the crops: intrinsics times extrinsics',
            example=(0.5, 1.0),
        ),
        PartTensor('centres', ('hands', 3), 'the base of the middle finger, metres', example=(0.5, 1.0)),
        PartTensor('view_valid', ('hands', 'views'), 'true where a view shows the hand', torch.bool, default=True),
        PartTensor('mirrored', ('hands',), 'true for left hands, if mirror_left_hands', torch.bool, default=False),
    )
    joints = PartTensor('joints', ('hands', 21, 3), 'metres, in the frame of the projections')
    crops = PartTensor('crops', ('hands', 'views', *size), CROP, example=(0.0, 255.0))
    maps = PartTensor('maps', ('hands', 'views', channels, 'map_height', 'map_width'), 'what `encode` gives of crops')
    single = PartTensor('crops', ('crops', *size), CROP, example=(0.0, 255.0))
    found = PartTensor('maps', ('crops', channels, 'map_height', 'map_width'), 'of each crop')
    return (
        NetworkPart(WHOLE, whole, (crops, *place), (joints,)),
        NetworkPart(ENCODE, encoded, (single,), (found,)),
        NetworkPart(DECODE, fused, (maps, *place), (joints,), usual={'map_height': 8, 'map_width': 8}),
    )
