# DexYCB: clips of `num_frames` frames, `frame_step` apart, for training; whole tracks for testing.
# Values written '$name' are the top-level values `name` of the config that uses this file.
_expects_ = [
    'data_root',  # folder of the dataset
    'hand_model',  # dict of the hand model, e.g. of MANO or ProceduralHand
    'num_frames',  # frames of a training clip
    'frame_step',  # frames of the video from one frame of a clip to the next
    'batch_size',  # training clips in a batch, on each GPU
    'num_workers',  # processes that load data, on each GPU
    'train_pipeline',  # transforms of training clips
    'test_pipeline',  # transforms of validation and test tracks
]

whole_tracks = dict(type='Tracks')
labelled = dict(
    type='DexYCB',
    data_root='$data_root',
    setup='$setup',
    hand_model='$hand_model',
    labels='$labels',
    predictions='$predictions',
    on_broken='$on_broken',
    packed='$packed',
)
train_dataset = dict(
    _include_='$labelled',
    split='train',
    sampling=dict(
        type='ClipSampling', num_frames='$num_frames', frame_step='$frame_step', clip_step='$clip_step', centred=True
    ),
    pipeline='$train_pipeline',
)
val_dataset = dict(_include_='$labelled', split='val', sampling='$whole_tracks', pipeline='$test_pipeline')
test_dataset = dict(
    _include_='$labelled', split='$test_split', sampling='$whole_tracks', pipeline='$test_pipeline', partial='$partial'
)
train_dataloader = dict(dataset='$train_dataset', batch_size='$batch_size', num_workers='$num_workers')
val_dataloader = dict(dataset='$val_dataset', batch_size=1, num_workers='$num_workers')
test_dataloader = dict(dataset='$test_dataset', batch_size=1, num_workers='$num_workers')
val_evaluator = [dict(type='HandPoseMetric')]
test_evaluator = [dict(type='HandPoseMetric'), dict(type='HandMeshMetric')]
results_file = dict(type='DexYCBResults')  # what `tools/test.py --results FILE` writes

# Options of the dataset (`handpose.datasets.DexYCB` documents them all):
setup = 's0'  # official split: s0 unseen sequences, s1 subjects, s2 cameras, s3 grasps; 'all' = everything there is
test_split = 'test'
clip_step = 1  # frames from the centre of one clip to that of the next, at least; 1: a clip for every annotated frame
predictions = None  # folder of predictions files, one for each track: input of refiners in place of simulated errors
labels = 'full'  # 'joints_only' reads no hand-model parameters, for people without the MANO files
partial = False  # True: a test root of which only some frames are on disk
packed = None  # path of a store of packed frames, to read images from it (docs/data/packed_frames.md)
on_broken = 'error'  # 'skip' leaves broken samples out and reports how many
