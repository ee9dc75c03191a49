"""Every method that can be trained and compared, one record each: command line, tables and figures read them here.

This module is plain data: it imports neither TensorFlow nor Keras before an objective is asked for.
"""

import dataclasses
import importlib
import inspect


@dataclasses.dataclass(frozen=True)
class Method:
    """One method.

    `objective` is the class that it trains on. `fixed` are the options of that class which make the method what it is;
    `reading` those in which the recipe that reproduces the paper's tables departs from the class's defaults, and
    `on_dataset` what the paper's supplement sets on some data sets: both can be set otherwise. `published` is the row of
    the paper's tables, with `ablation` of Table 2 and the supplement's Table 4; `colour` that of its curves.
    """

    name: str
    objective: str
    colour: str
    published: str | None = None
    ablation: bool = False
    fixed: dict = dataclasses.field(default_factory=dict)
    reading: dict = dataclasses.field(default_factory=dict)
    on_dataset: dict = dataclasses.field(default_factory=dict)

    def dataset_options(self, dataset: str) -> dict:
        """What the supplement sets otherwise on a data set than elsewhere.

        Example:
            >>> METHODS["affinity"].dataset_options("cifar10"), METHODS["affinity"].dataset_options("mnist")
            ({'affinity_margin': 0.43}, {})
        """
        return self.on_dataset.get(dataset, self.on_dataset.get("*", {}))

    def changed_options(self, dataset: str, options: dict) -> dict:
        """The options in which a run differs from the usual: what is only spelled out is no change.

        Example:
            >>> METHODS["la"].changed_options("mnist", {"temperature": 1.0})
            {}
            >>> METHODS["affinity"].changed_options("cifar10", {"bandwidth": 5.0})
            {'affinity_margin': 0.43, 'bandwidth': 5.0}
        """
        defaults = {name: argument.default for name, argument in self._arguments().items()}
        usual = defaults | self.fixed | self.reading | self.dataset_options(dataset)
        changed = {name: value for name, value in options.items() if name not in usual or usual[name] != value}
        return self.dataset_options(dataset) | changed

    def make_objective(self, class_counts, **options):
        """The objective for classes of so many training samples.

        Raises:
            ValueError: on an option that the method does not have.
        """
        arguments = self._arguments()
        settable = [argument for argument in arguments if argument != "class_counts" and argument not in self.fixed]
        unknown = sorted(set(options) - set(settable))
        if unknown:
            raise ValueError(
                f"Expected a setting of the method {self.name} ({', '.join(settable) or 'it has none'}). "
                f"Received: {', '.join(unknown)}"
            )
        counts = {"class_counts": class_counts} if "class_counts" in arguments else {}
        return self.objective_class()(**counts, **{**self.reading, **self.fixed, **options})

    def objective_class(self):
        module, _, name = self.objective.partition(":")
        return getattr(importlib.import_module(module), name)

    def _arguments(self):
        return inspect.signature(self.objective_class()).parameters


# Colours that colour-blind readers can tell apart (Okabe and Ito, Tol).
METHODS = {
    method.name: method
    for method in (
        Method("arconvl", "arconvl_tf.losses:ARConvLLoss", "#D55E00", published="ARConvL"),
        Method(
            "arc-c",
            "arconvl_tf.losses:ARConvLLoss",
            "#E69F00",
            published="ARC-C",
            ablation=True,
            fixed={"center_loss": False},
        ),
        Method("cpl", "arconvl_tf.baselines:CPLLoss", "#999999", published="CPL"),
        Method("gcpl", "arconvl_tf.baselines:GCPLLoss", "#000000", published="GCPL"),
        Method("focal", "arconvl_tf.baselines:FocalLoss", "#56B4E9", published="Focal", reading={"normalized": True}),
        Method("cb", "arconvl_tf.baselines:ClassBalancedLoss", "#009E73", published="CB"),
        Method(
            "cb-focal",
            "arconvl_tf.baselines:ClassBalancedFocalLoss",
            "#F0E442",
            published="CB Focal",
            reading={"weighted_mean": True},
            on_dataset={"i_naturalist2018": {"effective_number_beta": 0.999, "focusing": 0.5}},
        ),
        Method(
            "affinity",
            "arconvl_tf.baselines:AffinityLoss",
            "#CC79A7",
            published="Affinity",
            on_dataset={"mnist": {}, "fashion_mnist": {}, "*": {"affinity_margin": 0.43}},
        ),
        Method("la", "arconvl_tf.baselines:LogitAdjustmentLoss", "#0072B2", published="LA"),
        # Not in the paper; "balanced-softmax" is LA with τ = 1 under the name others know it by.
        Method("balanced-softmax", "arconvl_tf.baselines:LogitAdjustmentLoss", "#332288", fixed={"temperature": 1.0}),
        Method("ldam-drw", "arconvl_tf.baselines:LDAMLoss", "#882255", fixed={"reweighted": False}),
    )
}


def method_named(name: str) -> Method:
    """The record of a method.

    Raises:
        ValueError: on an unknown name.
    """
    if name not in METHODS:
        raise ValueError(f"Expected a method among {', '.join(METHODS)}. Received: {name!r}")
    return METHODS[name]
