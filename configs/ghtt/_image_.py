# The image estimator F of G-HTT (Wen et al., section 3.4): ResNet-18, and heads of both hands and the object.
# Values written '$name' are the top-level values `name` of the config that uses this file.
_expects_ = [
    'image_size',  # width and height of the images, pixels
    'num_hands',  # hands in an image: 1 or 2
    'object_names',  # of the object classes, as the dataset numbers them
]

channels = 512  # of the backbone's feature
text_features = None  # a table that `handpose text-features` wrote; None: compositional features
num_frames, window = 1, 1  # frames are seen one by one

model = dict(
    type='FrameHandObject',
    normalizer=dict(type='ImageNormalizer', mean=(127.5, 127.5, 127.5), std=(255.0, 255.0, 255.0)),
    backbone=dict(type='PooledResNet', depth=18),
    pose_head=dict(
        type='Pose25DHead',
        channels='$channels',
        num_hands='$num_hands',
        image_size='$image_size',
    ),
    object_head=dict(
        type='MLP',
        in_channels='$channels',
        channels=(512, 512),  # the last one: numbers of a text feature
        activation='leaky_relu',
    ),
    object_names='$object_names',
    text_features='$text_features',
    tau=0.07,  # temperature of the cosine similarities with the text features of objects
    loss=dict(
        type='FrameHandObjectLoss',
        hand_weight=0.5,
        depth_weight=200.0,
        contrast_weight=1.0,
        feature_weight=1.0,
    ),
)

val_cfg, test_cfg = dict(), dict()
