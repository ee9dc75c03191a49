"""A batch of 128 pictures 32×32×3 from memory, without and with the paper's augmentation; and ResNet-44's step on one."""

import numpy as np

from arconvl_tf import hardware
from arconvl_tf.benchmarks import models
from arconvl_tf.benchmarks.timing import take_turns
from arconvl_tf.data import make_splits

BATCHES = 60


def measure(repeats, steps):
    """Seconds a batch."""
    count = BATCHES * models.BATCH_SIZE
    images = np.random.default_rng(0).integers(0, 256, (count, *models.RESNET.image_shape), "uint8")
    side = images, np.arange(count) % 10
    datasets = {name: make_splits(side, side, augmentation=name).train for name in ("none", "paper")}
    variants = {
        f"augmentation {name}": lambda dataset=dataset: sum(1 for _ in dataset) for name, dataset in datasets.items()
    }
    results = take_turns(variants, repeats, per=len(datasets["none"]))
    precision = hardware.default_precision()
    with hardware.precision(precision):
        model = models.arconvl_model(models.RESNET.backbone())
    step = models.fitting(model, models.RESNET.dataset(steps))
    return results | take_turns({f"ResNet-44, ARConvL, {precision}": step}, repeats, per=steps)
