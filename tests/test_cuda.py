"""The CUDA interface on a stand-in for CuPy (and what it does without one); `pytest --device` runs what needs a device elsewhere."""
import gc
import json
import re
import subprocess
import sys
import types
import warnings

import numpy as np
import pytest
import standin

import tinygrad_ed as tg
from tinygrad_ed import cuda, doctor
from tinygrad_ed.backend import cuda as backend
from tinygrad_ed.errors import DeviceError

without = pytest.mark.skipif(cuda.is_available(), reason="a CUDA device is here")


@pytest.fixture
def two_devices():
    """The stand-in, with two devices of 1 GiB."""
    with standin.installed():
        yield


# -- without a device --------------------------------------------------------------------------------------------------

@without
def test_without_cuda_questions_are_answered_and_work_is_refused_in_words():
    assert not cuda.is_available() and cuda.device_count() == 0 and cuda.why_not() and not cuda.is_initialized()
    assert cuda.memory_allocated() == cuda.max_memory_allocated() == cuda.memory_reserved() == 0 and cuda.current_device() == 0
    cuda.empty_cache()
    cuda.reset_peak_memory_stats()
    cuda.manual_seed_all(3)
    assert tg.initial_seed() == cuda.initial_seed() == 3
    x = tg.ones(2)
    for work in (cuda.init, cuda.synchronize, cuda.Stream, cuda.Event, cuda.current_stream, cuda.mem_get_info, cuda.get_device_name, x.cuda,
                 x.pin_memory, lambda: cuda.set_device(0), lambda: cuda.device(0), lambda: tg.data.Prefetcher([])):
        with pytest.raises(DeviceError, match="CUDA is not available.*pip install"):
            work()
    assert not x.is_pinned() and x.tolist() == [1, 1]
    with cuda.device(None), cuda.device(-1), cuda.stream(None), cuda.device_of(x):
        pass


def fake(monkeypatch, driver=13000, count=1, error=None):
    """A CuPy with this driver and so many devices."""
    def devices():
        if error:
            raise error
        return count
    runtime = types.SimpleNamespace(driverGetVersion=lambda: driver, runtimeGetVersion=lambda: 12090, getDeviceCount=devices)
    module = types.ModuleType("cupy")
    module.__dict__.update(cuda=types.SimpleNamespace(runtime=runtime), ndarray=types.SimpleNamespace, __version__="14.2.0")
    monkeypatch.setitem(sys.modules, "cupy", module)
    monkeypatch.setattr(backend, "why_not", backend.why_not.__wrapped__)


@pytest.mark.parametrize("facts, words", [
    (dict(driver=0), "no NVIDIA driver"), (dict(driver=11080), r"supports CUDA 11\.8, this CuPy needs CUDA 12.*update the driver"),
    (dict(count=0), "CUDA_VISIBLE_DEVICES"), (dict(error=RuntimeError("cudaErrorUnknown")), "cudaErrorUnknown"), (dict(), "nvrtc is missing"),
])
def test_why_not_tells_what_is_wrong(monkeypatch, facts, words):
    fake(monkeypatch, **facts)
    assert re.search(words, backend.why_not())


def test_a_broken_cupy_is_a_reason(monkeypatch):
    class Broken:
        def find_spec(self, name, path=None, target=None):
            if name == "cupy":
                raise OSError("libcudart.so.12: invalid ELF header")
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    assert "installed but broken (OSError" in backend.why_not.__wrapped__()


# -- devices -----------------------------------------------------------------------------------------------------------

def test_devices(two_devices):
    assert cuda.is_available() and cuda.why_not() is None and cuda.device_count() == 2 and cuda.current_device() == 0
    p = cuda.get_device_properties(1)
    assert (p.name, p.major, p.total_memory) == ("Stand-in Device", 9, 1 << 30) == (cuda.get_device_name("cuda:1"), 9, cuda.mem_get_info(1)[1])
    assert cuda.get_device_capability() == (9, 0)
    with cuda.device("cuda:1"):
        x = tg.ones(2, device="cuda")
        assert cuda.current_device() == 1 and x.device == "cuda:1" == tg.device("cuda") and x.get_device() == 1
    assert cuda.current_device() == 0 and x.cuda(0).device == "cuda:0"
    with cuda.device_of(x):
        assert (x + x).tolist() == [2, 2]
    cuda.set_device(1)
    try:
        assert cuda.current_device() == 1
        cuda.set_device(-1)
        assert cuda.current_device() == 1
    finally:
        cuda.set_device(0)
    with standin.counting() as counts:
        cuda.synchronize("cuda:1")
    assert len(counts.syncs) == 1


def test_wrong_devices_are_refused_and_the_tensors_stay(two_devices):
    x, y, z = tg.ones(3, device="cuda", requires_grad=True), tg.ones(3), tg.ones(3, device="cuda:1")
    for work in (lambda: y.cuda(2), lambda: tg.ones(1, device="cuda:7"), lambda: cuda.set_device(2), lambda: cuda.device(5), lambda: y.to("cuda:2")):
        with pytest.raises(DeviceError, match=r"there is no cuda:\d: this machine has 2 CUDA device"):
            work()
    with pytest.raises(DeviceError, match="a CUDA device is wanted"):
        cuda.set_device("cpu")
    for mixed in (lambda: x + y, lambda: y * x, lambda: tg.cat([x, y]), lambda: x @ y, lambda: tg.where(x > 0, x, y)):
        with pytest.raises(DeviceError, match=r"cpu and cuda:0; move one: x\.to\(other\.device\)"):
            mixed()
    with pytest.raises(DeviceError, match="cuda:0 and cuda:1"):
        x + z
    with pytest.raises(DeviceError, match=r"on cuda:1.*with tinygrad_ed\.cuda\.device\(1\)"):
        z + z
    with pytest.raises(TypeError, match=r"x\.cpu\(\)\.numpy\(\)"):
        x.detach().numpy()
    (x * x).sum().backward()
    assert x.grad.tolist() == [2, 2, 2] and y.tolist() == z.tolist() == [1, 1, 1]


def test_there_and_back(two_devices):
    x = tg.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    y = x.cuda()
    assert y.is_cuda and y.device == "cuda:0" and y.to("cuda") is y and y.cpu().tolist() == x.tolist()
    (y.to(device="cuda:1", dtype=tg.float64).cpu() * 3).sum().backward()
    assert x.grad.is_cpu and x.grad.tolist() == [[3, 3], [3, 3]]
    assert tg.ones(2).to("cuda", tg.int64).dtype == tg.int64 and tg.tensor(y).device == "cuda:0"


# -- memory ------------------------------------------------------------------------------------------------------------

def test_memory_is_counted(two_devices):
    cuda.init()                                       # tables that other tests have sent stay there
    gc.collect()
    before = cuda.memory_allocated()
    x = tg.zeros(1000, device="cuda")
    assert cuda.memory_allocated() - before == 4096 and cuda.memory_allocated(1) == 0
    y = x + 1
    peak = cuda.max_memory_allocated()
    assert peak >= before + 2 * 4096
    del x, y
    assert cuda.memory_allocated() == before and cuda.max_memory_allocated() == peak and cuda.memory_reserved() >= peak
    cuda.reset_peak_memory_stats()
    cuda.empty_cache()
    assert cuda.max_memory_allocated() == before == cuda.memory_reserved() and cuda.mem_get_info()[0] == (1 << 30) - before


def test_out_of_memory_says_what_to_do_and_nothing_is_lost(two_devices):
    x = tg.ones(1 << 20, device="cuda", requires_grad=True)
    cuda.set_per_process_memory_fraction(16 / 1024)                      # 16 MiB
    try:
        with pytest.raises(tg.cuda.OutOfMemoryError, match=r"cuda:0 is out of memory: 32\.00 MiB more .* limit .* 16\.00 MiB\. Take a smaller batch") as e:
            x.expand(8, 1 << 20) * 2
        assert isinstance(e.value, MemoryError) and isinstance(e.value, RuntimeError)
        (x * 2).sum().backward()
        assert x.grad[:2].tolist() == [2, 2] and x[0].item() == 1
    finally:
        cuda.set_per_process_memory_fraction(1.0)
    assert (x.detach().expand(8, 1 << 20) * 2).shape == (8, 1 << 20)
    with pytest.raises(ValueError, match="from 0 to 1"):
        cuda.set_per_process_memory_fraction(1.5)


def test_pinned_memory(two_devices):
    x = tg.arange(6).reshape(2, 3)
    p = x.pin_memory()
    assert p.is_pinned() and p[1].is_pinned() and not x.is_pinned() and p.pin_memory() is p and p.tolist() == x.tolist()
    with standin.counting() as counts:
        y = p.to("cuda", non_blocking=True)
    assert not counts.syncs and y.tolist() == x.tolist()
    with standin.counting() as counts:
        back = y.to("cpu", non_blocking=True)
    assert not counts.syncs and back.is_pinned()
    with pytest.raises(DeviceError, match=r"x\.cpu\(\)\.pin_memory\(\)"):
        y.pin_memory()
    assert tg.zeros(0).pin_memory().shape == (0,)


# -- streams -----------------------------------------------------------------------------------------------------------

def test_streams_and_events(two_devices):
    side = cuda.Stream()
    x = tg.ones(3, device="cuda")
    assert cuda.current_stream() == cuda.default_stream() != side and side.query()
    with cuda.stream(side) as entered:
        assert entered is side and cuda.current_stream() == side
        with pytest.raises(RuntimeError, match="without waiting"):       # the stand-in sees the race
            x + 1
        side.wait_stream(cuda.default_stream())
        y = x + 1
    assert cuda.current_stream() == cuda.default_stream()
    with pytest.raises(RuntimeError, match="without waiting"):
        y + 1
    event = side.record_event()
    event.wait()
    assert (y + 1).tolist() == [3, 3, 3] and event.query()
    start, end = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)
    start.record()
    for _ in range(5):
        x * x
    end.record()
    end.synchronize()
    assert start.elapsed_time(end) >= 5                                  # at least one for each piece of work
    with pytest.raises(RuntimeError, match="enable_timing=True"):
        start.elapsed_time(event)
    cuda.set_stream(side)
    assert cuda.current_stream() == side
    cuda.set_stream(cuda.default_stream())
    with cuda.stream(cuda.Stream("cuda:1")):
        assert cuda.current_device() == 1


# -- data --------------------------------------------------------------------------------------------------------------

def loader(**options):
    """Batches of two samples out of seven."""
    return tg.data.DataLoader(tg.data.TensorDataset(tg.arange(7), tg.arange(14.0).reshape(7, 2)), batch_size=2, **options)


@without
def test_pin_memory_without_cuda_warns_and_changes_nothing():
    with pytest.warns(UserWarning, match="pin_memory=True does nothing here, since CUDA is not available: CuPy"):
        batches = list(loader(pin_memory=True))
    assert len(batches) == 4 and batches[0][0].tolist() == [0, 1] and not batches[0][0].is_pinned()
    assert [x.tolist() for x, _ in tg.data.Prefetcher(loader(), "cpu")] == [x.tolist() for x, _ in loader()]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("pin", [False, True])
@pytest.mark.parametrize("ahead", [1, 3, 9])
def test_batches_are_copied_ahead_on_a_stream_of_their_own(two_devices, pin, workers, ahead):
    source = loader(pin_memory=pin, num_workers=workers)
    assert all(x.is_pinned() == pin and y.is_pinned() == pin for x, y in source)
    prefetcher = tg.data.Prefetcher(source, ahead=ahead)
    assert len(prefetcher) == 4
    with standin.counting() as counts:
        found = [(x + 1, y * 2) for x, y in prefetcher]                  # the stand-in raises where the copy is not waited for
    assert not counts.syncs and len(counts.copies) == 8
    assert [(x.tolist(), y.tolist()) for x, y in found] == [((x + 1).tolist(), (y * 2).tolist()) for x, y in loader()]
    for x, _ in prefetcher:                                              # left early
        break
    assert (x + 1).tolist() == [1, 2]


def test_batches_of_every_kind_are_moved(two_devices):
    batch = {"x": tg.ones(2), "more": [tg.zeros(1), "name"], "there": tg.ones(1, device="cuda"), "pair": (1, tg.ones(3))}
    (found,) = tg.data.Prefetcher([batch])
    assert found["x"].is_cuda and found["more"][0].is_cuda and found["more"][1] == "name" and found["pair"][0] == 1 and found["pair"][1].is_cuda
    assert type(found["pair"]) is tuple and found["there"].is_cuda
    with pytest.raises(ValueError, match="at least 1"):
        tg.data.Prefetcher([batch], ahead=0)


# -- the doctor --------------------------------------------------------------------------------------------------------

def test_the_doctor_runs_anywhere():
    done = subprocess.run([sys.executable, "-m", "tinygrad_ed.doctor", "--json"], capture_output=True, text=True, check=True)
    report = json.loads(done.stdout)
    assert set(report) == {"found", "missing"} and np.__version__ in report["found"]["NumPy"] and "CuPy" in report["found"]
    assert "broken" not in done.stdout and not done.stderr


def test_the_doctor_names_the_command_that_helps(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "_driver_version", lambda: 13000)
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert doctor.main([]) == 0
    shown = capsys.readouterr().out
    assert 'pip install "tinygrad_ed[cuda13]"' in shown and "supports CUDA 13.0" in shown and "cudnn" in shown.lower()
    monkeypatch.setattr(doctor, "_driver_version", lambda: 11040)
    assert any(m.what == "NVIDIA driver" for m in doctor.examine()[1])


@pytest.mark.parametrize("version, said", [("", "pip install \"tinygrad_ed[bfloat16]\""), ("0.5.1", "ml_dtypes 0.5.1")])
def test_the_doctor_says_what_bfloat16_needs(monkeypatch, version, said):
    monkeypatch.setattr(doctor, "_version", lambda name: version)
    found, missing = doctor.examine()
    assert said in found["bfloat16"] and not [m for m in missing if "bfloat16" in m.fix]      # optional


def test_the_doctor_survives_what_is_broken(monkeypatch):
    monkeypatch.setitem(doctor._LOOKS, "NumPy", lambda missing: 1 / 0)
    found, missing = doctor.examine()
    assert "broken: ZeroDivisionError" in found["NumPy"] and missing and "CUDA devices" in found


def test_the_doctor_describes_devices(two_devices):
    found, _ = doctor.examine()
    assert "cuda:1 Stand-in Device, 1.0 GiB, compute capability 9.0" in found["CUDA devices"] and found["NVRTC"] == "found"


def test_no_warning_where_nothing_is_wrong(two_devices):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        list(loader(pin_memory=True))
