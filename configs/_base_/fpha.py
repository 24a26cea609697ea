# FPHA: clips of the right hand and its actions for training, whole videos for testing; no official validation split.
# Values written '$name' are the top-level values `name` of the config that uses this file.
_expects_ = [
    'data_root',  # folder of the dataset
    'image_size',  # width and height of the images, pixels
    'num_frames',  # frames of a training clip
    'frame_step',  # frames of the video from one frame of a clip to the next
    'window',  # frames of the pose block, by which clips are placed
    'batch_size',  # training clips in a batch, on each GPU
    'num_workers',  # processes that load data, on each GPU
]

train_pipeline = [
    dict(type='LoadImages'),
    dict(type='ResizeFrames', size='$image_size'),
    dict(type='ShiftFrames', max_shift=0.1),
    dict(type='GaussianBlur', max_radius=0.5, per_frame=True),
    dict(type='ColorJitter', brightness=0.5, contrast=0.5, saturation=0.5, hue=0.15),
]
test_pipeline = [dict(type='LoadImages'), dict(type='ResizeFrames', size='$image_size')]

whole_tracks = dict(type='Tracks')
labelled = dict(
    type='FPHA',
    data_root='$data_root',
    protocol='$protocol',
    images='$images',
    packed='$packed',
    taxonomy='$taxonomy',
    on_broken='$on_broken',
)
train_dataset = dict(
    _include_='$labelled',
    split='train',
    held_out='$held_out',
    sampling=dict(
        type='ActionClips',
        num_frames='$num_frames',
        frame_step='$frame_step',
        clip_step='$clip_step',
        window='$window',
        random_start='$random_start',
    ),
    pipeline='$train_pipeline',
)
val_dataset = dict(
    _include_='$labelled', split='val', held_out='$held_out', sampling='$whole_tracks', pipeline='$test_pipeline'
)
test_dataset = dict(_include_='$labelled', split='test', sampling='$whole_tracks', pipeline='$test_pipeline')
train_dataloader = dict(dataset='$train_dataset', batch_size='$batch_size', num_workers='$num_workers')
val_dataloader = dict(dataset='$val_dataset', batch_size=1, num_workers='$num_workers')
test_dataloader = dict(dataset='$test_dataset', batch_size=1, num_workers='$num_workers')

# HTT's protocol: 0 to 80 mm in the camera's space, 0 to 50 mm from the wrist, which does not count then.
pose_metric = dict(
    type='HandPoseMetric',
    auc_ranges=dict(cam=(0, 80, 33), ra_wrist=(0, 50, 21)),
    count_wrist=False,
)
action_metric = dict(type='ActionMetric')
val_evaluator = ['$pose_metric', '$action_metric']
test_evaluator = ['$pose_metric', '$action_metric']

# What the dataset has (the model's heads are made for it).
num_hands, num_objects, num_actions = 1, 26, 45

# Options of the dataset (`handpose.datasets.FPHA` documents them all):
protocol = 'actions'  # the official split of the videos; 'subjects': 1, 3 and 4 for training
# Subjects whose training videos are for validation; the paper trains on all: held_out=[] val_dataloader=None
held_out = ['Subject_6']
images = 'Video_files'  # or 'Video_files_480': smaller copies are faster to read
packed = None  # path of a store of packed frames, much faster still (docs/data/packed_frames.md)
taxonomy = None  # a YAML list of own actions; then set num_actions and num_objects too
clip_step = 1  # frames of the video from the start of one clip to that of the next, at least
random_start = False  # True: one clip of each block an epoch, so that an epoch is short
on_broken = 'error'  # 'skip' keeps frames whose images are missing, as padding, and reports how many
