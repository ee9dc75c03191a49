import numpy as np
import tensorflow as tf

from arconvl_tf.data import inspection
from tests.test_data_datasets import listed


def dataset(values):
    images = np.array(values, "float32")[:, None, None, None] * np.ones((1, 2, 2, 1), "float32")
    return tf.data.Dataset.from_tensor_slices((images, np.arange(len(values)) % 2)).batch(3)


class InspectionTest(tf.test.TestCase):
    def test_shared_pictures_are_counted_with_their_copies(self):
        self.assertEqual(inspection.shared_pictures(dataset([1, 2, 3, 4]), dataset([2, 2, 5, 4, 9])), 3)

    def test_examples_are_the_first_of_each_class(self):
        found = inspection.examples(dataset([10, 20, 30, 40, 50]), class_counts=[3, 2], per_class=2)
        self.assertEqual([[int(image[0, 0, 0]) for image in own] for own in found], [[10, 30], [20, 40]])

    def test_weights_are_passed_over_and_any_kind_of_dataset_is_read(self):
        plain = dataset([10, 20, 30, 40, 50])
        weighted = plain.map(lambda images, labels: (images, labels, tf.ones_like(labels)))
        for given in (plain, weighted, listed(plain), listed(weighted)):
            found = inspection.examples(given, class_counts=[3, 2], per_class=2)
            self.assertEqual([[int(image[0, 0, 0]) for image in own] for own in found], [[10, 30], [20, 40]])
            self.assertEqual(inspection.shared_pictures(plain, given), 5)
            self.assertEqual(inspection.shared_pictures(given, dataset([20, 7])), 1)
