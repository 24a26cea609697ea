# SVEgoNet (Ohkawa et al., CVPR 2023, section 4): 2.5D joints, hand identity and depth of the wrist in crops of hands.
# Values written '$name' are the top-level values `name` of the config that uses this file.
_expects_ = [
    'backbone',  # dict of an image backbone that gives one map, e.g. ResNetMap
    'channels',  # of that map
    'crop_size',  # side of the crops, pixels
    'test_dataset',  # reader of the images of the headset
]

# Each camera of the headset alone, and single frames for training: `handpose/datasets/assemblyhands`.
views, cameras_per_clip, num_frames = 'ego', 1, 1
test_pipeline = [dict(type='LoadImages')]
# Columns of Table 4: `test_labels=manual` or `automatic`, or `test_dataloader.dataset=$test_both`. (The rows:
# `train_dataset=$manual`, `$automatic` or `$both`.)
test_manual = dict(_include_='$test_dataset', label_set='manual')
test_automatic = dict(_include_='$test_dataset', label_set='automatic')
test_both = dict(type='DatasetMix', datasets=['$test_manual', '$test_automatic'])
identity_metric = dict(type='InterHandMetric', hand_types='annotated')  # and of the place of one hand to the other
# Of `handpose test --results FOLDER`, with `test_dataset.sampling=$whole_tracks test_batch_size=1`.
results_file = dict(type='PredictionsFolder')
whole_tracks = dict(type='Tracks')

# Heads of the joints: volumes, 44 MB an image (published), read by the strongest cell ...
heatmaps = dict(
    type='Heatmap25DHead',
    in_channels='$channels',
    deconv_channels=(256, 256, 256),
    depth_cells=64,
    separate=True,
    decode='argmax',
)
heatmap_loss = dict(type='GaussianHeatmapLoss', sigma=2.5, peak=255.0)
# ... the same, read by soft-argmax: `joint_head=$soft_heatmaps joint_loss=None position_weight=1.0` ...
soft_heatmaps = dict(_include_='$heatmaps', decode='soft_argmax')
# ... or three distributions, 0.1 MB an image: `joint_head=$distributions joint_loss=$distribution_loss`.
distributions = dict(
    type='Distribution25DHead', in_channels='$channels', map_size=(8, 8), cells=(256, 256, 64), joint_channels=2
)
distribution_loss = dict(type='CoordinateDistributionLoss', radius=4)
joint_head, joint_loss, position_weight = '$heatmaps', '$heatmap_loss', 0.0

identity_classes = 'exclusive'  # left, right or both (the paper); 'independent': two sigmoids (the toolkit)
wrist_depth = 'network'
# With the true depth of the wrist in tests, as in the toolkit: `wrist_depth=input_joints test_pipeline=$given_wrists`.
given_wrists = [dict(type='LoadImages'), dict(type='GaussianJointNoise', std=0.0)]

model = dict(
    type='SVEgoNet',
    normalizer=dict(type='ImageNormalizer', mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)),
    backbone='$backbone',
    joint_head='$joint_head',
    identity_head=dict(
        type='HandIdentityHead', in_channels='$channels', hidden_channels=512, classes='$identity_classes'
    ),
    wrist_depth_head=dict(type='WristDepthHead', in_channels='$channels', hidden_channels=512, reference=0.25),
    loss=dict(
        type='SVEgoNetLoss',
        joint_loss='$joint_loss',
        position_weight='$position_weight',
        identity_weight=1.0,
        wrist_weight=1.0,
    ),
    crop_size='$crop_size',
    box_scale=1.75,
    min_box=100.0,
    depth_range=0.4,
    wrist_depth='$wrist_depth',
    output_frame='camera',
    other_hand=True,  # crops of identity 'both' where the other hand is near (the paper); False: never (the toolkit)
    mirror_left_hands=False,
    min_joints=10,
    box_noise=0.0,
    max_rotation=0.0,
)

val_cfg, test_cfg = dict(), dict()
