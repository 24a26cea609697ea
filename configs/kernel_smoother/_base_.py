# Refiners for the errors of any estimator: joints only, several frame rates, another simulated estimator in every clip.
# KernelSmoother, and networks to compare it with, on the same data. These take windows of one frame rate:
# 'model=$pdtm' (or pdtm_kernel, dstformer, smoothnet) 'rates=[30.0]' clip_frames=27
# and may be shown other skeletons, and spared the errors that they cannot know:
# 'train_pipeline=[$any_rate,$augmentation,$skeletons,$attainable_noise]'
_expects_ = []

rates = [10.0, 15.0, 30.0, 60.0]  # frames per second
clip_frames = 64
any_rate = dict(type='ChangeFrameRate', rates='$rates', num_frames='$clip_frames', speeds=[0.5, 1.25])
augmentation = dict(type='MotionAugmentation', hand_model=dict(type='ProceduralHand'), flip='$flip')
family_noise = dict(type='EstimatorNoise', preset='family', probability=0.94, joint_sets=0.4)
attainable_noise = dict(_include_='$family_noise', target='attainable')
skeletons = dict(type='SkeletonVariation')
held_out_noise = dict(type='EstimatorNoise', preset='family', held_out=True)
sampling = dict(type='ClipSampling', num_frames='$num_frames', clip_step=48)
num_frames, flip = 96, 0.0  # of the clips of recorded motion, from which those for training are taken

loss = dict(type='LogErrorLoss', offset=1e-3, acceleration_weight=0.25)
model = dict(
    type='KernelSmoother',
    half_width=15,
    channels=64,
    frame_rates=[10.0, 60.0],
    future_limits=0.5,
    loss='$loss',
)
windows = dict(frame_rate=30.0, num_frames=27, stride=9, loss='$loss')
attention = dict(_include_='$windows', channels=32, depth=2, num_heads=2, partial_skeletons=True)
per_joint, kernel = dict(joint_regression='per_joint'), dict(joint_regression='kernel')
pdtm = dict(_include_='$attention', type='PDTM', groups=4, memory_tokens=0, head='$per_joint')
pdtm_kernel = dict(_include_='$attention', type='PDTM', groups=4, memory_tokens=0, head='$kernel')
dstformer = dict(_include_='$attention', type='DSTformer', head='$per_joint')
smoothnet = dict(_include_='$windows', type='SmoothNet', hidden_channels=128, block_channels=64, dropout=0.1)

# Without parameters, so without training; with the settings that `handpose refine` uses.
input_motion = dict(type='InputMotion')
gaussian = dict(type='GaussianFilter')
savitzky_golay = dict(type='SavitzkyGolayFilter')
kalman = dict(type='KalmanSmoother')
one_euro = dict(type='OneEuroFilter')
compared = dict(input='$input_motion', gaussian='$gaussian', savitzky_golay='$savitzky_golay', kalman='$kalman')

epochs = 20
train_cfg = dict(by_epoch=True, max_epochs='$epochs', val_interval=1)
test_cfg = dict()
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=2e-3, weight_decay=0.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', T_max='$epochs', by_epoch=True, begin=0, end='$epochs', convert_to_iter_based=True),
]
