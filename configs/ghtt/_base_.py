# G-HTT at the paper's size (Wen et al., arXiv 2311.17366): the short-term block P alone, and the whole system.
# Values written '$name' are the top-level values `name` of the config that uses this file.
_expects_ = [
    'actions',  # names of the actions, or the file of a table of text features (handpose text-features)
    'objects',  # the same of the objects
]

num_observed = 16  # t: frames of a clip of P
num_frames = 32  # of a training clip of P: t observed and t predicted
frame_rate = 30.0

# Training, where the paper says so; it gives no schedule of the learning rate and no clipping of gradients.
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.01), clip_grad=dict(max_norm=10.0)
)
test_samples = None  # futures that a test samples; None: the most likely one. The paper samples 20
std_scale = 5.0  # k of the samples (mu, k sigma), in standard deviations; Table 4: 5 or 10

pose_block = dict(
    type='GHTTPoseBlock',
    num_frames='$num_observed',
    channels=512,
    num_layers=9,
    num_heads=8,
    feedforward_channels=1024,
    dropout=0.1,
    motion_frame='world',  # or 'local', in the palm's own frame
    context='none',  # or 'orientation', 'pose' of the palms, for cameras that stand still
    difference_gain=0.0,  # 10 for small networks: how frames differ from the last one is part of the input
    linear_shortcut=False,  # True for small networks: adds a linear function of the mid-level feature to the future
    residual=False,  # True: corrections of the input, and differences from the last frame
)
pose = dict(
    type='GHTTPose',
    pose_block='$pose_block',
    frame_rate='$frame_rate',
    skip=True,
    skip_drop=0.5,  # share of the clips without the skip connection
    component_weight=1.0,
    trajectory_loss=dict(type='TrajectoryLoss', translation_scale=10.0, loss_weight=1.0),
    kl_loss=dict(type='GaussianKLLoss', reduction='mean', loss_weight=1e-5),
    joint_weight=0.0,  # of a loss on future joints, in metres, which is not in the paper
    stride=8,
    std_scale='$std_scale',
    test_samples='$test_samples',
)
action_block = dict(
    type='GHTTActionBlock',
    num_layers=9,
    num_heads=8,
    feedforward_channels=1024,
    dropout=0.1,
    skip=True,
    type_embedding=False,
)
action = dict(
    type='GHTT',
    pose_block='$pose_block',
    action_block='$action_block',
    actions='$actions',
    objects='$objects',
    frame_rate='$frame_rate',
    path='P.b',  # Table 3: 'P.a', block P alone
    skip=True,
    recognition='cosine',  # or 'l1'
    max_observed=16,  # clips: T is at most 256 frames
    mid_weight=1.0,
    action_loss=dict(type='ContrastiveActionLoss', tau=0.07, distance_weight=1.0, loss_weight=0.1),
    kl_loss=dict(type='GaussianKLLoss', reduction='mean', loss_weight=1e-5),
    aggregator=None,  # dict(type='ObjectAggregator') for object features of images
    mid_noise=0.1,
    object_drop=0.1,  # share of the actions whose object is hidden
    random_start=0.5,
    whole_actions=0.0,  # share of the actions that are observed to their end
    stride=8,
    std_scale='$std_scale',
    test_samples='$test_samples',
)
