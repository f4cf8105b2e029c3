"""Copies are found whatever their encoding and size; other images are not."""
import numpy as np
from PIL import Image, ImageEnhance

from convnext_dense.checks.similar import similar, thumbnail


def scene(seed, width=320, height=240):
    """A smooth image with some edges."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 255, (9, 12, 3), dtype=np.uint8))
    return coarse.resize((width, height), Image.BICUBIC)


def saved(image, path, **kwargs):
    image.save(path, **kwargs)
    with Image.open(path) as copy:
        return thumbnail(copy)


def test_copies_of_other_quality_format_and_size_are_found(tmp_path):
    originals = [saved(scene(seed), tmp_path / 'a.jpg', quality=95) for seed in range(40)]
    copies = [saved(scene(number), tmp_path / 'b.jpg', quality=30) for number in (3, 7)]
    copies.append(saved(scene(11).resize((200, 150)), tmp_path / 'b.png'))
    found = similar(copies, originals)
    assert [(later, earlier) for later, earlier, _ in found] == [(0, 3), (1, 7), (2, 11)]
    assert all(difference < 1 for *_, difference in found)


def test_different_images_are_no_copies():
    images = [thumbnail(scene(seed)) for seed in range(200)]
    assert similar(images[:50], images[50:]) == []


def test_a_much_darker_image_is_no_copy():
    dark = thumbnail(ImageEnhance.Brightness(scene(1)).enhance(.7))
    assert similar([dark], [thumbnail(scene(1))]) == []


def test_flat_images_say_nothing():
    flat = thumbnail(Image.new('RGB', (64, 64), (80, 80, 80)))
    assert similar([flat], [flat]) == []
    assert similar([], [flat]) == similar([flat], []) == []
