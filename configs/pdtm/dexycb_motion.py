# A small PDTM on recorded motion: all of DexYCB's hands in one motion file, split s0. `handpose dexycb-to-motion` makes
# the file, and `handpose fit-motion` gives every sequence a fitted hand. Affordable on two CPU cores.
_base_ = ['../_base_/runtime.py', '../_base_/motion.py', './_base_.py']

motion_file = 'data/dexycb_motion.npz'
hand_model = dict(type='ProceduralHand')
# Of eight cameras: the noise depends on the camera, the motion does not.
cameras = ['840412060917', '836212060125', '932122062010']
test_cameras = ['840412060917']
batch_size = 8
num_workers = 0

# 32 channels, averaged over joints, are too few for the joints and the pose of a frame.
small = dict(channels=32, depth=2, num_heads=2, head=dict(joint_regression='per_joint', pose_regression='flattened'))
model = dict(**small, groups=4)
dstformer = small
loss = dict(vertex_frames=1, vertex_weight=200.0, acceleration_weight=300.0)
# Refiners without a mesh get one fitted to their joints, so that meshes can be compared.
smoothnet = input_motion = still_hand = savitzky_golay = gaussian = one_euro = kalman = dict(fitted_hand='$hand_model')

epochs = 1
train_cfg = dict(by_epoch=True, max_epochs='$epochs', val_interval=1)
val_dataloader = val_cfg = val_evaluator = None
test_cfg = dict()
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='AdamW', lr=2e-3, weight_decay=0.01), clip_grad=dict(max_norm=10.0)
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', T_max='$epochs', by_epoch=True, begin=0, end='$epochs', convert_to_iter_based=True),
]
