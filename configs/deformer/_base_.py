# Deformer at the paper's size (Fu et al., ICCV 2023): ResNet-50, 256 channels, 3 layers; 31 to 33 M parameters.
# Values written '$name' are the top-level values `name` of the config that uses this file.
_expects_ = [
    'hand_model',  # dict of the hand model, e.g. of MANO or ProceduralHand
]

num_frames = 7
frame_step = 10  # frames from one position of a clip to the next
transformer = dict(
    channels=256, num_layers=3, num_heads=8, feedforward_channels=256, dropout=0.1, query_self_attention=False
)
# docs/systems/deformer.md has the options that make all of this the published code.
rotation_space = 'rot6d_add'  # what a motion is: also 'rotvec_add' (the paper's theta), 'so3_compose'

model = dict(
    type='Deformer',
    channels=256,
    roi_size=32,
    box_scale=1.5,
    mirror_left_hands=False,  # True: the network only sees right hands; left ones come mirrored
    joints_to_head=False,  # the published code: True, heatmap_to_decoder=False and 298 channels into the head
    num_frames='$num_frames',
    frame_step='$frame_step',
    test_mode='all',  # or 'centre', one window around each frame; or 'overlap', a mean over all windows
    normalizer=dict(type='ImageNormalizer', mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)),
    backbone=dict(type='ResNetFPN', depth=50, out_channels=256, activation='leaky_relu'),
    spatial_transformer=dict(
        type='SpatialTransformer',
        heatmap_to_decoder=True,
        query_role='input',  # or 'code', added to the decoder's queries at every layer: the published code
        position='cell_centre',  # or 'cumulative', the published code
        initial_sharpness=10.0,  # of the heatmaps; 1.0 in the published code
        _include_='$transformer',
    ),
    temporal_transformer=dict(
        type='TemporalTransformer',
        query_role='input',
        position='index',  # or 'cumulative', the published code
        _include_='$transformer',
    ),
    head=dict(
        type='DynamicFusionHead',
        in_channels=256,
        hidden_channels=(1024, 512),
        targets='all',  # or 'centre', the published code
        mode='dynamic',  # or 'centre', 'average', 'occlusion': the rows of the paper's fusion ablation
        rotation_space='$rotation_space',
    ),
    monocular_head=dict(  # None, together with loss.monocular_weight=0: the published code
        type='HandRegressionHead', in_channels=256, hidden_channels=(1024, 512), rotation_space='$rotation_space'
    ),
    hand_model='$hand_model',
    loss=dict(
        type='DeformerLoss',
        point_loss=dict(type='MaxMSELoss'),  # or 'PointMSELoss': the rows of the paper's loss ablation
        pose_loss=dict(type='HandPoseLoss', base='mse'),
        shape_loss=dict(type='HandShapeLoss', base='mse'),
        joints_2d_loss=dict(type='Joints2DLoss', loss_weight=100.0),
        smoothness_loss=dict(type='SmoothnessLoss', loss_weight=0.1),
        vertex_weight=1e4,
        joint_weight=1e4,
        pose_weight=10.0,
        shape_weight=0.1,
        shape_hands=('fused', 'frame', 'monocular'),
        frame_weight=1.0,
        motion_weight=1.0,
        monocular_weight=1.0,
        discriminator=dict(  # None: no adversary
            type='MotionDiscriminator', in_channels=91, hidden_channels=1024, bounded_attention=False
        ),
        adversarial_weight=10.0,
        adversarial_hand='fused',  # or 'frame'
        adversarial_rotations='rot6d',  # or 'rotvec', with in_channels=46
    ),
)
