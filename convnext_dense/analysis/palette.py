"""Colours of the charts: any two stay apart for readers with any kind of colour blindness.

The six were searched for: the smallest distance between two of them, over normal sight,
deuteranopia, protanopia and tritanopia, is 27 in CAM02-UCS (1 can just be seen), and each has a
contrast of at least 3 with white. Beyond six models the symbol tells them apart. Six others were
searched for on a dark page: 25 apart, the page included, with a contrast of at least 3.
"""
COLOURS = ('#0069B4', '#E1780F', '#877878', '#00005A', '#782D00', '#0F0000')
SYMBOLS = ('circle', 'diamond', 'square', 'triangle-up', 'x', 'star')
PATTERNS = ('', '/', '.', 'x', '-', '+')
#: marks that leave a bubble its area
BUBBLES = ('circle', 'circle-cross', 'circle-x', 'circle-dot')
DASHES = ('solid', 'dash', 'dot', 'dashdot', 'longdash', 'longdashdot')
INK, GRID, PAPER = '#1A1A1A', '#D9D9D9', '#FFFFFF'
DARK_COLOURS = ('#30C0E0', '#C07830', '#FFE030', '#E0FFFF', '#A030FF', '#307878')
DARK_INK, DARK_GRID, DARK_PAPER = '#E8E8E8', '#444444', '#161616'


def style(index: int) -> dict[str, str]:
    """Colour, marker symbol, fill pattern and line dash of the model at ``index``."""
    count = len(COLOURS)
    return dict(colour=COLOURS[index % count],
                symbol=SYMBOLS[(index + index // count) % count],
                pattern=PATTERNS[(index + index // count) % count],
                dash=DASHES[(index + index // count) % count])


def bubble_style(index: int) -> tuple[str, str]:
    """Colour and symbol of the bubbles at ``index``."""
    return COLOURS[index % len(COLOURS)], BUBBLES[index // len(COLOURS) % len(BUBBLES)]


def translucent(colour: str, alpha: float) -> str:
    """``#RRGGBB`` as a CSS colour of this opacity, in [0, 1]."""
    red, green, blue = (int(colour[i:i + 2], 16) for i in (1, 3, 5))
    return f'rgba({red},{green},{blue},{alpha})'


def dark_of() -> dict[str, str]:
    """What a dark page writes for each colour of a light one, ``rgba(...`` of translucent ones
    included."""
    pairs = dict(zip((*COLOURS, INK, GRID, PAPER),
                     (*DARK_COLOURS, DARK_INK, DARK_GRID, DARK_PAPER)))
    return pairs | {_opening(light): _opening(dark) for light, dark in pairs.items()}


def _opening(colour):
    """``rgba(r,g,b`` of a colour of any opacity."""
    return translucent(colour, 0).rpartition(',')[0]
