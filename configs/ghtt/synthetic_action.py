# A small G-HTT on built-in actions of two hands, on the block P of synthetic_pose.py. Minutes on two cores.
_base_ = './synthetic_pose.py'

init_from = [('work_dirs/ghtt_synthetic_pose', 'pose_block')]
freeze = ['pose_block']
actions = ['grab milk', 'place milk', 'grab book', 'place book', 'open milk', 'close milk']
actions += ['open lotion', 'close lotion', 'take out cocoa', 'put in cocoa', 'take out letter', 'put in letter']
actions += ['pour milk', 'slowly pour milk']
actions += ['squeeze lotion', 'slowly squeeze lotion', 'spray spray', 'slowly spray spray', 'knead sponge']
actions += ['slowly knead sponge', 'flip sponge', 'slowly flip sponge', 'read book', 'hold letter']
objects = ['milk', 'book', 'lotion', 'cocoa', 'letter', 'spray', 'sponge']

# Futures depend on the action feature alone, so that samples of it differ.
action_block = dict(num_layers=3, num_heads=4, feedforward_channels=256, dropout=0.1, skip=False)
action = dict(
    mid_weight=0.01,  # of a sum over clips and channels
    whole_actions=0.25,
    action_loss=dict(distance_weight=0.02),
    kl_loss=dict(reduction='batch_mean', loss_weight=2e-4),
)
# The baselines at the same size: `model=$flat init_from=[] freeze=[]` and so on.
block = dict(
    channels=128,
    num_layers=6,
    num_heads=4,
    feedforward_channels=368,
    motion_frame='local',
    difference_gain=10.0,
    residual=True,
)
flat = dict(block='$block', max_observed=128, joint_weight=1e3)
pose_vqvae = dict(component_weight=0.2, joint_weight=1e3)  # else the codes tell little of the palms' paths
vqvae = dict(channels=128, num_layers=3, num_heads=4, feedforward_channels=256, code_channels=64, num_codes=128)
tokenizer = dict(motion_frame='local', vqvae='$vqvae')
posegpt = dict(transformer=dict(num_codes=128, channels=128, num_layers=4, feedforward_channels=512))
action_transformer = dict(channels=128, feedforward_channels=512)
model = '$action'
test_samples = 20

# Every other action is observed with the errors of an estimator.
train_actions = dict(pipeline=[dict(type='EstimatorNoise', camera_distance=(0.4, 0.8), probability=0.5)])
train_dataloader = dict(dataset='$train_actions')
batch_size = 32
epochs = 24
train_cfg = dict(val_interval=12)
optim_wrapper = dict(optimizer=dict(lr=2e-3))
val_dataloader = dict(dataset='$val_actions')
val_evaluator = [dict(type='ActionMetric')]
test_evaluator = [
    dict(type='ForecastMetric', min_seconds=(0, 1, 2)),
    dict(type='APDMetric', min_seconds=(1, 2)),
]
