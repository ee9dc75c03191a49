import json
import tempfile
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import arconvl_tf as arc
from arconvl_tf.callbacks import BestEpoch
from tests.test_models import compiled, toy_backbone, toy_data


class BestEpochTest(tf.test.TestCase):
    def run_epochs(self, logs, **options):
        """Feeds logs to the callback; the one weight of the model is the number of the epoch."""
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
        best = BestEpoch(**options)
        best.set_model(model)
        for epoch, values in enumerate(logs):
            model.set_weights([np.full((1, 1), float(epoch))])
            best.on_epoch_end(epoch, values)
        best.on_train_end()
        self.assertEqual(float(model.get_weights()[0].item()), float(best.epoch))
        return best

    def chosen(self, values, mode="max"):
        best = self.run_epochs([{"score": value} for value in values], monitor="score", mode=mode)
        return best.epoch, best.value

    def test_ties_go_to_the_later_epoch_and_weights_come_back(self):
        self.assertEqual(self.chosen([0.1, 0.5, 0.5, 0.2]), (2, 0.5))
        self.assertEqual(self.chosen([0.5, 0.1, 0.1, 0.2], mode="min"), (2, 0.1))

    def test_nan_never_wins(self):
        self.assertEqual(self.chosen([0.1, float("nan")]), (0, 0.1))

    def test_diverged_epochs_never_win(self):
        logs = [{"score": 0.0, "loss": 1.0, "val_loss": loss} for loss in (2.0, float("nan"), float("inf"))]
        self.assertEqual(self.run_epochs(logs, monitor="score", mode="max").epoch, 0)

    def test_names_the_missing_log(self):
        with self.assertRaisesRegex(ValueError, "compile with that metric.*val_loss"):
            BestEpoch().on_epoch_end(0, {"loss": 1.0, "val_loss": 1.0})
        with self.assertRaisesRegex(ValueError, "'score'"):
            BestEpoch("score").on_epoch_end(0, {"loss": 1.0})

    def test_chooses_among_the_epochs_with_validation(self):
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        best, ones = BestEpoch("val_loss"), np.ones((4, 1))
        with self.assertWarnsRegex(UserWarning, "no validation_data"):
            model.fit(ones, ones, epochs=5, validation_data=(ones, ones), validation_freq=2, callbacks=[best], verbose=0)
        self.assertEqual(best.epoch, 3)  # validated: 1 and 3, and the loss falls

    @pytest.mark.slow
    def test_a_loss_is_minimised_and_a_metric_says_its_direction(self):
        """Keras' own callbacks ask the metric as well."""
        images, labels = toy_data(60)
        for monitor, better in (("val_loss", min), ("val_region_loss", min), ("val_g_mean", max), ("val_accuracy", max)):
            model, best = compiled(), BestEpoch(monitor)
            history = model.fit(
                images, labels, epochs=4, batch_size=20, validation_data=toy_data(30, 1), callbacks=[best], verbose=0
            ).history[monitor]
            self.assertEqual(history[best.epoch], better(history), monitor)
        stop = keras.callbacks.EarlyStopping("val_g_mean", patience=1)
        model.fit(images, labels, epochs=2, validation_data=toy_data(30, 1), callbacks=[stop], verbose=0)
        for metric in (arc.GMean(), arc.ClassWiseAccuracy()):
            self.assertEqual(metric._direction, "up")

    def test_a_direction_that_nobody_knows_is_asked_for(self):
        with self.assertRaisesRegex(ValueError, "Expected `mode` to say whether score"):
            self.run_epochs([{"score": 1.0}], monitor="score")

    def test_where_the_g_mean_is_always_zero_the_class_wise_accuracy_decides(self):
        name, second = "val_g_mean", "val_class_wise_accuracy"
        for pairs, expected, words in [
            ([(0.0, 0.2), (0.0, 0.5), (0.0, 0.5), (0.0, 0.4)], 2, "was 0 in every epoch.*epoch 2 is the one with the best"),
            ([(0.0, 0.9), (0.1, 0.3), (0.0, 0.9)], 1, "Epoch 1 has the highest val_g_mean, 0.1"),
            ([(0.5, 0.9), (0.5, 0.6)], 1, "highest"),  # ties above 0 go to the later epoch, whatever the other says
        ]:
            best = self.run_epochs([{name: value, second: other} for value, other in pairs], mode="max")
            self.assertEqual(best.epoch, expected)
            self.assertRegex(best.reason, words)
        best = self.run_epochs([{"score": value} for value in (-1.0, 0.0, -2.0)], monitor="score", mode="max")
        self.assertEqual((best.epoch, best.reason), (1, "Epoch 1 has the highest score, 0."))
        best = self.run_epochs([{name: 0.0}, {name: 0.0}], mode="max")
        self.assertEqual(best.epoch, 1)
        self.assertRegex(best.reason, "epoch 1 is the last one")

    def test_the_optimizers_of_the_best_epoch_come_back_with_its_weights(self):
        images, labels = toy_data()
        straight, again = [
            compiled(
                optimizer=keras.optimizers.SGD(0.1, momentum=0.9), radius_optimizer=keras.optimizers.SGD(0.01, momentum=0.5)
            )
            for _ in range(2)
        ]
        straight.fit(images, labels, batch_size=16, epochs=2, shuffle=False, verbose=0)

        class ChoosesEpoch1(BestEpoch):
            def on_epoch_end(self, epoch, logs=None):
                super().on_epoch_end(epoch, {"loss": abs(epoch - 1)})

        best = ChoosesEpoch1("loss", mode="min")
        again.fit(images, labels, batch_size=16, epochs=5, shuffle=False, verbose=0, callbacks=[best])
        self.assertEqual((best.epoch, int(again.optimizer.iterations)), (1, 6))
        for each in (straight, again):
            each.fit(images, labels, batch_size=16, epochs=2, shuffle=False, verbose=0)
        for before, after in zip(straight.get_weights(), again.get_weights(), strict=True):
            self.assertAllClose(before, after, rtol=1e-6, atol=1e-7)


class DeferredReweightingTest(tf.test.TestCase):
    def test_the_best_epoch_brings_back_whether_the_weights_were_on(self):
        images, labels = toy_data()
        model = arc.PrototypeClassifier(toy_backbone(), num_classes=3)
        model.compile(keras.optimizers.SGD(0.1), objective=arc.LDAMLoss([40, 10, 30]), metrics=["accuracy"])
        best = BestEpoch("loss", mode="max")  # the first epoch's
        model.fit(images, labels, epochs=3, verbose=0, callbacks=[arc.DeferredReweighting(start=2), best])
        self.assertEqual((best.epoch, float(model.objective_state["reweighting"])), (0, 0.0))

    def test_other_objectives_are_refused(self):
        images, labels = toy_data()
        with self.assertRaisesRegex(ValueError, "compiled with LDAMLoss"):
            compiled().fit(images, labels, verbose=0, callbacks=[arc.DeferredReweighting(start=1)])


class ToldEpochTest(tf.test.TestCase):
    def test_our_models_tell_the_epoch_by_themselves_and_others_by_the_callback(self):
        splits = arc.load_data("digits", 10, batch_size=256)
        ours = arc.ARConvL(arc.backbones.simple_cnn(splits.image_shape, 4), class_counts=splits.class_counts)
        ours.compile(keras.optimizers.SGD(0.01))
        theirs = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(10)])
        theirs.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        for model, callbacks in ((ours, None), (theirs, [arc.ToldEpoch(splits.epoch)])):
            seen = []
            note = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(int(splits.epoch)))
            model.fit(splits.train, epochs=5, initial_epoch=2, callbacks=[*(callbacks or []), note], verbose=0)
            self.assertEqual(seen, [2, 3, 4])


    def test_the_epoch_is_told_through_what_is_made_of_a_dataset_and_to_a_list_of_callbacks(self):
        splits = arc.load_data("digits", 10, batch_size=256)
        model = arc.ARConvL(arc.backbones.simple_cnn(splits.image_shape, 4), class_counts=splits.class_counts)
        model.compile(keras.optimizers.SGD(0.01))
        derived = splits.train.map(lambda images, labels: (images / 2, labels)).prefetch(1)
        model.fit(derived, None, None, 2, 0, [])  # by position, as Keras allows
        self.assertEqual(int(splits.epoch), 1)
        for callbacks in (None, keras.callbacks.CallbackList([], model=model, epochs=3, steps=len(derived))):
            splits.epoch.assign(0)
            model.fit(derived, epochs=3, verbose=0, callbacks=callbacks)
            self.assertEqual(int(splits.epoch), 2)

    def test_a_dataset_that_shuffles_itself_is_no_reason_to_warn(self):
        splits = arc.load_data("digits", 10, batch_size=256)
        model = arc.ARConvL(arc.backbones.simple_cnn(splits.image_shape, 4), class_counts=splits.class_counts)
        model.compile(keras.optimizers.SGD(0.01))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model.fit(splits.train, verbose=0)


class StateTest(tf.test.TestCase):
    def test_learn_radii_is_saved(self):
        layer = arc.ClassRegions(3, learn_radii=False)
        copy = keras.saving.deserialize_keras_object(json.loads(json.dumps(keras.saving.serialize_keras_object(layer))))
        for each in (layer, copy):
            each.build((None, 2))
            self.assertLen(each.trainable_weights, 1)
        model = arc.PrototypeClassifier(toy_backbone(), num_classes=3)
        model.compile("sgd", objective=arc.CPLLoss())
        with tempfile.TemporaryDirectory() as folder:
            model.save(f"{folder}/model.keras")
            self.assertFalse(keras.models.load_model(f"{folder}/model.keras", compile=False).class_regions.radii.trainable)
