"""PyTorch's old file of weights, read without PyTorch and without running what is pickled in it.

Such a file holds five pickles and then raw numbers: a magic number, the version of the format, facts about the machine that
wrote it, the dictionary of tensors, the list of their storages' keys; then, in the order of that list, each storage's length
and elements. A pickle is a program for a small machine with a stack. Python's own machine calls any function the program
names. The one below knows the few instructions that a dictionary of tensors needs, and calls nothing.
"""

import dataclasses
import io
import math
import os
import pickletools

import numpy as np

_START = b"\x80\x02\x8a\x0a" + 0x1950A86A20F9469CFC6C.to_bytes(10, "little") + b"."  # the magic number, pickled
_VERSION = 1001
_HOW_TO_WRITE = "torch.save(model.state_dict(), path, _use_new_zipfile_serialization=False)"


def read_state_dict(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Tensors of a file that `torch.save` wrote in its old, unzipped format (the default before PyTorch 1.6).

    Nothing in the file is executed: it is refused as soon as it asks for anything else than tensors in a dictionary. No more
    memory is taken than the file is long.

    Args:
        path: of the file, usually `*.pth`.

    Returns:
        Name → array, in the file's order; read-only views of its content.

    Raises:
        ValueError: one line, if the file is of another kind, damaged, or holds anything else than named tensors.

    Example:
        >>> from arconvl_tf.backbones.lite0 import installed_weights
        >>> read_state_dict(installed_weights())["_conv_stem.weight"].shape
        (32, 3, 3, 3)
    """
    with open(path, "rb") as file:
        start = file.read(len(_START))
        content = start + file.read() if start == _START else b""
    try:
        if not content:
            kind = "a zip archive, PyTorch's newer format" if start.startswith(b"PK") else "another kind of file"
            raise ValueError(f"{kind}; PyTorch writes the old one by {_HOW_TO_WRITE}")
        return _state_dict(content)
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
        raise ValueError(
            f"Expected named tensors in PyTorch's old, unzipped format. Received: {os.fspath(path)} ({str(error)[:150]}). "
            "Fetch the file again, or name another"
        ) from None


def _state_dict(content):
    file = io.BytesIO(content)
    file.seek(len(_START))
    version, machine, tensors, keys = [_unpickle(file) for _ in range(4)]
    if version != _VERSION or machine["little_endian"] is not True:
        raise ValueError("another version or byte order")
    if not isinstance(tensors, dict) or not all(isinstance(each, _Tensor) for each in tensors.values()):
        raise ValueError("no flat dictionary of tensors")
    storages = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    if sorted(map(_text, keys)) != sorted(storages):
        raise ValueError("other storages than its tensors need")
    places, position = {}, file.tell()
    for key in keys:
        storage = storages[key]
        if int.from_bytes(content[position : position + 8], "little") != storage.length:
            raise ValueError("a storage of another length than its tensors need")
        places[storage] = position + 8
        position += 8 + storage.length * storage.dtype.itemsize
    if position != len(content):
        raise ValueError(f"{len(content)} bytes where its tensors need {position}")
    return {name: tensor.array(content, places[tensor.storage]) for name, tensor in tensors.items()}


@dataclasses.dataclass(frozen=True)
class _Storage:
    """Numbers in a row, still in the file."""

    key: str
    dtype: np.dtype
    length: int


@dataclasses.dataclass(frozen=True)
class _Tensor:
    """A strided view of a storage."""

    storage: _Storage
    offset: int
    shape: tuple
    strides: tuple

    def array(self, content, position):
        last = self.offset + sum((size - 1) * stride for size, stride in zip(self.shape, self.strides))
        if math.prod(self.shape) > self.storage.length or last >= self.storage.length > 0:
            raise ValueError("a tensor reaches beyond its storage")
        row = np.frombuffer(content, self.storage.dtype, self.storage.length, position)
        strides = [stride * row.itemsize for stride in self.strides]
        return np.lib.stride_tricks.as_strided(row[self.offset :], self.shape, strides, writeable=False)


_TENSOR, _DICTIONARY = "torch._utils _rebuild_tensor_v2", "collections OrderedDict"
_ELEMENTS = {
    "torch FloatStorage": np.dtype("<f4"),
    "torch DoubleStorage": np.dtype("<f8"),
    "torch HalfStorage": np.dtype("<f2"),
    "torch LongStorage": np.dtype("<i8"),
    "torch IntStorage": np.dtype("<i4"),
    "torch ShortStorage": np.dtype("<i2"),
    "torch CharStorage": np.dtype("<i1"),
    "torch ByteStorage": np.dtype("<u1"),
    "torch BoolStorage": np.dtype("?"),
}


def _unpickle(file):
    """The object of the pickle at the file's position, made of numbers, texts, tuples, lists, dictionaries and `_Tensor`."""
    stack, marks, memo = [], [], {}

    def popped(start):
        items = stack[start:]
        del stack[start:]
        return items

    for instruction, argument, _ in pickletools.genops(file):
        match instruction.name:
            case "PROTO":
                pass
            case "BINUNICODE" | "BININT" | "BININT1" | "BININT2" | "LONG1":
                stack.append(argument)
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[instruction.name])
            case "EMPTY_TUPLE" | "EMPTY_LIST" | "EMPTY_DICT":
                stack.append({"EMPTY_TUPLE": tuple, "EMPTY_LIST": list, "EMPTY_DICT": dict}[instruction.name]())
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(tuple(popped(-int(instruction.name[-1]))))
            case "MARK":
                marks.append(len(stack))
            case "TUPLE":
                stack.append(tuple(popped(marks.pop())))
            case "APPEND" | "APPENDS":
                items = popped(-1 if instruction.name == "APPEND" else marks.pop())
                stack[-1].extend(items)
            case "SETITEM" | "SETITEMS":
                items = popped(-2 if instruction.name == "SETITEM" else marks.pop())
                stack[-1].update(zip(map(_text, items[::2]), items[1::2]))
            case "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "GLOBAL":
                if argument not in (_TENSOR, _DICTIONARY, *_ELEMENTS):
                    raise ValueError(f"it asks for {argument[:60]!r}, which is no part of a tensor")
                stack.append(argument)
            case "REDUCE":
                function, arguments = popped(-2)
                stack.append(_made(function, arguments))
            case "BINPERSID":
                stack.append(_storage(*stack.pop()))
            case "BUILD":
                stack.pop()  # versions of the network's modules, which PyTorch keeps as an attribute of the dictionary
            case "STOP":
                return stack.pop()
            case other:
                raise ValueError(f"it asks for {other}, which no tensor needs")
    raise ValueError("it ends too early")


def _text(value):
    if not isinstance(value, str):
        raise ValueError("a name that is no text")
    return value


def _made(function, arguments):
    if function == _DICTIONARY and not arguments:
        return {}
    if function == _TENSOR:
        storage, offset, shape, strides, *_ = arguments  # then two facts about gradients
        whole_numbers = all(type(each) is int and 0 <= each < 2**63 for each in (offset, *shape, *strides))
        if not whole_numbers or len(shape) != len(strides):
            raise ValueError("a tensor without a proper shape")
        return _Tensor(storage, offset, shape, strides)
    raise ValueError("a call with other arguments than a tensor's")


def _storage(kind, elements, key, device, length, view):
    if kind != "storage" or view is not None or type(length) is not int or length < 0:
        raise ValueError("an unknown kind of storage")
    return _Storage(_text(key), _ELEMENTS[_text(elements)], length)
