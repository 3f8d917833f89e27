"""no_grad and its relatives: as blocks, decorators, functions; per thread; restored after exceptions."""
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_ed as tg
from tinygrad_ed.autograd.modes import is_anomaly_enabled, state


def snapshot():
    return bool(state.recording), state.recording == "trace", state.inference, state.anomaly, state.check_nan


DEFAULT = (True, False, False, False, True)
MODES = {
    "no_grad": (tg.no_grad, (False, False, False, False, True)),
    "enable_grad": (tg.enable_grad, DEFAULT),
    "inference_mode": (tg.inference_mode, (False, False, True, False, True)),
    "inference_mode(False)": (lambda: tg.inference_mode(False), DEFAULT),
    "set_grad_enabled(False)": (lambda: tg.set_grad_enabled(False), (False, False, False, False, True)),
    "set_grad_enabled(True)": (lambda: tg.set_grad_enabled(True), DEFAULT),
    "detect_anomaly": (tg.autograd.detect_anomaly, (True, True, False, True, True)),
    "detect_anomaly(check_nan=False)": (lambda: tg.autograd.detect_anomaly(check_nan=False), (True, True, False, True, False)),
    "set_detect_anomaly(True)": (lambda: tg.autograd.set_detect_anomaly(True), (True, True, False, True, True)),
    "set_detect_anomaly(False)": (lambda: tg.autograd.set_detect_anomaly(False), DEFAULT),
}
every_mode = pytest.mark.parametrize("make, inside", MODES.values(), ids=MODES)


@pytest.fixture(autouse=True)
def nothing_left():
    yield
    assert snapshot() == DEFAULT


@every_mode
def test_blocks(make, inside):
    with make():
        assert snapshot() == inside
    assert snapshot() == DEFAULT
    with pytest.raises(ZeroDivisionError), make():
        raise ZeroDivisionError
    assert snapshot() == DEFAULT


@every_mode
def test_decorators(make, inside):
    @make()
    def f(a, *, b):
        """What f does."""
        assert snapshot() == inside
        return a / b

    assert snapshot() == DEFAULT
    assert f(6, b=2) == 3 and f.__name__ == "f" and f.__doc__ == "What f does."
    with pytest.raises(ZeroDivisionError):
        f(1, b=0)
    assert snapshot() == DEFAULT


@pytest.mark.parametrize("mode", [tg.no_grad, tg.enable_grad, tg.inference_mode, tg.autograd.detect_anomaly])
def test_decorators_without_parentheses(mode):
    @mode
    def f(n):
        return snapshot() if n == 0 else f(n - 1)

    with mode():
        inside = snapshot()
    assert f(0) == f(3) == inside


@every_mode
def test_generators(make, inside):
    seen, outside = [], []

    @make()
    def count(n):
        try:
            for k in range(n):
                seen.append(snapshot())
                got = yield k
                seen.append((got, snapshot()))
        except KeyError as error:
            seen.append(snapshot())
            yield str(error)
        finally:
            seen.append(snapshot())
        return "done"

    generator = count(3)
    outside.append(snapshot())
    assert next(generator) == 0
    outside.append(snapshot())
    assert generator.send("hello") == 1
    assert generator.throw(KeyError("thrown")) == "'thrown'"
    outside.append(snapshot())
    with pytest.raises(StopIteration) as stop:
        next(generator)
    assert stop.value.value == "done"
    generator = count(2)
    next(generator)
    generator.close()
    assert list(count(2)) == [0, 1]
    assert outside == [DEFAULT] * 3
    assert ("hello", inside) in seen
    assert all(entry == inside or entry[-1] == inside for entry in seen)


def test_a_generator_consumed_under_another_mode():
    @tg.no_grad()
    def off():
        for _ in range(3):
            yield tg.is_grad_enabled()

    @tg.enable_grad()
    def on():
        for inner in off():
            yield inner, tg.is_grad_enabled()

    with tg.no_grad():
        assert list(on()) == [(False, True)] * 3


def test_switches_as_functions():
    tg.set_grad_enabled(False)
    assert not tg.is_grad_enabled()
    tg.set_grad_enabled(True)
    tg.autograd.set_detect_anomaly(True)
    assert is_anomaly_enabled()
    with tg.no_grad():
        assert snapshot() == (False, False, False, True, True)
        with tg.enable_grad():
            assert snapshot()[1]                       # still remembers lines
    tg.autograd.set_detect_anomaly(False)


def test_a_switch_used_again():
    s = tg.set_grad_enabled(False)
    tg.set_grad_enabled(True)
    for _ in range(2):
        with s:
            assert not tg.is_grad_enabled()
            with s:
                assert not tg.is_grad_enabled()
            assert not tg.is_grad_enabled()
        assert tg.is_grad_enabled()
    f, g = s(lambda: tg.is_grad_enabled()), s(lambda: tg.is_grad_enabled())
    assert not f() and not g() and tg.is_grad_enabled()


def test_one_instance_entered_inside_itself():
    mode = tg.no_grad()
    with mode, tg.enable_grad(), mode:
        assert not tg.is_grad_enabled()


def test_recursive_decorated_functions():
    @tg.no_grad()
    def f(n):
        assert not tg.is_grad_enabled()
        with tg.enable_grad():
            return n and f(n - 1)

    assert f(5) == 0


@given(st.lists(st.tuples(st.sampled_from(sorted(MODES)), st.booleans()), max_size=8))
def test_nesting(plan):
    """Whatever is nested in whatever, each block ends where it began, also by an exception."""
    def enter(rest):
        before = snapshot()
        if rest:
            (name, fails), *more = rest
            try:
                with MODES[name][0]():
                    enter(more)
                    if fails:
                        raise KeyError
            except KeyError:
                pass
        assert snapshot() == before

    enter(plan)


def test_modes_belong_to_threads():
    seen = {}
    entered, leave = threading.Barrier(3), threading.Barrier(3)

    def work(name):
        mode = {"a": tg.no_grad, "b": tg.enable_grad}[name]()
        seen[name, "start"] = snapshot()
        with mode:
            entered.wait()
            seen[name, "inside"] = tg.is_grad_enabled()
            leave.wait()

    with tg.inference_mode():
        threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
        for t in threads:
            t.start()
        entered.wait()
        assert snapshot() == (False, False, True, False, True)
        leave.wait()
        for t in threads:
            t.join()
    assert seen == {("a", "start"): DEFAULT, ("b", "start"): DEFAULT, ("a", "inside"): False, ("b", "inside"): True}


def test_a_decorated_function_in_two_threads():
    steps = threading.Barrier(2)
    after = {}

    @tg.no_grad()
    def f(name):
        if name == "late":
            steps.wait()                               # both are inside, entered in one order and left in the same
        steps.wait()

    def work(name, enabled):
        with tg.set_grad_enabled(enabled):
            if name == "early":
                f(name)
                steps.wait()
            else:
                f(name)
            after[name] = tg.is_grad_enabled()

    for first in (True, False):
        threads = [threading.Thread(target=work, args=("early", first)), threading.Thread(target=work, args=("late", not first))]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert after == {"early": first, "late": not first}


def test_what_is_recorded():
    x = tg.Tensor(np.ones(2), requires_grad=True)
    for make, inside in MODES.values():
        with make():
            y = x * 2.0
            assert y.requires_grad == inside[0] and (y.grad_fn is not None) == inside[0]
            assert x.requires_grad and tg.Tensor(np.ones(1), requires_grad=True).requires_grad
    assert (x * 2.0).requires_grad


def test_recording_inside_backward():
    x = tg.Tensor(np.ones(2), requires_grad=True)
    seen = []
    h = x * 2.0
    h.register_hook(lambda g: seen.append(snapshot()))
    with tg.no_grad():
        h.backward(tg.Tensor(np.ones(2)), retain_graph=True)
        tg.autograd.grad(h, x, tg.Tensor(np.ones(2)), create_graph=True)
    assert [s[0] for s in seen] == [False, True]
