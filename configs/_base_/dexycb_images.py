# DexYCB's images: crops around the hand and the object, varied in training.
# Values written '$name' are the top-level values `name` of the config that uses this file.
_expects_ = [
    'image_size',  # side of the square crops, pixels
    'crop_rotation',  # radians to either side by which training crops are rotated
]

train_pipeline = [
    dict(type='LoadImages'),
    dict(
        type='HandCrop',
        size='$image_size',
        scale=1.5,
        union_object=True,
        centre_jitter=0.1,
        scale_jitter=0.2,
        rotation='$crop_rotation',
    ),
    dict(type='GaussianBlur', max_radius=0.5),
    dict(type='ColorJitter', brightness=0.5, contrast=0.5, saturation=0.5, hue=0.15),
]
test_pipeline = [dict(type='LoadImages'), dict(type='HandCrop', size='$image_size', scale=1.5, union_object=True)]
