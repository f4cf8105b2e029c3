"""How the images, instances and labels of a data set are spread over its classes."""
from collections import Counter
from typing import Any

from convnext_dense.checks.image_checks import ImageTask
from convnext_dense.datasets.coco_areas import size_name
from convnext_dense.datasets.splits import Split


def usable(annotation: dict[str, Any]) -> bool:
    """Whether training can learn from an annotation: mmdet skips the others."""
    _, _, width, height = annotation['bbox']
    return (width >= 1 and height >= 1 and annotation['area'] > 0
            and not annotation.get('ignore') and not annotation['iscrowd'])


def instance_balance(split: Split, tasks: list[ImageTask]) -> dict[str, dict]:
    """Instances that training can use, and images with one, for each class."""
    instances: Counter[str] = Counter()
    images: Counter[str] = Counter()
    for task in tasks:
        names = [annotation['category'] for annotation in task.annotations if usable(annotation)]
        instances.update(names)
        images.update(set(names))
    return {name: dict(instances=instances[name], images=images[name])
            for name in split.classes} if split.kind == 'coco' else {}


def instance_sizes(tasks: list[ImageTask]) -> dict[str, Any]:
    """Usable instances, crowds, empty images, and COCO's size classes (32 and 96 pixels)."""
    sizes: Counter[str] = Counter()
    crowds = 0
    for task in tasks:
        for annotation in task.annotations:
            crowds += bool(annotation.get('iscrowd'))
            if usable(annotation):
                area = annotation['area']
                sizes[size_name(area)] += 1
    return dict(instances=sum(sizes.values()), crowds=crowds,
                images_without_instances=sum(not any(map(usable, task.annotations))
                                               for task in tasks),
                **{size: sizes[size] for size in ('small', 'medium', 'large')})


def label_balance(split: Split, pixels: Counter[int],
                  images: Counter[int]) -> tuple[dict[str, dict], float | None]:
    """Pixels and images of each class, and the share of ignored pixels.

    Args:
        pixels, images (Counter): by loaded label value.
    """
    counts: dict[str, dict[str, Any]] = {name: dict(pixels=pixels[label], images=images[label])
              for label, name in enumerate(split.classes)}
    total = sum(pixels.values())
    used = sum(count['pixels'] for count in counts.values())
    for count in counts.values():
        count['share'] = round(count['pixels'] / used, 6) if used else 0.
    return counts, round(1 - used / total, 6) if total else None


def size_range(sizes: Counter[tuple[int, int]]) -> dict[str, list[int]]:
    """Smallest, most frequent and largest (width, height)."""
    if not sizes:
        return {}
    by_area = sorted(sizes, key=lambda size: size[0] * size[1])
    return dict(smallest=list(by_area[0]), most_frequent=list(sizes.most_common(1)[0][0]),
                largest=list(by_area[-1]))
