# Own recordings (docs/guides/your_own_actions.md): a folder of predictions files and the list of their
# actions, poses only.
# Values written '$name' are the top-level values `name` of the config that uses this file.
_expects_ = [
    'data_root',  # the folder
    'num_frames',  # frames of a training clip of a whole recording
    'num_observed',  # frames that a forecast observes
    'batch_size',  # training samples in a batch, on each GPU
    'num_workers',  # processes that load data, on each GPU
]

recordings = dict(
    type='PoseFiles',
    data_root='$data_root',
    taxonomy='$taxonomy',
    held_out='$held_out',
    frame_rate='$recording_rate',
    min_frames='$min_frames',
    on_broken='$on_broken',
)
train_pipeline = ['$input_noise']
test_pipeline = ['$input_noise']
forecast_pipeline = [dict(type='SplitFuture', num_observed='$num_observed'), '$input_noise']
clips = dict(type='ClipSampling', num_frames='$num_frames', clip_step='$clip_step')
whole_tracks = dict(type='Tracks')
forecasts = dict(type='ForecastSegments', num_observed='$num_observed', max_future='$max_future')

# Short-term motion: clips of whole recordings, and forecasts in those that are held out. No actions are needed.
train_dataset = dict(
    _include_='$recordings', split='train', segments='untrimmed', sampling='$clips', pipeline='$train_pipeline'
)
val_dataset = dict(
    _include_='$recordings',
    split='val',
    segments='$test_segments',
    sampling='$forecasts',
    pipeline='$forecast_pipeline',
)
test_dataset = dict(
    _include_='$recordings',
    split='test',
    segments='$test_segments',
    sampling='$forecasts',
    pipeline='$forecast_pipeline',
)
# Long-term motion and recognition: the actions of actions.csv, which need the taxonomy.
trimmed = dict(_include_='$recordings', segments='trimmed', sampling='$whole_tracks')
train_actions = dict(_include_='$trimmed', split='train', pipeline='$train_pipeline')
val_actions = dict(_include_='$trimmed', split='val', pipeline='$test_pipeline')
test_actions = dict(_include_='$trimmed', split='test', pipeline='$test_pipeline')
train_dataloader = dict(dataset='$train_dataset', batch_size='$batch_size', num_workers='$num_workers')
val_dataloader = dict(dataset='$val_dataset', batch_size='$test_batch_size', num_workers='$num_workers')
test_dataloader = dict(dataset='$test_dataset', batch_size='$test_batch_size', num_workers='$num_workers')

input_noise = dict(type='EstimatorNoise')  # errors of a per-frame estimator; for files in frame 'wrist', another one:
# input_noise = dict(type='GaussianJointNoise', std=0.005)

# Options of the dataset (`handpose.datasets.PoseFiles` documents them all):
taxonomy = None  # path of the YAML list of the actions in actions.csv
held_out = []  # names or patterns of recordings for validation and tests, where actions.csv has no column split
test_segments = 'untrimmed'  # forecasts in whole recordings; 'trimmed': in the actions of actions.csv
recording_rate = 30.0  # recordings are resampled to it
min_frames = 16  # tracks that are shorter are refused
on_broken = 'error'  # 'skip' leaves out short tracks and files that cannot be read, and reports them
clip_step = 16  # frames from the start of one clip to that of the next
max_future = 96  # most frames after it
test_batch_size = 16  # forecasts in a batch
