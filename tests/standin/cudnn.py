"""The stand-in for the module cudnn: graphs of one convolution on raw addresses, computed with NumPy.

It refuses what the real one refuses (sizes that do not fit together, tensors that are not told), and has no plans for float64 with dilation,
so that there is a case without. The real module checks the same graphs in the tests too, as far as it does without a device.
"""
from __future__ import annotations

import ctypes
from enum import Enum
from types import ModuleType
from typing import Any

import numpy as np

from . import devices, tally
from .blas import array_dtype, memory_at

data_type = Enum("data_type", "FLOAT DOUBLE HALF BFLOAT16")
numerical_note = Enum("numerical_note", "TENSOR_CORE DOWN_CONVERT_INPUTS NONDETERMINISTIC")
heur_mode = Enum("heur_mode", "A FALLBACK")
NAMES = {"FLOAT": "float32", "DOUBLE": "float64", "HALF": "float16", "BFLOAT16": "bfloat16"}
PORTS = {"fprop": ("image", "weight"), "dgrad": ("loss", "filter"), "wgrad": ("image", "loss")}
calls: list[Any] = []                                 # every graph that ran


class cudnnGraphNotSupportedError(Exception):
    """There is no plan."""


class Tensor:
    """A tensor of a graph."""

    def __init__(self, dim: Any = None, stride: Any = None, data_type: Any = None):
        self.dim, self.stride, self.data_type, self.is_output = dim, stride, data_type, False

    def set_output(self, value: bool) -> "Tensor":
        """Whether it is written."""
        self.is_output = value
        return self

    def set_dim(self, dim: list) -> "Tensor":
        """Its shape."""
        self.dim = dim
        return self

    def set_stride(self, stride: list) -> "Tensor":
        """Its strides in elements."""
        self.stride = stride
        return self

    def set_data_type(self, kind: Any) -> "Tensor":
        """Its dtype."""
        self.data_type = kind
        return self

    def array(self, address: int) -> np.ndarray:
        """Its values."""
        dtype = array_dtype(NAMES[self.data_type.name])
        size = 1 + sum((n - 1) * s for n, s in zip(self.dim, self.stride))
        memory = (ctypes.c_char * (size * dtype.itemsize)).from_address(address)
        return np.ndarray(self.dim, dtype, memory, strides=[s * dtype.itemsize for s in self.stride])


class pygraph:
    """A graph of one convolution."""

    def __init__(self, io_data_type: Any = None, intermediate_data_type: Any = None, compute_data_type: Any = None, handle: Any = None):
        self.handle, self.unwanted, self.built = handle, [], False
        self.compute_data_type = compute_data_type

    def tensor(self, name: str, dim: list, stride: list, data_type: Any) -> Tensor:
        """An operand."""
        return Tensor(dim, stride, data_type)

    def __getattr__(self, name: str) -> Any:
        if name not in ("conv_fprop", "conv_dgrad", "conv_wgrad"):
            raise AttributeError(name)

        def convolve(*, pre_padding: list, post_padding: list, stride: list, dilation: list, compute_data_type: Any, **operands: Tensor) -> Tensor:
            self.face, self.operands = name.removeprefix("conv_"), [operands[port] for port in PORTS[name.removeprefix("conv_")]]
            self.numbers = pre_padding, post_padding, stride, dilation
            self.result = Tensor()
            return self.result
        return convolve

    def validate(self) -> None:
        """Check the sizes."""
        first, second = self.operands
        x, w, y = {"fprop": (first, second, self.result), "dgrad": (self.result, second, first), "wgrad": (first, self.result, second)}[self.face]
        before, after, stride, dilation = self.numbers
        if min(*before, *after) < 0 or min(*stride, *dilation) < 1 or len(x.dim) not in (4, 5):
            raise ValueError("numbers that cuDNN does not take")
        sizes = [(n + p + q - d * (k - 1) - 1) // s + 1 for n, k, p, q, s, d in zip(x.dim[2:], w.dim[2:], before, after, stride, dilation)]
        if [*y.dim] != [x.dim[0], w.dim[0], *sizes] or x.dim[1] % w.dim[1] or w.dim[0] % (x.dim[1] // w.dim[1]) or not self.result.is_output:
            raise ValueError(f"sizes that do not fit together: {x.dim} {w.dim} {y.dim}, expected {sizes}")
        self.groups = x.dim[1] // w.dim[1]

    def build_operation_graph(self) -> None:
        """Hand it to the library."""

    def create_execution_plans(self, heuristics: list) -> None:
        """Look for plans."""

    def deselect_numeric_notes(self, notes: list) -> "pygraph":
        """Leave out plans."""
        self.unwanted = notes
        return self

    def check_support(self) -> None:
        """Whether there is a plan."""
        if self.compute_data_type is data_type.DOUBLE and max(self.numbers[3]) > 1:
            raise cudnnGraphNotSupportedError("no plan")

    def build_plans(self) -> None:
        """Prepare it."""
        self.built = True

    def get_workspace_size(self) -> int:
        """Bytes that it needs."""
        return 1024

    def execute(self, pack: dict, workspace: int, handle: Any = None) -> None:
        """Queue it."""
        from tinygrad_ed.backend.kernels import plain
        from tinygrad_ed.backend.kernels.window import Window
        if not self.built or handle is not self.handle or handle.stream != devices.get_current_stream().ptr:
            raise RuntimeError("CUDNN_STATUS_BAD_PARAM")
        addresses = [pack[tensor] for tensor in (*self.operands, self.result)]
        memories = [memory_at(address) for address in addresses]
        before, _, stride, dilation = map(tuple, self.numbers)
        kernel = {"fprop": self.operands[1], "dgrad": self.operands[1], "wgrad": self.result}[self.face].dim[2:]
        window, held = Window(tuple(kernel), stride, before, dilation), [memory.bytes for memory in memories]

        def again() -> None:
            assert held
            first, second, result = (tensor.array(address) for tensor, address in zip((*self.operands, self.result), addresses))
            if self.face == "fprop":
                result[...] = plain.conv_output(first, second, None, window, self.groups, result.shape[2:])
            elif self.face == "dgrad":
                result[...] = plain.conv_input(first, second, None, window, self.groups, result.shape[2:])
            else:
                result[...] = plain.conv_weight(second, first, window, self.groups)

        for memory in memories[:2]:
            memory.read(devices.get_current_stream(), "a convolution")
        calls.append(self)
        again()
        tally.launched(again, memories[:2], memories[2:])
        memories[2].write(devices.get_current_stream())


class Handle:
    """What belongs to a device, with a stream."""

    stream = 0


def set_stream(handle: Handle, stream: int) -> None:
    """Let a handle's work be queued on a stream."""
    handle.stream = stream


def module() -> ModuleType:
    """The module."""
    made = ModuleType("cudnn")
    made.__dict__.update(pygraph=pygraph, data_type=data_type, numerical_note=numerical_note, heur_mode=heur_mode, create_handle=Handle,
                         set_stream=set_stream, cudnnGraphNotSupportedError=cudnnGraphNotSupportedError, backend_version=lambda: 91000)
    return made
