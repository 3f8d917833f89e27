"""Several threads at once: backward on separate graphs and on shared parameters."""
import sys
import threading

import numpy as np
import pytest

import tinygrad_ed as tg
from tinygrad_ed.errors import InPlaceError


@pytest.fixture(autouse=True)
def switch_often():
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def together(n, work):
    """Run work(k) in n threads, started at the same moment, and raise what one of them raised."""
    barrier, errors = threading.Barrier(n), []

    def run(k):
        try:
            barrier.wait()
            work(k)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(k,)) for k in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if errors:
        raise errors[0]


def test_separate_graphs():
    results = {}

    def work(k):
        for _ in range(20):
            x = tg.Tensor(np.full(50, 1.0 + k), requires_grad=True)
            h = x
            for _ in range(20):
                h = (h * 0.5 + x).sin()
            h.sum().backward()
            results.setdefault(k, []).append(x.grad.data.tobytes())

    together(6, work)
    alone = dict(results)
    results.clear()
    for k in range(6):
        together(1, lambda _, k=k: work(k))
    assert alone == results
    assert all(len(set(runs)) == 1 for runs in alone.values())


def test_a_shared_parameter_loses_nothing():
    for size in (1, 2000):
        w = tg.Tensor(np.ones(size), requires_grad=True)
        hooked = []
        w.register_post_accumulate_grad_hook(lambda t: hooked.append(1))

        def work(k):
            for _ in range(50):
                (w * float(k + 1)).sum().backward()

        together(4, work)
        np.testing.assert_array_equal(w.grad.data, np.full(size, 50.0 * (1 + 2 + 3 + 4)))
        assert len(hooked) == 200


def test_walks_over_a_shared_graph():
    w = tg.Tensor(np.ones(100), requires_grad=True)
    h = (w * 2.0).exp()

    def work(k):
        for _ in range(20):
            (h * float(k + 1)).sum().backward(retain_graph=True)

    together(4, work)
    np.testing.assert_allclose(w.grad.data, 2 * np.exp(2.0) * 20 * 10, rtol=1e-12)


def test_writes_in_other_threads_are_noticed():
    """Many stamps at once: none is lost, whichever thread is last."""
    for _ in range(30):
        xs = [tg.Tensor(np.ones(3), requires_grad=True) for _ in range(4)]
        hs = [x.exp() for x in xs]
        ys = [h.sin() for h in hs]
        together(4, lambda k: hs[k].add_(1.0))
        for y in ys:
            with pytest.raises(InPlaceError):
                y.sum().backward()


def test_first_calls_of_an_operation():
    """An operation compiles itself at its first call, which may come from several threads."""
    from tinygrad_ed.autograd.op import op
    for _ in range(20):
        f = op("fresh", lambda x: x * 3.0, x=lambda g: g * 3.0)
        x = [tg.Tensor(np.ones(2), requires_grad=True) for _ in range(4)]
        together(4, lambda k: f(x[k]).sum().backward())
        for t in x:
            np.testing.assert_array_equal(t.grad.data, [3.0, 3.0])


def test_anomaly_mode_in_one_thread_only():
    found = []

    def work(k):
        x = tg.Tensor(np.zeros(1), requires_grad=True)
        try:
            with tg.autograd.set_detect_anomaly(k == 0):
                for _ in range(20):
                    x.sqrt().sum().backward()
        except RuntimeError:
            found.append(k)

    together(4, work)
    assert found == [0]
