"""Files in MNIST's format, for the tests that read them."""
import gzip
import struct

import numpy as np

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx(array):
    """An array as the bytes of an IDX file."""
    header = bytes([0, 0, CODES[array.dtype.str[1:]], array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def mnist_files(directory, n_train=5, n_test=3, side=4, suffix=""):
    """The four files of a tiny data set in MNIST's form."""
    rng = np.random.default_rng(0)
    for part, n in (("train", n_train), ("t10k", n_test)):
        images, labels = rng.integers(0, 256, (n, side, side)).astype("u1"), rng.integers(0, 10, n).astype("u1")
        for name, array in ((f"{part}-images-idx3-ubyte", images), (f"{part}-labels-idx1-ubyte", labels)):
            (directory / (name + suffix)).write_bytes(gzip.compress(idx(array)) if suffix else idx(array))
