"""The CUDA C++ of what is done element by element: loops over the bodies that the C engine compiles too."""
from __future__ import annotations

from ..bodies import ACTIVATIONS, BACKWARDS, LOSSES, typed

__all__ = ["elementwise_source"]

_FUNCTIONS = """
// The functions of bodies.py that CUDA does not have.
__device__ inline wide magnitude(wide x) { return fabs(x); }
__device__ inline wide sigmoid(wide x) { return 1 / (1 + exp(-x)); }
__device__ inline wide normal_cdf(wide x) { return normcdf(x); }
__device__ inline wide normal_pdf(wide x) { return (wide)0.3989422804014327 * exp((wide)-0.5 * x * x); }
"""

_ACTIVATION = """
KERNEL void {name}(const real *X, real *Y, real *SLOPE, idx n{numbers}) {{
{constants}    for (EACH(i, n)) {{
        const wide x = X[i];
        {steps}
        Y[i] = {y};
        if (SLOPE) SLOPE[i] = {slope};
    }}
}}
"""

_BACKWARD = """
KERNEL void {name}(const real *G, const real *Y, real *D, idx n) {{
    for (EACH(i, n)) {{
        const wide g = G[i], y = Y[i];
        D[i] = {d};
    }}
}}
"""

# The losses; or, where Y is null, the sum of what the threads of each block have, into its place in PARTS.
_LOSS = """
KERNEL void {name}(const real *X, const real *TARGET, real *Y, wide *PARTS, wide *SLOPE, idx n, double scale{numbers}) {{
{constants}    const wide factor = scale;
    wide sum = 0;
    for (EACH(i, n)) {{
        const wide x = X[i], t = TARGET[i];
        {steps}
        const wide loss = {y};
        if (Y) Y[i] = factor * loss;
        else sum += loss;
        if (SLOPE) SLOPE[i] = factor * ({slope});
    }}
    if (Y) return;
    sum = block_sum(sum);
    if (threadIdx.x == 0) PARTS[blockIdx.x] = sum;
}}
"""

# The sum of what the blocks have, by one block.
_TOTAL = """
KERNEL void total(const wide *PARTS, real *Y, idx n, double scale) {
    wide sum = 0;
    for (EACH(i, n)) sum += PARTS[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0) *Y = sum * (wide)scale;
}
"""


def elementwise_source() -> str:
    """A kernel for each of the bodies."""
    parts = [_FUNCTIONS, _TOTAL, *(_BACKWARD.format(name=name, d=typed(d, "wide")) for name, d in BACKWARDS.items())]
    for bodies, template in ((ACTIVATIONS, _ACTIVATION), (LOSSES, _LOSS)):
        for name, body in bodies.items():
            numbers = body.numbers.split()
            parts.append(template.format(
                name=name, numbers="".join(f", double {n}_" for n in numbers), constants="".join(f"    const wide {n} = {n}_;\n" for n in numbers),
                steps=typed(body.steps, "wide"), y=typed(body.y, "wide"), slope=typed(body.slope, "wide")))
    return "".join(parts)
