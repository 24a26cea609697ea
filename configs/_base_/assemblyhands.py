# AssemblyHands: frames or clips of both hands in the views around the table or on the headset.
# Values written '$name' are the top-level values `name` of the config that uses this file.
_expects_ = [
    'data_root',  # folder of the dataset
    'views',  # 'exo', 'ego', or a list such as ['v1', 'v4', 'e1']
    'cameras_per_clip',  # views of a sample: None, all in one; 1, each on its own
    'num_frames',  # frames of a clip
    'batch_size',  # training clips in a batch, on each GPU
    'num_workers',  # processes that load data, on each GPU
    'train_pipeline',  # transforms of training clips
    'test_pipeline',  # transforms of validation and test clips
]

clips = dict(type='ClipSampling', num_frames='$num_frames', clip_step='$clip_step')
frames = dict(type='ClipSampling', num_frames='$num_frames', clip_step=1, centred=True)  # an odd number of frames
every_frame = dict(type='ClipSampling', num_frames='$num_frames', clip_step='$num_frames')  # whole tracks are too large
labelled = dict(
    type='AssemblyHands',
    data_root='$data_root',
    views='$views',
    cameras_per_clip='$cameras_per_clip',
    frame='$frame',
    sequences='$sequences',
    box_margin='$box_margin',
    frame_offset='$frame_offset',
    on_broken='$on_broken',
    packed='$packed',
)
# Training on A, M or M+A, as in the paper's Table 4: train_dataset=$automatic, $manual or $both. Each of the rare
# manual labels makes a clip of its own.
automatic = dict(
    _include_='$labelled', split='train', label_set='automatic', sampling='$clips', pipeline='$train_pipeline'
)
manual = dict(_include_='$labelled', split='train', label_set='manual', sampling='$frames', pipeline='$train_pipeline')
both = dict(type='DatasetMix', datasets=['$manual', '$automatic'])
train_dataset = '$automatic'
val_dataset = dict(
    _include_='$labelled', split='val', label_set='$test_labels', sampling='$every_frame', pipeline='$test_pipeline'
)
test_dataset = dict(
    _include_='$labelled', split='test', label_set='$test_labels', sampling='$every_frame', pipeline='$test_pipeline'
)
train_dataloader = dict(dataset='$train_dataset', batch_size='$batch_size', num_workers='$num_workers')
val_dataloader = dict(dataset='$val_dataset', batch_size='$test_batch_size', num_workers='$num_workers')
test_dataloader = dict(dataset='$test_dataset', batch_size='$test_batch_size', num_workers='$num_workers')
# The official metrics: mean error and area under the curve of correct joints from 0 to 50 mm, relative to the wrist,
# which counts as a joint with error 0.
pose_metric = dict(type='HandPoseMetric', auc_ranges=dict(ra_wrist=(0, 50, 101)))
val_evaluator = ['$pose_metric']
test_evaluator = ['$pose_metric']

# Options of the dataset (`handpose.datasets.AssemblyHands` documents them all):
frame = 'camera'  # of the first view; 'world' for several views
test_labels = 'automatic'  # or 'manual', which built-in data have
sequences = None  # names of some
clip_step = 1  # frames from the start of one training clip to that of the next
test_batch_size = 8  # clips in a batch of validation and tests
box_margin = 0.0  # share of the size by which boxes around joints are enlarged on each side
frame_offset = 0  # frames at 60 a second by which the videos are ahead of the annotations
packed = None  # path of a store of packed frames, far quicker to read than videos (docs/data/packed_frames.md)
on_broken = 'error'  # 'skip' leaves out cameras whose files are missing or damaged, and reports them
