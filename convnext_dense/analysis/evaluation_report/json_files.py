"""Figures as JSON."""
import json
import math
from pathlib import Path
from typing import Any

import numpy as np


def dump_json(path: Path, value: object) -> None:
    """Write ``value`` as JSON; arrays become lists, NaN null."""
    path.write_text(json.dumps(plain(value), indent=1, allow_nan=False) + '\n')


def plain(value: Any) -> Any:
    """JSON's types only: NaN becomes null."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and math.isnan(value) else value
