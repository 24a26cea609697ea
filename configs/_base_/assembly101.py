# Assembly101: poses of two hands in the world, without images. Untrimmed recordings for short-term motion (P of G-HTT),
# trimmed actions for long-term motion (A), recognition and forecasting.
# Values written '$name' are the top-level values `name` of the config that uses this file.
_expects_ = [
    'data_root',  # folder of the dataset
    'num_frames',  # frames of a training clip of an untrimmed recording
    'num_observed',  # frames of a forecasting segment
    'batch_size',  # training samples in a batch, on each GPU
    'num_workers',  # processes that load data, on each GPU
]

train_pipeline = ['$input_noise']
test_pipeline = ['$input_noise']

labelled = dict(
    type='Assembly101',
    data_root='$data_root',
    poses='$poses',
    min_confidence='$min_confidence',
    taxonomy='$taxonomy',
    cache_dir='$cache_dir',
    on_broken='$on_broken',
)
clips = dict(type='ClipSampling', num_frames='$num_frames', clip_step='$clip_step')
whole_tracks = dict(type='Tracks')
segments = dict(type='ForecastSegments', num_observed='$num_observed', max_future='$max_future')
forecast_pipeline = [dict(type='SplitFuture', num_observed='$num_observed'), '$input_noise']

# Short-term motion: clips of whole recordings, and the transitions between actions with them.
train_dataset = dict(
    _include_='$labelled', split='train', segments='untrimmed', sampling='$clips', pipeline='$train_pipeline'
)
# Long-term motion: whole actions.
train_actions = dict(_include_='$labelled', split='train', sampling='$whole_tracks', pipeline='$train_pipeline')
val_actions = dict(_include_='$labelled', split='val', sampling='$whole_tracks', pipeline='$test_pipeline')
test_actions = dict(_include_='$labelled', split='test', sampling='$whole_tracks', pipeline='$test_pipeline')
# Forecasting: every segment of an action, and what follows it.
val_dataset = dict(_include_='$labelled', split='val', sampling='$segments', pipeline='$forecast_pipeline')
test_dataset = dict(_include_='$labelled', split='test', sampling='$segments', pipeline='$forecast_pipeline')
train_dataloader = dict(dataset='$train_dataset', batch_size='$batch_size', num_workers='$num_workers')
val_dataloader = dict(dataset='$val_dataset', batch_size='$test_batch_size', num_workers='$num_workers')
test_dataloader = dict(dataset='$test_dataset', batch_size='$test_batch_size', num_workers='$num_workers')

# The errors of a per-frame estimator, as a camera so many metres away would see the hands; or plain noise:
# input_noise = dict(type='GaussianJointNoise', std=0.005)
input_noise = dict(type='EstimatorNoise', camera_distance=(0.4, 0.8))

# Options of the dataset (`handpose.datasets.Assembly101` documents them all):
poses = None  # folder of the pose files below data_root; None: the official one that is there
min_confidence = 0.0  # of the tracker; hands that it trusts less are absent
taxonomy = None  # a YAML list of own actions; None: the dataset's actions.csv
cache_dir = None  # folder for arrays of the pose files, where data_root cannot be written
on_broken = 'error'  # 'skip' leaves recordings with damaged files out, and reports them
clip_step = 16  # frames from the start of one clip to that of the next
max_future = 96  # most frames after it
test_batch_size = 16  # forecasting samples in a batch
