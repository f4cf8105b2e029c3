"""The formats by name; light, as the command line's help lists them."""
FORMAT_NAMES = ('coco', 'yolo', 'voc', 'labelme', 'cvat', 'colour-masks', 'index-masks')
