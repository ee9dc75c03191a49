"""PyTorch's old files of weights, written here byte by byte: good ones, damaged ones, hostile ones."""

import builtins
import collections
import os
import pathlib
import pickle
import struct
import tempfile
import zipfile

import numpy as np
import tensorflow as tf

from arconvl_tf.backbones.torch_file import read_state_dict

MAGIC = 0x1950A86A20F9469CFC6C
MACHINE = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}


class Storage:
    """Stands for PyTorch's; the pickle holds a persistent id in its place."""

    def __init__(self, numbers, key, kind="FloatStorage", length=None, view=None):
        self.numbers, self.key, self.kind, self.view = np.asarray(numbers), key, kind, view
        self.length = self.numbers.size if length is None else length


class Call:
    """An object whose pickle calls a function."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


class Function:
    """A function's name in the pickle, `module name`, whether or not there is one."""

    def __init__(self, name):
        self.name = name


class Pickler(pickle._Pickler):
    """Python's own, which is told how to write the two above."""

    def persistent_id(self, value):
        if isinstance(value, Storage):
            return ("storage", Function(f"torch {value.kind}"), value.key, "cpu", value.length, value.view)
        return None

    def save(self, value, *arguments, **options):
        if isinstance(value, Function):
            self.write(b"c" + value.name.replace(" ", "\n").encode() + b"\n")
        elif isinstance(value, Call) and isinstance(value.call[0], Function):
            function, parameters = value.call
            self.save(function)
            self.save(parameters)
            self.write(pickle.REDUCE)
        else:
            super().save(value, *arguments, **options)


def tensor(storage, shape, strides, offset=0, function="torch._utils _rebuild_tensor_v2"):
    return Call(Function(function), storage, offset, shape, strides, False, collections.OrderedDict())


def pickled(value):
    with tempfile.TemporaryFile() as file:
        Pickler(file, 2).dump(value)
        file.seek(0)
        return file.read()


def content(tensors, storages=(), machine=MACHINE, version=1001, keys=None, lengths=None):
    """A file as PyTorch writes it, but for what is told otherwise."""
    lengths = [storage.length for storage in storages] if lengths is None else lengths
    parts = [pickled(each) for each in (MAGIC, version, machine, tensors, keys or [storage.key for storage in storages])]
    return b"".join(parts) + b"".join(
        struct.pack("<q", length) + storage.numbers.tobytes() for storage, length in zip(storages, lengths)
    )


class TorchFileTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = pathlib.Path(folder.name, "weights.pth")

    def read(self, data):
        self.path.write_bytes(data)
        return read_state_dict(self.path)

    def test_tensors_of_every_type(self):
        for kind, dtype in (
            ("FloatStorage", "<f4"),
            ("DoubleStorage", "<f8"),
            ("HalfStorage", "<f2"),
            ("LongStorage", "<i8"),
            ("IntStorage", "<i4"),
            ("ShortStorage", "<i2"),
            ("CharStorage", "<i1"),
            ("ByteStorage", "<u1"),
            ("BoolStorage", "?"),
        ):
            numbers = np.array([1, 0, 1, 1, 0, 1], dtype)
            storage = Storage(numbers, "0", kind)
            read = self.read(content({"a": tensor(storage, (2, 3), (3, 1))}, [storage]))
            self.assertEqual(read["a"].dtype, dtype)
            self.assertAllEqual(read["a"], numbers.reshape(2, 3))

    def test_views_of_one_storage(self):
        storage, other = Storage(np.arange(24, dtype="<f4"), "7"), Storage(np.array([5], "<i8"), "x", "LongStorage")
        tensors = collections.OrderedDict(
            transposed=tensor(storage, (4, 6), (1, 4)),
            column=tensor(storage, (3,), (2,), offset=1),
            scalar=tensor(other, (), ()),
            empty=tensor(storage, (0, 4), (4, 1)),
        )
        read = self.read(content(tensors, [storage, other]))
        self.assertEqual(list(read), ["transposed", "column", "scalar", "empty"])
        self.assertAllEqual(read["transposed"], np.arange(24).reshape(6, 4).T)
        self.assertAllEqual(read["column"], [1, 3, 5])
        self.assertEqual(read["scalar"], 5)
        self.assertEqual(read["empty"].shape, (0, 4))

    def assertRefused(self, name, data, reason):
        with self.subTest(name):
            with self.assertRaises(ValueError) as raised:
                self.read(data)
            message = str(raised.exception)
            self.assertRegex(message, reason)
            self.assertStartsWith(
                message, f"Expected named tensors in PyTorch's old, unzipped format. Received: {self.path} ("
            )
            self.assertNotIn("\n", message)
            self.assertLess(len(message), 500)

    def test_code_is_neither_run_nor_looked_up(self):
        witness = self.path.with_name("witness")
        storage = Storage(np.zeros(2, "<f4"), "0")
        for name, hostile in (
            ("os.system", Call(os.system, f"touch {witness}")),
            ("builtins.eval", Call(builtins.eval, f"open({str(witness)!r}, 'w')")),
            ("builtins.getattr", Call(builtins.getattr, "", "join")),
            ("a module that would be imported", Function("antigravity fly")),
            ("torch.load", Function("torch load")),
            ("a dotted name", Function("collections OrderedDict.fromkeys")),
            ("another constructor", tensor(storage, (2,), (1,), function="torch._utils _rebuild_parameter")),
            ("an argument", Call(Function("collections OrderedDict"), [("a", 1)])),
            ("a storage that is called", Call(Function("torch FloatStorage"), 10**12)),
            ("a set", {1, 2}),
            ("bytes", bytearray(9)),
        ):
            for place, data in {
                "a tensor": content({"a": hostile}, [storage]),
                "the machine": content({}, machine=hostile),
                "the keys": content({}, keys=[hostile]),
                "within a tensor": content({"a": tensor(hostile, (2,), (1,))}, [storage]),
            }.items():
                self.assertRefused(f"{name} as {place}", data, r"it asks for|a call with|unknown kind")
        self.assertFalse(witness.exists())

    def test_instructions_that_no_tensor_needs(self):
        start = content({}, keys=["0"]).partition(pickled({}))[0]
        for name, program in (
            ("a new object", b"ccollections\nOrderedDict\n)\x81."),
            ("an instance by name", b"(S'true'\nios\nsystem\n."),
            ("a frame of 2⁶² bytes", b"\x95" + struct.pack("<q", 2**62)),
            ("a text of 2⁶² bytes", b"\x8d" + struct.pack("<q", 2**62)),
            ("a text of 4 GB", b"X" + struct.pack("<I", 2**32 - 1)),
            ("a number of 2 GB", b"\x8b" + struct.pack("<i", 2**31 - 1)),
            ("no end", b"}"),
            ("an empty stack", b"."),
            ("a missing mark", b"t."),
            ("a missing memory", b"h\x05."),
            ("a key that is no text", b"}(K\x01K\x02u."),
            ("a state for a number", b"K\x01}b."),
            ("tuples nested very deep as a key", b"})" + b"\x85" * 10**5 + b"K\x01s."),
            ("a type of elements nested very deep", b"(X\x07\0\0\0storage)" + b"\x85" * 10**5 + b"X\0\0\0\0NK\x01NtQ."),
            ("nothing", b""),
        ):
            self.assertRefused(name, start + program, r"\(.+\)")

    def test_a_place_in_memory_that_takes_gigabytes_elsewhere(self):
        """Python's own unpickler makes room for 2³² entries here."""
        start = content({}, keys=["0"]).partition(pickled({}))[0]
        self.assertEqual(self.read(start + b"}r\xff\xff\xff\x7f." + pickled([])), {})

    def test_sizes_that_do_not_agree(self):
        numbers = np.arange(6, dtype="<f4")
        storage = Storage(numbers, "0")
        good = content({"a": tensor(storage, (6,), (1,))}, [storage])
        self.assertAllEqual(self.read(good)["a"], numbers)
        huge = Storage(numbers, "0", length=2**60)
        for name, data in {
            "truncated": good[:-1],
            "truncated in the pickles": good[:150],
            "longer": good + b"\0",
            "a storage as long as no file": content({"a": tensor(huge, (6,), (1,))}, [huge]),
            "two lengths": content({"a": tensor(storage, (6,), (1,))}, [storage], lengths=[2**60]),
            "a negative length": content({"a": tensor(Storage(numbers, "0", length=-1), (6,), (1,))}, [storage]),
            "a shape beyond": content({"a": tensor(storage, (7,), (1,))}, [storage]),
            "a shape of 2⁶²": content({"a": tensor(storage, (2**31, 2**31), (0, 0))}, [storage]),
            "a repeated element": content({"a": tensor(storage, (7,), (0,))}, [storage]),
            "strides beyond": content({"a": tensor(storage, (2, 2), (5, 1))}, [storage]),
            "an offset beyond": content({"a": tensor(storage, (1,), (1,), offset=6)}, [storage]),
            "a negative offset": content({"a": tensor(storage, (1,), (1,), offset=-1)}, [storage]),
            "a negative stride": content({"a": tensor(storage, (3,), (-1,), offset=3)}, [storage]),
            "a negative shape": content({"a": tensor(storage, (-2, -3), (1, 1))}, [storage]),
            "a stride that is a text": content({"a": tensor(storage, (2**40,), ("x",))}, [storage]),
            "a fraction": content({"a": tensor(storage, (1.5,), (1,))}, [storage]),
            "shape and strides": content({"a": tensor(storage, (2, 3), (1,))}, [storage]),
            "100 axes": content({"a": tensor(storage, (1,) * 100, (1,) * 100)}, [storage]),
            "a storage without numbers": content({"a": tensor(storage, (6,), (1,))}, []),
            "numbers without a storage": content({}, [storage]),
            "a view of a storage": content({"a": tensor(Storage(numbers, "0", view=("1", 0, 6)), (6,), (1,))}, [storage]),
            "two storages of one key": content(
                {"a": tensor(storage, (6,), (1,)), "b": tensor(Storage(numbers, "0", "HalfStorage"), (6,), (1,))}, [storage]
            ),
            "a storage twice": content({"a": tensor(storage, (6,), (1,))}, [storage, storage]),
            "a key that is long": content({"a": tensor(storage, (6,), (1,))}, keys=["x" * 10**6]),
            "nested": content({"state_dict": {"a": tensor(storage, (6,), (1,))}}, [storage]),
            "no dictionary": content([tensor(storage, (6,), (1,))], [storage]),
            "another version": content({"a": tensor(storage, (6,), (1,))}, [storage], version=1002),
            "another byte order": content({}, machine={"little_endian": False}),
        }.items():
            self.assertRefused(name, data, r"\(.+\)")

    def test_other_files(self):
        with zipfile.ZipFile(self.path, "w") as archive:
            archive.writestr("archive/data.pkl", pickled({}))
        self.assertRefused(
            "PyTorch's newer format", self.path.read_bytes(), "zip archive.*_use_new_zipfile_serialization=False"
        )
        for name, data in {
            "empty": b"",
            "another magic number": pickled(MAGIC + 1),
            "a plain pickle": pickled({"a": 1}),
        }.items():
            self.assertRefused(name, data, "another kind of file")
