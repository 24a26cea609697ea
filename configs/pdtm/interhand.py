# PDTM on InterHand2.6M (30 fps release) at the paper's size and schedule. Needs the annotations and the MANO files.
# The inputs are true joints with the noise model; docs/systems/pdtm.md says how to take an estimator's own predictions.
_base_ = ['../_base_/runtime.py', '../_base_/interhand.py', './_base_.py', './_paper_schedule_.py']

data_root = 'data/interhand26m_30fps'
hand_model = dict(type='MANO', model_path='data/mano', fingertip_vertices='interhand', left_shapedirs='fixed')
