import json
import pathlib
import tempfile
from unittest import mock

import tensorflow as tf

from arconvl_tf import backbones, benchmark, benchmark_models, cli, hardware
from tests.test_cli import arconvl


class MeasuringTest(tf.test.TestCase):
    def test_variants_take_turns_after_one_untimed_round(self):
        calls, seconds = [], {"a": [100, 2, 4], "b": [100, 4, 8]}

        def variant(name):
            clock.return_value += seconds[name][calls.count(name)]
            calls.append(name)

        with mock.patch.object(benchmark.time, "perf_counter", return_value=0) as clock:
            measured = benchmark.take_turns({name: lambda name=name: variant(name) for name in "ab"}, 2, per=2)
        for turn in range(3):
            self.assertCountEqual(calls[2 * turn : 2 * turn + 2], ["a", "b"])
        self.assertEqual(measured, {"a": {"median": 1.5, "min": 1, "max": 2}, "b": {"median": 3, "min": 2, "max": 4}})

    def test_command_offers_every_section(self):
        self.assertEqual(cli.BENCHMARK_SECTIONS, tuple(benchmark.SECTIONS))

    def test_flops_by_hand(self):
        expected = 2 * (28 * 28 * 9 * (32 + 32 * 32) + 14 * 14 * 9 * (32 * 64 + 64 * 64) + 7 * 7 * 64 * 64)
        self.assertEqual(benchmark_models.forward_flops(backbones.simple_cnn((28, 28, 1))), expected)

    def test_share_of_the_matrix_product(self):
        dataset = {"MNIST network": (lambda: backbones.simple_cnn((8, 8, 1)), (8, 8, 1))}
        with mock.patch.object(benchmark, "NETWORKS", dataset), mock.patch.object(benchmark, "peak_gflops", return_value=2.0):
            measured = benchmark.training_step(1, 1)
        flops = 3 * benchmark.BATCH_SIZE * benchmark_models.forward_flops(backbones.simple_cnn((8, 8, 1)))
        for result in measured.values():
            self.assertAllClose(result["share_of_matrix_product"], flops / result["median"] / 2e9, rtol=1e-2, atol=1e-3)

    def test_peak_memory_counts_the_gradient_of_the_weights(self):
        printed = benchmark._in_new_process("from arconvl_tf import benchmark; benchmark.print_head(1000, 2048, 'dense softmax', 1)")
        gradient_megabytes = 1000 * 2048 * 4 / 2**20
        self.assertGreaterEqual(json.loads(printed)["peak_megabytes"], int(gradient_megabytes))

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


class HardwareTest(tf.test.TestCase):
    def test_precision_follows_the_processor(self):
        for flags, expected in [({"avx2", "amx_bf16"}, "mixed_bfloat16"), ({"avx512_bf16"}, "mixed_bfloat16"), ({"avx2"}, "float32")]:
            with (
                mock.patch.object(hardware, "_cpu_flags", return_value=flags),
                mock.patch.object(tf.config, "list_physical_devices", return_value=[]),
            ):
                self.assertEqual(hardware.default_precision(), expected)
