# Verb classification from the joints of two hands (Ohkawa et al., CVPR 2023, section 6): MS-G3D, and two recipes.
# Values written '$name' are the top-level values `name` of the config that uses this file.
_expects_ = [
    'verbs',  # their names, or {name: verbs of the dataset}; None: all of the dataset
    'num_verbs',  # classes
]

# Table 5 classifies the poses of an estimator: `train_pipeline=$estimated test_pipeline=$estimated predictions=FOLDER`,
# with a predictions file for each recording.
predictions = None
estimated = [dict(type='LoadRecordingPredictions', folder='$predictions', cameras='$cameras', wrists='$wrists')]
cameras = []  # ids, for files `<recording>_<camera>.npz`
wrists = 'predicted'  # where the hands are; or 'true', 'none' (which needs published.coordinates=wrist)

num_frames = 100  # of a sequence, as the network sees it, at 30 per second
epochs = 50
joint_order = 'common'  # the graph; 'assembly101' has no CMC joint of the thumb, as Assembly101's poses have none

network = dict(
    type='MSG3D',
    channels=(96, 192, 384),
    joint_order='$joint_order',
    gcn_scales=None,  # as many as the graph supports, 9; published: 13, with empty_scales=True
    g3d_scales=6,
    windows=(3, 5),
    empty_scales=False,
    pool='all',  # the mean over all frames, as published; or 'valid', without padding
)
# In place of it: `published.network=$transformer`.
transformer = dict(
    type='JointTransformer',
    channels=256,
    joint_order='$joint_order',
    num_layers=2,
    num_heads=8,
    feedforward_channels=1024,
    window=16,
    dropout=0.1,
)
published = dict(
    type='VerbClassifier',
    network='$network',
    num_actions='$num_verbs',
    num_frames='$num_frames',
    coordinates='absolute',  # as they are in the files; or 'wrist', 'start'
    missing='zeros',  # joints that were lost; or 'last', the last value
    frames='first',  # longer sequences are cut off
    padding='zeros',  # what the published code does with shorter ones; or 'tile', what it was meant to do
    class_balance=0.0,  # of the loss: 0.5 or 1 weights rare classes more
)
modern = dict(
    type='VerbClassifier',
    network='$network',
    num_actions='$num_verbs',
    num_frames='$num_frames',
    coordinates='start',
    missing='last',
    frames='uniform',  # random frames from all parts of a sequence
    padding='tile',
    test_clips=10,
    class_balance=0.0,
    label_smoothing=0.0,
    dropout=0.0,
)
model = '$published'

# The recipe published with Assembly101 (Sener et al., CVPR 2022).
steps_optimizer = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4),
)
steps = [dict(type='MultiStepLR', milestones=[30, 40], gamma=0.1, by_epoch=True, begin=0, end='$epochs')]
# One cosine, as in later libraries; lr is for batches of 16 and grows with them (0.1 for 128):
# `model=$modern optim_wrapper=$cosine_optimizer param_scheduler=$cosine epochs=80`.
cosine_optimizer = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.0125, momentum=0.9, nesterov=True, weight_decay=5e-4),
)
adamw_optimizer = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.01))  # for transformer
cosine = [
    dict(type='CosineAnnealingLR', T_max='$epochs', by_epoch=True, begin=0, end='$epochs', convert_to_iter_based=True)
]
optim_wrapper = '$steps_optimizer'
param_scheduler = '$steps'

train_cfg = dict(by_epoch=True, max_epochs='$epochs', val_interval=5)
val_cfg, test_cfg = dict(), dict()
# The paper's average is over sequences, as is the accuracy. The records hold what a confusion matrix needs.
val_evaluator = [dict(type='ActionMetric')]
test_evaluator = [dict(type='ActionMetric', per_class='$verbs', keep_records=None), dict(type='InputPoseMetric')]
