"""A comparison that trains: which trainings it takes, and the learning rate of each model.

Every model tries every learning rate of one grid once, with a seed that does not count; the best
one trains the seeds that count. So each gets the same number of tries, and none is judged on the
seed that it was tuned with.
"""
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Training:
    """One training of a model."""
    model: str
    lr: float
    seed: int

    @property
    def folder(self) -> str:
        """Its work directory below that of the study."""
        return f'{self.model.lower()}/lr-{self.lr:g}_seed-{self.seed}'


@dataclass(frozen=True)
class Study:
    """The plan of a comparison.

    Attributes:
        configs (dict[str, Path]): config of each model by its name.
        lrs (tuple[float, ...]): the grid, the largest learning rate of the schedule; with one
            there is nothing to choose.
        seeds (tuple[int, ...]): that count, the same for each model.
        tuning_seed (int): none of them.
    """
    configs: dict[str, Path]
    lrs: tuple[float, ...]
    seeds: tuple[int, ...]
    tuning_seed: int

    def __post_init__(self) -> None:
        if self.tuning_seed in self.seeds:
            raise ValueError(f'seed {self.tuning_seed} both tunes and counts')

    def tuning(self) -> list[Training]:
        """The trainings that choose the learning rates."""
        if len(self.lrs) == 1:
            return []
        return [Training(model, lr, self.tuning_seed) for lr in self.lrs for model in self.configs]

    def counted(self, lrs: dict[str, float]) -> list[Training]:
        """The trainings that are compared, a seed of every model before the next seed."""
        return [Training(model, lrs[model], seed) for seed in self.seeds for model in self.configs]

    def choose(self, figures: dict[Training, float]) -> dict[str, float]:
        """The best learning rate of each model, the lower of two that are as good.

        Args:
            figures (dict[Training, float]): what the trainings of :meth:`tuning` reached.
        """
        return {model: max(sorted(self.lrs), key=lambda lr: figures.get(
            Training(model, lr, self.tuning_seed), 0.)) for model in self.configs}

    def tuning_lines(self, figures: dict[Training, float]) -> list[str]:
        """What was tuned for whom, a line each."""
        if len(self.lrs) == 1:
            return [f'Learning rate {self.lrs[0]:g} for each model; nothing was tuned.']
        chosen = self.choose(figures)
        lines = [f'Learning rate of each model: the best of {len(self.lrs)} with seed '
                 f'{self.tuning_seed}, which does not count, on the validation images.']
        for model in self.configs:
            tried = ', '.join(f'{lr:g} reached {figures[Training(model, lr, self.tuning_seed)]:.1f}'
                              for lr in self.lrs)
            line = f'{model}: {tried}; took {chosen[model]:g}'
            if chosen[model] in (min(self.lrs), max(self.lrs)):
                line += ', the end of the grid: a wider one may serve it better'
            lines.append(line + '.')
        return lines
