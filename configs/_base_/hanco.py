# HanCo's pose sequences, for refiners: clips of `num_frames` frames for training, whole tracks for testing.
# Values written '$name' are the top-level values `name` of the config that uses this file.
_expects_ = [
    'data_root',  # folder of the dataset
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
    type='HanCo',
    data_root='$data_root',
    train_sequences='$train_sequences',
    held_out='$held_out',
    annotated='$annotated',
    cameras='$cameras',
    hand_model='$hand_model',
    labels='$labels',
    predictions='$predictions',
)
train_dataset = dict(
    _include_='$labelled',
    split='train',
    sampling=dict(type='ClipSampling', num_frames='$num_frames', clip_step='$clip_step'),
    pipeline='$train_pipeline',
)
val_dataset = dict(_include_='$labelled', split='val', sampling='$whole_tracks', pipeline='$test_pipeline')
test_dataset = dict(_include_='$labelled', split='test', sampling='$whole_tracks', pipeline='$test_pipeline')
train_dataloader = dict(dataset='$train_dataset', batch_size='$batch_size', num_workers='$num_workers')
val_dataloader = dict(dataset='$val_dataset', batch_size=1, num_workers='$num_workers')
test_dataloader = dict(dataset='$test_dataset', batch_size=1, num_workers='$num_workers')
val_evaluator = [dict(type='HandPoseMetric')]
test_evaluator = [dict(type='HandPoseMetric'), dict(type='HandMeshMetric', f_score_thresholds=[])]

# Options of the dataset (`handpose.datasets.HanCo` documents them all):
clip_step = 9  # frames from the start of one clip to that of the next
train_sequences = 1200  # sequences below this number are for training, the others for testing
held_out = 100  # of the former the last for validation; to train on them too: held_out=0 val_dataloader=None
annotated = 'all'  # or only frames whose hand-model fit exists ('has_fit') or was validated ('is_valid')
cameras = None  # all eight
predictions = None  # folder of predictions files, one for each track: input of refiners in place of simulated errors
labels = 'full'  # 'joints_only' reads no hand-model parameters, for people without the MANO files
