"""The stand-in for CuPy refuses what CuPy refuses and sees what it is there to see; and with it, what a training step costs on a device."""
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import standin
from standin.table import TABLE
from training_steps import MODELS, OPTIMIZERS, Training

import tinygrad_ed as tg
from tinygrad_ed.backend.kernels import kernels
from tinygrad_ed.backend.memory import carved, joined


@pytest.fixture(autouse=True)
def cp():
    """The stand-in for the module cupy."""
    with standin.installed() as module:
        yield module


def ones(cp, *shape, dtype="float32"):
    return cp.ones(shape, dtype)


# -- what is refused -----------------------------------------------------------------------------------------------------

HOST = np.ones(3, "float32")
REFUSED = {
    "NumPy's function": (lambda cp, x: np.exp(x), TypeError, "write xp.exp"),
    "NumPy's reduction": (lambda cp, x: np.sum(x), TypeError, "write xp.sum"),
    "NumPy's conversion": (lambda cp, x: np.asarray(x), TypeError, r"\.get\(\)"),
    "NumPy's array on the right": (lambda cp, x: x + HOST, TypeError, "do not mix"),
    "NumPy's array on the left": (lambda cp, x: HOST + x, TypeError, "xp.add"),
    "NumPy's array without dimensions": (lambda cp, x: x * np.array(2.0), TypeError, "do not mix"),
    "NumPy's array in place": (lambda cp, x: x.__iadd__(HOST), TypeError, "do not mix"),
    "NumPy's array in a function": (lambda cp, x: cp.concatenate([x, HOST]), TypeError, "do not mix"),
    "NumPy's array as an argument": (lambda cp, x: cp.where(x > 0, x, HOST), TypeError, "do not mix"),
    "NumPy's array written": (lambda cp, x: x.__setitem__(slice(None), HOST), ValueError, "cannot be used for fill"),
    "a list in arithmetic": (lambda cp, x: cp.add(x, [1, 2, 3]), TypeError, "Unsupported type"),
    "a missing function": (lambda cp, x: cp.insert(x, 0, 1), AttributeError, "NumPy has"),
    "a missing context": (lambda cp, x: cp.errstate(all="ignore"), AttributeError, "NumPy has"),
    "a missing method": (lambda cp, x: x.setflags(write=False), AttributeError, "setflags"),
    "a missing flag": (lambda cp, x: x.flags.writeable, AttributeError, "writeable"),
    "a missing argument of a function": (lambda cp, x: cp.sum(x, where=x > 0), TypeError, "'where'.*it takes a, axis"),
    "a missing argument of a method": (lambda cp, x: x.max(initial=0), TypeError, "'initial'"),
    "a missing argument of take": (lambda cp, x: cp.take(x, cp.zeros(1, "int64"), mode="clip"), TypeError, "'mode'"),
    "a missing argument of argsort": (lambda cp, x: cp.argsort(x, stable=True), TypeError, "'stable'"),
    "a missing argument of a ufunc": (lambda cp, x: cp.add(x, x, order="C"), TypeError, "'order'"),
    "a missing method of a ufunc": (lambda cp, x: cp.maximum.reduce(x), NotImplementedError, "not supported"),
    "subtract.at on floats": (lambda cp, x: cp.subtract.at(x, cp.zeros(1, "int64"), x[:1]), TypeError, "does not support float32"),
    "a dtype without a loop": (lambda cp, x: cp.invert(x), TypeError, "Wrong type"),
    "an array as an index of a list": (lambda cp, x: [1, 2][cp.zeros((), "int64")], TypeError, "integers"),
    "different values at equal indices": (lambda cp, x: x.__setitem__(cp.zeros(2, "int64"), cp.arange(2.0)), RuntimeError, "not defined"),
    "an index outside": (lambda cp, x: x[cp.full(1, 5)], IndexError, "out of bounds"),
    "a Python number for a kernel in C": (lambda cp, x: cp.RawKernel("", "k")((1,), (1,), (x, 2.0)), TypeError, "how wide"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(cp, name):
    use, error, words = REFUSED[name]
    with pytest.raises(error, match=words):
        use(cp, ones(cp, 3))


def test_what_the_stand_in_has_the_real_one_has_too():
    for name, module in standin.modules.items():
        if name in TABLE:
            own = {key for key in vars(module) if not key.startswith("_")}
            assert not own - set(TABLE[name]), name
    assert not {key for key in vars(standin.ndarray) if not key.startswith("_")} - set(TABLE["ndarray"])


def test_the_table_is_the_real_cupys():
    done = subprocess.run([sys.executable, "-c", "import json; from standin.record import record; print(json.dumps(record()))"], capture_output=True, text=True,
                          cwd=Path(standin.__file__).parents[1])
    if "No module named 'cupy'" in done.stderr:
        pytest.skip("CuPy is not installed")
    recorded = json.loads(done.stdout)
    if recorded["version"] != TABLE["version"]:
        pytest.skip(f"the table is that of CuPy {TABLE['version']}, here is {recorded['version']}")
    assert {**recorded["modules"], "ndarray": recorded["ndarray"], "version": recorded["version"]} == TABLE


# -- what is seen ------------------------------------------------------------------------------------------------------

def test_it_computes_what_numpy_computes(cp):
    x = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    y = cp.asarray(x)
    for f in (lambda xp, x: xp.exp(x).sum(axis=0, keepdims=True), lambda xp, x: x.T @ x, lambda xp, x: x[1:, ::-1] ** 2 / 3,
              lambda xp, x: xp.where(x > 0, x, 0.0), lambda xp, x: xp.concatenate([x, 2 * x], axis=1), lambda xp, x: x.argmax(1),
              lambda xp, x: xp.maximum(np.float32(0.5), x), lambda xp, x: xp.linalg.norm(x)):
        found, expected = f(cp, y), np.asarray(f(np, x))
        assert type(found) is standin.ndarray and found.dtype == expected.dtype and found.flags.c_contiguous
        np.testing.assert_array_equal(found.get(), expected)


def test_views_share_memory_and_launch_nothing(cp):
    x = ones(cp, 2, 3)
    with standin.counting() as counts:
        views = [x[0], x.T, x.reshape(6), x[:, None], cp.broadcast_to(x, (4, 2, 3)), cp.moveaxis(x, 0, 1), x.view("int32"), cp.diagonal(x), x.ravel()]
    assert counts.launches == counts.allocations == 0 and all(v.base is x for v in views)
    views[0][...] = 5
    assert x.get()[0].tolist() == [5, 5, 5]
    part = cp.ndarray((2,), "float32", x.data + 8)                        # from a place in memory
    part[...] = 7
    assert x.get().ravel().tolist() == [5, 5, 7, 7, 1, 1]


@pytest.mark.parametrize("wait", [
    lambda cp, x: float(x.sum()), lambda cp, x: 1 if x.sum() > 0 else 0, lambda cp, x: int(x[0]), lambda cp, x: x[x > 0], lambda cp, x: cp.nonzero(x),
    lambda cp, x: x.sum().item(), lambda cp, x: x.get(), lambda cp, x: x.tolist(), lambda cp, x: cp.asnumpy(x), lambda cp, x: cp.unique(x),
    lambda cp, x: cp.cuda.Device().synchronize(), lambda cp, x: cp.cuda.get_current_stream().synchronize(), lambda cp, x: cp.bincount(x.astype("int64")),
    lambda cp, x: x.nonzero(), lambda cp, x: x.__setitem__(x > 0, x[:3]), lambda cp, x: cp.array([1.0], blocking=True)])
def test_waits_are_seen(cp, wait):
    x = ones(cp, 3)
    with standin.counting() as counts:
        wait(cp, x)
    assert len(counts.syncs) == 1 and "test_standin.py" in counts.syncs[0]
    with standin.without_syncs(), pytest.raises(standin.HiddenSync, match="test_standin.py"):
        wait(cp, x)


def test_launches_allocations_and_copies_are_counted(cp):
    x = ones(cp, 3)
    with standin.counting() as counts:
        y = cp.exp(x)                                 # 1 launch, 1 allocation
        y += x                                        # 1 launch
        cp.multiply(x, y, out=y)                      # 1 launch
        y[...] = 0                                    # 1 launch
        cp.empty(3)                                   # 1 allocation
        y[[0, 1]]                                     # 1 launch, 1 allocation, 1 copy
        cp.asarray([1.0])                             # 1 allocation, 1 copy
    assert (counts.launches, counts.allocations, len(counts.copies), counts.syncs) == (5, 4, 2, [])


def test_uninitialised_memory_is_no_sensible_number(cp):
    assert np.isnan(cp.empty(3).get()).all() and np.isnan(cp.ndarray((2,), "float16").get()).all() and (cp.empty_like(cp.zeros(2, int)).get() > 50).all()
    y = cp.exp(ones(cp, 2), where=cp.asarray([True, False]))
    assert np.isnan(y.get()).tolist() == [False, True]


def test_races_between_streams_are_seen(cp):
    side, x = cp.cuda.Stream(non_blocking=True), ones(cp, 3)
    with side, pytest.raises(RuntimeError, match="without waiting"):
        x + 1
    side.wait_event(cp.cuda.get_current_stream().record())
    with side:
        y = x + 1
    with pytest.raises(RuntimeError, match="without waiting"):
        y + 1
    cp.cuda.get_current_stream().wait_event(side.record())
    y + 1
    del y                                             # the side stream allocates there again, while the other one still reads
    with side, pytest.raises(RuntimeError, match="another stream still uses"):
        cp.ones(3)
    side.wait_event(cp.cuda.get_current_stream().record())
    with side:
        cp.ones(3)
    with cp.cuda.Stream():                            # a blocking one and the default stream wait for each other
        z = ones(cp, 3)
    z + 1


def test_it_leaves_no_trace():
    assert sys.modules["cupy"] is standin.modules["cupy"] and tg.cuda.is_available()
    with standin.installed():
        pass
    assert sys.modules["cupy"] is standin.modules["cupy"]


# -- what training costs -----------------------------------------------------------------------------------------------

# launches and allocations of one step, 2 more than measured
BUDGETS = {"MLP": (32, 37), "CNN": (63, 67), "LSTM": (107, 57), "transformer": (112, 129)}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("model", MODELS)
def test_a_training_step_waits_for_nothing_and_sends_nothing(model, optimizer):
    training = Training(model, optimizer, "cuda")
    training.step()
    for _ in range(2):
        with standin.counting() as counts:
            loss = training.step()
        assert counts.syncs == [] and counts.copies == []
        assert counts.launches <= BUDGETS[model][0] and counts.allocations <= BUDGETS[model][1]
    assert np.isfinite(loss.item())


def test_arrays_side_by_side_are_gone_through_at_once(cp):
    whole, (a, b, c, d) = carved(cp, "float32", [(2, 3), (4,), (5,), (2, 2)])
    other = ones(cp, 3)
    with standin.counting() as counts:
        found = joined([c, other, a, b])
    assert counts.launches == counts.allocations == 0 and sorted(x.size for x in found) == [3, 15]
    max(found, key=lambda x: x.size)[...] = 7
    assert whole.get().tolist() == [7] * 15 + [0] * 4
    for apart in ([a, c], [d.T, c], [a, b.view("int32")], [HOST, HOST]):
        assert {id(x) for x in joined(apart)} == {id(x) for x in apart}
    for some in ([c, other, a], [other, c, a], [a, other, c]):            # in their order, so that sums do not depend on addresses
        assert [id(x) for x in joined(some)] == [id(x) for x in some]
    assert [x.size for x in joined([c, other, b, a])] == [15, 3] and [x.size for x in joined([other, c, b])] == [3, 9]


@pytest.mark.parametrize("layers", [3, 40])
def test_gradients_arrive_add_up_and_are_cleared_together(layers):
    """One launch for every 32 of them, and one for all zeros, which lie side by side."""
    scales = [tg.nn.Parameter(tg.full((4,), 1.0 + i % 2, device="cuda")) for i in range(layers)]
    optimizer = tg.optim.SGD(scales, lr=0.0)

    def counted(act):
        with standin.counting() as counts:
            act()
        return counts.launches
    product = lambda: sum((s * s).sum() for s in scales)
    product().backward()
    optimizer.step()                                  # makes the places
    optimizer.zero_grad()
    loss = product()
    by_hand = counted(lambda: tg.autograd.grad(loss, scales, retain_graph=True))
    groups = -(-layers // 32)
    assert counted(lambda: loss.backward(retain_graph=True)) == counted(lambda: loss.backward()) == by_hand + groups
    assert [s.grad.tolist() for s in scales] == [[4.0 + 4 * (i % 2)] * 4 for i in range(layers)]
    assert counted(lambda: optimizer.zero_grad(set_to_none=False)) == 1
    assert all(s.grad.tolist() == [0.0] * 4 for s in scales)


def test_gradients_that_share_memory_are_added_one_after_another(cp):
    """Threads of one launch would write over each other's sums."""
    a, b, c = (tg.nn.Parameter(tg.ones(4, device="cuda")) for _ in range(3))
    a.grad, c.grad = tg.ones(4, device="cuda"), tg.ones(4, device="cuda")
    b.grad = a.grad[:]                                # the same memory
    (a * 2 + b * 3 + c * 5).sum().backward()
    assert a.grad.tolist() == b.grad.tolist() == [6.0] * 4 and c.grad.tolist() == [6.0] * 4
    memory, other = ones(cp, 6), ones(cp, 4)
    for pairs, launches in (([(memory[:2], other[:2]), (memory[2:], other)], 1), ([(memory[:3], other[:3]), (memory[2:], other)], 2),
                            ([(memory[:2], other[:2]), (other, memory[2:])], 2)):
        with standin.counting() as counts:
            kernels(memory).collect(pairs, True)
        assert counts.launches == launches


def test_memory_does_not_grow_from_step_to_step():
    training = Training("transformer", "Adam", "cuda")
    sizes = []
    for _ in range(4):
        training.step()
        sizes.append(tg.cuda.memory_allocated())
    assert sizes[1] == sizes[2] == sizes[3]
