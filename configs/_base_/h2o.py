# H2O: clips of both hands and their actions for training, whole videos for validation and testing.
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
    type='H2O',
    data_root='$data_root',
    camera='$camera',
    images='$images',
    packed='$packed',
    objects='$objects',
    taxonomy='$taxonomy',
    on_broken='$on_broken',
)
train_dataset = dict(
    _include_='$labelled',
    split='train',
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
val_dataset = dict(_include_='$labelled', split='val', sampling='$whole_tracks', pipeline='$test_pipeline')
test_dataset = dict(_include_='$labelled', split='test', sampling='$whole_tracks', pipeline='$test_pipeline')
train_dataloader = dict(dataset='$train_dataset', batch_size='$batch_size', num_workers='$num_workers')
val_dataloader = dict(dataset='$val_dataset', batch_size=1, num_workers='$num_workers')
test_dataloader = dict(dataset='$test_dataset', batch_size=1, num_workers='$num_workers')

# HTT's protocol: 0 to 90 mm in the camera's space, 0 to 50 mm from the wrist, which does not count then.
pose_metric = dict(
    type='HandPoseMetric',
    auc_ranges=dict(cam=(0, 90, 37), ra_wrist=(0, 50, 21)),
    count_wrist=False,
)
action_metric = dict(type='ActionMetric')
val_evaluator = ['$pose_metric', '$action_metric']
test_evaluator = ['$pose_metric', '$action_metric']  # the official test list has no actions: see the submission
results_file = dict(type='H2OSubmission')  # of `tools/test.py --results`

# What the dataset has (the model's heads are made for it), and the indices of its classes.
num_hands, num_objects, num_actions = 2, 8, 36

# Options of the dataset (`handpose.datasets.H2O` documents them all):
camera = 'cam4'  # the egocentric one
images = 'rgb'  # or 'rgb256', 'rgb480_270': smaller copies are faster to read
packed = None  # path of a store of packed frames, much faster still (docs/data/packed_frames.md)
objects = 'action'  # the noun of the action, as published; 'obj_pose': the object of every frame by its own file
taxonomy = None  # a YAML list of own actions; then set num_actions and num_objects too
clip_step = 1  # frames of the video from the start of one clip to that of the next, at least
random_start = False  # True: one clip of each block an epoch, so that an epoch is short
on_broken = 'error'  # 'skip' keeps frames whose files are missing, as padding, and reports how many
