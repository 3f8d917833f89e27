"""The engine beside PyTorch's: in-place programs, hooks, modes, Function, functional, checkpoint."""
import numpy as np
import pytest
from hypothesis import given
from test_inplace import VIEWS, Numpy, inputs, programs, run

import tinygrad_ed as tg
import tinygrad_ed.utils.checkpoint

torch = pytest.importorskip("torch")
tg_functional, torch_functional = tg.autograd.functional, torch.autograd.functional


def close(a, b):
    if isinstance(a, (tuple, list)):
        assert type(a) is type(b) and len(a) == len(b)
        for x, y in zip(a, b):
            close(x, y)
    elif isinstance(a, (tg.Tensor, torch.Tensor)):
        assert isinstance(a, tg.Tensor) and isinstance(b, torch.Tensor)
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-10, atol=1e-12, strict=True)
        assert a.requires_grad == b.requires_grad
    else:
        assert a == b


# -- writing in place --------------------------------------------------------------------------------------------------

class Tensors:
    """A program of `test_inplace` on the tensors of one of the two."""

    def __init__(self, module):
        self.sin, self.tanh, self.clone = module.sin, module.tanh, module.clone
        self.shape, self.asarray = lambda t: tuple(t.shape), lambda t: t
        self.tensor = lambda array: module.tensor(array)
        self.InPlaceError = (tg.errors.InPlaceError if module is tg else RuntimeError,)

    def view(self, t, name, n):
        return VIEWS[name](t, n)

    def write(self, t, value):
        t.fill_(value) if isinstance(value, float) else t.copy_(value)

    def set(self, t, index, value):
        t[self.tensor(index) if isinstance(index, np.ndarray) else index] = value


def gradients(program, module):
    """The values a program makes and its gradients, or None where one of these raises."""
    on = Tensors(module)
    xs = [module.tensor(v, requires_grad=True) for v in inputs()]
    try:
        made = run(program, xs, on)
    except RuntimeError as error:                      # PyTorch does not copy between overlapping parts of one tensor
        assert module is torch and "single memory location" in str(error)
        return None, None
    total = 0.0
    for k, t in enumerate(made):
        total = total + (t * on.tensor(np.asarray(np.random.default_rng(k).uniform(-1, 1, on.shape(t))))).sum()
    values = [t.detach().numpy() for t in made]
    try:
        total.backward()
    except on.InPlaceError:
        return values, None
    return values, [np.zeros(x.shape) if x.grad is None else x.grad.numpy() for x in xs]


@given(programs())
def test_programs_of_views_and_writes(program):
    """The same values, the same gradients, and no error where PyTorch has none."""
    values, found = gradients(program, tg)
    expected_values, expected = gradients(program, torch)
    if expected_values is None or not all(np.allclose(a, b, rtol=1e-12) for a, b in zip(values, expected_values)):
        for a, b in zip(values, run(program, inputs(), Numpy)):        # PyTorch does not look for every overlap either
            np.testing.assert_array_equal(a, b)
    elif expected is not None:
        assert found is not None
        for a, b in zip(found, expected):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def outcomes(scenario):
    """What a scenario notes on each side: values, and "error" where it raises one."""
    result = []
    for module in (tg, torch):
        notes = []
        try:
            scenario(module, lambda *values: notes.append([np.array(v.detach().numpy()) if hasattr(v, "detach") else v for v in values]))
        except (RuntimeError, TypeError, ValueError, IndexError):
            notes.append("error")
        result.append(notes)
    return result


SCENARIOS = {}


def scenario(function):
    SCENARIOS[function.__name__] = function


def leaf(m, *values):
    return m.tensor(list(values), dtype=m.float64, requires_grad=True)


@scenario
def no_grad_view_written(m, note):
    x = leaf(m, 1.0, 2.0)
    h = x * 2.0
    with m.no_grad():
        v = h[:1]
        v.mul_(3.0)
    note(h)
    v.add_(1.0)


@scenario
def no_grad_view_of_a_written_base(m, note):
    x = leaf(m, 1.0, 2.0)
    h = x * 2.0
    with m.no_grad():
        v = h[:1]
    h.add_(x)
    note(h)
    (v * 2.0).sum().backward()


@scenario
def zeroed(m, note):
    x = leaf(m, 1.0, 2.0)
    h = x * 2.0
    h.zero_()
    note(h.requires_grad)
    h.sum().backward()
    note(x.grad)


@scenario
def retain_grad_and_writes(m, note):
    x = leaf(m, 1.0, 2.0)
    h = x * 2.0
    h.retain_grad()
    seen = []
    h.register_hook(lambda g: seen.append(g.numpy().tolist()))
    h.mul_(3.0)
    h[0].mul_(5.0)
    note(h.retains_grad)
    h.sum().backward()
    note(h.grad, x.grad, seen)


@scenario
def hooks_in_order(m, note):
    x, seen = leaf(m, 1.0, 2.0), []
    h = x * 2.0
    h.retain_grad()
    for k in range(3):
        h.register_hook(lambda g, k=k: (seen.append((k, g.numpy().tolist())), g * 2.0)[1])
    x.register_post_accumulate_grad_hook(lambda t: seen.append(t.grad.numpy().tolist()))
    (h * h).sum().backward()
    note(h.grad, x.grad, seen)


@scenario
def hook_of_another_shape(m, note):
    x = leaf(m, 1.0, 2.0)
    x.register_hook(lambda g: g.sum())
    (x * 2.0).sum().backward()


@scenario
def hook_of_another_dtype(m, note):
    x = leaf(m, 1.0, 2.0)
    x.register_hook(lambda g: g.float())
    (x * 2.0).sum().backward()


@scenario
def inputs_of_backward(m, note):
    x, w = leaf(m, 1.0, 2.0), leaf(m, 3.0, 4.0)
    h = x * w
    (h * h).sum().backward(inputs=[x, h, x])
    note(x.grad, h.grad, w.grad)


@scenario
def grad_of_several(m, note):
    x, w, unused = leaf(m, 1.0, 2.0), leaf(m, 3.0, 4.0), leaf(m, 0.0)
    h = x * w
    note(*m.autograd.grad([h.sum(), (h * h)], [x, h, w, x], [None, m.ones(2, dtype=m.float64)], retain_graph=True))
    note(m.autograd.grad(h.sum(), [x, unused], allow_unused=True, retain_graph=True)[1])
    note(m.autograd.grad(h.sum(), [x, unused], materialize_grads=True, retain_graph=True)[1])
    note(m.autograd.grad(h, x, m.eye(2, dtype=m.float64), is_grads_batched=True, retain_graph=True)[0])
    m.autograd.grad(h.sum(), [x, unused])


@scenario
def walked_twice(m, note):
    x = leaf(m, 1.0, 2.0)
    y = (x + x).sum()
    y.backward()
    y.backward()
    note(x.grad)
    y = x.exp().sum()
    y.backward()
    y.backward()


@scenario
def switches(m, note):
    s = m.set_grad_enabled(False)
    note(m.is_grad_enabled())
    m.set_grad_enabled(True)
    with s:
        note(m.is_grad_enabled())
    note(m.is_grad_enabled())

    @m.set_grad_enabled(False)
    def f():
        return m.is_grad_enabled()
    note(m.is_grad_enabled(), f(), m.is_grad_enabled())
    with m.inference_mode():
        note(m.is_grad_enabled(), m.is_inference_mode_enabled())
        with m.inference_mode(False):
            note(m.is_grad_enabled(), m.is_inference_mode_enabled())
    with m.no_grad(), m.enable_grad():
        note(m.is_grad_enabled())


@scenario
def leaf_written(m, note):
    leaf(m, 1.0).add_(1.0)


@scenario
def view_of_a_leaf_written(m, note):
    leaf(m, 1.0, 2.0)[0].add_(1.0)


@scenario
def expanded_written(m, note):
    m.ones(3).expand(2, 3).add_(1.0)


@scenario
def integer_targets(m, note):
    n = m.zeros(3, dtype=m.int64)
    n[0] = 1.7
    n.copy_(m.tensor([1.5, 2.5, -3.5]))
    note(n)
    n.add_(1.5)


@scenario
def boolean_targets(m, note):
    m.zeros(3, dtype=m.bool).add_(1)


@scenario
def freed_before_write(m, note):
    x = leaf(m, 1.0, 2.0)
    h = x.exp()
    h.sum().backward()
    h.mul_(2.0)
    h.sum().backward()


# -- Function ----------------------------------------------------------------------------------------------------------

def returning(m, result, n_args=2):
    class F(m.autograd.Function):
        @staticmethod
        def forward(ctx, *args):
            return args[0] * 2.0

        @staticmethod
        def backward(ctx, g):
            return result(m)

    return F


for name, result in {
    "right": lambda m: (m.ones(2), None), "extra_none": lambda m: (m.ones(2), None, None),
    "extra": lambda m: (m.ones(2), None, m.ones(2)), "too_few": lambda m: (), "one_alone": lambda m: m.ones(2),
    "number": lambda m: (3.0, None), "for_a_number": lambda m: (m.ones(2), m.ones(2)),
    "wrong_shape": lambda m: (m.ones(3), None), "expanded": lambda m: (m.ones(4, 2), None), "wrong_expanded": lambda m: (m.ones(2, 4), None),
    "other_dtype": lambda m: (m.ones(2, dtype=m.float32), None), "none": lambda m: (None, None),
}.items():
    def check(m, note, result=result):
        x = leaf(m, 1.0, 2.0)
        returning(m, result).apply(x, 5.0).sum().backward()
        note(x.grad, None if x.grad is None else str(x.grad.dtype).rpartition(".")[2])
    check.__name__ = "function_returns_" + name
    scenario(check)


@scenario
def function_outputs(m, note):
    class F(m.autograd.Function):
        @staticmethod
        def forward(ctx, x, y, k):
            ctx.save_for_backward(x, y)
            ctx.k = k
            n = (x > 0).sum()
            p, q = x * y * k, x + y
            r = x.sign()
            ctx.mark_non_differentiable(r)
            note(ctx.needs_input_grad)
            return p, q, n, r, "text", None

        @staticmethod
        def backward(ctx, p, q, n, r, *rest):
            x, y = ctx.saved_tensors
            note(p, q, r, *rest)
            return p * y * ctx.k + q, p * x * ctx.k + q, None

    x, y = leaf(m, 1.0, -2.0), leaf(m, 3.0, 4.0)
    p, q, n, r, text, nothing = F.apply(x, y, 2.0)
    note(p, q, n, r, text, nothing, p.requires_grad, n.requires_grad, r.requires_grad)
    (p * p).sum().backward()
    note(x.grad, y.grad)
    q = F.apply(x, y.detach(), 2.0)[1]
    q.sum().backward()
    note(x.grad, y.grad)
    with m.no_grad():
        note(F.apply(x, y, 2.0)[0].requires_grad)


@scenario
def function_without_materialized_gradients(m, note):
    class F(m.autograd.Function):
        @staticmethod
        def forward(x):
            return x * 2.0, x * 3.0

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.set_materialize_grads(False)
            ctx.save_for_backward(*inputs, *output)

        @staticmethod
        def backward(ctx, a, b):
            note(a is None, b is None, *ctx.saved_tensors, *[t.requires_grad for t in ctx.saved_tensors])
            return a * 2.0 if b is None else b * 3.0

    x = leaf(m, 1.0, 2.0)
    F.apply(x)[0].sum().backward()
    F.apply(x)[1].sum().backward()
    note(x.grad)


@scenario
def function_dirty(m, note):
    class F(m.autograd.Function):
        @staticmethod
        def forward(ctx, x, w):
            x.mul_(w)
            ctx.mark_dirty(x)
            ctx.save_for_backward(w)
            return x

        @staticmethod
        def backward(ctx, g):
            w, = ctx.saved_tensors
            return g * w, None

    x, w = leaf(m, 1.0, 2.0), m.tensor([3.0, 4.0], dtype=m.float64)
    h = x * 1.0
    y = F.apply(h, w)
    note(y is h, h, h.is_leaf)
    (h * h).sum().backward()
    note(x.grad)
    F.apply(x, w)


@scenario
def function_dirty_not_returned(m, note):
    class F(m.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.mark_dirty(x)
            return x * 2.0

    F.apply(leaf(m, 1.0) * 1.0)


@scenario
def function_returning_its_input(m, note):
    class F(m.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x

        @staticmethod
        def backward(ctx, g):
            return g * 10.0

    x = leaf(m, 1.0, 2.0)
    y = F.apply(x)
    note(y is x, y)
    y.sum().backward()
    note(x.grad)
    y.add_(1.0)


@scenario
def function_saving_a_number(m, note):
    class F(m.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x, 3.0)
            return x * 2.0

    F.apply(leaf(m, 1.0))


@scenario
def function_with_overwritten_input(m, note):
    class F(m.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, g):
            x, = ctx.saved_tensors
            return 2.0 * g * x

    x = leaf(m, 1.0, 2.0)
    h = x * 1.0
    y = F.apply(h)
    d, = m.autograd.grad(y.sum(), x, create_graph=True)
    note(*m.autograd.grad(d.sum(), x, retain_graph=True))
    h.add_(1.0)
    y.sum().backward()


@scenario
def function_once_differentiable(m, note):
    once = tg.autograd.once_differentiable if m is tg else torch.autograd.function.once_differentiable

    class F(m.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @once
        def backward(ctx, g):
            x, = ctx.saved_tensors
            return 2.0 * g * x

    x = leaf(m, 1.0, 2.0)
    g = leaf(m, 1.0, 1.0)
    d, = m.autograd.grad(F.apply(x), x, g, create_graph=True)
    note(d)
    m.autograd.grad(d.sum(), x)


# -- checkpoint --------------------------------------------------------------------------------------------------------

@scenario
def checkpointed(m, note):
    checkpoint = (tg.utils.checkpoint if m is tg else torch.utils.checkpoint).checkpoint
    x, w = leaf(m, 1.0, 2.0), leaf(m, 3.0, 4.0)
    runs = []

    def part(x, *, scale):
        runs.append(1)
        h = (x * w * scale).sin()
        return h, {"twice": h * 2.0}

    y, more = checkpoint(part, x * 1.0, use_reentrant=False, scale=0.5)
    note(y, more["twice"], len(runs))
    (y * more["twice"]).sum().backward()
    note(x.grad, w.grad, len(runs))
    y, _ = checkpoint(part, x, use_reentrant=False, scale=0.5)
    d, = m.autograd.grad(y.sum(), x, create_graph=True)
    note(d, *m.autograd.grad(d.sum(), [x, w]))


@scenario
def checkpointed_in_sequence(m, note):
    checkpoint = tg.utils.checkpoint if m is tg else torch.utils.checkpoint
    x = leaf(m, 0.5, 1.0)
    runs = []

    def part(k):
        return lambda x: (runs.append(k), (x * (k + 1.0)).sin())[1]

    y = checkpoint.checkpoint_sequential([part(k) for k in range(5)], 2, x, use_reentrant=False)
    y.sum().backward()
    note(y, x.grad, runs)


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenarios(name):
    found, expected = outcomes(SCENARIOS[name])
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected):
        assert type(ours) is type(theirs) and len(ours) == len(theirs)
        for a, b in zip(ours, theirs):
            np.testing.assert_equal(a, b)


# -- functional --------------------------------------------------------------------------------------------------------

ONE = {"square": lambda x: x * x, "sum": lambda x: (x.exp() * x).sum(), "outer": lambda x: x.reshape(-1, 1) * x.reshape(1, -1),
       "several": lambda x: (x * 2.0, (x * x).sum()), "linear": lambda x: x * 3.0}
TWO = {"product": lambda x, y: x * y, "several": lambda x, y: (x * y.sum(), y * 2.0), "sum": lambda x, y: (x * y * x).sum()}


def values(n, m):
    rng = np.random.default_rng(n)
    return tuple(m.tensor(rng.standard_normal(3)) for _ in range(n))


def both(function):
    """The result on each side, or the kind of error."""
    result = []
    for m, f in ((tg, tg_functional), (torch, torch_functional)):
        try:
            result.append(function(m, f))
        except RuntimeError:
            result.append("error")
    return result


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("name", ["jacobian", "hessian", "vjp", "jvp", "vhp", "hvp"])
@pytest.mark.parametrize("n", [1, 2])
def test_functional(name, n, strict, create_graph):
    for key, function in (ONE if n == 1 else TWO).items():
        if name in ("hessian", "vhp", "hvp") and key not in ("sum",):
            continue

        def call(m, f):
            xs = values(n, m)
            args = xs[0] if n == 1 else xs
            if name in ("jacobian", "hessian"):
                return getattr(f, name)(function, args, create_graph=create_graph, strict=strict)
            ys = function(*xs)
            ys = ys if isinstance(ys, tuple) else (ys,)
            likes = ys if name == "vjp" else xs
            v = tuple(m.tensor(np.asarray(np.random.default_rng(k).standard_normal(tuple(t.shape)))) for k, t in enumerate(likes))
            v = v if len(v) > 1 or (n > 1 and name != "vjp") else v[0]
            return getattr(f, name)(function, args, v, create_graph=create_graph, strict=strict)

        found, expected = both(call)
        if isinstance(expected, str):
            assert found == "error", (key, found)
        else:
            close(found, expected)


@pytest.mark.parametrize("call", [
    lambda m, f: f.hessian(lambda x: x * x, values(1, m)[0]), lambda m, f: f.vjp(lambda x: x * x, values(1, m)[0]),
    lambda m, f: f.jvp(lambda x: x * x, values(1, m)[0]), lambda m, f: f.vjp(lambda x: x * x, values(1, m)[0], m.ones(2)),
    lambda m, f: f.jvp(lambda x, y: x * y, values(2, m), m.ones(3)),
    lambda m, f: f.jacobian(lambda x: m.ones(2), values(1, m)[0], strict=True),
    lambda m, f: f.jacobian(lambda x, y: x, values(2, m), strict=True),
    lambda m, f: f.hvp(lambda x: (x * 2.0).sum(), values(1, m)[0], values(1, m)[0], strict=True),
    lambda m, f: f.jacobian(lambda x: x, values(1, m)[0], strict=True, vectorize=True)])
def test_functional_errors(call):
    for m, f in ((tg, tg_functional), (torch, torch_functional)):
        with pytest.raises((RuntimeError, ValueError)):
            call(m, f)


def test_functional_where_nothing_depends():
    for name in ("jacobian", "vjp", "jvp"):
        def call(m, f):
            xs = values(2, m)
            args = () if name == "jacobian" else (m.ones(3, dtype=m.float64),) if name == "vjp" else (xs,)
            return getattr(f, name)(lambda x, y: x * 2.0, xs, *args)
        close(*both(call))
