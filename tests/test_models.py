import gc
import pathlib
import subprocess
import sys
import tempfile
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf

import arconvl_tf as arc

COUNTS = [40, 10, 30]


def toy_data(n=48, seed=0):
    """Three classes told apart by which rows of a 4×4 picture are bright."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    images = rng.uniform(0, 60, (n, 4, 4, 1))
    for image, label in zip(images, labels):
        image[label] += 150
    return images.astype("float32"), labels


def toy_backbone(features=5):
    return keras.Sequential(
        [keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(features), keras.layers.BatchNormalization()]
    )


def compiled(seed=0, **options):
    keras.utils.set_random_seed(seed)
    model = arc.ARConvL(toy_backbone(), class_counts=COUNTS)
    arguments = {"optimizer": keras.optimizers.SGD(0.1), "radius_optimizer": keras.optimizers.SGD(0.01)}
    model.compile(**{**arguments, "metrics": ["accuracy", arc.GMean()], **options})
    return model


class TrainStepTest(tf.test.TestCase):
    def test_each_optimizer_moves_its_own_variables(self):
        images, labels = toy_data()
        for frozen, moving in (("main", "radii"), ("radius", "others")):
            rates = {"main": 0.1, "radius": 0.01, frozen: 0.0}
            model = compiled(
                optimizer=keras.optimizers.SGD(rates["main"]), radius_optimizer=keras.optimizers.SGD(rates["radius"])
            )
            radii = model.class_regions.radii
            others = [v for v in model.trainable_variables if v is not radii]
            before = [np.array(v) for v in [radii, *others]]
            model.train_on_batch(images, labels)
            moved = [bool(np.any(np.array(v) != old)) for v, old in zip([radii, *others], before)]
            self.assertEqual(moved[0], moving == "radii")
            # The dense bias is followed by batch normalisation: its gradient is zero but for rounding.
            self.assertEqual(any(moved[1:]), moving == "others")

    def test_one_step_is_plain_gradient_descent_on_the_objective(self):
        images, labels = toy_data()
        model = compiled(run_eagerly=True)
        regions = model.class_regions
        with tf.GradientTape() as tape:
            features = model.backbone(images, training=True)
            distances = arc.regions.squared_distances(features, tf.convert_to_tensor(regions.centers))
            terms = arc.ARConvLLoss(COUNTS)(
                labels, distances, tf.convert_to_tensor(regions.centers), tf.convert_to_tensor(regions.radii)
            )
            total = tf.add_n(list(terms.values()))
        by_centers, by_radii = tape.gradient(total, [regions.centers.value, regions.radii.value])
        expected = regions.centers.numpy() - 0.1 * by_centers, regions.radii.numpy() - 0.01 * by_radii

        twin = compiled(run_eagerly=True)
        logs = twin.train_on_batch(images, labels, return_dict=True)
        self.assertAllClose(twin.class_regions.centers.numpy(), expected[0], rtol=1e-4, atol=1e-6)
        self.assertAllClose(twin.class_regions.radii.numpy(), expected[1], rtol=1e-5)
        self.assertAllClose(logs["loss"], total, rtol=1e-5)

    def test_logs_hold_every_term_and_the_regions_as_they_stand(self):
        images, labels = toy_data()
        model = compiled()
        history = model.fit(images, labels, batch_size=20, epochs=2, validation_data=toy_data(30, seed=1), verbose=0).history
        last = {name: values[-1] for name, values in history.items()}
        terms = ["region_loss", "distribution_loss", "margin_loss", "center_loss"]
        self.assertAllClose(last["loss"], sum(last[name] for name in terms), rtol=1e-5)
        self.assertAllClose(last["val_loss"], sum(last[f"val_{name}"] for name in terms), rtol=1e-5)
        readouts = ["beta", "margin", "benchmark_radius", "upper_bound_radius", "radius_min", "radius_max"]
        self.assertContainsSubset(readouts, history)
        self.assertNotIn("val_beta", history)
        self.assertAllClose(last["margin"], min(last["benchmark_radius"] ** 2, last["upper_bound_radius"] ** 2 - last["benchmark_radius"] ** 2), rtol=1e-4)

    def test_loss_of_an_epoch_weighs_batches_by_their_size(self):
        images, labels = toy_data(45)
        model = compiled(optimizer=keras.optimizers.SGD(0.0), radius_optimizer=keras.optimizers.SGD(0.0))
        whole = model.evaluate(images, labels, batch_size=45, verbose=0, return_dict=True)
        parts = model.evaluate(images, labels, batch_size=20, verbose=0, return_dict=True)
        for name in ("loss", "region_loss", "margin_loss", "center_loss"):
            self.assertAllClose(whole[name], parts[name], rtol=1e-4)

    @pytest.mark.slow
    def test_learns_and_its_radii_enclose_their_class(self):
        images, labels = toy_data(300)
        model = compiled()
        model.fit(images, labels, batch_size=20, epochs=30, verbose=0)
        logits = model.predict(images, verbose=0)
        self.assertGreater(model.evaluate(images, labels, verbose=0, return_dict=True)["g_mean"], 0.95)
        inside = np.sqrt(-logits[np.arange(300), labels]) <= model.class_regions.radii.numpy()[labels]
        self.assertGreater(inside.mean(), 0.5)

    def test_regularisers_of_the_backbone_count(self):
        images, labels = toy_data()
        regular = keras.Sequential(
            [keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(3, kernel_regularizer=keras.regularizers.L2(50.0))]
        )
        model = arc.ARConvL(regular, class_counts=COUNTS)
        model.compile(keras.optimizers.SGD(0.0))
        logs = model.evaluate(images, labels, batch_size=48, verbose=0, return_dict=True)
        terms = sum(value for name, value in logs.items() if name.endswith("_loss"))
        self.assertAllClose(logs["loss"] - terms, 50.0 * np.sum(np.square(regular.layers[-1].kernel)), rtol=1e-4)

    def test_a_vector_of_own_losses_is_summed_as_in_keras(self):
        @keras.saving.register_keras_serializable("tests")
        class Activity(keras.layers.Layer):
            def call(self, features):
                self.add_loss(tf.reduce_sum(features**2, axis=1))
                return features

        images, labels = toy_data()
        backbone = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(3), Activity()])
        model = arc.ARConvL(backbone, class_counts=COUNTS)
        model.compile(keras.optimizers.SGD(0.0))
        logs = model.evaluate(images, labels, batch_size=48, verbose=0, return_dict=True)
        terms = sum(value for name, value in logs.items() if name.endswith("_loss"))
        self.assertAllClose(logs["loss"] - terms, np.sum(backbone.predict(images, verbose=0) ** 2), rtol=1e-4)
        model.fit(images, labels, verbose=0)

    def test_a_weight_of_zero_removes_a_sample(self):
        images, labels = toy_data(32)
        kept = np.arange(32) < 16
        model = compiled()
        weighted = model.evaluate(images, labels, sample_weight=2.0 * kept, batch_size=32, verbose=0, return_dict=True)
        alone = model.evaluate(images[kept], labels[kept], batch_size=16, verbose=0, return_dict=True)
        self.assertAllClose(weighted["margin_loss"], alone["margin_loss"], rtol=1e-5)

    def test_cpl_leaves_the_radii_alone(self):
        images, labels = toy_data()
        model = arc.PrototypeClassifier(toy_backbone(), num_classes=3)
        model.compile(keras.optimizers.SGD(0.1), objective=arc.CPLLoss(), metrics=["accuracy"])
        model.fit(images, labels, epochs=3, verbose=0)
        self.assertAllEqual(model.class_regions.radii, np.full(3, np.float32(0.1)))
        self.assertIsNone(model.radius_optimizer)
        self.assertNotIn(id(model.class_regions.radii), map(id, model.trainable_variables))

    def test_steps_per_execution_and_frozen_backbones_work_as_in_keras(self):
        images, labels = toy_data()
        model = compiled(steps_per_execution=2)
        kernel = model.backbone.layers[1].kernel
        model.backbone.trainable = False
        model.compile(keras.optimizers.SGD(0.1), steps_per_execution=2)
        before, centers = kernel.numpy(), model.class_regions.centers.numpy()
        model.fit(images, labels, batch_size=12, epochs=2, verbose=0)
        self.assertAllEqual(kernel, before)
        self.assertNotAllClose(model.class_regions.centers, centers)

    def test_xla_is_declined(self):
        """XLA needs fixed shapes; Keras would choose it by itself on a GPU."""
        images, labels = toy_data()
        with self.assertWarnsRegex(UserWarning, "jit_compile"):
            model = compiled(jit_compile=True)
        model.fit(images, labels, verbose=0)
        self.assertFalse(model.jit_compile)

    def test_a_column_of_sample_weights_is_a_vector(self):
        images, labels = toy_data(32)
        model = compiled()
        weights = np.linspace(0, 2, 32)
        vector, column = [
            model.evaluate(images, labels, sample_weight=w, verbose=0, return_dict=True) for w in (weights, weights[:, None])
        ]
        self.assertAllClose(vector["margin_loss"], column["margin_loss"])

    def test_loss_scaling_wraps_both_optimizers(self):
        images, labels = toy_data()
        model = compiled(optimizer=keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1), initial_scale=2.0**10))
        plain = compiled()
        for each in (model, plain):
            each.train_on_batch(images, labels)
        self.assertIsInstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
        fixed = compiled(optimizer=keras.optimizers.SGD(0.1, loss_scale_factor=128.0))
        self.assertEqual([fixed.optimizer.loss_scale_factor, fixed.radius_optimizer.loss_scale_factor], [128.0, 128.0])
        fixed.train_on_batch(images, labels)
        for a, b in zip(fixed.weights, plain.weights):
            self.assertAllClose(a, b, rtol=1e-4, atol=1e-6)
        for a, b in zip(model.weights, plain.weights):
            self.assertAllClose(a, b, rtol=1e-4, atol=1e-6)


class CompileErrorTest(tf.test.TestCase):
    def test_says_what_to_do(self):
        model = arc.PrototypeClassifier(toy_backbone(), num_classes=3)
        for arguments, text in [
            ({}, "objective"),
            ({"objective": arc.CPLLoss(), "loss": "mse"}, "objective="),
            ({"objective": "cpl"}, "CPLLoss"),
            ({"objective": arc.CPLLoss(), "radius_optimizer": keras.optimizers.SGD()}, "does not learn radii"),
        ]:
            with self.assertRaisesRegex(ValueError, text):
                model.compile("sgd", **arguments)

    def test_counts_of_another_number_of_classes(self):
        model = arc.PrototypeClassifier(toy_backbone(), num_classes=3)
        for objective in (arc.ClassBalancedLoss([5, 4, 3, 2]), arc.LogitAdjustmentLoss([5, 4]), arc.ARConvLLoss([5, 4])):
            with self.assertRaisesRegex(ValueError, "counts of 3 classes"):
                model.compile("sgd", objective=objective)

    def test_one_hot_labels(self):
        images, labels = toy_data()
        with self.assertRaisesRegex(ValueError, r"argmax.*\(48, 3\)"):
            compiled(run_eagerly=True).evaluate(images, np.eye(3)[labels], batch_size=48, verbose=0)

    def test_a_multi_optimizer_has_to_name_the_radii(self):
        default, own = keras.optimizers.SGD(0.1), keras.optimizers.SGD(0.02)
        mapped = keras.optimizers.OptimizerMap(default, {".*dense.*": keras.optimizers.SGD(0.5)})
        with self.assertRaisesRegex(ValueError, "class_regions/radii"):
            compiled(optimizer=keras.optimizers.MultiOptimizer(mapped), radius_optimizer=None)
        mapped[".*class_regions/radii"] = own
        self.assertIs(compiled(optimizer=keras.optimizers.MultiOptimizer(mapped), radius_optimizer=None).radius_optimizer, own)

    def test_unequal_accumulation(self):
        with self.assertRaisesRegex(ValueError, "gradient_accumulation_steps=2 and None"):
            compiled(optimizer=keras.optimizers.SGD(0.1, gradient_accumulation_steps=2))
        model = compiled(optimizer=keras.optimizers.SGD(0.1, gradient_accumulation_steps=2), radius_optimizer=None)
        self.assertEqual(model.radius_optimizer.gradient_accumulation_steps, 2)

    def test_labels_out_of_range(self):
        images, labels = toy_data()
        for model in (compiled(), compiled(run_eagerly=True)):
            for shift in (1, -1):
                with self.assertRaisesRegex(Exception, r"Expected labels in 0\.\.2"):
                    model.fit(images, labels + shift, verbose=0)

    def test_labels_that_are_not_whole(self):
        images, labels = toy_data()
        with self.assertRaisesRegex(Exception, "Expected whole numbers as labels"):
            compiled().fit(images, labels + 0.25, verbose=0)
        compiled().fit(images, labels.astype("float32"), verbose=0)

    def test_a_backbone_that_is_none(self):
        with self.assertRaisesRegex(ValueError, "Expected `backbone` to be a Keras model.*simple_cnn"):
            arc.ARConvL(arc.backbones.simple_cnn, class_counts=COUNTS)

    @pytest.mark.slow
    def test_several_devices_are_refused(self):
        script = """
            import tensorflow as tf
            cpu = tf.config.list_physical_devices("CPU")[0]
            tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
            import keras
            import arconvl_tf as arc
            with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
                model = arc.ARConvL(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]), class_counts=[5, 5])
                model.compile("sgd")
        """
        result = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=300)
        self.assertIn("Expected one device", result.stderr)

    def test_features_must_be_vectors(self):
        backbone = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Conv2D(2, 3)])
        with self.assertRaisesRegex(ValueError, "feature_dim"):
            arc.ARConvL(backbone, class_counts=COUNTS)


class Returning(arc.Objective):
    """An objective of one's own, made of a function of the samples' cross-entropies."""

    def __init__(self, terms, term_names=("mine",)):
        self.terms, self.term_names = terms, term_names

    def call(self, labels, squared_distances, centers, radii):
        return self.terms(arc.baselines.cross_entropy(labels, -squared_distances))


class OwnPartsTest(tf.test.TestCase):
    def trained(self, objective):
        images, labels = toy_data()
        keras.utils.set_random_seed(0)
        model = arc.PrototypeClassifier(toy_backbone(), num_classes=3)
        model.compile(keras.optimizers.SGD(0.1), objective=objective)
        logs = model.fit(images, labels, batch_size=16, epochs=2, shuffle=False, verbose=0).history
        return model.class_regions.centers.numpy(), logs

    def test_an_objective_returns_losses_of_samples_and_scalars(self):
        def halved(values):
            return {"one": values / 2, "other": arc.Term(values, scale=0.5), "none": 0.0, "nought": tf.constant(0.0)}

        halves = Returning(halved, ("one", "other", "none", "nought"))
        centers, logs = self.trained(halves)
        self.assertAllClose(centers, self.trained(arc.CPLLoss())[0], rtol=1e-4, atol=1e-6)
        self.assertAllClose(logs["one_loss"], np.array(logs["loss"]) / 2, rtol=1e-5)

    def test_what_an_objective_returns_is_what_it_declares(self):
        for terms, text in [
            (lambda values: {"mine": values[:, None]}, r"declares, mine. Received: mine \(16, 1\)"),
            (lambda values: {"yours": values}, r"Received: yours \(16,\)"),
            (lambda values: tf.reduce_mean(values), "Received: .*Tensor"),
            (lambda values: {}, r"Received: \{\}"),
        ]:
            with self.assertRaisesRegex(ValueError, "Expected Returning.call to return the losses of samples.*" + text):
                self.trained(Returning(terms))
        with self.assertRaisesRegex(TypeError, "call"):
            arc.Objective()

    def test_a_backbone_without_inputs_of_its_own_can_be_built_first(self):
        class Backbone(keras.Model):
            def __init__(self):
                super().__init__()
                self.layers_in_turn = [keras.layers.Flatten(), keras.layers.Dense(5), keras.layers.BatchNormalization()]

            def call(self, images, training=None):
                flat, dense, norm = self.layers_in_turn
                return norm(dense(flat(images)), training=training)

        images, labels = toy_data()
        trained = []
        for build_first in (True, False):
            keras.utils.set_random_seed(0)
            model = arc.ARConvL(Backbone(), class_counts=COUNTS)
            if build_first:
                model.build((None, 4, 4, 1))
                self.assertEqual(model.count_params(), 16 * 5 + 5 + 4 * 5 + 3 * 5 + 3)
            model.compile(keras.optimizers.SGD(0.1), radius_optimizer=keras.optimizers.SGD(0.01))
            model.fit(images, labels, batch_size=16, shuffle=False, verbose=0)
            trained.append(model.get_weights())
        for before, after in zip(*trained):
            self.assertAllClose(before, after, rtol=1e-5, atol=1e-6)


class SavingTest(tf.test.TestCase):
    @pytest.mark.slow
    def test_a_new_process_loads_predicts_and_goes_on_training(self):
        """Stop, load without custom objects in a new process, train on: the same weights as without the stop."""
        images, labels = toy_data()
        model = compiled(
            optimizer=keras.optimizers.SGD(0.1, momentum=0.9), radius_optimizer=keras.optimizers.SGD(0.01, momentum=0.5)
        )
        model.fit(images, labels, batch_size=16, epochs=2, shuffle=False, verbose=0)
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            model.save(folder / "model.keras")
            np.savez(folder / "data.npz", images=images, labels=labels)
            expected_logits = model.predict(images, verbose=0)
            model.fit(images, labels, batch_size=16, epochs=2, shuffle=False, verbose=0)
            script = f"""
                import keras, numpy as np
                import arconvl_tf
                data = np.load({str(folder / "data.npz")!r})
                model = keras.models.load_model({str(folder / "model.keras")!r})
                logits = model.predict(data["images"], verbose=0)
                assert type(model).__name__ == "ARConvL" and model.radius_optimizer.momentum == 0.5
                model.fit(data["images"], data["labels"], batch_size=16, epochs=2, shuffle=False, verbose=0)
                slots = [np.array(v) for v in model.optimizer.variables]
                np.savez({str(folder / "result.npz")!r}, *model.get_weights(), *slots, logits=logits)
            """
            subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True, capture_output=True, timeout=300)
            result = np.load(folder / "result.npz")
            self.assertAllEqual(result["logits"], expected_logits)
            state = [*model.get_weights(), *[np.array(v) for v in model.optimizer.variables]]
            self.assertLen(result.files, len(state) + 1)
            for index, expected in enumerate(state):
                self.assertAllClose(result[f"arr_{index}"], expected, rtol=1e-6, atol=1e-7)

    def test_other_classifiers_come_back_with_their_objective(self):
        model = arc.PrototypeClassifier(toy_backbone(), num_classes=3)
        model.compile(keras.optimizers.SGD(0.1), objective=arc.ARConvLLoss(COUNTS, beta=0.5), jit_compile=False)
        images, labels = toy_data()
        with tempfile.TemporaryDirectory() as folder:
            model.save(f"{folder}/model.keras")
            copy = keras.models.load_model(f"{folder}/model.keras")
        self.assertEqual(copy.objective.get_config(), model.objective.get_config())
        before, after = [each.evaluate(images, labels, verbose=0, return_dict=True) for each in (model, copy)]
        self.assertAllClose(after, before)

    def test_frozen_regions_stay_frozen(self):
        images, labels = toy_data()
        for freeze in ("class_regions", "model"):
            model = compiled(optimizer=keras.optimizers.SGD(0.1, momentum=0.9))
            if freeze == "model":
                model.trainable = False
            else:
                model.class_regions.trainable = False
            model.compile(keras.optimizers.SGD(0.1, momentum=0.9))
            model.fit(images, labels, verbose=0) if freeze == "class_regions" else None
            with tempfile.TemporaryDirectory() as folder:
                model.save(f"{folder}/model.keras")
                copy = keras.models.load_model(f"{folder}/model.keras")
            self.assertLen(copy.trainable_variables, len(model.trainable_variables))
            state, copied = [[np.array(v) for v in each.optimizer.variables] for each in (model, copy)]
            self.assertAllEqual(len(state), len(copied))
            for before, after in zip(state, copied):
                self.assertAllEqual(before, after)

    def test_inside_another_functional_model(self):
        """A symbolic call of its own would leave a node in the saved file that leads nowhere."""
        images, labels = toy_data()
        inner = compiled()
        inner.fit(images, labels, verbose=0)
        inputs = keras.Input((4, 4, 1))
        outer = keras.Model(inputs, keras.layers.Softmax()(inner(keras.layers.Rescaling(1.0)(inputs))))
        with tempfile.TemporaryDirectory() as folder:
            outer.save(f"{folder}/model.keras")
            copy = keras.models.load_model(f"{folder}/model.keras")
        self.assertAllClose(copy.predict(images, verbose=0), tf.nn.softmax(inner.predict(images, verbose=0)))

    def test_an_eager_compile_is_saved(self):
        images, labels = toy_data()
        model = compiled(run_eagerly=True, weighted_metrics=[arc.GMean(name="weighted")])
        model.fit(images, labels, verbose=0)
        with tempfile.TemporaryDirectory() as folder:
            model.save(f"{folder}/model.keras")
            copy = keras.models.load_model(f"{folder}/model.keras")
        self.assertTrue(copy.run_eagerly)
        self.assertAllClose(copy.evaluate(images, labels, verbose=0), model.evaluate(images, labels, verbose=0))

    def test_what_cannot_be_saved_is_no_reason_not_to_train(self):
        class Unsaved(arc.GMean):
            def get_config(self):
                raise TypeError("no configuration")  # as many a metric made for one notebook

        images, labels = toy_data()
        model = compiled(metrics=[Unsaved()], run_eagerly=True)
        model.fit(images, labels, verbose=0)
        with tempfile.TemporaryDirectory() as folder, self.assertRaisesRegex(TypeError, "no configuration"):
            model.save(f"{folder}/model.keras")

    def test_deferred_weights_that_have_set_in_stay(self):
        images, labels = toy_data()
        model = arc.PrototypeClassifier(toy_backbone(), num_classes=3)
        model.compile(keras.optimizers.SGD(0.1), objective=arc.LDAMLoss(COUNTS))
        model.fit(images, labels, epochs=2, verbose=0, callbacks=[arc.DeferredReweighting(start=1)])
        with tempfile.TemporaryDirectory() as folder:
            model.save(f"{folder}/model.keras")
            copy = keras.models.load_model(f"{folder}/model.keras")
        self.assertEqual([float(each.objective_state["reweighting"]) for each in (model, copy)], [1.0, 1.0])
        self.assertAllClose(copy.evaluate(images, labels, verbose=0), model.evaluate(images, labels, verbose=0))


class TracingTest(tf.test.TestCase):
    def test_a_step_is_traced_once(self):
        """A second tracing would double the time before the first step, and what stays in memory after the model."""
        images, labels = toy_data()
        for metrics in ([], ["accuracy", arc.GMean()]):
            model, traced = compiled(metrics=metrics), []
            step = model.train_step
            model.train_step = lambda data: traced.append(data) or step(data)
            model.fit(images, labels, batch_size=16, epochs=2, verbose=0)
            self.assertLen(traced, 1)

    @pytest.mark.slow
    def test_a_fit_leaves_at_most_twice_the_graphs_of_a_plain_keras_model(self):
        """TensorFlow never lets go of a traced step that holds a branch, and Keras' own metrics have some."""
        images, labels = toy_data()

        def operations_left(build):
            gc.collect()
            before = sum(type(each).__name__ == "Operation" for each in gc.get_objects())
            for _ in range(3):
                build().fit(images, labels, batch_size=16, validation_data=(images, labels), verbose=0)
            gc.collect()
            return (sum(type(each).__name__ == "Operation" for each in gc.get_objects()) - before) / 3

        def plain():
            model = keras.Sequential([toy_backbone(), keras.layers.Dense(3)])
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            model.compile(keras.optimizers.SGD(0.1), loss=loss, metrics=["accuracy", arc.GMean()])
            return model

        ours, theirs = operations_left(compiled), operations_left(plain)
        print(f"operations left by a fit: {ours:.0f}, of plain Keras {theirs:.0f}")
        self.assertLess(ours, 2.5 * theirs)


class PrecisionTest(tf.test.TestCase):
    def test_half_precision_backbone_keeps_the_regions_in_float32(self):
        keras.config.set_dtype_policy("mixed_bfloat16")
        try:
            model = compiled()
        finally:
            keras.config.set_dtype_policy("float32")
        images, labels = toy_data()
        model.fit(images, labels, epochs=1, verbose=0)
        self.assertEqual(model.backbone.compute_dtype, "bfloat16")
        self.assertEqual({w.dtype for w in model.class_regions.weights}, {"float32"})
        self.assertEqual(model.predict(images, verbose=0).dtype, np.float32)
