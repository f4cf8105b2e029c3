"""Runtime of a detector whose schedule counts iterations."""
_base_ = 'detection.py'

default_hooks = dict(checkpoint=dict(by_epoch=False, interval=5000))
log_processor = dict(by_epoch=False)
