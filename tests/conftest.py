"""Settings of the whole suite: how many examples each property draws, on which device, and with which engine (`--engine numpy`).

`pytest` tests on the CPU. `pytest --device cuda` runs on a CUDA device what is meant for one (the tests that ask for the fixture
`device`), and `pytest --device standin` does so where there is none, on a strict stand-in for CuPy (see `standin`).
"""
import os

for _pool in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_pool, "1")                 # the tests run one process per core: more threads would fight

import pytest  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

_common = dict(deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
               print_blob=True)
settings.register_profile("dev", max_examples=8, **_common)
settings.register_profile("ci", max_examples=12, derandomize=True, **_common)
settings.register_profile("nightly", max_examples=300, **_common)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))


def pytest_addoption(parser):
    parser.addoption("--device", choices=("cuda", "standin"), help="run the tests of a CUDA device: on one, or on a stand-in for CuPy")
    parser.addoption("--engine", choices=("numpy", "compiled"), help="the engine that computes on the CPU; the compiled one where it is built by default")


def pytest_configure(config):
    if config.getoption("--engine"):
        os.environ["TINYGRAD_ED_ENGINE"] = config.getoption("--engine")


def pytest_collection_modifyitems(config, items):
    wanted = config.getoption("--device") is not None
    on_device = [item for item in items if "device" in getattr(item, "fixturenames", ())]
    on_cpu = [item for item in items if "device" not in getattr(item, "fixturenames", ())]
    items[:], left_out = (on_device, on_cpu) if wanted else (on_cpu, on_device)
    config.hook.pytest_deselected(items=left_out)


@pytest.fixture(scope="session")
def device(request):
    """The device under test."""
    import tinygrad_ed as tg
    if request.config.getoption("--device") == "standin":
        import standin
        with standin.installed():
            yield "cuda"
    elif tg.cuda.is_available():
        yield "cuda"
    else:
        pytest.skip(tg.cuda.why_not())


@pytest.fixture
def compiled_engine():
    """The compiled engine, with as many threads afterwards as before."""
    from tinygrad_ed import backends
    from tinygrad_ed.backend.kernels import engines
    threads = backends.get_num_threads()
    with backends.engine("compiled"):
        yield
    engines.native().set_threads(threads)
