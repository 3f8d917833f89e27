"""The IDX format, in which the MNIST digits come: a magic number, the lengths of the dimensions, and the values, big-endian."""
from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["read_idx", "read_mnist"]

_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MNIST = {"train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"), "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")}


def read_idx(path: Any) -> np.ndarray:
    """The array in an IDX file, compressed by gzip or not.

    Args:
        path: the file.

    Returns:
        An array of the file's shape, of a dtype among uint8, int8, int16, int32, float32 and float64.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not an IDX file, one that ends too early, or one with bytes behind its values.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "labels"
        >>> _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]))
        >>> read_idx(path)
        array([7, 2, 1], dtype=uint8)
    """
    with open(path, "rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        file = gzip.GzipFile(fileobj=raw) if packed else raw
        try:
            return _read(file, path)
        except (EOFError, OSError, zlib.error) as error:
            raise ValueError(f"{path} is damaged: its gzip data cannot be unpacked ({error}); download it again") from None


def _read(file: Any, path: Any) -> np.ndarray:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _DTYPES or magic[3] == 0:
        raise ValueError(f"{path} is not an IDX file: it begins with {magic.hex(' ') or 'nothing'}, expected 00 00, a type code among "
                         f"{', '.join(f'{code:02x}' for code in _DTYPES)}, and the number of dimensions")
    ndim = magic[3]
    header = file.read(4 * ndim)
    if len(header) < 4 * ndim:
        raise ValueError(f"{path} ends within its header: {ndim} lengths take {4 * ndim} bytes, got {len(header)}")
    shape = struct.unpack(f">{ndim}I", header)
    dtype = np.dtype(_DTYPES[magic[2]])
    expected = math.prod(shape) * dtype.itemsize
    data = file.read(expected + 1)
    if len(data) != expected:
        got = f"only {len(data)}" if len(data) < expected else "more"
        raise ValueError(f"{path} is damaged: its header says {expected} bytes, shape {shape} of {dtype.newbyteorder('=')}, and there are {got}")
    return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="))


def read_mnist(directory: Any) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The four files of MNIST, or of a data set in its form, such as Fashion-MNIST.

    Args:
        directory: where `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and
            `t10k-labels-idx1-ubyte` lie, each as it is or with `.gz`.

    Returns:
        {"train": (images, labels), "test": (images, labels)}: uint8 images of shape (N, 28, 28), uint8 labels of shape (N,).

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a damaged file, files of other contents, or images and labels that differ in number.

    Example:
        >>> read_mnist("no/such/place")
        Traceback (most recent call last):
            ...
        FileNotFoundError: train-images-idx3-ubyte (or train-images-idx3-ubyte.gz) is not in no/such/place; found: no such directory
    """
    parts = {}
    for part, names in _MNIST.items():
        images, labels = (read_idx(_find(Path(directory), name)) for name in names)
        if images.ndim != 3 or images.dtype != np.uint8 or labels.ndim != 1 or labels.dtype != np.uint8:
            raise ValueError(f"{directory}: expected {part} images (N, rows, columns) and labels (N,) of uint8, got {images.dtype} "
                             f"{images.shape} and {labels.dtype} {labels.shape}")
        if len(images) != len(labels):
            raise ValueError(f"{directory}: {len(images)} {part} images and {len(labels)} labels")
        parts[part] = (images, labels)
    if parts["train"][0].shape[1:] != parts["test"][0].shape[1:]:
        raise ValueError(f"{directory}: training images are {parts['train'][0].shape[1:]}, test images {parts['test'][0].shape[1:]}")
    return parts


def _find(directory: Path, name: str) -> Path:
    for candidate in (name, name + ".gz", name.replace("-idx", ".idx"), name.replace("-idx", ".idx") + ".gz"):
        if (directory / candidate).is_file():
            return directory / candidate
    present = ", ".join(sorted(os.listdir(directory))[:8]) if directory.is_dir() else "no such directory"
    raise FileNotFoundError(f"{name} (or {name}.gz) is not in {directory}; found: {present or 'nothing'}")
