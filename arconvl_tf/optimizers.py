"""Two optimizers as one: the radii's, and that of everything else."""

import keras

# Full match on a variable's path, as Keras' OptimizerMap has it.
RADII_PATTERN = ".*class_regions/radii"


@keras.saving.register_keras_serializable("arconvl_tf")
class MainAndRadiusOptimizer(keras.optimizers.MultiOptimizer):
    """Keras' `MultiOptimizer` whose complaint about a learning rate names the two that there are."""

    @property
    def learning_rate(self):
        raise AttributeError(
            "Expected the learning rate of one optimizer: model.main_optimizer.learning_rate or "
            "model.radius_optimizer.learning_rate. Received: model.optimizer.learning_rate, which stands for both"
        )

    @learning_rate.setter
    def learning_rate(self, value):
        _ = self.learning_rate


def with_radius_optimizer(optimizer, radius_optimizer, class_regions):
    """One Keras optimizer of both, so that saving, backup and loss scaling treat the two states alike.

    Args:
        optimizer: of everything but the radii; or a `MultiOptimizer` that holds both, which is taken as it is. Either may
            stand inside a `LossScaleOptimizer`.
        radius_optimizer: of the radii; default `SGD(0.001)`.
        class_regions: the layer that holds the radii.

    Raises:
        ValueError: on a `MultiOptimizer` that does not name the radii, or optimizers that accumulate gradients unequally.
    """
    inner = unscaled(optimizer)
    if isinstance(inner, keras.optimizers.MultiOptimizer):
        _check_names_radii(inner, radius_optimizer, class_regions)
        return optimizer
    accumulation = inner.gradient_accumulation_steps
    if radius_optimizer is None:
        radius_optimizer = keras.optimizers.SGD(1e-3, gradient_accumulation_steps=accumulation)
    radius_optimizer = keras.optimizers.get(radius_optimizer)
    if radius_optimizer.gradient_accumulation_steps != accumulation:
        raise ValueError(
            "Expected both optimizers to accumulate gradients over as many steps. Received: "
            f"gradient_accumulation_steps={accumulation} and {radius_optimizer.gradient_accumulation_steps} for the radii"
        )
    both = MainAndRadiusOptimizer(
        keras.optimizers.OptimizerMap(inner, {RADII_PATTERN: radius_optimizer}), loss_scale_factor=inner.loss_scale_factor
    )
    if inner is optimizer:
        return both
    return keras.optimizers.LossScaleOptimizer(
        both, initial_scale=optimizer.initial_scale, dynamic_growth_steps=optimizer.dynamic_growth_steps
    )


def unscaled(optimizer):
    """The optimizer inside a `LossScaleOptimizer`, or the optimizer itself."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def optimizer_of(optimizer, variable):
    """Which of the optimizers inside a `MultiOptimizer` updates a variable; any other optimizer updates all of them."""
    inner = unscaled(optimizer)
    return inner._optimizer_map(variable) if isinstance(inner, keras.optimizers.MultiOptimizer) else inner


def _check_names_radii(multi, radius_optimizer, class_regions):
    """A MultiOptimizer must say itself who updates the radii: its default would do so at the weights' learning rate."""
    default = getattr(multi._optimizer_map, "default_optimizer", None)
    unnamed = class_regions.built and multi._optimizer_map(class_regions.radii) is default
    if radius_optimizer is not None or unnamed:
        raise ValueError(
            "Expected a MultiOptimizer that names the radii's optimizer itself, and no `radius_optimizer` beside it: "
            f"OptimizerMap(default, {{{RADII_PATTERN!r}: …}}). Received: radius_optimizer={radius_optimizer!r}"
        )
