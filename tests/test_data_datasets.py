import numpy as np
import tensorflow as tf

import arconvl_tf as arc


def dataset(labels, batch_size=4, image=None):
    labels = np.asarray(labels)
    images = np.ones((len(labels), 8, 8, 1), "float32") * labels[:, None, None, None] if image is None else image
    return tf.data.Dataset.from_tensor_slices((images, labels)).batch(batch_size)


class FromDatasetsTest(tf.test.TestCase):
    def test_counts_are_found_and_nothing_is_changed(self):
        train = dataset([0, 2, 2, 1, 2, 0, 2, 2, 2])
        splits = arc.from_datasets(train, dataset([1, 1]), dataset([0, 2, 1]))
        self.assertAllEqual(splits.class_counts, [2, 1, 6])
        self.assertAllEqual(splits.split_counts["validation"], [0, 2, 0])
        self.assertEqual((splits.class_names, splits.image_shape), (["0", "1", "2"], (8, 8, 1)))
        for ours, theirs in zip(splits.train, train, strict=True):
            self.assertAllEqual(ours[0], theirs[0])

    def test_a_model_learns_from_it(self):
        side = dataset([0, 1, 1, 1] * 8, batch_size=8)
        splits = arc.from_datasets(side, side, side, class_names=["dark", "bright"])
        model = arc.ARConvL(arc.backbones.simple_cnn(splits.image_shape, 4), class_counts=splits.class_counts)
        model.compile(metrics=[arc.GMean()])
        history = model.fit(splits.train, validation_data=splits.validation, epochs=8, verbose=0).history
        self.assertEqual(history["g_mean"][-1], 1.0)

    def test_bad_datasets_are_named(self):
        good = dataset([0, 1, 2])
        nan = dataset([0, 1], image=np.full((2, 8, 8, 1), np.nan, "float32"))
        for sides, options, text in [
            ((good.unbatch(), good, good), {}, "train batches"),
            ((good.map(lambda images, labels: images), good, good), {}, "train batches"),
            ((good, good.repeat(), good), {}, "validation dataset that ends"),
            ((good, good, nan), {}, "finite test images"),
            ((dataset([-1, 0]), good, good), {}, "≥ 0"),
            ((dataset([0.0, 1.0]), good, good), {}, "whole-number labels"),
            ((dataset(["a", "b"], image=np.zeros((2, 8, 8, 1))), good, good), {}, "whole-number labels"),
            ((good.map(lambda images, labels: ({"image": images}, labels)), good, good), {}, "train batches"),
            ((good, good, dataset([3])), {}, r"test labels in 0\.\.2. Received: label 3"),
            ((good, good, good), {"class_names": ["a", "b"]}, r"train labels in 0\.\.1"),
            ((dataset([0, 2]), good, good), {}, "none of class 1"),
            ((dataset([0, 0]), dataset([0]), dataset([0])), {}, "none of class 1"),
            ((dataset([0, 0]), dataset([0]), dataset([0])), {"class_names": ["a"]}, "two classes"),
            ((good, good.take(0), good), {}, "validation samples"),
        ]:
            with self.assertRaisesRegex(ValueError, text):
                arc.from_datasets(*sides, **options)
