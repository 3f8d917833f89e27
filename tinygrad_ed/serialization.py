"""Saving and loading: nested dicts, lists and tuples of tensors, in one safetensors file. Never pickle.

A safetensors file is an 8-byte length, a JSON header that gives every tensor's name, dtype, shape and place, and the data.
A dict of names and tensors, such as a module's state_dict, becomes exactly that and can be read by every other program. The
nesting of anything else, with its numbers and strings, is written as JSON into the header's `__metadata__`.
"""
from __future__ import annotations

import json
import math
import os
import struct
import sys
from contextlib import contextmanager
from typing import Any, BinaryIO, Iterator

import numpy as np

from .backend import is_array, to_numpy
from .dtypes import canonical
from .errors import DTypeError
from .tensor import Tensor, wrap

__all__ = ["load", "save"]

_DTYPES = {"F64": "f8", "F32": "f4", "F16": "f2", "I64": "i8", "I32": "i4", "I16": "i2", "I8": "i1", "U64": "u8", "U32": "u4", "U16": "u2",
           "U8": "u1", "BOOL": "?", "BF16": "u2"}
_CODES = {np.dtype(name): code for code, name in _DTYPES.items() if code != "BF16"}
_TREE = "tinygrad_ed"               # the metadata entry with the nesting
_LONGEST_HEADER = 100_000_000


# -- saving ------------------------------------------------------------------------------------------------------------

def save(obj: Any, path: Any) -> None:
    """Write tensors, and dicts, lists and tuples of them, to a safetensors file.

    Besides tensors the object may hold NumPy arrays, numbers, strings, booleans and None, and its dicts any of those but tensors
    as keys. A file that is there is replaced only when the new one is complete. Gradients and histories are not saved.

    Args:
        obj: what to save: a state_dict, or a dict of several and of numbers.
        path: the file, or a binary file object.

    Raises:
        TypeError: something in the object that cannot be saved; the message says where it is.
        OSError: the file cannot be written; what was there is as before.

    Example:
        >>> import tinygrad_ed as tg, tempfile, os
        >>> path = os.path.join(tempfile.mkdtemp(), "checkpoint.safetensors")
        >>> tg.save({"weight": tg.ones(2), "epoch": 3}, path)
        >>> tg.load(path)
        {'weight': tensor([1., 1.]), 'epoch': 3}
    """
    arrays, metadata = _pack(obj)
    header, ordered = _header(arrays, metadata)
    with _replacing(path) as file:
        file.write(header)
        for array in ordered:
            file.write(_bytes(array))


def _pack(obj: Any) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays of an object by name, and the metadata from which the rest is rebuilt."""
    if isinstance(obj, dict) and all(isinstance(k, str) and k != "__metadata__" and isinstance(v, Tensor) for k, v in obj.items()):
        return {name: to_numpy(t._data) for name, t in obj.items()}, {}
    packer = _Packer()
    tree = packer.encode(obj, "", ())
    return packer.arrays, {_TREE: json.dumps(tree, separators=(",", ":"), allow_nan=False)}


class _Packer:
    """Turns an object into JSON: lists stay lists, everything else that JSON lacks is a dict with one key that says what it is."""

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self.names: dict[tuple, str] = {}             # memory, shape and strides of an array -> its name
        self.kept: list = []                          # arrays stay alive until all are named, so that no address comes twice

    def encode(self, value: Any, path: str, above: tuple) -> Any:
        """The JSON form of a value; `path` is where it is, `above` are the containers it is in."""
        if value is None or isinstance(value, (bool, str)):
            return value
        if isinstance(value, Tensor):
            return {"tensor": self.name(to_numpy(value._data), path)}
        if isinstance(value, np.ndarray) or is_array(value):
            return {"array": self.name(to_numpy(value), path)}
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, (bool, int)):
            return value
        if isinstance(value, float):
            return value if math.isfinite(value) else {"float": str(value)}
        if not isinstance(value, (dict, list, tuple)):
            raise TypeError(f"{_at(path)} is {type(value).__name__}, which cannot be saved; save tensors, numbers, strings, None, and dicts, "
                            f"lists and tuples of them, so write model.state_dict() for a model")
        if any(value is outer for outer in above):
            raise ValueError(f"{_at(path)} contains itself and cannot be saved")
        above = (*above, value)
        if isinstance(value, dict):
            for key in value:
                if not isinstance(key, (str, int, float, bool, tuple, type(None))):
                    raise TypeError(f"{_at(path)} has a key of type {type(key).__name__}; those that can be saved are strings, numbers and "
                                    f"tuples of them")
            if all(isinstance(key, str) for key in value):
                return {"dict": {key: self.encode(v, _join(path, key), above) for key, v in value.items()}}
            return {"items": [[self.encode(key, path, above), self.encode(v, _join(path, key), above)] for key, v in value.items()]}
        entries = [self.encode(v, _join(path, i), above) for i, v in enumerate(value)]
        return entries if isinstance(value, list) else {"tuple": entries}

    def name(self, array: np.ndarray, path: str) -> str:
        """The name under which an array is stored; tensors that share all their memory are stored once."""
        if _code(array) is None:
            raise TypeError(f"{_at(path)} is an array of {array.dtype}, which a safetensors file cannot hold")
        self.kept.append(array)
        place = (array.__array_interface__["data"][0], array.shape, array.strides, array.dtype.str) if array.size else (id(array),)
        if place not in self.names:
            name = path or "tensor"
            while name in self.arrays or name == "__metadata__":
                name += "_"
            self.names[place] = name
            self.arrays[name] = array
        return self.names[place]


def _join(path: str, key: Any) -> str:
    return f"{path}.{key}" if path else str(key)


def _at(path: str) -> str:
    return f"the entry {path!r}" if path else "the object"


def _header(arrays: dict[str, np.ndarray], metadata: dict[str, str]) -> tuple[bytes, list[np.ndarray]]:
    """The file's beginning, and the arrays in the order of their data: wide dtypes first, so that all are aligned."""
    entries: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    order = sorted(arrays, key=lambda name: -arrays[name].dtype.itemsize)
    ends = np.cumsum([0] + [arrays[name].nbytes for name in order]).tolist()
    places = {name: ends[i:i + 2] for i, name in enumerate(order)}
    for name, array in arrays.items():
        entries[name] = {"dtype": _code(array), "shape": list(array.shape), "data_offsets": places[name]}
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text, [arrays[name] for name in order]


def _code(array: np.ndarray) -> str | None:
    """What safetensors calls an array's dtype; None for one that it does not have."""
    return "BF16" if array.dtype.name == "bfloat16" else _CODES.get(array.dtype.newbyteorder("="))


def _bytes(array: np.ndarray) -> memoryview:
    """An array's elements in row-major order, little-endian."""
    array = np.ascontiguousarray(array)
    if sys.byteorder == "big" or not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("<"))
    return array.reshape(-1).view(np.uint8).data


@contextmanager
def _replacing(path: Any) -> Iterator[BinaryIO]:
    """A file to write that takes the place of `path` at the end of the block, and leaves no trace after an error."""
    if hasattr(path, "write"):
        yield path
        return
    target = os.path.realpath(path)
    temporary = f"{target}.{os.getpid()}-{os.urandom(4).hex()}.tmp"
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        if os.path.exists(temporary):
            os.remove(temporary)
        raise


# -- loading -----------------------------------------------------------------------------------------------------------

def load(path: Any, map_location: Any = None, *, weights_only: bool = True) -> Any:
    """Read what `save` wrote, or any other safetensors file, which gives a dict of tensors.

    Nothing in a file is executed. Tensors of bfloat16 become float32, which holds all their values, where ml_dtypes is not installed; unsigned
    integers of more than 8 bits, which tensors do not have, stay NumPy arrays.

    Args:
        path: the file, or a binary file object.
        map_location: the device for the tensors; the CPU by default.
        weights_only: accepted as in PyTorch; a file never holds anything else.

    Returns:
        The object that was saved. Its tensors require no grad; tensors that were one in memory are one again.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a safetensors file, or a damaged one: cut off, or with tensors that overlap or lie outside.
    """
    if hasattr(path, "read"):
        return _load(path, getattr(path, "name", "the file"), map_location)
    with open(path, "rb") as file:
        return _load(file, os.fspath(path), map_location)


def _load(file: BinaryIO, name: Any, device: Any) -> Any:
    start = file.tell()
    size = file.seek(0, os.SEEK_END) - start
    file.seek(start)
    entries, metadata, begin = _read_header(file, size, name)
    _check_places(entries, size - begin, name)
    tensors: dict[str, Any] = {}
    for key in sorted(entries, key=lambda key: entries[key]["data_offsets"]):
        tensors[key] = _read_tensor(file, entries[key], name, device)
    tensors = {key: tensors[key] for key in entries}
    if _TREE not in metadata:
        return tensors
    try:
        return _decode(json.loads(metadata[_TREE]), tensors)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, RecursionError) as error:
        raise ValueError(f"{name} is damaged: the nesting in its header cannot be rebuilt ({type(error).__name__}: {error})") from None


def _read_header(file: BinaryIO, size: int, name: Any) -> tuple[dict[str, dict], dict[str, str], int]:
    """The entries of the header, the metadata, and where the data begins."""
    first = file.read(8)
    length = struct.unpack("<Q", first)[0] if len(first) == 8 else -1
    if not 2 <= length <= min(size - 8, _LONGEST_HEADER):
        if first[:2] == b"PK" or first[:1] == b"\x80":
            raise ValueError(f"{name} is a pickle or a zip file, as torch.save writes, and is not opened here since a pickle can run code; "
                             f"convert it once where PyTorch is installed: "
                             f"safetensors.torch.save_file(torch.load(path, weights_only=True), new_path)")
        why = f"its header is said to have {length} bytes, and the file has {size}" if len(first) == 8 else f"it has only {size} bytes"
        raise ValueError(f"{name} is not a safetensors file, or is cut off: {why}")
    try:
        header = json.loads(file.read(length).decode(), object_pairs_hook=_without_repetition)
        if not isinstance(header, dict):
            raise ValueError("it is no JSON object")
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name} is not a safetensors file, or is damaged: its header cannot be read ({error})") from None
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise ValueError(f"{name} is damaged: __metadata__ in its header is not a table of strings")
    return header, metadata, 8 + length


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name comes twice")
    return result


def _check_places(entries: dict[str, Any], size: int, name: Any) -> None:
    """Refuse a header whose tensors do not lie in the file one behind the other."""
    def natural(numbers: Any) -> bool:
        return isinstance(numbers, list) and all(type(n) is int and n >= 0 for n in numbers)

    for key, entry in entries.items():
        if not isinstance(entry, dict) or entry.get("dtype") not in _DTYPES:
            found = entry.get("dtype") if isinstance(entry, dict) else entry
            raise ValueError(f"{name}: tensor {key!r} has the dtype {found!r}; those that can be read are {', '.join(_DTYPES)}")
        shape: Any = entry.get("shape")
        place: Any = entry.get("data_offsets")
        if not (natural(shape) and natural(place) and len(place) == 2):
            raise ValueError(f"{name} is damaged: tensor {key!r} has the shape {shape!r} and the place {place!r}")
        expected = math.prod(shape) * np.dtype(_DTYPES[entry["dtype"]]).itemsize
        if place[1] - place[0] != expected:
            raise ValueError(f"{name} is damaged: tensor {key!r}, {entry['dtype']} of shape {shape}, takes {expected} bytes and is said to lie "
                             f"at {place}")
    end = 0
    for key in sorted(entries, key=lambda key: entries[key]["data_offsets"]):
        place = entries[key]["data_offsets"]
        if place[0] != end:
            what = "overlaps another" if place[0] < end else "leaves a gap before it"
            raise ValueError(f"{name} is damaged: tensor {key!r} at {place} {what}; expected it to begin at {end}")
        end = place[1]
    if end != size:
        raise ValueError(f"{name} is {'cut off' if end > size else 'damaged'}: its tensors take {end} bytes, and {size} follow the header")


def _read_tensor(file: BinaryIO, entry: dict, name: Any, device: Any) -> Any:
    try:
        array = np.empty(entry["shape"], _DTYPES[entry["dtype"]])
    except (ValueError, MemoryError) as error:
        raise ValueError(f"{name}: a tensor of shape {entry['shape']} cannot be made ({error})") from None
    view, done = array.reshape(-1).view(np.uint8).data, 0
    while done < len(view):
        count = file.readinto(view[done:])            # type: ignore[attr-defined]
        if not count:
            raise ValueError(f"{name} is cut off: {len(view) - done} bytes of a tensor are missing")
        done += count
    if sys.byteorder == "big":
        array.byteswap(inplace=True)
    if entry["dtype"] == "BOOL":                      # any byte but 0 is True
        array = np.asarray(array.view(np.uint8) != 0)
    if entry["dtype"] == "BF16":
        try:
            array = array.view(canonical("bfloat16"))
        except DTypeError:                            # without ml_dtypes: the upper half of a float32
            array = np.asarray(array.astype(np.uint32) << 16).view(np.float32)
    if array.dtype.kind == "u" and array.itemsize > 1:
        return array                                  # tensors have no such dtype
    tensor = wrap(array)
    return tensor if device is None else tensor.to(device=device)


def _decode(value: Any, tensors: dict[str, Any]) -> Any:
    """What `_Packer.encode` made JSON of."""
    if isinstance(value, list):
        return [_decode(v, tensors) for v in value]
    if not isinstance(value, dict):
        return value
    (kind, content), = value.items()
    if kind == "dict":
        return {key: _decode(v, tensors) for key, v in content.items()}
    if kind == "items":
        return {_decode(key, tensors): _decode(v, tensors) for key, v in content}
    if kind == "tuple":
        return tuple(_decode(v, tensors) for v in content)
    if kind == "tensor":
        return tensors[content]
    if kind == "array":
        return to_numpy(tensors[content]._data) if isinstance(tensors[content], Tensor) else tensors[content]
    if kind == "float":
        return float(content)
    raise ValueError(f"unknown kind {kind!r}")
