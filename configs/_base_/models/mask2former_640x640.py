"""Mask2Former trained on 640x640 crops."""
_base_ = 'mask2former_512x512.py'

model = dict(data_preprocessor=dict(size=(640, 640)))
