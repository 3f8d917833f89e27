"""cuDNN through its graph interface, the package nvidia-cudnn-frontend, on raw addresses: runs a `Convolution`.

A graph of one operation is built at the first use of its sizes, dtypes and precision, and kept by the thread; where cuDNN has no plan for it,
or is not installed, `run` says so and nothing happens. https://docs.nvidia.com/deeplearning/cudnn/frontend/latest/
"""
from __future__ import annotations

import threading
from functools import cache
from typing import Any, NamedTuple

from ... import cuda

__all__ = ["Convolution", "build", "frontend", "run", "why_not"]

INSTALL = 'pip install "tinygrad_ed[cudnn13]" (CUDA 13) or pip install "tinygrad_ed[cudnn12]" (CUDA 12)'
DTYPES = {"e": "HALF", "E": "BFLOAT16", "f": "FLOAT", "d": "DOUBLE"}       # by a dtype's char
PORTS = {"fprop": ("image", "weight"), "dgrad": ("loss", "filter"), "wgrad": ("image", "loss")}
_KEPT = 1024                                          # graphs that a thread keeps

Sizes = tuple[int, ...]


class Convolution(NamedTuple):
    """One of convolution's three faces: "fprop" makes y of x and w, "dgrad" x's gradient of y's and w, "wgrad" w's gradient of x and y's.

    The arrays are contiguous, with two spatial dimensions at least; each of a spatial dimension's numbers is in the tuples.
    """

    face: str
    dtype: str                           # a name in cudnn.data_type
    first: Sizes                         # shapes, in the order of `PORTS`
    second: Sizes
    result: Sizes
    before: Sizes                        # padding in front of the first input, and behind the last
    after: Sizes
    stride: Sizes
    dilation: Sizes
    tf32: bool
    deterministic: bool


@cache
def why_not() -> str | None:
    """Why cuDNN cannot be used, in words; None where it can. Never raises."""
    try:
        import cudnn
        cudnn.backend_version()
    except ImportError as error:
        return f"{error}; {INSTALL}"
    except Exception as error:                        # the frontend is there, the library is not
        return f"the library cuDNN cannot be loaded ({error}); {INSTALL}"
    return None


def frontend() -> Any:
    """The module cudnn; None where it cannot be used."""
    if why_not() is not None:
        return None
    import cudnn
    return cudnn


def build(what: Convolution, handle: Any = None) -> tuple[Any, list[Any]]:
    """The graph, checked but not planned, which needs no device; and its tensors: two operands and the result."""
    cudnn = frontend()
    dtype, wide = getattr(cudnn.data_type, what.dtype), cudnn.data_type.DOUBLE if what.dtype == "DOUBLE" else cudnn.data_type.FLOAT
    graph = cudnn.pygraph(io_data_type=dtype, intermediate_data_type=wide, compute_data_type=wide, handle=handle)
    operands = [graph.tensor(name=port, dim=list(shape), stride=_strides(shape), data_type=dtype)
                for port, shape in zip(PORTS[what.face], (what.first, what.second))]
    result = getattr(graph, "conv_" + what.face)(
        **dict(zip(PORTS[what.face], operands)), pre_padding=list(what.before), post_padding=list(what.after), stride=list(what.stride),
        dilation=list(what.dilation), compute_data_type=wide)
    result.set_output(True).set_data_type(dtype).set_dim(list(what.result)).set_stride(_strides(what.result))
    graph.validate()
    return graph, [*operands, result]


def _strides(shape: Sizes) -> list[int]:
    strides = [1]
    for n in reversed(shape[1:]):
        strides.append(strides[-1] * n)
    return strides[::-1]


class _Prepared:
    """A graph with a plan on the current device; none where cuDNN has none."""

    def __init__(self, what: Convolution, handle: Any):
        cudnn = frontend()
        self.graph = None
        graph, self.tensors = build(what, handle)
        unwanted = [cudnn.numerical_note.DOWN_CONVERT_INPUTS]
        if what.dtype == "FLOAT" and not what.tf32:
            unwanted.append(cudnn.numerical_note.TENSOR_CORE)
        if what.deterministic:
            unwanted.append(cudnn.numerical_note.NONDETERMINISTIC)
        try:
            graph.build_operation_graph()
            graph.create_execution_plans([cudnn.heur_mode.A, cudnn.heur_mode.FALLBACK])
            graph.deselect_numeric_notes(unwanted)
            graph.check_support()
            graph.build_plans()
        except (cudnn.cudnnGraphNotSupportedError, RuntimeError):
            return
        self.graph, self.workspace = graph, graph.get_workspace_size()


class _Thread(threading.local):
    """What a thread keeps: handles by device, and graphs by device and Convolution."""

    def __init__(self) -> None:
        self.handles: dict[int, Any] = {}
        self.prepared: dict[Any, _Prepared] = {}


_thread = _Thread()


def forget() -> None:
    """Find out anew whether cuDNN can be used."""
    why_not.cache_clear()
    _thread.handles.clear()
    _thread.prepared.clear()


def run(what: Convolution, first: int, second: int, result: int) -> bool:
    """Queue a convolution on the current stream of the current device.

    Args:
        what: the convolution.
        first, second, result: addresses of its arrays.

    Returns:
        Whether cuDNN can compute it; if not, nothing has happened.
    """
    cudnn, cupy = frontend(), cuda.module()
    if cudnn is None:
        return False
    device = cupy.cuda.runtime.getDevice()
    handle = _thread.handles.get(device)
    if handle is None:
        handle = _thread.handles[device] = cudnn.create_handle()
    prepared = _thread.prepared.get((device, what))
    if prepared is None:
        if len(_thread.prepared) >= _KEPT:
            _thread.prepared.clear()
        prepared = _thread.prepared[device, what] = _Prepared(what, handle)
    if prepared.graph is None:
        return False
    cudnn.set_stream(handle=handle, stream=cupy.cuda.get_current_stream().ptr)
    workspace = cupy.cuda.alloc(prepared.workspace)   # until the end of this call: what is queued next on this stream may have it
    prepared.graph.execute(dict(zip(prepared.tensors, (first, second, result))), workspace.ptr, handle=handle)
    return True
