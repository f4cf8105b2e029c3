"""What a comparison holds equal, and what not, for the first lines of its report."""
from collections.abc import Iterator, Sequence
from typing import Any

EQUAL = .05  # relative difference of parameters or multiply-adds that counts as none
#: settings that say what is trained on what, and how; the backbone and what follows from it aside
RECIPE = ('train_dataloader', 'optim_wrapper', 'param_scheduler', 'train_cfg', 'model')
FOLLOWS = ('backbone', 'in_channels')


def fairness_lines(models: list, labels: dict[str, str], tuning: Sequence[str] = ()) -> list[str]:
    """Data order, augmentation, updates, recipe, weights and size of the models that were trained.

    Args:
        models (list[Model]): of the comparison.
        labels (dict[str, str]): by name.
        tuning (Sequence[str]): what was tuned for whom; empty where that is not known.

    Returns:
        list[str]: a line each, none with fewer than two trained models.
    """
    trained = [model for model in models if model.runs]
    if len(trained) < 2:
        return []
    lines = [_seeds(trained, labels), _recipe(trained, labels), _weights(trained, labels)]
    lines += [_size(trained, labels, word, key) for word, key in (
        ('Parameters', 'params'), ('Multiply-adds', 'macs'))]
    return lines + (list(tuning) or ['What was tuned for whom is not known here.'])


def _seeds(models, labels):
    seeds = {labels[model.name]: [run.cfg.get('randomness', {}).get('seed') for run in model.runs]
             for model in models}
    known = [sorted(map(str, of)) for of in seeds.values()]
    if all(of == known[0] for of in known) and 'None' not in known[0]:
        word = 'Seeds' if len(known[0]) > 1 else 'Seed'
        return (f'{word} {", ".join(known[0])} of each model: images in the same order, with the '
                'same augmentation.')
    return 'Different seeds: ' + '; '.join(f'{name}: {", ".join(map(str, of))}'
                                           for name, of in seeds.items()) + '.'


def _weights(models, labels):
    """What the models start from."""
    sources = {labels[model.name]: _source(model.runs[0].cfg) for model in models}
    if len(set(sources.values())) == 1:
        source, = set(sources.values())
        return f'Each model starts from {source or "nothing"}.'
    if all(sources.values()):
        named = ', '.join(f'{name} from {source}' for name, source in sources.items())
        return f'Each model starts from weights of its own: {named}.'
    return 'Not all models start from weights: ' + ', '.join(
        f'{name} from {source or "nothing"}' for name, source in sources.items()) + '.'


def _source(cfg):
    """The weights of the whole model, or of its backbone, or an empty text."""
    start = cfg.model.get('backbone', {}).get('init_cfg') or {}
    checkpoint = start.get('checkpoint') if isinstance(start, dict) else None
    whole = (cfg.get('init_from') or {}).get('source') or cfg.get('load_from')
    return str(whole or checkpoint or '')


def _recipe(models, labels):
    """The keys in which the recipes differ, with their values."""
    first = models[0]
    differing: dict[str, dict[str, object]] = {}
    for model in models[1:]:
        for key in RECIPE:
            for path, one, other in differences(first.runs[0].cfg.get(key),
                                                model.runs[0].cfg.get(key), key):
                values = differing.setdefault(path, {labels[first.name]: one})
                values[labels[model.name]] = other
    if not differing:
        return 'Same heads, augmentation, number of updates and recipe.'
    named = '; '.join(f'{path} ({", ".join(f"{name}: {value}" for name, value in values.items())})'
                      for path, values in differing.items())
    return f'Same heads, augmentation, number of updates and recipe, except {named}.'


def differences(one: Any, other: Any, path: str) -> Iterator[tuple[str, object, object]]:
    """Where two nested settings differ: path, value of the one, value of the other."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in dict.fromkeys([*one, *other]):
            if key not in FOLLOWS:
                yield from differences(one.get(key), other.get(key), f'{path}.{key}')
    elif isinstance(one, list | tuple) and isinstance(other, list | tuple) and \
            len(one) == len(other):
        for index, pair in enumerate(zip(one, other)):
            yield from differences(*pair, f'{path}.{index}')
    elif one != other:
        yield path, one, other


def _size(models, labels, word, key):
    counts = {labels[model.name]: getattr(model.complexity.total, key) for model in models}
    spread = max(counts.values()) / min(counts.values()) - 1
    if spread <= EQUAL:
        return f'{word} of the whole models within {100 * spread:.1f} %.'
    named = ', '.join(f'{name} {count / 1e6:.1f} M' for name, count in counts.items())
    return f'{word} differ by {100 * spread:.0f} %, more than {100 * EQUAL:.0f} %: {named}.'
