# PDTM on Re:InterHand at the paper's size and schedule. Needs joints and MANO fits (no images) and the MANO files.
_base_ = ['../_base_/runtime.py', '../_base_/reinterhand.py', './_base_.py', './_paper_schedule_.py']

data_root = 'data/reinterhand'
hand_model = dict(type='MANO', model_path='data/mano', fingertip_vertices='interhand', left_shapedirs='fixed')
