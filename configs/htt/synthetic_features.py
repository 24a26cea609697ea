# What stands on the backbone of `synthetic.py`, trained on its features, which do not change any more: an epoch takes
# seconds. For trying out parts (docs/ablations/htt_synthetic.yml); tools/convert/extract_features.py makes the file.
_base_ = './synthetic.py'

features = 'data/synthetic_h2o_features.npz'
features_pipeline = [
    dict(type='LoadFeatures', path='$features', data_root='$data_root'),
    dict(type='ResizeFrames', size='$image_size'),  # the camera follows
]
train_pipeline = test_pipeline = '$features_pipeline'
shuffled_pipeline = [*features_pipeline, dict(type='ShuffleFrames')]
model = dict(backbone=None)
