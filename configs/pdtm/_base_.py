# PDTM at the paper's size (Ren et al., ICCV 2025), and what the paper compares it with: `model=$dstformer` and so on.
# Values written '$name' are the top-level values `name` of the config that uses this file.
_expects_ = [
    'hand_model',  # dict of the hand model, e.g. of MANO or ProceduralHand
]

num_frames = 27
frame_rate = 30.0  # of the training motion; the refiners resample other tracks to it
flip = 0.0  # chance of a flip; for models with mirror_left_hands=False, since others mirror flipped hands back
test_stride = 9  # frames between test windows, whose answers are averaged where they overlap

loss = dict(
    type='RefinementLoss',
    point_loss=dict(type='SmoothL1KeypointLoss', beta=0.01),
    acceleration_loss=dict(type='AccelerationLoss'),
    pose_loss=dict(type='HandPoseLoss', base='smooth_l1'),
    shape_loss=dict(type='HandShapeLoss', base='smooth_l1'),
    # The paper gives no weights. These make points and accelerations millimetres.
    joint_weight=1e3,
    vertex_weight=1e3,
    pose_weight=10.0,
    shape_weight=0.1,
    acceleration_weight=1e3,
    vertex_frames=None,  # compare the meshes of so many frames of a clip; None: of all
)

model = dict(
    type='PDTM',
    frame_rate='$frame_rate',
    num_frames='$num_frames',
    stride='$test_stride',
    mirror_left_hands=True,
    channels=512,
    depth=5,
    num_heads=8,
    mlp_ratio=2.0,
    groups=16,
    kernel_size=8,
    padding='zeros',  # or 'replicate'
    insertion='post_temporal',  # Table 1: 'none', 'head', 'tail', 'replace', 'fusion', 'tri_branch'
    global_attention=True,  # Table 2: GA
    global_convolution=True,  # Table 2: DC
    global_mode='serial',  # Table 2: 'parallel', or 'replace' (hand-level instead of joint-level convolution)
    memory_tokens=8,  # Table 3: 0 to 16
    memory_update='cross_attention',  # Table 3: 'vit_token'
    shape_supervision='final',  # Table 3: 'every_block'
    residual=True,
    head=dict(
        type='MotionRefinementHead',
        joint_regression='pooled',  # or 'per_joint'
        pose_regression='pooled',  # or 'flattened'
        orientation='palm',  # what the wrist's rotation starts from; or 'camera'
        representation=True,
    ),
    hand_model='$hand_model',
    loss='$loss',
)

dstformer = dict(
    type='DSTformer',
    frame_rate='$frame_rate',
    num_frames='$num_frames',
    stride='$test_stride',
    channels=512,
    depth=5,
    num_heads=8,
    mlp_ratio=2.0,
    head=dict(
        type='MotionRefinementHead',
        joint_regression='per_joint',
        pose_regression='pooled',
        orientation='palm',
        representation=True,
    ),
    hand_model='$hand_model',
    loss='$loss',
)
smoothnet = dict(
    type='SmoothNet', frame_rate='$frame_rate', num_frames='$num_frames', stride='$test_stride', loss='$loss'
)
# Without parameters, so without training: tools/test.py CONFIG --cfg-options 'model=$still_hand'
input_motion = dict(type='InputMotion')
still_hand = dict(type='StillHand')
# The settings of SmoothNet's comparison, which are frames at 30 per second.
savitzky_golay = dict(type='SavitzkyGolayFilter', window=31, order=2, unit='frames')
gaussian = dict(type='GaussianFilter', sigma=3.0, order=1, unit='frames', chunked=False)  # chunked=True as published
one_euro = dict(type='OneEuroFilter', min_cutoff=0.04, beta=0.7, derivative_cutoff=1.0, unit='frames')
kalman = dict(type='KalmanSmoother', acceleration=0.3, noise=0.003)  # in seconds
# What tools/test.py --compare tests beside the model.
compared = dict(
    input='$input_motion',
    still_hand='$still_hand',
    savitzky_golay='$savitzky_golay',
    gaussian='$gaussian',
    one_euro='$one_euro',
    kalman='$kalman',
)
