"""UperNet trained and tested on crops of 512x1024."""
_base_ = 'upernet_512x512.py'

model = dict(
    data_preprocessor=dict(size=(512, 1024)),
    test_cfg=dict(crop_size=(512, 1024), stride=(341, 683)))
