# What G-HTT is compared with, at the size of the papers: `model='$posegpt'` and so on in a config, or as an option.
# Each stands beside the model of _base_.py, and is tested by the same metrics on the same data.
# Values written '$name' are the top-level values `name` of the config that uses this file.
_expects_ = [
    'actions',  # as in _base_.py
    'objects',  # as in _base_.py
    'num_actions',  # how many actions there are, for action_transformer
    'frame_rate',  # as in _base_.py
    'num_observed',  # as in _base_.py
    'std_scale',  # as in _base_.py
    'test_samples',  # as in _base_.py
]

# PoseGPT (Lucas et al., ECCV 2022) in two stages: the tokenizer, published with lr 5e-5 and batches of 64, then the
# transformer over its codes: model='$posegpt' with init_from=[('WEIGHTS OF pose_vqvae', 'tokenizer')].
tokenizer = dict(
    type='MotionTokenizer',
    motion_frame='world',  # or 'local', in the palm's own frame
    vqvae=dict(
        type='MotionVQVAE',
        frames_per_code=4,
        channels=384,
        num_layers=6,
        num_heads=4,
        feedforward_channels=1536,
        code_channels=256,
        num_codebooks=2,
        num_codes=512,
        decay=0.99,
        dropout=0.0,
    ),
)
pose_vqvae = dict(
    type='PoseVQVAE',
    tokenizer='$tokenizer',
    frame_rate='$frame_rate',
    min_frames=16,
    max_frames=128,
    commitment_weight=0.25,
    trajectory_loss=dict(type='TrajectoryLoss', translation_scale=10.0, loss_weight=1.0),
    component_weight=1.0,
    joint_weight=0.0,  # this and that of flat: as that of pose
)
posegpt = dict(
    type='PoseGPT',
    tokenizer='$tokenizer',
    transformer=dict(
        type='CodeTransformer',
        num_codebooks=2,
        num_codes=512,
        max_steps=64,  # 256 frames, observed and predicted together
        channels=384,
        num_layers=8,
        num_heads=4,
        feedforward_channels=1536,
        dropout=0.2,
    ),
    actions='$actions',
    frame_rate='$frame_rate',
    min_frames='$num_observed',
    action_drop=0.1,  # share of the clips whose action is hidden
    temperature=1.0,
    top_k=None,
    join_time=0.2,  # seconds
    test_samples='$test_samples',
)

# Table 4, "w/o mid-level", sampled with std_scale=5 and 10. As large as both blocks together: their layers, and
# 3 * channels / (4 * num_layers) more feedforward_channels for the linear layers that it lacks.
flat = dict(
    type='FlatMotionVAE',
    block=dict(
        type='FlatMotionBlock',
        channels=512,
        num_layers=18,
        num_heads=8,
        feedforward_channels=1045,
        dropout=0.1,
        skip=True,
        motion_frame='world',  # this and the next three: as those of pose_block
        context='none',
        difference_gain=0.0,
        residual=False,
    ),
    actions='$actions',
    objects='$objects',
    frame_rate='$frame_rate',
    min_observed='$num_observed',
    max_observed=256,
    max_future=96,
    trajectory_loss=dict(type='TrajectoryLoss', translation_scale=10.0, loss_weight=1.0),
    action_loss=dict(type='ContrastiveActionLoss', tau=0.07, distance_weight=1.0, loss_weight=0.1),
    kl_loss=dict(type='GaussianKLLoss', reduction='mean', loss_weight=1e-5),
    joint_weight=0.0,
    object_drop=0.1,
    random_start=0.5,
    std_scale='$std_scale',
    test_samples='$test_samples',
)

# Without parameters, so without training; velocities are fitted to the last num_frames frames.
last_pose = dict(type='LastPose')
constant_velocity = dict(type='ConstantVelocity', num_frames=3)
damped_velocity = dict(type='DampedVelocity', num_frames=3, time_constant=0.2)  # seconds
# What tools/test.py --compare tests beside the model.
compared = dict(last_pose='$last_pose', constant_velocity='$constant_velocity', damped_velocity='$damped_velocity')

# No baseline: the network whose features FID compares, of the size that PoseGPT's has (published with lr 4e-5).
action_transformer = dict(
    type='MotionActionTransformer',
    num_actions='$num_actions',
    channels=256,
    num_layers=4,
    num_heads=4,
    feedforward_channels=1024,
    dropout=0.1,
    min_frames=15,
    max_frames=90,
    frame_rate='$frame_rate',
)
