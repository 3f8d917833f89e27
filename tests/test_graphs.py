"""CUDA graphs under PyTorch's names, LossBuffer, and what the stand-in does while a stream captures. Whole steps: test_captured_steps.py."""
import threading

import numpy as np
import pytest
import standin

import tinygrad_ed as tg
from tinygrad_ed.backend import capture, philox
from tinygrad_ed.errors import CaptureError, DeviceError, ShapeError


@pytest.fixture(autouse=True)
def cp():
    """The stand-in for the module cupy."""
    with standin.installed() as module:
        yield module


def host(x):
    """A tensor's values."""
    return x.numpy(force=True)


def test_pytorchs_interface():
    g, x, w = tg.cuda.CUDAGraph(), tg.zeros(3, device="cuda"), tg.zeros(3, device="cuda")
    with pytest.raises(CaptureError, match="nothing to replay"):
        g.replay()
    with pytest.raises(CaptureError, match="default stream"):
        g.capture_begin()
    with tg.cuda.graph(g):
        assert tg.cuda.is_current_stream_capturing()
        y = x + 1
        w += y
    assert not tg.cuda.is_current_stream_capturing() and host(w).tolist() == [0, 0, 0]                # nothing has run
    for i in range(3):
        x.fill_(i)
        with standin.counting() as counts:
            g.replay()
        assert counts.launches == 1 and not (counts.allocations or counts.syncs or counts.copies)
    assert host(w).tolist() == [6, 6, 6] and host(y).tolist() == [3, 3, 3]
    h = tg.cuda.CUDAGraph()
    with pytest.raises(ZeroDivisionError), tg.cuda.graph(h, pool=g.pool()):
        raise ZeroDivisionError
    with tg.cuda.graph(h, pool=g.pool()):
        z = y * 2
    h.replay()
    assert host(z).tolist() == [6, 6, 6] and capture.active() is None
    side = tg.cuda.Stream()
    side.wait_stream(tg.cuda.current_stream())
    with side:
        g.capture_begin()
        z = y * 3
        g.capture_end()
    tg.cuda.current_stream().wait_stream(side)
    g.replay()
    assert host(z).tolist() == [9, 9, 9]
    g.reset()
    with pytest.raises(CaptureError):
        g.replay()


def test_other_threads_go_on_while_one_captures():
    said = []
    with tg.cuda.graph(tg.cuda.CUDAGraph()):
        thread = threading.Thread(target=lambda: said.append((capture.active(), host(tg.tensor([2.0], device="cuda") + 1).tolist())))
        thread.start()
        thread.join()
    assert said == [(None, [3.0])]


def test_a_loss_buffer_is_a_ring():
    for device in ("cpu", "cuda"):
        losses = tg.cuda.LossBuffer(4, device=device, dtype=tg.float64)
        assert len(losses) == 0 and losses.read().tolist() == []
        for i in range(10):
            losses.append(tg.tensor([float(i)], device=device))
        assert losses.full() and losses.read().tolist() == [6, 7, 8, 9] and losses.read().size == 0
        losses.append(tg.tensor(5.0, device=device))
        assert not losses.full() and losses.read().tolist() == [5]
        with pytest.raises(ShapeError, match="one element"):
            losses.append(tg.ones(2, device=device))
    with pytest.raises(DeviceError, match="the loss is on cpu, the buffer on cuda"):
        losses.append(tg.tensor(1.0))
    with pytest.raises(ValueError, match="size=0"):
        tg.cuda.LossBuffer(0)


# -- the stand-in ------------------------------------------------------------------------------------------------------

def begun(cp):
    """A stream that is capturing into a pool of its own."""
    stream = cp.cuda.Stream(non_blocking=True)
    stream.wait_event(cp.cuda.get_current_stream().record())
    stream.use()
    stream.begin_capture()
    return stream


CAPTURED = {                                          # what CUDA and CuPy refuse while a stream captures
    "a wait": (lambda cp, x: x.get(), RuntimeError, "not permitted when stream is capturing"),
    "waiting for the stream": (lambda cp, x: cp.cuda.get_current_stream().synchronize(), RuntimeError, "not permitted"),
    "a copy from the host": (lambda cp, x: cp.asarray(np.ones(2)), RuntimeError, "pageable|forbid|captured"),
    "pageable memory": (lambda cp, x: x.set(np.ones(3, "float32")), RuntimeError, "pageable"),
    "memory of another pool": (lambda cp, x: x + 1, RuntimeError, "a pool that the graph does not own"),
    "CuPy's cuBLAS": (lambda cp, x: x @ x, NotImplementedError, "cuBLAS"),
    "another stream": (lambda cp, x: cp.cuda.Stream.null.use() and x.fill(1), RuntimeError, "another stream"),
    "a capture in a capture": (lambda cp, x: cp.cuda.Stream().begin_capture(), RuntimeError, "already"),
}


@pytest.mark.parametrize("name", CAPTURED)
def test_the_stand_in_refuses_in_a_capture(cp, name):
    use, error, words = CAPTURED[name]
    x, null = cp.ones(3, "float32"), cp.cuda.get_current_stream()
    stream = begun(cp)
    try:
        with pytest.raises(error, match=words):
            use(cp, x)
    finally:
        stream.end_capture()
        null.use()
    with pytest.raises(RuntimeError, match="default stream"):
        null.begin_capture()
    with pytest.raises(RuntimeError, match="not capturing"):
        stream.end_capture()


def test_the_stand_in_sees_memory_that_was_freed(cp):
    x, y, null, pool = cp.ones(3), cp.ones(3), cp.cuda.get_current_stream(), cp.cuda.MemoryPool()
    stream = begun(cp)
    with cp.cuda.using_allocator(pool.malloc):
        z = x + 1
        z += 1                                        # in the pool, where freed memory stays the graph's
        y += z
    graph = stream.end_capture()
    null.use()
    null.wait_event(stream.record())
    assert y.get().tolist() == [1, 1, 1] and np.isnan(z.get()).all()      # nothing has run
    del z
    graph.launch()
    assert y.get().tolist() == [4, 4, 4]
    del x
    with pytest.raises(RuntimeError, match="has been freed"):
        graph.launch()


@pytest.mark.parametrize("launch", [
    lambda cp, x, y: cp.add(x, 1, out=y), lambda cp, x, y: y.__setitem__(slice(1, None), x[:2]), lambda cp, x, y: y.__setitem__(..., x.astype("float64")),
    lambda cp, x, y: cp.add.at(y, cp.zeros(2, "int64"), x[:2]), lambda cp, x, y: cp.copyto(y, x.copy()), lambda cp, x, y: y.sort(),
    lambda cp, x, y: y.__setitem__(..., cp.concatenate([x[1:], x[:1]])), lambda cp, x, y: y.__setitem__(..., cp.divmod(x, 2)[1]),
    lambda cp, x, y: y.data.copy_from_device_async(x.data, x.nbytes)])
def test_the_stand_in_replays_every_kind_of_launch(cp, launch):
    x, y, null, pool = cp.asarray(np.array([3.0, 1, 2])), cp.asarray(np.array([5.0, 7, 6])), cp.cuda.get_current_stream(), cp.cuda.MemoryPool()
    stream = begun(cp)
    with cp.cuda.using_allocator(pool.malloc):
        launch(cp, x, y)
    graph = stream.end_capture()
    null.use()
    null.wait_event(stream.record())
    twin = cp.asarray(y.get())
    for values in ([3.0, 1, 2], [9.0, 8, 4]):
        x[...] = cp.asarray(np.array(values))
        graph.launch()
        launch(cp, x, twin)
        assert y.get().tolist() == twin.get().tolist()


def test_words_of_a_place_in_device_memory(cp):
    for seed, offset in ((0, 0), (2**64 - 1, 12345), (7, 2**40)):
        place = cp.asarray(np.array([seed, offset], np.uint64))
        assert philox.words_on(cp, place, 5).get().tolist() == philox.words_on(cp, (seed, offset), 5).get().tolist()
