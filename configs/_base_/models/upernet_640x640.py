"""UperNet trained and tested on 640x640 crops."""
_base_ = 'upernet_512x512.py'

model = dict(
    data_preprocessor=dict(size=(640, 640)),
    test_cfg=dict(crop_size=(640, 640), stride=(426, 426)))
