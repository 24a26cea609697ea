# Refiners for the errors of any estimator: joints only, several frame rates, another simulated estimator in every clip.
# KernelSmoother, and what it is compared with on the same data: 'model=$pdtm', 'model=$dstformer', 'model=$smoothnet'
# with 'rates=[30.0]' and 'clip_frames=27', since these take windows of one frame rate.
_expects_ = []

rates = [10.0, 15.0, 30.0, 60.0]  # frames per second
clip_frames = 64
any_rate = dict(type='ChangeFrameRate', rates='$rates', num_frames='$clip_frames')
augmentation = dict(type='MotionAugmentation', hand_model=dict(type='ProceduralHand'), flip=0.0)
family_noise = dict(type='EstimatorNoise', preset='family', probability=0.94, joint_sets=0.4)
held_out_noise = dict(type='EstimatorNoise', preset='family', held_out=True)
sampling = dict(type='ClipSampling', num_frames=96, clip_step=48)  # of the recorded motion

relative_loss = dict(type='LogErrorLoss', offset=1e-3, acceleration_weight=0.4)
kernel_smoother = dict(
    type='KernelSmoother',
    half_width=15,
    channels=64,
    frame_rates=[10.0, 60.0],
    future_limits=0.3,
    loss='$relative_loss',
)

epochs = 24
train_cfg = dict(by_epoch=True, max_epochs='$epochs', val_interval=1)
test_cfg = dict()
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=2e-3, weight_decay=0.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', T_max='$epochs', by_epoch=True, begin=0, end='$epochs', convert_to_iter_based=True),
]
