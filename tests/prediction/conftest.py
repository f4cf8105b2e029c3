"""The fixtures of this folder."""
from prediction.trained import detector, images, segmenter, shapes  # noqa: F401
