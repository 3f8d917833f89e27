"""Line searches: how far to go along a direction.

Along a direction d from a point x the loss is a function of one number, φ(a) = f(x + a·d), with the slope φ'(a) = ∇f(x + a·d)ᵀd. A
line search starts where φ falls, φ'(0) < 0, and finds a step a at which φ has fallen enough:

    enough decrease   φ(a) ≤ φ(0) + c1·a·φ'(0)              (Armijo 1966)
    curvature         φ'(a) ≥ c2·φ'(0)                      (Wolfe 1969; the strong form is |φ'(a)| ≤ c2·|φ'(0)|)

with 0 < c1 < c2 < 1. A value that is not finite counts as infinitely high, so a search turns back from it. See Nocedal & Wright,
Numerical Optimization (2006), chapter 3.
"""
from __future__ import annotations

import math
from typing import Any, Callable, NamedTuple

__all__ = ["Found", "Point", "armijo", "cubic_minimum", "strong_wolfe", "wolfe"]

Phi = Callable[[float], tuple]


class Point(NamedTuple):
    """A step, with what `phi` returned there: the value, the slope, and anything that the caller wants back.

    Example:
        >>> Point(0.5, *(lambda a: (a * a, 2 * a))(0.5))
        Point(a=0.5, value=0.25, slope=1.0, extra=None)
    """

    a: float
    value: float
    slope: float
    extra: Any = None


class Found(NamedTuple):
    """What a line search found: the point, how often it called `phi`, and whether the point satisfies the conditions.

    Example:
        >>> armijo(lambda a: ((a - 1) ** 2, 2 * (a - 1)), 1.0, -2.0).success
        True
    """

    point: Point
    evaluations: int
    success: bool


class _Conditions:
    """The conditions above for one search."""

    def __init__(self, value: float, slope: float, a: float, c1: float, c2: float):
        if not (math.isfinite(value) and slope < 0 and math.isfinite(slope)):
            raise ValueError(f"a line search starts at a finite value where the function falls, got value {value} and slope {slope}; "
                             f"search along a direction of descent")
        if not (0 < c1 < c2 < 1):
            raise ValueError(f"the conditions need 0 < c1 < c2 < 1, got c1={c1}, c2={c2}; write c1=1e-4, c2=0.9")
        if not (a > 0 and math.isfinite(a)):
            raise ValueError(f"the first step is a positive number, got {a}; write a=1.0")
        self.start = Point(0.0, value, slope)
        self.c1, self.c2 = c1, c2

    def enough(self, p: Point) -> bool:
        return p.value <= self.start.value + self.c1 * p.a * self.start.slope and math.isfinite(p.slope)

    def curved(self, p: Point) -> bool:
        return p.slope >= self.c2 * self.start.slope

    def flat(self, p: Point) -> bool:
        return abs(p.slope) <= -self.c2 * self.start.slope


def armijo(phi: Phi, value: float, slope: float, a: float = 1.0, *, c1: float = 1e-4, max_iter: int = 25) -> Found:
    """Shorten the step until the loss has decreased enough (backtracking).

    The next step is the minimum of the parabola through φ(0), φ'(0) and φ(a), kept within [a/10, a/2]: Nocedal & Wright, section 3.5.

    Args:
        phi: a -> (value, slope) or (value, slope, anything); the slope is not used, and may be 0.
        value: φ(0).
        slope: φ'(0), below 0.
        a: the first step to try.
        c1: the demanded fraction of the decrease that the slope promises.
        max_iter: how often the step is shortened at most.

    Returns:
        The point found; where there is none, the step 0 and success=False.

    Raises:
        ValueError: a slope that is not negative, or constants out of range.

    Example:
        >>> armijo(lambda a: (a ** 4 - a, 4 * a ** 3 - 1), 0.0, -1.0, a=2.0).point.a
        0.2
    """
    conditions = _Conditions(value, slope, a, c1, (1 + c1) / 2)
    for k in range(max_iter + 1):
        trial = Point(a, *phi(a))
        if conditions.enough(trial):
            return Found(trial, k + 1, True)
        rise = trial.value - value - a * slope
        a = min(max(-slope * a * a / (2 * rise), a / 10), a / 2) if math.isfinite(rise) else a / 10
    return Found(conditions.start, max_iter + 1, False)


def wolfe(phi: Phi, value: float, slope: float, a: float = 1.0, *, c1: float = 1e-4, c2: float = 0.9, max_iter: int = 25) -> Found:
    """Double or bisect the step until the weak Wolfe conditions hold.

    A step without enough decrease is an upper limit, one that is still steep is a lower limit. The function need not be smooth: Lewis &
    Overton, Nonsmooth optimization via quasi-Newton methods (2013), algorithm 4.6.

    Args:
        phi: a -> (value, slope) or (value, slope, anything).
        value: φ(0).
        slope: φ'(0), below 0.
        a: the first step to try.
        c1: of the condition of enough decrease.
        c2: of the curvature condition.
        max_iter: how many further steps are tried at most.

    Returns:
        The point found; where there is none, the longest step seen with enough decrease, or 0, and success=False.

    Raises:
        ValueError: a slope that is not negative, or constants out of range.

    Example:
        >>> wolfe(lambda a: ((a - 5) ** 2, 2 * (a - 5)), 25.0, -10.0).point.a
        1.0
        >>> wolfe(lambda a: ((a - 5) ** 2, 2 * (a - 5)), 25.0, -10.0, c2=0.5).point.a
        4.0
    """
    conditions = _Conditions(value, slope, a, c1, c2)
    low, high = conditions.start, math.inf
    for k in range(max_iter + 1):
        trial = Point(a, *phi(a))
        if not conditions.enough(trial):
            high = a
        elif conditions.curved(trial):
            return Found(trial, k + 1, True)
        else:
            low = trial
        a = 2 * low.a if high == math.inf else (low.a + high) / 2
    return Found(low, max_iter + 1, False)


def strong_wolfe(phi: Phi, value: float, slope: float, a: float = 1.0, *, c1: float = 1e-4, c2: float = 0.9, max_iter: int = 25,
                 tolerance: float = 0.0) -> Found:
    """Bracket a step that satisfies the strong Wolfe conditions, and zoom in on it by cubic interpolation.

    Nocedal & Wright, algorithms 3.5 (bracket) and 3.6 (zoom); the trial steps are those of PyTorch's LBFGS.

    Args:
        phi: a -> (value, slope) or (value, slope, anything).
        value: φ(0).
        slope: φ'(0), below 0.
        a: the first step to try.
        c1: of the condition of enough decrease.
        c2: of the curvature condition.
        max_iter: how many further steps are tried at most.
        tolerance: stop when the bracket is narrower.

    Returns:
        The point found; where there is none, the lowest end of the bracket, which may be 0, and success=False.

    Raises:
        ValueError: a slope that is not negative, or constants out of range.

    Example:
        >>> found = strong_wolfe(lambda a: ((a - 5) ** 2, 2 * (a - 5)), 25.0, -10.0, c2=0.1)
        >>> found.point.a, found.evaluations
        (5.0, 2)
    """
    conditions = _Conditions(value, slope, a, c1, c2)
    previous, trial = conditions.start, Point(a, *phi(a))
    for k in range(max_iter):
        if not conditions.enough(trial) or (k > 1 and trial.value >= previous.value):
            return _zoom(phi, conditions, previous, trial, k + 1, max_iter + 1, tolerance)
        if conditions.flat(trial):
            return Found(trial, k + 1, True)
        if trial.slope >= 0:
            return _zoom(phi, conditions, previous, trial, k + 1, max_iter + 1, tolerance)
        a = cubic_minimum(previous, trial, (trial.a + 0.01 * (trial.a - previous.a), 10 * trial.a))
        previous, trial = trial, Point(a, *phi(a))
    return _best(conditions, trial, max_iter + 1)


def _best(conditions: _Conditions, trial: Point, evaluations: int) -> Found:
    """The last trial, if it is lower than the start, with the verdict on it."""
    success = conditions.enough(trial) and conditions.flat(trial)
    return Found(trial if success or trial.value < conditions.start.value else conditions.start, evaluations, success)


def _zoom(phi: Phi, conditions: _Conditions, one: Point, other: Point, evaluations: int, limit: int, tolerance: float) -> Found:
    """Narrow the bracket between two points; its lower end always has enough decrease, or is the start."""
    ends = [one, other]
    low = 0 if one.value <= other.value or not math.isfinite(other.value) else 1
    crept = False                                     # whether the last trial was close to an end
    while evaluations < limit:
        left, right = sorted((ends[0].a, ends[1].a))
        if right - left < tolerance or left == right:
            break
        a = cubic_minimum(ends[0], ends[1], (left, right))
        margin = 0.1 * (right - left)
        close = min(right - a, a - left) < margin
        if close and (crept or a >= right or a <= left):
            a, close = (right - margin if right - a < a - left else left + margin), False
        crept = close
        trial = Point(a, *phi(a))
        evaluations += 1
        if not conditions.enough(trial) or trial.value >= ends[low].value:
            ends[1 - low] = trial
            low = int(ends[1].value < ends[0].value or not math.isfinite(ends[0].value))
        elif conditions.flat(trial):
            return Found(trial, evaluations, True)
        else:
            if trial.slope * (ends[1 - low].a - ends[low].a) >= 0:
                ends[1 - low] = ends[low]
            ends[low] = trial
    return Found(ends[low], evaluations, False)


def cubic_minimum(p: Point, q: Point, bounds: tuple[float, float]) -> float:
    """Where the cubic through the values and slopes at two points has its minimum, within bounds.

    With the points at u < v:  d1 = φ'(u) + φ'(v) - 3·(φ(u) - φ(v))/(u - v),  d2 = √(d1² - φ'(u)·φ'(v)),

        minimum = v - (v - u)·(φ'(v) + d2 - d1) / (φ'(v) - φ'(u) + 2·d2)

    Nocedal & Wright, equation 3.59.

    Args:
        p, q: the points, at different steps.
        bounds: the lowest and the highest result.

    Returns:
        The minimum; the middle of the bounds where the cubic has none, or a number is not finite.

    Example:
        >>> cubic_minimum(Point(0.0, 1.0, -2.0), Point(3.0, 4.0, 4.0), (0.0, 3.0))
        1.0
    """
    u, v = (p, q) if p.a <= q.a else (q, p)
    low, high = bounds
    if math.isfinite(u.value) and math.isfinite(v.value) and math.isfinite(u.slope) and math.isfinite(v.slope):
        d1 = u.slope + v.slope - 3 * (u.value - v.value) / (u.a - v.a)
        square = d1 * d1 - u.slope * v.slope
        if square >= 0:
            d2 = math.sqrt(square)
            bottom = v.slope - u.slope + 2 * d2
            a = v.a - (v.a - u.a) * ((v.slope + d2 - d1) / bottom) if bottom else math.nan
            if math.isfinite(a):
                return min(max(a, low), high)
    return (low + high) / 2
