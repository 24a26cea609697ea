# The refiner of `handpose refine`: recorded motion of DexYCB with the errors of a family of estimators. Joints only.
# PDTM, DSTformer and SmoothNet on the same data: model=$pdtm and so on. `handpose dexycb-to-motion` makes the file.
_base_ = ['../_base_/runtime.py', '../_base_/motion.py', '../pdtm/_base_.py']

motion_file = 'data/dexycb_motion.npz'
labels = 'joints_only'
hand_model = dict(type='ProceduralHand')
cameras = ['840412060917', '836212060125', '932122062010']  # the ray of the noise depends on the camera
test_cameras = ['840412060917']
batch_size, num_workers = 16, 0

rates = [10.0, 15.0, 30.0, 60.0]
clip_frames = 64
train_pipeline = [
    dict(type='ChangeFrameRate', rates='$rates', num_frames='$clip_frames'),
    dict(type='MotionAugmentation', hand_model='$hand_model', flip='$flip'),
    dict(type='EstimatorNoise', preset='family', joint_sets=0.4),
]
test_pipeline = [dict(type='EstimatorNoise', preset='family', held_out=True)]
train_dataset = dict(sampling=dict(type='ClipSampling', num_frames=96, clip_step=48))

loss = dict(_delete_=True, type='LogErrorLoss', offset=1e-3, acceleration_weight=0.25)
model = dict(_delete_=True, type='KernelSmoother', frame_rates=[10.0, 60.0], future_limits=0.3, loss='$loss')
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=2e-3, weight_decay=0.0))
epochs = 20
train_cfg = dict(by_epoch=True, max_epochs='$epochs', val_interval=1)
val_dataloader = val_cfg = val_evaluator = None
test_cfg = dict()
test_evaluator = [dict(type='HandPoseMetric')]
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', T_max='$epochs', by_epoch=True, begin=0, end='$epochs', convert_to_iter_based=True),
]
