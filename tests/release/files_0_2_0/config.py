# A tiny SmoothNet on the motion file beside this config: how `checkpoint.pth` was trained.
_base_ = ['handpose::_base_/runtime.py', 'handpose::_base_/motion.py']

motion_file = 'motion.npz'
hand_model = dict(type='ProceduralHand')
labels = 'joints_only'
num_frames = 8
clip_step = 8
flip = 0.0
train_pipeline = test_pipeline = [dict(type='GaussianJointNoise', std=0.005)]
batch_size = 4
num_workers = 0

model = dict(
    type='SmoothNet',
    frame_rate=30.0,
    num_frames='$num_frames',
    stride=4,
    hidden_channels=8,
    block_channels=4,
    num_blocks=1,
    dropout=0.0,
    loss=dict(
        type='RefinementLoss',
        point_loss=dict(type='SmoothL1KeypointLoss', beta=0.01),
        acceleration_loss=dict(type='AccelerationLoss'),
        pose_loss=dict(type='HandPoseLoss', base='smooth_l1'),
        shape_loss=dict(type='HandShapeLoss', base='smooth_l1'),
    ),
)

epochs = 1
train_cfg = dict(by_epoch=True, max_epochs='$epochs')
val_dataloader = val_cfg = val_evaluator = None
test_cfg = dict()
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3))
param_scheduler = []
custom_hooks = []
visualizer = None
