"""Stand-ins for the YCB objects of recorded motion: boxes, cylinders and tools of the real ones' size.

Unlike the other objects these are centred at their frame's origin and oriented as YCB-Video's models are, so that
recorded poses put them where the real ones were. Sizes are rounded from B. Calli et al., Benchmarking in Manipulation
Research: The YCB Object and Model Set, IEEE Robotics and Automation Magazine 22(3), 2015. Metres.
"""

from dataclasses import replace

import numpy as np

from handpose.datasets.base import DatasetError
from handpose.synthesis.objects.shapes import Box, Revolved, SceneObject, Shape, cup_profile, cylinder_profile
from handpose.text import did_you_mean

Shapes = tuple[Shape, ...]


def _box(x: float, y: float, z: float, radius: float = 0.003) -> Shapes:
    return (Box((x / 2, y / 2, z / 2), (0, 0, 0), radius),)


def _cylinder(radius: float, height: float) -> Shapes:
    return (Revolved(cylinder_profile(radius, -height / 2, height / 2)),)


def _cup(foot: float, rim: float, height: float, wall: float = 0.004) -> Shapes:
    return (Revolved(cup_profile(foot, rim, -height / 2, height / 2, wall, wall)),)


def _flat_bottle(x: float, y: float, z: float) -> Shapes:
    """A body with a neck on it."""
    body = Box((x / 2, y / 2, 0.39 * z), (0, 0, -0.11 * z), 0.012)
    return body, Revolved(cylinder_profile(0.25 * y, 0.2 * z, 0.5 * z))


def _drill() -> Shapes:
    """The motor along x, the handle and its battery below it along -y."""
    motor = Box((0.09, 0.03, 0.026), (0, 0.06, 0), 0.012)
    handle = Box((0.02, 0.055, 0.017), (0.015, -0.02, 0), 0.01)
    return motor, handle, Box((0.04, 0.016, 0.028), (0.015, -0.078, 0), 0.005)


# YCB name -> DexYCB's class number, kind, shapes. 035_power_drill's y, and every bottle's and can's z, is up.
YCB_OBJECTS: dict[str, tuple[int, str, Shapes]] = {
    '002_master_chef_can': (1, 'cylinder', _cylinder(0.051, 0.139)),
    '003_cracker_box': (2, 'box', _box(0.072, 0.164, 0.213)),
    '004_sugar_box': (3, 'box', _box(0.045, 0.093, 0.176)),
    '005_tomato_soup_can': (4, 'cylinder', _cylinder(0.034, 0.102)),
    '006_mustard_bottle': (5, 'bottle', _flat_bottle(0.096, 0.058, 0.19)),
    '007_tuna_fish_can': (6, 'disc', _cylinder(0.0425, 0.033)),
    '008_pudding_box': (7, 'small box', _box(0.11, 0.089, 0.035)),
    '009_gelatin_box': (8, 'small box', _box(0.085, 0.073, 0.028)),
    '010_potted_meat_can': (9, 'small box', _box(0.097, 0.05, 0.082, 0.008)),
    '011_banana': (10, 'banana', _box(0.036, 0.18, 0.036, 0.016)),
    '019_pitcher_base': (11, 'cylinder', _cylinder(0.054, 0.242)),
    '021_bleach_cleanser': (12, 'bottle', _flat_bottle(0.098, 0.065, 0.25)),
    '024_bowl': (13, 'bowl', _cup(0.04, 0.08, 0.055)),
    '025_mug': (14, 'mug', _cup(0.04, 0.0425, 0.081)),
    '035_power_drill': (15, 'drill', _drill()),
    '036_wood_block': (16, 'box', _box(0.085, 0.085, 0.2)),
    '037_scissors': (17, 'scissors', _box(0.06, 0.2, 0.015)),
    '040_large_marker': (18, 'pen', _box(0.018, 0.121, 0.018, 0.0085)),
    '051_large_clamp': (19, 'clamp', _box(0.115, 0.09, 0.027)),
    '052_extra_large_clamp': (20, 'clamp', _box(0.165, 0.1, 0.036)),
    '061_foam_brick': (21, 'cube', _box(0.05, 0.075, 0.05)),
}
YCB_NAMES = {class_id: name for name, (class_id, _, _) in YCB_OBJECTS.items()}


def ycb_object(name: str) -> SceneObject:
    """The stand-in of a YCB object, in YCB-Video's frame of it: centred, not standing on z = 0.

    Args:
        name: YCB's name, such as '025_mug'.

    Raises:
        DatasetError: not one of DexYCB's 21 objects.
    """
    if name not in YCB_OBJECTS:
        names = ', '.join(YCB_OBJECTS)
        raise DatasetError(f'{name!r} is not one of the YCB objects {names}.{did_you_mean(name, YCB_OBJECTS)}')
    class_id, kind, shapes = YCB_OBJECTS[name]
    stand_in = SceneObject(kind, shapes, 0.0, (0.0, 0.0, 0.0), class_id)
    return replace(stand_in, height=float(np.ptp(stand_in.mesh().vertices[:, 2])))
