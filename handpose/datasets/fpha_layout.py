"""FPHA's files: where they lie, what they hold, and a sentence for everything that can be wrong with them.

Garcia-Hernando et al., "First-Person Hand Action Benchmark with RGB-D Videos and 3D Hand Pose Annotations", CVPR 2018;
https://github.com/guiggh/hand_pose_action. On disk: millimetres in the depth camera's frame, OpenCV axes, joints in
FPHA's own order. Everything returned here is in metres, in the colour camera's frame, in the common order.
"""

import numpy as np

SPLIT_FILE = 'data_split_action_recognition.txt'
SPLIT_TITLES = {'train': 'Training', 'test': 'Test'}
PICTURES = ('Video_files', 'Video_files_480')  # the original, and a copy at the size that HTT works on
SKELETONS = ('Hand_pose_annotation_v1', 'Hand_pose_annotation_v1_1')  # as the download names it, and its description
FPS = 30.0
# The three sequences that the data set itself says to ignore: their skeleton files are empty.
EMPTY = ('Subject_2/close_milk/4', 'Subject_2/put_tea_bag/2', 'Subject_4/flip_sponge/2')
COLOUR_SIZE = (1920, 1080)
COLOUR_CAMERA = np.array([[1395.749023, 0, 935.732544], [0, 1395.749268, 540.681030], [0, 0, 1]])
# From the depth camera's frame to the colour camera's, metres.
DEPTH_TO_COLOUR = np.array(
    [
        [0.999988496304, -0.00468848412856, 0.000982563360594, 0.0257],
        [0.00469115935266, 0.999985218048, -0.00273845880292, 0.00122],
        [-0.000969709653873, 0.00274303671904, 0.99999576807, 0.003902],
        [0, 0, 0, 1],
    ]
)
