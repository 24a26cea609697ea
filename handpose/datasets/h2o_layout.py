"""H2O's files: where they lie, what they hold, and a sentence for everything that can be wrong with them.

Kwon et al., "H2O: Two Hands Manipulating Objects for First Person Interaction Recognition", ICCV 2021;
https://h2odataset.ethz.ch. Metres, each camera's own frame, OpenCV axes, the left hand first, the common joint order.
"""

EGOCENTRIC = 'cam4'
SPLITS = ('train', 'val', 'test')
# Folders of pictures: the original, the release's small copy, and a copy at the size that HTT works on.
PICTURES = ('rgb', 'rgb256', 'rgb480_270')
LIST_FOLDER = 'label_split'
LIST_COLUMNS = ('id', 'path', 'action_label', 'start_act', 'end_act', 'start_frame', 'end_frame')
TEST_COLUMNS = tuple(name for name in LIST_COLUMNS if name != 'action_label')  # the labels are withheld
LABEL_FOLDERS = ('hand_pose', 'hand_pose_MANO', 'cam_pose', 'obj_pose', 'obj_pose_RT', 'action_label', 'verb_label')
MANO_FOLDERS = ('hand_pose_MANO', 'hand_pose_mano')  # as the release writes it, and as H2O's player does
HAND_NUMBERS = 64  # of hand_pose, each hand: flag, 21 x (x, y, z)
MANO_NUMBERS = 62  # of hand_pose_MANO, each hand: flag, translation (3), pose (48 rotvecs), shape (10)
CAMERA_FILE = 'cam_intrinsics.txt'  # fx fy cx cy width height
FPS = 30.0
