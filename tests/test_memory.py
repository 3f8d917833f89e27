"""Memory: nothing is kept longer than it is needed, and no reference cycle waits for the garbage collector."""
import gc
import tracemalloc
import weakref

import numpy as np
import pytest

import tinygrad_ed as tg
from tinygrad_ed.utils.checkpoint import checkpoint


@pytest.fixture(autouse=True)
def no_collector():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


class Cube(tg.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        y = x * x * x
        ctx.save_for_backward(x, y)
        return y, x.sign()

    @staticmethod
    def backward(ctx, g, _):
        x, y = ctx.saved_tensors
        return g * 3.0 * x * x


def plain(x):
    h = x
    for _ in range(10):
        h = (h * 0.5 + x).sin()
    h.sum().backward()


def twice(x):
    plain(x)
    plain(x)


def unused(x):
    (x * 2.0).exp().sum()


def retained(x):
    y = (x * x).exp().sum()
    y.backward(retain_graph=True)
    y.backward(retain_graph=True)


def second_order(x):
    d, = tg.grad((x * x * x).exp().sum(), x, create_graph=True)
    (d * d).sum().backward()


def in_place(x):
    h = x * 1.0
    v = h.reshape(-1)[2:]
    v.mul_(3.0)
    h[0] = h[1] * 2.0
    h.t().add_(1.0)
    (h * v.sum()).sum().backward()


def in_place_unused(x):
    h = x * 1.0
    h[0] = h[1] * 2.0
    h.zero_()


def several_outputs(x):
    a, b = x.unbind()
    (a * b).sum().backward()


def hooks(x):
    h = x * 2.0
    h.retain_grad()
    handle = h.register_hook(lambda g: g * 2.0)
    with x.register_hook(lambda g: None), x.register_post_accumulate_grad_hook(lambda t: None):
        h.sum().backward()
    handle.remove()


def function(x):
    y, _ = Cube.apply(x)
    d, = tg.grad(y.sum(), x, create_graph=True)
    d.sum().backward()
    Cube.apply(x)


def checkpointed(x):
    checkpoint(lambda x: checkpoint(lambda x: x.exp().sin(), x * 2.0).reshape(-1), x).sum().backward()
    checkpoint(lambda x: x.exp(), x)


def anomaly(x):
    with tg.autograd.detect_anomaly():
        plain(x)


def functional(x):
    tg.autograd.functional.hvp(lambda x: x.exp().sum(), x, x)
    tg.autograd.functional.jacobian(lambda x: x.exp(), x)


def failing(x):
    y = x.exp()
    y.sum().backward()
    for act in (lambda: y.sum().backward(), lambda: x.add_(1.0), lambda: x.sum(7), lambda: (x * 2.0).backward()):
        try:
            act()
        except Exception:
            pass


LOOPS = [plain, twice, unused, retained, second_order, in_place, in_place_unused, several_outputs, hooks, function, checkpointed,
         anomaly, functional, failing]


@pytest.mark.parametrize("step", LOOPS)
def test_objects_and_bytes_return_to_the_baseline(step):
    x = tg.Tensor(np.full((2, 500), 0.1), requires_grad=True)

    def run(n):
        for _ in range(n):
            x.grad = None
            step(x)
            x.grad = None

    def growth():
        """Objects and bytes that eight steps leave behind."""
        objects, (memory, _) = len(gc.get_objects()), tracemalloc.get_traced_memory()
        run(8)
        return len(gc.get_objects()) - objects, tracemalloc.get_traced_memory()[0] - memory

    run(4)                                             # caches fill
    tracemalloc.start()
    try:
        run(2)
        rounds = [growth() for _ in range(3)]          # a leak is in all of them, a table of the process that is enlarged just then in one
    finally:
        tracemalloc.stop()
    assert min(objects for objects, _ in rounds) <= 2                # the numbers held here
    assert min(memory for _, memory in rounds) < 4000                # one array of this test has 8000 bytes


def watch(array):
    """Whether an array is still alive: call the result."""
    return weakref.ref(array)


def test_activations_that_no_formula_needs_die_at_once():
    x = tg.Tensor(np.ones(10), requires_grad=True)
    h = x + 1.0
    alive = watch(h.data)
    y = h + 2.0
    del h
    assert alive() is None
    h = y * 2.0
    alive = watch(y.data)
    del y
    assert alive() is None
    h.sum().backward()


def test_only_what_a_formula_names_is_kept():
    x = tg.Tensor(np.ones(10), requires_grad=True)
    h = x * 2.0
    y = h.exp()                                        # needs its output, not its input
    h_alive, y_alive = watch(h.data), watch(y.data)
    z = y.sum()
    del h, y
    assert h_alive() is None and y_alive() is not None
    z.backward()
    assert y_alive() is None                           # dropped as soon as its node has run, though z is still there


def test_saved_arrays_are_dropped_node_by_node():
    x = tg.Tensor(np.ones(10), requires_grad=True)
    alive = []
    h = x
    for _ in range(5):
        h = h.exp()
        alive.append(watch(h.data))
        h.register_hook(lambda g: counts.append(sum(a() is not None for a in alive)))
        h = h * 0.1
    counts = []
    total = h.sum()
    del h
    total.backward()
    assert counts == [5, 4, 3, 2, 1]
    assert not any(a() is not None for a in alive)


def test_retained_graphs_keep_their_arrays():
    x = tg.Tensor(np.ones(10), requires_grad=True)
    y = x.exp()
    alive = watch(y.data)
    z = y.sum()
    del y
    z.backward(retain_graph=True)
    assert alive() is not None
    del z
    assert alive() is None


def test_gradients_on_the_way_die_when_they_have_been_used():
    x = tg.Tensor(np.ones(10), requires_grad=True)
    seen, counts = [], []
    h = x
    for _ in range(5):
        h = h * 0.5
        h.register_hook(lambda g: (seen.append(watch(g.data)), counts.append(sum(a() is not None for a in seen)))[0])
    h.sum().backward()
    assert max(counts) <= 3                            # the gradient, the hook's copy and the one before


def test_frozen_arguments_save_nothing_for_their_formulas():
    x, w = tg.Tensor(np.ones(10)), tg.Tensor(np.ones(10), requires_grad=True)
    y = (x + 1.0) * w
    h = w * 2.0
    alive = watch(h.data)
    y = h * tg.Tensor(np.ones(10))                     # a constant factor: h itself is not needed
    del h
    assert alive() is None
    y.sum().backward()


def test_views_keep_their_base_and_bases_not_their_views():
    x = tg.Tensor(np.ones(10), requires_grad=True)
    h = x * 1.0
    v = h[2:]
    alive = weakref.ref(v)
    v.mul_(2.0)
    del v
    assert alive() is None
    base = weakref.ref(h)
    v = h[:3]
    del h
    assert base() is not None
    del v
    assert base() is None


def test_a_checkpoint_keeps_inputs_only():
    alive = []

    def part(x):
        h = x.exp()
        alive.append(watch(h.data))
        return h.sin().reshape(-1)                     # ends in a view of something inside

    x = tg.Tensor(np.ones((2, 5)), requires_grad=True)
    y = checkpoint(part, x)
    assert alive[0]() is None
    (y * 2.0).sum().backward()
    assert alive[1]() is None
    np.testing.assert_allclose(x.grad.data, 2 * np.cos(np.e) * np.e * np.ones((2, 5)))


def test_handles_and_hooks_do_not_keep_tensors():
    h = tg.Tensor(np.ones(3), requires_grad=True) * 2.0
    handle = h.register_hook(lambda g: g)
    h.retain_grad()
    alive = weakref.ref(h)
    del h
    assert alive() is None
    handle.remove()


def test_peak_memory_of_a_chain():
    """A backward walk needs the saved arrays and a few gradients, not all gradients at once."""
    x = tg.Tensor(np.ones(100_000), requires_grad=True)
    h = x
    for _ in range(20):
        h = h.tanh()
    tracemalloc.start()
    try:
        start = tracemalloc.get_traced_memory()[0]
        h.backward(tg.Tensor(np.ones(100_000)))
        peak = tracemalloc.get_traced_memory()[1] - start
    finally:
        tracemalloc.stop()
    assert peak < 6 * x.nbytes
