# Block P of G-HTT at the paper's size, on three datasets together. Needs them (docs/data/action_datasets.md).
# 48.2 M parameters.
_base_ = ['../_base_/runtime.py', './_three_datasets_.py', './_base_.py', './_baselines_.py']

assembly101_root = 'data/assembly101'
h2o_root = 'data/h2o'
assemblyhands_root = 'data/assemblyhands'
batch_size = 256  # on each GPU: the paper's on one, batch_size=64 on four
num_workers = 8
input_noise = dict(type='GaussianJointNoise', std=0.005)  # metres; the paper does not say how much

model = '$pose'
actions = objects = []  # block A reads them
num_actions = 1416

epochs = 80
train_cfg = dict(by_epoch=True, max_epochs='$epochs', val_interval=10)
val_cfg, test_cfg = dict(), dict()
val_evaluator = [dict(type='ForecastMetric')]
test_evaluator = [dict(type='ForecastMetric')]
