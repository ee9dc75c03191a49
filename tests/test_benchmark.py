import functools
import importlib
import json
import pathlib
import pkgutil
import subprocess
import sys
import tempfile
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf

from arconvl_tf import ARConvL, backbones, benchmarks, hardware, layers
from arconvl_tf.benchmarks import activation, machine, memory_of_fit, models, processes, region_head, timing, training_step
from tests.test_cli import arconvl

SMALL_NETWORK = models.Network("small network", (8, 8, 1), backbones.simple_cnn)
SMALL_RESNET = models.Network("small ResNet", (8, 8, 3), functools.partial(backbones.resnet, depth=8))


class SectionsTest(tf.test.TestCase):
    def test_names_come_without_tensorflow(self):
        script = "import sys; from arconvl_tf import benchmarks; print(*benchmarks.SECTIONS, *sys.modules)"
        result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        printed = result.stdout.split()
        self.assertEqual(printed[: len(benchmarks.SECTIONS)], list(benchmarks.SECTIONS))
        self.assertNotIn("tensorflow", printed)

    def test_every_section_is_a_module_that_measures(self):
        names = [module.name for module in pkgutil.iter_modules(benchmarks.__path__)]
        measuring = [name for name in names if hasattr(importlib.import_module(f"arconvl_tf.benchmarks.{name}"), "measure")]
        self.assertCountEqual(measuring, benchmarks.SECTIONS)

    @pytest.mark.slow
    def test_command_writes_what_it_prints(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "speed.json"
            result = arconvl("benchmark", "--section", "input_pipeline", "--repeats", 1, "--steps", 1, "--out", path)
            self.assertEqual(result.returncode, 0, result.stderr)
            measured = json.loads(path.read_text())
        self.assertGreater(measured["machine"]["matrix_product_gflops"]["float32"], 1)
        for row in measured["input_pipeline"].values():
            self.assertBetween(row["median"], row["min"], row["max"])
        self.assertIn("augmentation paper", result.stdout)


class TimingTest(tf.test.TestCase):
    def test_variants_take_turns_after_one_untimed_round(self):
        calls, seconds = [], {"a": [100, 2, 4], "b": [100, 4, 8]}

        def variant(name):
            clock.return_value += seconds[name][calls.count(name)]
            calls.append(name)

        with mock.patch.object(timing.time, "perf_counter", return_value=0) as clock:
            measured = timing.take_turns({name: lambda name=name: variant(name) for name in "ab"}, 2, per=2)
        for turn in range(3):
            self.assertCountEqual(calls[2 * turn : 2 * turn + 2], ["a", "b"])
        self.assertEqual(measured, {"a": {"median": 1.5, "min": 1, "max": 2}, "b": {"median": 3, "min": 2, "max": 4}})


class ProcessesTest(tf.test.TestCase):
    def test_function_gets_its_arguments_and_its_result_comes_back(self):
        process = processes.start_measuring("from os.path import join as measure", "a folder", "it's")
        self.assertEqual(processes.measured(process), str(pathlib.Path("a folder") / "it's"))

    def test_failure_says_why(self):
        with self.assertRaisesRegex(OSError, "status 1: ZeroDivisionError"):
            processes.output(processes.start("-c", "1 / 0"))

    def test_memory_counts_an_array_that_is_kept_and_the_peak_one_that_is_gone(self):
        before = processes.resident_megabytes()
        kept = np.ones(2**23)  # 64 MiB
        self.assertAllClose(processes.resident_megabytes() - before, 64, atol=8)
        processes.forget_peak()
        before = processes.peak_megabytes()
        np.ones(2 * kept.size)
        self.assertAllClose(processes.peak_megabytes() - before, 128, atol=16)

    @pytest.mark.slow
    def test_peak_of_the_head_counts_the_gradient_of_the_weights(self):
        statement = f"from {region_head.__name__} import measure_head as measure"
        measured = processes.measured(processes.start_measuring(statement, 1000, 2048, "dense softmax", 1))
        gradient_megabytes = 1000 * 2048 * 4 / 2**20
        self.assertGreaterEqual(measured["peak_megabytes"], int(gradient_megabytes))

    @pytest.mark.slow
    def test_memory_of_fit_is_the_mean_of_the_models_that_count(self):
        measured = memory_of_fit.measure_kind("ARConvL", num_models=3, counted=2)
        middle = (measured["megabytes_min"] + measured["megabytes_max"]) / 2
        self.assertAllClose(measured["megabytes_mean"], middle, atol=0.02)


class ModelsTest(tf.test.TestCase):
    def test_flops_by_hand(self):
        expected = 2 * (28 * 28 * 9 * (32 + 32 * 32) + 14 * 14 * 9 * (32 * 64 + 64 * 64) + 7 * 7 * 64 * 64)
        self.assertEqual(models.forward_flops(models.MNIST_NETWORK.backbone()), expected)

    @pytest.mark.slow
    def test_share_of_the_matrix_product(self):
        measured = training_step.measure_network(SMALL_NETWORK, 1, 1)
        flops = 3 * models.BATCH_SIZE * models.forward_flops(SMALL_NETWORK.backbone())
        self.assertIn("small network, as the released program, float32", measured)
        for name, result in measured.items():
            peak = machine.peak_gflops(name.rpartition(", ")[2].removeprefix("mixed_"))
            expected = flops / result["median"] / 1e9 / peak
            self.assertAllClose(result["share_of_matrix_product"], expected, rtol=1e-2, atol=1e-3)

    def test_released_manner_takes_the_same_step(self):
        dataset, trained = SMALL_NETWORK.dataset(1), []
        for manner in ("released", "ours"):
            keras.utils.set_random_seed(0)
            backbone = SMALL_NETWORK.backbone()
            if manner == "released":
                models.released_manner(backbone, dataset)()
            else:
                model = ARConvL(backbone, class_counts=models.CLASS_COUNTS)
                model.compile(keras.optimizers.SGD(0.01), radius_optimizer=keras.optimizers.SGD(0.001))
                models.fitting(model, dataset)()
            trained.append(backbone.get_weights())
        self.assertAllClose(*trained, rtol=1e-4, atol=1e-5)

    def test_stock_layers_take_the_place_of_ours(self):
        kinds = [type(layer) for layer in SMALL_RESNET.backbone().layers]
        stock = [type(layer) for layer in models.with_stock_layers(SMALL_RESNET.backbone()).layers]
        self.assertLen(stock, len(kinds))
        self.assertEqual(stock.count(keras.layers.ELU), kinds.count(layers.ELU))
        self.assertNotIn(layers.ELU, stock)
        self.assertEqual(
            stock.count(keras.layers.BatchNormalization),
            sum(issubclass(kind, keras.layers.BatchNormalization) for kind in kinds),
        )


class ActivationTest(tf.test.TestCase):
    def test_every_form_is_an_elu(self):
        measured = activation.alone((2, 8, 8, 4), 1)
        for name in activation.FORMS:
            for dtype, tolerance in (("float32", 1e-6), ("bfloat16", 2**-5)):
                row = measured[f"alone, {name}, {dtype}"]
                self.assertBetween(row["value_error"], 0, tolerance)
                self.assertBetween(row["gradient_error"], 0, tolerance)
        self.assertLess(measured["alone, our ELU, bfloat16"]["relative_value_error"], 2**-6)

    def test_errors_are_those_of_the_worst_number(self):
        x, upstream = tf.constant([-1.0, 2.0]), tf.constant([1.0, 3.0])
        errors = activation.errors_of_elu(lambda: (tf.nn.elu(x) * [1.5, 1.0], tf.constant([np.exp(-1), 2.0])), x, upstream)
        expected = {"value_error": -np.expm1(-1) / 2, "gradient_error": 1.0, "relative_value_error": 0.5}
        self.assertAllClose(errors, expected)

    @pytest.mark.slow
    def test_each_activation_is_trained(self):
        measured = activation.in_network(SMALL_RESNET, 1)
        for name in ("our ELU", "Keras' ELU", "ReLU", "no activation"):
            self.assertGreater(measured[f"small ResNet, {name}, float32"]["median"], 0)


class HardwareTest(tf.test.TestCase):
    def test_precision_follows_the_processor(self):
        for flags, expected in [
            ({"avx2", "amx_bf16"}, "mixed_bfloat16"),
            ({"avx512_bf16"}, "mixed_bfloat16"),
            ({"avx2"}, "float32"),
        ]:
            with (
                mock.patch.object(hardware, "_cpu_flags", return_value=flags),
                mock.patch.object(tf.config, "list_physical_devices", return_value=[]),
            ):
                self.assertEqual(hardware.default_precision(), expected)
