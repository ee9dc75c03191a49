"""Everything that decides a run's result, and how it goes to and from `config.json`."""

import dataclasses
import json

from arconvl_tf.data.imbalance import Imbalance
from arconvl_tf.data.options import DataOptions
from arconvl_tf.experiments.recipes import RECIPES, Recipe


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """The configuration of one run.

    `recipe` holds what was left to the data set's recipe as well as what the user changed in it; `loss_options` are those
    in which the run differs from its method's own. `folds` is 0, or how many parts take turns at being the test side;
    `split_seed` divides the samples (by default `seed` does).
    """

    dataset: str
    recipe: Recipe
    _: dataclasses.KW_ONLY
    method: str = "arconvl"
    imbalance: Imbalance = dataclasses.field(default_factory=Imbalance)
    data: DataOptions = dataclasses.field(default_factory=DataOptions)
    seed: int = 0
    split_seed: int | None = None
    folds: int = 0
    feature_dim: int = 64
    precision: str = "float32"
    loss_options: dict = dataclasses.field(default_factory=dict)

    def follows_the_paper(self) -> bool:
        """Whether data and protocol are the paper's, so that its numbers are the ones to compare with."""
        papers = Imbalance(self.imbalance.factor)
        return self.imbalance == papers and self.feature_dim == 64 and self.recipe == RECIPES.get(self.dataset)

    def describe_imbalance(self) -> str:
        if self.imbalance.keep:
            return "counts by class"
        return "classes as they are" if self.imbalance == Imbalance() else f"imbalance {self.imbalance.factor:g}"

    def differences(self, other: "RunConfig") -> list[str]:
        """What another configuration has otherwise, in words."""
        wanted, held = self._flat(), other._flat()
        differing = [name for name in wanted | held if held.get(name) != wanted.get(name)]
        return [f"{name} {held.get(name)} in place of {wanted.get(name)}" for name in differing]

    def to_dict(self) -> dict:
        """For `config.json`; the parts of `data` and the imbalance stand beside the rest, its factor under `imbalance`."""
        values = dataclasses.asdict(self)
        imbalance = values.pop("imbalance")
        data = values.pop("data")
        return {**values, **data, "imbalance": imbalance.pop("factor"), "imbalance_seed": imbalance.pop("seed"), **imbalance}

    @classmethod
    def from_dict(cls, values: dict) -> "RunConfig":
        """The configuration of a `config.json`, also of one that an older version wrote."""
        values = dict(values)
        options = [field.name for field in dataclasses.fields(DataOptions)]
        data = DataOptions(**{name: values.pop(name) for name in options if name in values})
        imbalance = Imbalance(
            values.pop("imbalance"),
            minority=values.pop("minority"),
            profile=values.pop("profile"),
            keep=values.pop("keep") or None,
            seed=values.pop("imbalance_seed", None),
        )
        return cls(**{**values, "data": data, "imbalance": imbalance, "recipe": Recipe.from_dict(values["recipe"])})

    def _flat(self):
        """One level of names, as JSON keeps them: what the recipe and the loss options hold stands beside the rest."""
        rest = json.loads(json.dumps(self.to_dict()))
        return rest.pop("recipe") | rest.pop("loss_options") | rest
