"""Mixed precision against PyTorch: signatures, the scaler's course, its state, the dtypes of autocast."""
import inspect

import pytest

torch = pytest.importorskip("torch")

import tinygrad_ed as tg  # noqa: E402


@pytest.mark.parametrize("name", ["scale", "unscale_", "step", "update", "state_dict", "load_state_dict", "get_scale", "is_enabled",
                                  "get_growth_factor", "set_growth_factor", "get_backoff_factor", "set_backoff_factor", "get_growth_interval",
                                  "set_growth_interval"])
def test_methods(name):
    mine, his = (list(inspect.signature(getattr(lib.amp.GradScaler, name)).parameters) for lib in (tg, torch))
    assert mine == his


def test_arguments():
    for name in ("GradScaler", "autocast"):
        mine, his = ([(p.name, p.default) for p in inspect.signature(getattr(lib.amp, name).__init__).parameters.values()] for lib in (tg, torch))
        assert mine == his


def test_the_course_of_the_scale():
    courses = []
    for lib in (tg, torch):
        p = lib.nn.Parameter(lib.ones(2))
        optimizer = lib.optim.SGD([p], lr=0.1)
        scaler, course = lib.amp.GradScaler("cpu", init_scale=16.0, growth_interval=2), []
        for factor in (1.0, float("inf"), 1.0, 1.0, float("nan"), 1.0, 1.0, 1.0):
            optimizer.zero_grad()
            scaler.scale((p * p).sum() * factor).backward()
            scaler.step(optimizer)
            scaler.update()
            course.append((scaler.get_scale(), *[round(v, 5) for v in p.tolist()]))
        courses.append((course, scaler.state_dict()))
    assert courses[0] == courses[1]
