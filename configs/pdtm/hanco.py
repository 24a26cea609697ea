# PDTM on HanCo (right hands, first 1,200 sequences to train), paper's size and schedule. Needs the MANO files.
_base_ = ['../_base_/runtime.py', '../_base_/hanco.py', './_base_.py', './_paper_schedule_.py']

data_root = 'data/hanco'
hand_model = dict(type='MANO', model_path='data/mano', fingertip_vertices='freihand')
