"""Several threads and processes at once: backward on separate graphs and on shared parameters, training beside loaders, forks and the end."""
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import tinygrad_ed as tg
from tinygrad_ed import backends, nn, optim
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


# -- training beside other work ----------------------------------------------------------------------------------------

class Convolved(tg.data.Dataset):
    """Images that are computed when they are asked for, with kernels large enough for several threads."""

    def __len__(self):
        return 24

    def __getitem__(self, i):
        rng = np.random.default_rng(i)
        with tg.no_grad():
            image = nn.functional.gelu(nn.functional.conv2d(tg.tensor(rng.normal(size=(1, 3, 96, 96))), tg.tensor(rng.normal(size=(3, 3, 3, 3)))))
            return nn.functional.avg_pool2d(image, 12)[0].reshape(-1).float(), i % 10


def trained(workers):
    """The bits of a network after two epochs, with its batches made by so many threads."""
    tg.manual_seed(0)
    model = nn.Sequential(nn.Linear(147, 300), nn.GELU(), nn.LayerNorm(300), nn.Linear(300, 10))
    optimizer = optim.Adam(model.parameters())
    for _ in range(2):
        for x, t in tg.data.DataLoader(Convolved(), batch_size=8, num_workers=workers):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), t).backward()
            optimizer.step()
    return b"".join(p.data.tobytes() for p in model.parameters())


def test_training_beside_loaders_that_compute():
    threads = backends.get_num_threads()
    try:
        backends.set_num_threads(3)
        assert trained(3) == trained(0)
    finally:
        backends.set_num_threads(threads)


PRELUDE = f"""
import faulthandler, os, sys, threading
sys.path.append({str(Path(__file__).parent)!r})
from test_threads import Convolved, trained, backends, tg
backends.set_num_threads(3 if backends.active_engine() == "compiled" else 1)       # OpenBLAS's threads do not survive a fork amid a product
"""


def python(code):
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", PRELUDE + code], capture_output=True, text=True, timeout=300,
                          cwd=Path(tg.__file__).parents[1])
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_forked_processes_train_while_the_threads_are_busy():
    assert python("""
expected, stop = trained(0), threading.Event()
def busy():
    while not stop.is_set():
        Convolved()[0]
others = [threading.Thread(target=busy, daemon=True) for _ in range(2)]
for t in others: t.start()
for _ in range(6):
    child = os.fork()
    if child == 0:
        faulthandler.dump_traceback_later(100, exit=True)
        os._exit(0 if trained(2) == expected else 2)
    assert trained(0) == expected
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
stop.set()
for t in others: t.join()
print("fine")
""") == "fine\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_finds_locks_open_that_another_thread_held():
    assert python("""
from tinygrad_ed.autograd import engine, inplace
from tinygrad_ed.ops.generator import default_generator
expected, held, stop = trained(0), threading.Event(), threading.Event()
def hold():
    with inplace._stamping, engine._accumulating, default_generator._lock:
        held.set()
        stop.wait()
threading.Thread(target=hold, daemon=True).start()
held.wait()
child = os.fork()
if child == 0:
    faulthandler.dump_traceback_later(60, exit=True)
    os._exit(0 if trained(2) == expected else 2)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
stop.set()
print("fine")
""") == "fine\n"


def test_the_process_ends_in_the_middle_of_an_epoch():
    assert python("""
def busy():
    while True:
        trained(0)
threading.Thread(target=busy, daemon=True).start()
batches = iter(tg.data.DataLoader(Convolved(), batch_size=4, num_workers=2))
next(batches)
print("fine")
""") == "fine\n"
