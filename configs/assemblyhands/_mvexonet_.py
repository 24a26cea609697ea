# MVExoNet at the paper's size (Ohkawa et al., CVPR 2023, section 3.1), with learnable triangulation's choices where the
# paper is silent. Values written '$name' are the top-level values `name` of the config that uses this file.
_expects_ = [
    'crop_size',  # side of the crops that the network sees, pixels
    'resolution',  # voxels along an edge of the cube
    'volume_network',  # dict of the network of 3D convolutions
    'detections',  # dict of the transform that gives the boxes and the centre of the first round in tests
    'epochs',  # of training
]

views, cameras_per_clip = 'exo', None  # all views of a frame are one sample
num_frames = 1
num_rounds = 3  # of a prediction; the paper's R1, R2 and R3 are 1, 2 and 3
test_views = 8  # views of a test sample; with fewer, they are drawn for each sample

train_pipeline = [dict(type='LoadImages')]
test_pipeline = [dict(type='ChooseViews', count='$test_views'), dict(type='LoadImages'), '$detections']
# Errors of detections: simulated, or a detector's own, from files of `handpose infer`.
simulated_detections = dict(type='SimulatedDetections')
loaded_detections = dict(type='LoadDetections', folder='$detections_root', missing_ok=False)
detections_root = 'work_dirs/detections'
# One view, with the place of the hand from all of them: `test_pipeline=$single_view model.min_views=1`.
single_view = [dict(type='LoadImages'), '$detections', dict(type='ChooseViews', count=1)]

model = dict(
    type='MVExoNet',
    backbone=dict(type='EfficientNet', variant='b0', strides=(8, 16, 32)),
    volume_network='$volume_network',
    loss=dict(type='MVExoNetLoss', joint_weight=100.0, volume_weight=0.01),
    crop_size='$crop_size',
    box_scale=1.3,
    cube_size=0.3,
    resolution='$resolution',
    num_rounds='$num_rounds',
    first_centre='input_joints',  # the triangulated middle MCP
    min_views=2,
    centre_noise=0.02,
    box_noise=0.0,
    mirror_left_hands=False,
)
# What any network must beat: the triangulated detections themselves.
compared = dict(triangulation=dict(type='InputMotion'))

train_cfg = dict(by_epoch=True, max_epochs='$epochs', val_interval=5)
val_cfg, test_cfg = dict(), dict()
