# The data of G-HTT (Wen et al., section 4.1): poses of Assembly101, H2O and AssemblyHands together, in the world's
# frame at 30 a second; one list of actions, Assembly101's 1,380 and H2O's 36.
# Values written '$name' are the top-level values `name` of the config that uses this file.
_expects_ = [
    'assembly101_root',  # folder of Assembly101
    'h2o_root',  # folder of H2O, of which the download mode `pose` is enough
    'assemblyhands_root',  # folder of AssemblyHands
    'num_frames',  # frames of a training clip of an untrimmed recording
    'num_observed',  # frames of a forecasting segment
    'batch_size',  # training samples in a batch, on each GPU
    'num_workers',  # processes that load data, on each GPU
    'input_noise',  # the transform that makes the input from the true joints
]

assembly101 = dict(type='Assembly101', data_root='$assembly101_root', on_broken='$on_broken')
h2o = dict(type='H2OPoses', data_root='$h2o_root', cameras='$h2o_cameras', on_broken='$on_broken')
assemblyhands = dict(
    type='AssemblyHandsPoses',
    data_root='$assemblyhands_root',
    assembly101='$assembly101_root',  # its recordings are Assembly101's, and so are their actions
    on_broken='$on_broken',
)
names_of = ['$assembly101', '$h2o', '$assemblyhands']  # whose actions have joint numbers, in all that follows

# Short-term motion: clips of whole recordings.
clips = dict(type='ClipSampling', num_frames='$num_frames', clip_step='$clip_step')
untrimmed = dict(split='train', segments='untrimmed', sampling='$clips', pipeline=['$input_noise'])
train_dataset = dict(
    type='DatasetMix',
    names_of='$names_of',
    datasets=[
        dict(_include_='$assembly101', **untrimmed),
        dict(_include_='$h2o', **untrimmed),
        dict(_include_='$assemblyhands', **untrimmed),
    ],
)
# Long-term motion: whole actions.
whole_tracks = dict(type='Tracks')
trimmed = dict(segments='trimmed', sampling='$whole_tracks', pipeline='$action_pipeline')
train_actions = dict(
    type='DatasetMix',
    names_of='$names_of',
    datasets=[
        dict(_include_='$assembly101', split='train', **trimmed),
        dict(_include_='$h2o', split='train', **trimmed),
        dict(_include_='$assemblyhands', split='train', **trimmed),
    ],
)
val_actions = dict(
    type='DatasetMix',
    names_of='$names_of',
    datasets=[dict(_include_='$h2o', split='val', **trimmed), dict(_include_='$assemblyhands', split='val', **trimmed)],
)
# Forecasting: every segment of an action, and what follows it. The tables have a column for each of these datasets:
# `test_dataset=$h2o_val` and so on.
segments = dict(type='ForecastSegments', num_observed='$num_observed', max_future='$max_future')
forecast_pipeline = [dict(type='SplitFuture', num_observed='$num_observed'), '$input_noise']
forecasts = dict(segments='trimmed', sampling='$segments', pipeline='$forecast_pipeline')
h2o_val = dict(type='DatasetMix', names_of='$names_of', datasets=[dict(_include_='$h2o', split='val', **forecasts)])
h2o_test = dict(type='DatasetMix', names_of='$names_of', datasets=[dict(_include_='$h2o', split='test', **forecasts)])
assemblyhands_val = dict(
    type='DatasetMix', names_of='$names_of', datasets=[dict(_include_='$assemblyhands', split='val', **forecasts)]
)
val_dataset = test_dataset = '$assemblyhands_val'
train_dataloader = dict(dataset='$train_dataset', batch_size='$batch_size', num_workers='$num_workers')
val_dataloader = dict(dataset='$val_dataset', batch_size='$test_batch_size', num_workers='$num_workers')
test_dataloader = dict(dataset='$test_dataset', batch_size='$test_batch_size', num_workers='$num_workers')

# Options of the datasets (`handpose.datasets` documents them all):
h2o_cameras = ['cam0', 'cam1', 'cam2', 'cam3', 'cam4']  # of each recording the annotations of all five
on_broken = 'skip'  # leaves out damaged files, and actions that are too short to be observed, and reports them
clip_step = 16  # frames from the start of one clip to that of the next
max_future = 96  # most frames after a segment
action_pipeline = []  # of whole actions: true motion
test_batch_size = 64  # forecasting samples in a batch
