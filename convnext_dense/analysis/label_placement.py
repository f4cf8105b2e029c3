"""Where the names of a chart's points go, so that they cover neither each other nor the points."""
#: plotly's name of a position, and its direction from the point (y upwards)
POSITIONS = {'top center': (0, 1), 'bottom center': (0, -1), 'middle right': (1, 0),
             'middle left': (-1, 0), 'top right': (1, 1), 'bottom right': (1, -1),
             'top left': (-1, 1), 'bottom left': (-1, -1)}
PLOT = 640, 340  # pixels, about what a chart's axes enclose
PHONE = 270  # pixels, their width on a phone


def place_labels(points: list[tuple[float, float]], texts: list[str], diameters: list[float],
                 x_range: tuple[float, float], y_range: tuple[float, float],
                 font_size: int = 13) -> list[str]:
    """Position of each text, the first of ``POSITIONS`` that costs the least overlap.

    Args:
        points (list[tuple[float, float]]): x and y in the units of the axes.
        texts (list[str]): a name for each point.
        diameters (list[float]): of the bubbles, in pixels.
        x_range, y_range (tuple[float, float]): lower and upper end of the axes.
        font_size (int): in pixels.

    Returns:
        list[str]: keys of ``POSITIONS``.
    """
    centres = [tuple((value - low) / (high - low) * side for value, (low, high), side in
                     zip(point, (x_range, y_range), PLOT)) for point in points]
    bubbles = [_box(x, y, size, size) for (x, y), size in zip(centres, diameters)]
    placed: list[tuple] = []
    positions: list[str] = []
    for (x, y), text, diameter in zip(centres, texts, diameters):
        width, height = .62 * font_size * len(text), 1.1 * font_size
        reach = diameter / 1.6 + 1  # plotly's distance from the centre to the text
        boxes = {position: _box(x + right * (reach + width / 2), y + up * (reach + height / 2),
                                width, height) for position, (right, up) in POSITIONS.items()}
        shift = x * (PHONE / PLOT[0] - 1)  # from the place on a desktop to that on a phone
        costs = {position: _cost(box, placed, bubbles) + 4 * _outside(
            (box[0] + shift, box[1], box[2] + shift, box[3]), PHONE)
            for position, box in boxes.items()}
        positions.append(min(costs, key=lambda position: costs[position]))
        placed.append(boxes[positions[-1]])
    return positions


def _cost(box, placed, bubbles):
    """Area that a text would cover or lose; a text on a text is worse than one on a bubble."""
    return (4 * sum(_overlap(box, other) for other in placed) + 4 * _outside(box, PLOT[0])
            + sum(_overlap(box, other) for other in bubbles))


def _outside(box, width):
    """Area of a text that a frame of this width cuts off."""
    area = (box[2] - box[0]) * (box[3] - box[1])
    return area - _overlap(box, (0, 0, width, PLOT[1]))


def _box(x, y, width, height):
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _overlap(first, second):
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    return max(width, 0) * max(height, 0)
