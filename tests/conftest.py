"""Settings of the whole suite: how many examples each property draws."""
import os

for _pool in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_pool, "1")                 # the tests run one process per core: more threads would fight

from hypothesis import HealthCheck, settings  # noqa: E402

_common = dict(deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
               print_blob=True)
settings.register_profile("dev", max_examples=8, **_common)
settings.register_profile("ci", max_examples=12, derandomize=True, **_common)
settings.register_profile("nightly", max_examples=300, **_common)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))
