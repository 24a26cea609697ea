# HTT on H2O at the paper's size and schedule. Needs the dataset (docs/data/action_datasets.md).
_base_ = ['../_base_/runtime.py', '../_base_/h2o.py', './_base_.py', './_paper_schedule_.py']

data_root = 'data/h2o'
model = dict(backbone=dict(norm_eval=True, pretrained='$imagenet'))  # batch norm keeps the statistics of these weights
