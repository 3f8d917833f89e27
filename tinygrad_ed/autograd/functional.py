"""Derivatives of functions: vjp, jvp, jacobian, hessian, vhp and hvp.

Two tricks give everything. A row of the Jacobian J is one backward walk, vᵀJ. And since g ↦ gᵀJ is linear in g, its own
derivative is J: a backward walk through a backward walk gives Jv ("the double-backward trick",
https://j-towns.github.io/2017/06/12/A-new-trick.html).
"""
from __future__ import annotations

from typing import Any, Callable, Sequence

from ..backend import namespace
from ..errors import GraphError, ShapeError
from ..tensor import Tensor, wrap
from .engine import grad
from .modes import enable_grad

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]

Tensors = Any          # a tensor or a tuple of tensors, as in PyTorch


def vjp(func: Callable, inputs: Tensors, v: Tensors | None = None, create_graph: bool = False,
        strict: bool = False) -> tuple[Tensors, Tensors]:
    """The vector-Jacobian product vᵀJ.

    Args:
        func: takes tensors and returns a tensor or a tuple of tensors.
        inputs: where the Jacobian is taken, a tensor or a tuple of tensors.
        v: of the shapes of the outputs; 1 by default for a single output with one element.
        create_graph: make the results differentiable.
        strict: raise an error where the result would be zero because an output does not depend on an input.

    Returns:
        The pair (func(*inputs), vᵀJ); the product has the form of the inputs.

    Raises:
        GraphError: strict, and something is independent of something.
        ShapeError: v does not have the outputs' shapes.

    Example:
        >>> import tinygrad_ed as tg
        >>> x = tg.tensor([1.0, 2.0])
        >>> tg.autograd.functional.vjp(lambda x: x * x, x, tg.tensor([1.0, 10.0]))
        (tensor([1., 4.]), tensor([ 2., 40.]))
    """
    with enable_grad():
        xs, ys, forms = _run(func, inputs, create_graph, strict, "vjp")
        v = _vectors(v, ys, "outputs")
        found = _grad(ys, xs, v, create_graph, strict, "output", "input")
    return _shaped(ys, forms[1], create_graph), _shaped(found, forms[0], create_graph)


def jvp(func: Callable, inputs: Tensors, v: Tensors | None = None, create_graph: bool = False,
        strict: bool = False) -> tuple[Tensors, Tensors]:
    """The Jacobian-vector product Jv.

    Args:
        func: takes tensors and returns a tensor or a tuple of tensors.
        inputs: where the Jacobian is taken, a tensor or a tuple of tensors.
        v: of the shapes of the inputs; 1 by default for a single input with one element.
        create_graph: make the results differentiable.
        strict: raise an error where the result would be zero because an output does not depend on an input.

    Returns:
        The pair (func(*inputs), Jv); the product has the form of the outputs.

    Raises:
        GraphError: strict, and something is independent of something.
        ShapeError: v does not have the inputs' shapes.

    Example:
        >>> import tinygrad_ed as tg
        >>> x = tg.tensor([1.0, 2.0])
        >>> tg.autograd.functional.jvp(lambda x: x * x, x, tg.tensor([1.0, 10.0]))
        (tensor([1., 4.]), tensor([ 2., 40.]))
    """
    with enable_grad():
        xs, ys, forms = _run(func, inputs, create_graph, strict, "jvp")
        v = _vectors(v, xs, "inputs")
        found = _pushed(ys, xs, v, create_graph, strict, "output", "input")
    return _shaped(ys, forms[1], create_graph), _shaped(found, forms[1], create_graph)


def jacobian(func: Callable, inputs: Tensors, create_graph: bool = False, strict: bool = False, vectorize: bool = False,
             strategy: str = "reverse-mode") -> Any:
    """The Jacobian of a function.

    Args:
        func: takes tensors and returns a tensor or a tuple of tensors.
        inputs: where it is taken, a tensor or a tuple of tensors.
        create_graph: make the Jacobian differentiable.
        strict: raise an error where an entry would be zero because an output does not depend on an input.
        vectorize: accepted as in PyTorch.
        strategy: "reverse-mode" or "forward-mode", accepted as in PyTorch.

    Returns:
        J[output index + input index]. One tensor for one output and one input, a tuple over the inputs or over the
        outputs where those are tuples, a tuple over the outputs of tuples over the inputs where both are.

    Raises:
        GraphError: strict, and an output is independent of an input.
        ValueError: an unknown strategy, or strict together with vectorize.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.autograd.functional.jacobian(lambda x: x ** 2, tg.tensor([1.0, 2.0]))
        tensor([[2., 0.],
                [0., 4.]])
    """
    if strategy not in ("reverse-mode", "forward-mode"):
        raise ValueError(f'strategy is "reverse-mode" or "forward-mode", got {strategy!r}')
    if strict and vectorize:
        raise ValueError("strict=True asks for a check of each output, which vectorize=True does not make; leave one of them out")
    with enable_grad():
        xs, ys, forms = _run(func, inputs, create_graph, strict, "jacobian")
        rows = [_jacobian_of(y, i, xs, create_graph, strict) for i, y in enumerate(ys)]
    blocks = tuple(_shaped(row, forms[0], create_graph) for row in rows)
    return blocks if forms[1] else blocks[0]


def _jacobian_of(y: Tensor, i: int, xs: tuple, create_graph: bool, strict: bool) -> list:
    """dy/dx for every x, one backward walk per element of y."""
    from ..ops.broadcast import reshape_to
    from ..ops.join import stack
    rows = []
    for j in range(y._data.size):
        one = wrap(namespace(y._data).zeros(y.shape, y.dtype))
        one._data.reshape(-1)[j] = 1
        rows.append(_grad((y,), xs, (one,), create_graph, strict, f"output {i}", "input", retain_graph=True))
    if not rows:
        return [wrap(namespace(x._data).zeros(y.shape + x.shape, x.dtype)) for x in xs]
    return [reshape_to(stack(column), shape=y.shape + x.shape) for x, column in zip(xs, zip(*rows))]


def hessian(func: Callable, inputs: Tensors, create_graph: bool = False, strict: bool = False, vectorize: bool = False,
            outer_jacobian_strategy: str = "reverse-mode") -> Any:
    """The matrix of second derivatives of a function with one value.

    Args:
        func: takes tensors and returns a tensor with one element.
        inputs: where it is taken, a tensor or a tuple of tensors.
        create_graph: make the Hessian differentiable.
        strict: raise an error where an entry would be zero because nothing depends on an input.
        vectorize: accepted as in PyTorch.
        outer_jacobian_strategy: as `strategy` of `jacobian`.

    Returns:
        H[index + index]; for a tuple of inputs a tuple of tuples, H[i][j] for inputs i and j.

    Raises:
        GraphError: func returns something else than a tensor with one element, or strict and something is independent.

    Example:
        >>> import tinygrad_ed as tg
        >>> tg.autograd.functional.hessian(lambda x: (x ** 3).sum(), tg.tensor([1.0, 2.0]))
        tensor([[ 6.,  0.],
                [ 0., 12.]])
    """
    forms = isinstance(inputs, tuple)

    def gradient(*xs: Tensor) -> tuple:
        ys, several = _outputs(func(*xs), "hessian")
        _check_single(ys, several, "hessian")
        if strict:
            _check_strict(ys, xs, "hessian")
        return tuple(_grad(ys, xs, None, True, strict, "output", "input"))

    found = jacobian(gradient, inputs, create_graph, strict, vectorize, outer_jacobian_strategy)
    return found if forms else found[0]


def vhp(func: Callable, inputs: Tensors, v: Tensors | None = None, create_graph: bool = False,
        strict: bool = False) -> tuple[Tensor, Tensors]:
    """The product vᵀH with the Hessian of a function with one value.

    Args:
        func: takes tensors and returns a tensor with one element.
        inputs: where the Hessian is taken, a tensor or a tuple of tensors.
        v: of the shapes of the inputs; 1 by default for a single input with one element.
        create_graph: make the results differentiable.
        strict: raise an error where the result would be zero because nothing depends on an input.

    Returns:
        The pair (func(*inputs), vᵀH); the product has the form of the inputs.

    Raises:
        GraphError: func returns something else than a tensor with one element, or strict and something is independent.
        ShapeError: v does not have the inputs' shapes.

    Example:
        >>> import tinygrad_ed as tg
        >>> x = tg.tensor([1.0, 2.0])
        >>> tg.autograd.functional.vhp(lambda x: (x ** 3).sum(), x, tg.tensor([1.0, 10.0]))
        (tensor(9.), tensor([  6., 120.]))
    """
    with enable_grad():
        xs, ys, forms = _run(func, inputs, create_graph, strict, "vhp")
        _check_single(ys, forms[1], "vhp")
        v = _vectors(v, xs, "inputs")
        gradients = _grad(ys, xs, None, True, strict, "output", "input")
        found = _grad(gradients, xs, v, create_graph, strict, "derivative", "input")
    return _shaped(ys, forms[1], create_graph), _shaped(found, forms[0], create_graph)


def hvp(func: Callable, inputs: Tensors, v: Tensors | None = None, create_graph: bool = False,
        strict: bool = False) -> tuple[Tensor, Tensors]:
    """The product Hv with the Hessian of a function with one value; `vhp` is the same, and faster, where H is symmetric.

    Args:
        func: takes tensors and returns a tensor with one element.
        inputs: where the Hessian is taken, a tensor or a tuple of tensors.
        v: of the shapes of the inputs; 1 by default for a single input with one element.
        create_graph: make the results differentiable.
        strict: raise an error where the result would be zero because nothing depends on an input.

    Returns:
        The pair (func(*inputs), Hv); the product has the form of the inputs.

    Raises:
        GraphError: func returns something else than a tensor with one element, or strict and something is independent.
        ShapeError: v does not have the inputs' shapes.

    Example:
        >>> import tinygrad_ed as tg
        >>> x = tg.tensor([1.0, 2.0])
        >>> tg.autograd.functional.hvp(lambda x: (x ** 3).sum(), x, tg.tensor([1.0, 10.0]))
        (tensor(9.), tensor([  6., 120.]))
    """
    with enable_grad():
        xs, ys, forms = _run(func, inputs, create_graph, strict, "hvp")
        _check_single(ys, forms[1], "hvp")
        v = _vectors(v, xs, "inputs")
        gradients = _grad(ys, xs, None, True, strict, "output", "input")
        found = _pushed(gradients, xs, v, create_graph, strict, "derivative", "input")
    return _shaped(ys, forms[1], create_graph), _shaped(found, forms[0], create_graph)


# -- the two tricks ----------------------------------------------------------------------------------------------------

def _grad(ys: Sequence, xs: Sequence, gs: Sequence | None, create_graph: bool, strict: bool, of: str, by: str,
          retain_graph: bool = False) -> list:
    """gᵀJ for every x, zeros where nothing depends on it."""
    chosen = [i for i, y in enumerate(ys) if y.requires_grad]
    found: Sequence = [None] * len(xs)
    if chosen:
        found = grad([ys[i] for i in chosen], xs, None if gs is None else [gs[i] for i in chosen],
                     retain_graph=retain_graph or create_graph, create_graph=create_graph, allow_unused=True)
    return _filled(found, xs, strict and (f"{of} is independent of {by}", create_graph))


def _pushed(ys: Sequence, xs: Sequence, vs: Sequence, create_graph: bool, strict: bool, of: str, by: str) -> list:
    """Jv for every y: the derivative of g ↦ gᵀJ, taken at g = 0, in the direction v."""
    chosen = [i for i, y in enumerate(ys) if y.requires_grad]
    gs = [_leaf(wrap(namespace(ys[i]._data).zeros(ys[i].shape, ys[i].dtype))) for i in chosen]
    products: Sequence = []
    if chosen:
        products = grad([ys[i] for i in chosen], xs, gs, create_graph=True, allow_unused=True)
    kept = [k for k, product in enumerate(products) if product is not None and product.requires_grad]
    if strict and len(kept) < len(xs):
        missing = next(k for k in range(len(xs)) if k not in kept)
        raise GraphError(f"the {of} is independent of {by} {missing}, which strict=True does not allow")
    pushed: Sequence = [None] * len(chosen)
    if kept:
        pushed = grad([products[k] for k in kept], gs, [vs[k] for k in kept], create_graph=create_graph, allow_unused=True)
    found: list = [None] * len(ys)
    for i, d in zip(chosen, pushed):
        found[i] = d
    return _filled(found, ys, strict and (f"{by} does not influence {of}", create_graph))


def _filled(found: Sequence, likes: Sequence, strict: Any) -> list:
    """Gradients with zeros for None; with strict, both None and what cannot be differentiated again are errors."""
    for k, d in enumerate(found):
        if strict and d is None:
            raise GraphError(f"the {strict[0]} {k}, which strict=True does not allow")
        if strict and strict[1] and not d.requires_grad:
            raise GraphError(f"derivative {k} does not depend on the inputs, which strict=True with create_graph=True does not allow")
    return [wrap(namespace(like._data).zeros(like.shape, like.dtype)) if d is None else d for d, like in zip(found, likes)]


# -- arguments and results ---------------------------------------------------------------------------------------------

def _run(func: Callable, inputs: Tensors, create_graph: bool, strict: bool, name: str) -> tuple[tuple, tuple, tuple[bool, bool]]:
    """The inputs as tensors to differentiate by, the outputs, and whether each of them were tuples."""
    given, several_inputs = _as_tuple(inputs, f"the inputs of {name}")
    xs = tuple(_copy(x) if create_graph and x.requires_grad else _leaf(x.detach()) for x in given)
    ys, several_outputs = _outputs(func(*xs), name)
    if strict:
        _check_strict(ys, xs, name)
    return xs, ys, (several_inputs, several_outputs)


def _outputs(value: Any, name: str) -> tuple[tuple, bool]:
    return _as_tuple(value, f"the outputs of the function given to {name}")


def _as_tuple(value: Any, what: str) -> tuple[tuple, bool]:
    several = isinstance(value, tuple)
    values = value if several else (value,)
    for i, t in enumerate(values):
        if not isinstance(t, Tensor):
            place = f" at {i} in the tuple" if several else ""
            raise TypeError(f"{what} must be a tensor or a tuple of tensors, got {type(t).__name__}{place}")
    return values, several


def _copy(x: Tensor) -> Tensor:
    from ..ops.convert import clone
    return clone(x)


def _leaf(x: Tensor) -> Tensor:
    x.requires_grad = True
    return x


def _shaped(tensors: Sequence, several: bool, create_graph: bool) -> Tensors:
    if not create_graph:
        tensors = [t.detach() for t in tensors]
    return tuple(tensors) if several else tensors[0]


def _vectors(v: Tensors | None, likes: Sequence, what: str) -> tuple:
    if v is None:
        if len(likes) != 1 or likes[0]._data.size != 1:
            raise GraphError(f"the vector v can be left out only where the {what} are one tensor with one element")
        return (wrap(namespace(likes[0]._data).ones(likes[0].shape, likes[0].dtype)),)
    vectors, _ = _as_tuple(v, "v")
    if len(vectors) != len(likes):
        raise GraphError(f"v has {len(vectors)} tensors for {len(likes)} {what}")
    for i, (one, like) in enumerate(zip(vectors, likes)):
        if one.shape != like.shape:
            raise ShapeError(f"v {i} has shape {one.shape}, the {what[:-1]} it goes with {like.shape}")
    return vectors


def _check_strict(ys: tuple, xs: tuple, name: str) -> None:
    for i, y in enumerate(ys):
        if not y.requires_grad:
            raise GraphError(f"output {i} of the function given to {name} is independent of the inputs, which strict=True does not allow")


def _check_single(ys: tuple, several: bool, name: str) -> None:
    if several or ys[0]._data.size != 1:
        shapes = ", ".join(str(y.shape) for y in ys)
        raise GraphError(f"the function given to {name} must return one tensor with one element, it returned {shapes}")
