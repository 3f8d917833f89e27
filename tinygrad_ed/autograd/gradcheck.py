"""gradcheck: derivatives by formula against derivatives by differences."""
from __future__ import annotations

import warnings
from typing import Any, Callable, NamedTuple, Sequence

import numpy as np

from ..backend import namespace, to_device, to_numpy
from ..dtypes import FLOATS
from ..errors import GraphError
from ..tensor import Tensor, wrap
from .engine import grad
from .inplace import overlaps

__all__ = ["GradcheckError", "gradcheck", "gradgradcheck"]


class GradcheckError(RuntimeError):
    """A derivative by formula that does not agree with the derivative by differences.

    Example:
        >>> import tinygrad_ed as tg
        >>> x = tg.ones(1, dtype=tg.float64, requires_grad=True)
        >>> tg.autograd.gradcheck(lambda x: x * x.detach(), x)
        Traceback (most recent call last):
            ...
        tinygrad_ed.autograd.gradcheck.GradcheckError: <lambda> (its last operation: 'mul'): the derivative of output 0 by input 0 is ...
    """


class _Check(NamedTuple):
    """One function to check, and how."""

    name: str
    func: Callable
    inputs: tuple
    checked: list[int]               # the places of the inputs that require grad
    eps: float
    atol: float
    rtol: float
    nondet_tol: float
    others_undefined: bool           # whether the outputs not looked at are given no gradient, or one of zeros

    def outputs(self) -> list[Tensor]:
        """The function's floating point outputs."""
        result = self.func(*self.inputs)
        result = result if isinstance(result, (tuple, list)) else (result,)
        return [y for y in result if isinstance(y, Tensor) and y.dtype.kind in FLOATS]

    def values(self) -> list[np.ndarray]:
        """Copies of the outputs."""
        return [np.array(to_numpy(y._data), np.float64) for y in self.outputs()]

    def gradients(self, ys: Sequence[Tensor], i: int, g: np.ndarray) -> list[np.ndarray]:
        """gᵀ·dy_i/dx for every checked input x, by formula."""
        xs = [self.inputs[k] for k in self.checked]
        roots = [y for k, y in enumerate(ys) if y.requires_grad and (k == i or not self.others_undefined)]
        gs = [wrap(to_device(np.asarray(g if y is ys[i] else np.zeros(y.shape), y.dtype), y.device)) for y in roots]
        found = grad(roots, xs, gs, retain_graph=True, allow_unused=True)
        for k, x, d in zip(self.checked, xs, found):
            if d is not None and (d.shape != x.shape or d.dtype != x.dtype):
                raise GradcheckError(f"{self.name}: the gradient of input {k} has shape {d.shape} and {d.dtype}, "
                                     f"the input {x.shape} and {x.dtype}")
        return [np.zeros(x.shape) if d is None else np.array(to_numpy(d._data), np.float64) for x, d in zip(xs, found)]

    def difference(self, shift: Callable[[float], None]) -> list[np.ndarray]:
        """(f(x + eps) - f(x - eps)) / 2eps for every output; shift(h) moves the inputs, shift(0) moves them back."""
        try:
            shift(self.eps)
            above = self.values()
            shift(-self.eps)
            below = self.values()
        finally:
            shift(0.0)
        return [(a - b) / (2 * self.eps) for a, b in zip(above, below)]

    def compare(self, i: int, k: int, analytical: np.ndarray, numerical: np.ndarray, ndim: int | None) -> None:
        """Raise a GradcheckError at the worst entry; its index is first the output's, of `ndim` numbers, then the input's."""
        with np.errstate(invalid="ignore"):
            excess = np.abs(analytical - numerical) - (self.atol + self.rtol * np.abs(numerical))
        excess = np.where(np.isnan(excess), np.where(analytical == numerical, -1.0, np.inf), excess)
        if not (excess > 0).any():
            return
        worst = np.unravel_index(int(np.argmax(excess)), excess.shape)
        where = [int(n) for n in worst]
        place = "along random directions" if ndim is None else (f"at output index {tuple(where[:ndim])}, input index {tuple(where[ndim:])}")
        raise GradcheckError(
            f"{self.name}: the derivative of output {i} by input {k} is wrong {place}: numerical {numerical[worst]:.10g}, analytical "
            f"{analytical[worst]:.10g}, difference {abs(analytical[worst] - numerical[worst]):.3g} where {self.atol:g} + {self.rtol:g}·"
            f"|numerical| is allowed; {int((excess > 0).sum())} of {excess.size} entries differ")

    def steady(self, i: int, first: list[np.ndarray], again: list[np.ndarray]) -> None:
        """Raise a GradcheckError if two backward walks differ."""
        for k, a, b in zip(self.checked, first, again):
            if a.size and np.abs(a - b).max() > self.nondet_tol:
                raise GradcheckError(f"{self.name}: two backward walks give gradients of input {k} that differ by up to "
                                     f"{np.abs(a - b).max():.3g}, nondet_tol is {self.nondet_tol:g} (output {i})")


def gradcheck(func: Callable, inputs: Any, *, eps: float = 1e-6, atol: float = 1e-5, rtol: float = 1e-3, raise_exception: bool = True,
              nondet_tol: float = 0.0, check_undefined_grad: bool = True, check_grad_dtypes: bool = False, check_batched_grad: bool = False,
              check_batched_forward_grad: bool = False, check_forward_ad: bool = False, check_backward_ad: bool = True,
              fast_mode: bool = False, masked: bool | None = None) -> bool:
    """Check gradients by formula against central differences (f(x + eps) - f(x - eps)) / 2eps, entry by entry.

    Args:
        func: takes tensors and returns a tensor or a tuple of tensors.
        inputs: a tensor or a tuple; those that require grad are checked and should be float64.
        eps: the step.
        atol: the allowed absolute difference.
        rtol: the allowed difference relative to the numerical value.
        raise_exception: raise an error where the check fails, instead of returning False.
        nondet_tol: by how much two backward walks may differ.
        check_undefined_grad: leave the gradients of other outputs out of the walk; if False they are zeros.
        check_grad_dtypes: accepted as in PyTorch; shapes and dtypes of gradients are always checked.
        check_batched_grad: also check `grad(is_grads_batched=True)`.
        check_batched_forward_grad: not available, as there is no forward mode.
        check_forward_ad: not available, as there is no forward mode.
        check_backward_ad: whether to check at all.
        fast_mode: compare one random number uᵀJv instead of all entries of J.
        masked: accepted as in PyTorch.

    Returns:
        Whether the check succeeded.

    Raises:
        GradcheckError: it failed; the message names the worst entry, with both values.
        ValueError: no input requires grad, one has elements that share memory, or forward mode is asked for.

    Example:
        >>> import tinygrad_ed as tg
        >>> x = tg.tensor([1.0, 2.0], dtype=tg.float64, requires_grad=True)
        >>> tg.autograd.gradcheck(tg.tanh, (x,))
        True
    """
    if check_forward_ad or check_batched_forward_grad:
        raise ValueError("there is no forward mode to check; leave check_forward_ad and check_batched_forward_grad out")
    inputs = tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
    checked = [k for k, x in enumerate(inputs) if isinstance(x, Tensor) and x.requires_grad]
    name = getattr(func, "__name__", type(func).__name__)
    _check_inputs(inputs, checked)
    if not check_backward_ad:
        return True
    check = _Check(name, func, inputs, checked, eps, atol, rtol, nondet_tol, check_undefined_grad)
    try:
        ys = check.outputs()
        last = next((y.grad_fn.op for y in ys if y.grad_fn is not None), None)
        if last is not None and last not in name:
            check = check._replace(name=f"{name} (its last operation: '{last}')")
        (_check_direction if fast_mode else _check_entries)(check, ys)
        if check_batched_grad:
            _check_batched(check, ys)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def _check_inputs(inputs: tuple, checked: list[int]) -> None:
    if not checked:
        raise ValueError("gradcheck expects at least one input tensor that requires grad; write x.requires_grad_()")
    for k in checked:
        data = inputs[k]._data
        if data.dtype != np.float64:
            warnings.warn(f"input {k} is {data.dtype}: differences with such a small step are accurate only in float64; "
                          f"write x.double()", stacklevel=3)
        if overlaps(data):
            raise ValueError(f"input {k} has elements that share memory and cannot be moved one by one; write x.contiguous()")
        if isinstance(data, np.ndarray) and not data.flags.writeable:
            raise ValueError(f"input {k} lies in read-only memory and cannot be moved; write x.clone()")


def _check_entries(check: _Check, ys: Sequence[Tensor]) -> None:
    numerical = [[np.zeros(y.shape + check.inputs[k].shape) for k in check.checked] for y in ys]
    for position, k in enumerate(check.checked):
        data = check.inputs[k]._data
        for index in np.ndindex(data.shape):
            value, entry = data[index].item(), (..., *index)

            def shift(h: float) -> None:
                data[index] = value + h

            for i, d in enumerate(check.difference(shift)):
                numerical[i][position][entry] = d
    for i, y in enumerate(ys):
        analytical = [np.zeros_like(n) for n in numerical[i]]
        if y.requires_grad:
            for index in np.ndindex(y.shape):
                g = np.zeros(y.shape)
                g[index] = 1
                rows = check.gradients(ys, i, g)
                check.steady(i, rows, check.gradients(ys, i, g))
                for whole, row in zip(analytical, rows):
                    whole[index] = row
        for position, k in enumerate(check.checked):
            check.compare(i, k, analytical[position], numerical[i][position], y.ndim)


def _check_direction(check: _Check, ys: Sequence[Tensor]) -> None:
    """uᵀJv for one random direction u of each output and v of each input."""
    random = np.random.default_rng(0)
    directions = [random.standard_normal(check.inputs[k].shape) for k in check.checked]
    us = [random.standard_normal(y.shape) for y in ys]
    analytical = [[0.0] * len(directions) for _ in ys]
    for i, y in enumerate(ys):
        if y.requires_grad:
            rows = check.gradients(ys, i, us[i])
            check.steady(i, rows, check.gradients(ys, i, us[i]))
            analytical[i] = [float((row * v).sum()) for row, v in zip(rows, directions)]
    for position, (k, v) in enumerate(zip(check.checked, directions)):
        data = check.inputs[k]._data
        before = data.copy()

        def shift(h: float) -> None:
            data[...] = before if h == 0 else before + namespace(data).asarray(h * v, dtype=data.dtype)

        for i, d in enumerate(check.difference(shift)):
            check.compare(i, k, np.asarray(analytical[i][position]), np.asarray((d * us[i]).sum()), None)


def _check_batched(check: _Check, ys: Sequence[Tensor]) -> None:
    random = np.random.default_rng(0)
    xs = [check.inputs[k] for k in check.checked]
    for i, y in enumerate(ys):
        if y.requires_grad:
            gs = random.standard_normal((2, *y.shape))
            g = wrap(to_device(gs.astype(y.dtype), y.device))
            together = grad(y, xs, g, retain_graph=True, allow_unused=True, is_grads_batched=True)
            for n in range(2):
                found = [np.zeros(x.shape) if d is None else to_numpy(d._data)[n] for x, d in zip(xs, together)]
                for k, one, batched in zip(check.checked, check.gradients(ys, i, gs[n]), found):
                    if not np.allclose(one, batched, check.rtol, check.atol):
                        raise GradcheckError(f"{check.name}: is_grads_batched=True gives another gradient of input {k} (output {i})")


def gradgradcheck(func: Callable, inputs: Any, grad_outputs: Any = None, *, eps: float = 1e-6, atol: float = 1e-5, rtol: float = 1e-3,
                  gen_non_contig_grad_outputs: bool = False, raise_exception: bool = True, nondet_tol: float = 0.0,
                  check_undefined_grad: bool = True, check_grad_dtypes: bool = False, check_batched_grad: bool = False,
                  check_fwd_over_rev: bool = False, check_rev_over_rev: bool = True, fast_mode: bool = False, masked: bool = False) -> bool:
    """Check second derivatives: `gradcheck` of the gradients, by the inputs and by the gradients of the outputs.

    Args:
        func: takes tensors and returns a tensor or a tuple of tensors.
        inputs: a tensor or a tuple; those that require grad are checked and should be float64.
        grad_outputs: the gradients of the outputs, a tensor or a tuple; random ones by default.
        eps: the step.
        atol: the allowed absolute difference.
        rtol: the allowed difference relative to the numerical value.
        gen_non_contig_grad_outputs: let the random gradients not be contiguous in memory.
        raise_exception: raise an error where the check fails, instead of returning False.
        nondet_tol: by how much two backward walks may differ.
        check_undefined_grad: as in `gradcheck`.
        check_grad_dtypes: accepted as in PyTorch.
        check_batched_grad: as in `gradcheck`.
        check_fwd_over_rev: not available, as there is no forward mode.
        check_rev_over_rev: whether to check at all.
        fast_mode: as in `gradcheck`.
        masked: accepted as in PyTorch.

    Returns:
        Whether the check succeeded.

    Raises:
        GradcheckError: it failed.
        ValueError: as `gradcheck`.

    Example:
        >>> import tinygrad_ed as tg
        >>> x = tg.tensor([1.0, 2.0], dtype=tg.float64, requires_grad=True)
        >>> tg.autograd.gradgradcheck(tg.tanh, (x,))
        True
    """
    if check_fwd_over_rev:
        raise ValueError("there is no forward mode to check; leave check_fwd_over_rev out")
    if not check_rev_over_rev:
        return True
    inputs = tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
    checked = [k for k, x in enumerate(inputs) if isinstance(x, Tensor) and x.requires_grad]
    if grad_outputs is None:
        found = _Check("", func, inputs, checked, eps, atol, rtol, nondet_tol, True).outputs()
        random = np.random.default_rng(0)
        given = tuple(_random_like(y, random, gen_non_contig_grad_outputs) for y in found if y.requires_grad)
    else:
        given = tuple(grad_outputs) if isinstance(grad_outputs, (tuple, list)) else (grad_outputs,)
    if not given:
        raise GraphError("gradgradcheck needs an output that requires grad")

    def gradients(*args: Any) -> tuple:
        xs, gs = args[:len(inputs)], args[len(inputs):]
        result = func(*xs)
        result = result if isinstance(result, (tuple, list)) else (result,)
        ys = [y for y in result if isinstance(y, Tensor) and y.requires_grad]
        found = grad(ys, [xs[k] for k in checked], gs, create_graph=True, allow_unused=True)
        return tuple(d for d in found if d is not None)

    gradients.__name__ = f"the gradient of {getattr(func, '__name__', type(func).__name__)}"
    return gradcheck(gradients, inputs + given, eps=eps, atol=atol, rtol=rtol, raise_exception=raise_exception, nondet_tol=nondet_tol,
                     check_undefined_grad=check_undefined_grad, check_batched_grad=check_batched_grad, fast_mode=fast_mode)


def _random_like(y: Tensor, random: np.random.Generator, gaps: bool) -> Tensor:
    values = random.standard_normal(y.shape).astype(y.dtype)
    if gaps and y.ndim:
        values = np.repeat(values, 2, axis=-1)[..., ::2]
    t = wrap(to_device(values, y.device))
    t.requires_grad = True
    return t
