"""Function: an operation of one's own, whose forward and backward are written on tensors."""
from __future__ import annotations

import functools
from typing import Any, Callable, Sequence

import numpy as np

from ..backend import is_array, namespace
from ..dtypes import FLOATS
from ..errors import GraphError, ShapeError
from ..tensor import Tensor, wrap
from .engine import revived
from .inplace import View, check_recordable, record_write, stamp
from .modes import no_grad, state
from .node import Node, next_number, output_node

__all__ = ["Function", "FunctionCtx", "once_differentiable"]


class FunctionCtx(Node):
    """What a Function's forward leaves for its backward; in the graph it is the operation's node.

    Attributes of any name may be set on it. Tensors belong into `save_for_backward`: stored as attributes they are
    neither checked for in-place writes nor freed after backward.
    """

    op = "function"
    function: type["Function"]
    needs_input_grad: tuple[bool, ...] = ()      # per argument of forward: whether its gradient is wanted

    def __init__(self, args: Sequence) -> None:
        for a in args:
            if isinstance(a, Tensor):
                a._refresh()
        self.needs_input_grad = tuple([isinstance(a, Tensor) and a._requires_grad for a in args])
        self.edges = tuple([(a._node or a) if needed else None for a, needed in zip(args, self.needs_input_grad)])
        self.extras = None
        self._arguments: tuple[Any, ...] = tuple([(a.shape, a.dtype) if isinstance(a, Tensor) else None for a in args])
        self._to_save: tuple = ()
        self._dirty: tuple = ()
        self._constant: tuple = ()
        self._materialize = True

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep inputs, outputs or intermediate tensors for backward, to be read there as `ctx.saved_tensors`.

        Raises:
            TypeError: something that is neither a tensor nor None.
        """
        for i, t in enumerate(tensors):
            if t is not None and not isinstance(t, Tensor):
                raise TypeError(f"save_for_backward keeps tensors and None, argument {i} is {t!r} of type {type(t).__name__}; "
                                f"write ctx.name = value for other values")
        self._to_save = tensors

    @property
    def saved_tensors(self) -> tuple:
        """What `save_for_backward` was given; inputs and outputs know their place in the graph.

        Raises:
            GraphError: a backward without retain_graph has freed them.
        """
        if self.saved is None:
            raise GraphError(f"the saved tensors of '{self.op}' have been freed by an earlier backward; "
                             f"write y.backward(retain_graph=True) there")
        return tuple([None if array is None else revived(array, self._output(origin) if isinstance(origin, int) else origin)
                      for array, origin in zip(self.saved, self._origins)])

    def mark_dirty(self, *args: Tensor) -> None:
        """Say which inputs forward has written in place; each must also be returned."""
        self._dirty = args

    def mark_non_differentiable(self, *args: Tensor) -> None:
        """Say which outputs carry no gradient."""
        self._constant = args

    def set_materialize_grads(self, value: bool) -> None:
        """Whether backward receives zeros (the default) or None for outputs that nothing was computed from."""
        self._materialize = bool(value)

    def _output(self, k: int) -> Node:
        return self if len(self._outputs) == 1 else output_node(self, k)

    def _finish(self, args: tuple, output: Any) -> Any:
        """Turn what forward returned into tensors that came from this node."""
        if isinstance(output, list) and any(isinstance(t, Tensor) for t in output):
            raise GraphError(f"{self.op}.forward returned a list of tensors; return a tuple of them")
        outputs = output if isinstance(output, tuple) else (output,)
        for x in self._dirty:
            if not _among(x, outputs):
                raise GraphError(f"{self.op}.forward marks a tensor of shape {x.shape} as dirty and does not return it; "
                                 f"every input written in place must be an output")
            stamp(x._data)
        self.number = next_number()
        self._outputs = tuple([(y._data.shape, y._data.dtype, namespace(y._data)) if isinstance(y, Tensor) else None for y in outputs])
        recorded = state.recording and any(self.needs_input_grad)
        results: list = []
        for k, y in enumerate(outputs):
            results.append(self._wrap(k, y, (*args, *results), recorded) if isinstance(y, Tensor) else y)
        self.saved = tuple([None if t is None else t._data for t in self._to_save])
        self._origins = tuple([self._origin(t, outputs, args) for t in self._to_save])
        self.retains = bool(self.saved)
        self._to_save = self._dirty = self._constant = ()      # an output kept here would be a reference cycle
        return tuple(results) if isinstance(output, tuple) else results[0]

    def _origin(self, t: Tensor | None, outputs: Sequence, args: Sequence) -> Any:
        """Where a saved tensor comes from: the number of an output, the edge of an argument, or None."""
        if _among(t, args) and not _among(t, self._dirty):
            return next(edge for x, edge in zip(args, self.edges) if x is t)
        return next((k for k, y in enumerate(outputs) if t is not None and y is t), None)

    def _wrap(self, k: int, y: Tensor, others: tuple, recorded: bool) -> Tensor:
        t = wrap(y._data)
        if recorded and y._data.dtype.kind in FLOATS and not _among(y, self._constant):
            t._node, t._requires_grad = self._output(k), True
        if _among(y, self._dirty):
            if recorded:
                check_recordable(y, f"{self.op}, which marks it as dirty,")
                record_write(y, t, fresh=True)
            return y
        for x in others:
            if isinstance(x, Tensor) and _shares_memory(y._data, x._data):
                t._view = View(x, lambda z: z, f"{self.op}.forward returned memory that another tensor has too; return y.clone() there")
                break
        return t

    def backward(self, g: Any, add: Callable, revive: Callable | None) -> None:
        """Run the Function's backward and hand on what it returns."""
        result = self.function.backward(self, *self._incoming(g))
        gradients = list(result) if isinstance(result, (tuple, list)) else [result]
        n = len(self.edges)
        if len(gradients) < n or any(d is not None for d in gradients[n:]):
            raise GraphError(f"{self.op}.backward returned {len(gradients)} gradients for the {n} arguments of forward; "
                             f"return one for each, and None where there is none")
        for i, (d, edge) in enumerate(zip(gradients, self.edges)):
            if d is None:
                continue
            d = self._checked(i, d)
            if edge is not None:
                if revive is not None and not d.requires_grad and d._data.any():
                    d = _only_once(d, self)
                add(edge, d if revive is not None else d._data)

    def _incoming(self, g: Any) -> list:
        if len(self._outputs) == 1:
            return [_guarded(g)]
        gradients: list = [_guarded(g[k]) if k in g else None for k in range(len(self._outputs))]
        if self._materialize:
            for k, like in enumerate(self._outputs):
                if like is not None and gradients[k] is None:
                    shape, dtype, xp = like
                    gradients[k] = wrap(xp.zeros(shape, dtype))
        return gradients

    def _checked(self, i: int, d: Any) -> Tensor:
        """The gradient of argument i in the argument's shape and dtype."""
        if not isinstance(d, Tensor):
            raise GraphError(f"{self.op}.backward returned a {type(d).__name__} as the gradient of argument {i}; return a tensor or None")
        if self._arguments[i] is None:
            raise GraphError(f"{self.op}.backward returned a gradient of shape {d.shape} for argument {i}, which is no tensor; "
                             f"return None for it")
        shape, dtype = self._arguments[i]
        if d.shape != shape:
            try:
                expanded = np.broadcast_shapes(d.shape, shape) == d.shape
            except ValueError:
                expanded = False
            if not expanded:
                raise ShapeError(f"{self.op}.backward returned a gradient of shape {d.shape} for argument {i} of shape {shape}; "
                                 f"a gradient has its argument's shape")
            from ..ops.broadcast import sum_to
            d = sum_to(d, shape=shape)
        return d if d.dtype == dtype else d.to(dtype=dtype)


def _among(t: Any, tensors: Sequence) -> bool:
    return t is not None and any(t is x for x in tensors)


def _shares_memory(y: Any, x: Any) -> bool:
    return y is x or (is_array(y.base) and type(y) is type(x) and bool(namespace(y).may_share_memory(y, x)))


def _guarded(g: Any) -> Tensor:
    """A gradient as a tensor that a backward cannot write into: others may hold the same array.

    With create_graph it always requires grad, so that a result which does not was not computed by tensor operations.
    """
    array = g._data if isinstance(g, Tensor) else g if is_array(g) else np.asarray(g)
    if isinstance(array, np.ndarray):
        array = array.view()
        array.flags.writeable = False
    t = wrap(array)
    if isinstance(g, Tensor):
        t._requires_grad = True
        if g.requires_grad:
            from ..ops.convert import alias
            t._node = alias(g)._node
    return t


class OnceBackward(Node):
    """Stands where a second derivative would go through a backward that is not made of tensor operations."""

    __slots__ = ()

    def backward(self, g: Any, add: Callable, revive: Callable | None) -> None:
        raise GraphError(f"differentiating twice through {self.saved}: its backward is marked once_differentiable or computes "
                         f"on arrays, so its own derivative is unknown; write it in tensor operations")


def _only_once(d: Tensor, source: FunctionCtx) -> Tensor:
    node = OnceBackward()
    node.number, node.edges, node.saved, node.extras = next_number(), source.edges, source.op, None
    t = wrap(d._data)
    t._node, t._requires_grad = node, True
    return t


def once_differentiable(function: Callable) -> Callable:
    """Mark a Function's backward as not differentiable itself: a second derivative through it is then an error.

    Args:
        function: the static method `backward`.

    Returns:
        The method, run under no_grad.

    Example:
        >>> import tinygrad_ed as tg
        >>> class Exp(tg.autograd.Function):
        ...     @staticmethod
        ...     def forward(ctx, x):
        ...         y = x.exp()
        ...         ctx.save_for_backward(y)
        ...         return y
        ...     @staticmethod
        ...     @tg.autograd.once_differentiable
        ...     def backward(ctx, g):
        ...         y, = ctx.saved_tensors
        ...         return tg.tensor(g.numpy() * y.detach().numpy())
        >>> x = tg.tensor([0.0], requires_grad=True)
        >>> Exp.apply(x).backward()
        >>> x.grad
        tensor([1.])
    """
    @functools.wraps(function)
    def wrapped(ctx: FunctionCtx, *gradients: Any) -> Any:
        with no_grad():
            return function(ctx, *[g.detach() if isinstance(g, Tensor) else g for g in gradients])
    return wrapped


class Function:
    """An operation with a hand-written backward: subclass it, define two static methods, and call `apply`.

    `forward(ctx, *args)` computes the output, or a tuple of outputs, from tensors and other values; nothing in it is
    recorded. `backward(ctx, *gradients)` receives one gradient per output and returns one per argument of forward,
    None where there is none. Alternatively `forward(*args)` has no ctx, and `setup_context(ctx, inputs, output)` saves
    what backward needs. Where backward is made of tensor operations, second and higher derivatives need no more code.

    Example:
        >>> import tinygrad_ed as tg
        >>> class Cube(tg.autograd.Function):
        ...     @staticmethod
        ...     def forward(ctx, x):
        ...         ctx.save_for_backward(x)
        ...         return x * x * x
        ...     @staticmethod
        ...     def backward(ctx, g):
        ...         x, = ctx.saved_tensors
        ...         return g * 3 * x * x
        >>> x = tg.tensor([2.0], requires_grad=True)
        >>> Cube.apply(x).backward()
        >>> x.grad
        tensor([12.])
    """

    _context: type[FunctionCtx]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._context = type(cls.__name__ + "Backward", (FunctionCtx,), {"function": cls, "op": cls.__name__, "__doc__": cls.__doc__})

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise GraphError(f"a Function has static methods only and no instances; write {type(self).__name__}.apply(...)")

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """Compute the output or outputs."""
        raise NotImplementedError("a Function needs a static method forward(ctx, *args)")

    @staticmethod
    def setup_context(ctx: FunctionCtx, inputs: tuple, output: Any) -> None:
        """Save what backward needs, where forward takes no ctx."""
        raise NotImplementedError

    @staticmethod
    def backward(ctx: FunctionCtx, *grad_outputs: Any) -> Any:
        """Compute the gradient of each argument."""
        raise NotImplementedError("a Function that is differentiated needs a static method backward(ctx, *gradients)")

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Run the operation and record it.

        Args:
            args: the arguments of forward, tensors and others.

        Returns:
            What forward returns.

        Raises:
            TypeError: something else than tensors is saved for backward.
            GraphError: forward returned a list of tensors, or did not return a tensor that it marked as dirty.
            InPlaceError: forward marked a leaf that requires grad as dirty.
        """
        ctx = cls._context(args)
        with no_grad():
            if cls.setup_context is Function.setup_context:
                output = cls.forward(ctx, *args)
            else:
                output = cls.forward(*args)
                cls.setup_context(ctx, args, output)
        return ctx._finish(args, output)
