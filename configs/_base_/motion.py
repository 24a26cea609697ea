# A motion file (docs/data/motion_file.md), for refiners: clips of `num_frames` frames for training,
# whole tracks for tests.
# Values written '$name' are the top-level values `name` of the config that uses this file.
_expects_ = [
    'motion_file',  # path of the motion file
    'hand_model',  # dict of the hand model, e.g. of MANO or ProceduralHand
    'num_frames',  # frames of a training clip
    'batch_size',  # training clips in a batch, on each GPU
    'num_workers',  # processes that load data, on each GPU
    'flip',  # probability of mirroring a training clip
]

train_pipeline = [dict(type='MotionAugmentation', hand_model='$hand_model', flip='$flip'), dict(type='EstimatorNoise')]
test_pipeline = [dict(type='EstimatorNoise')]

whole_tracks = dict(type='Tracks')
labelled = dict(
    type='MotionClips',
    data_root='$motion_file',
    setup='$setup',
    hand_model='$hand_model',
    labels='$labels',
    predictions='$predictions',
)
train_dataset = dict(
    _include_='$labelled',
    split='train',
    cameras='$cameras',
    sampling=dict(type='ClipSampling', num_frames='$num_frames', clip_step='$clip_step'),
    pipeline='$train_pipeline',
)
val_dataset = dict(
    _include_='$labelled', split='val', cameras='$test_cameras', sampling='$whole_tracks', pipeline='$test_pipeline'
)
test_dataset = dict(
    _include_='$labelled', split='test', cameras='$test_cameras', sampling='$whole_tracks', pipeline='$test_pipeline'
)
train_dataloader = dict(dataset='$train_dataset', batch_size='$batch_size', num_workers='$num_workers')
val_dataloader = dict(dataset='$val_dataset', batch_size=1, num_workers='$num_workers')
test_dataloader = dict(dataset='$test_dataset', batch_size=1, num_workers='$num_workers')
val_evaluator = [dict(type='HandPoseMetric')]
test_evaluator = [dict(type='HandPoseMetric'), dict(type='HandMeshMetric', f_score_thresholds=[])]

# Options of the dataset (`handpose.datasets.MotionClips` documents them all):
setup = 's0'  # DexYCB's splits s0 to s3, or 'all'
cameras = None  # serials; None: all of the file
test_cameras = None
clip_step = 9  # frames from the start of one clip to that of the next
predictions = None  # folder of predictions files, one for each track: input of refiners in place of simulated errors
labels = 'full'  # 'joints_only' needs no fitted hand in the file
