"""The CUDA C++ of what is done element by element: loops over the bodies that the C engine compiles too."""
from __future__ import annotations

from ..bodies import ACTIVATIONS, FORMULAS, LOSSES, typed

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

_FORMULA = """
KERNEL void {name}({arrays}real *RESULT, idx n{numbers}) {{
{constants}    for (EACH(i, n)) {{
        {elements}
        RESULT[i] = {result};
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
    """A kernel for each of the bodies and formulas."""
    def number(names: str) -> dict[str, str]:
        return {"numbers": "".join(f", double {n}_" for n in names.split()),
                "constants": "".join(f"    const wide {n} = {n}_;\n" for n in names.split())}
    parts = [_FUNCTIONS, _TOTAL]
    for name, formula in FORMULAS.items():
        arrays = formula.arrays.split()
        parts.append(_FORMULA.format(name=name, arrays="".join(f"const real *{a.upper()}, " for a in arrays),
                                     elements="const wide " + ", ".join(f"{a} = {a.upper()}[i]" for a in arrays) + ";" + typed(formula.steps, "wide"),
                                     result=typed(formula.result, "wide"), **number(formula.numbers)))
    for bodies, template in ((ACTIVATIONS, _ACTIVATION), (LOSSES, _LOSS)):
        for name, body in bodies.items():
            parts.append(template.format(name=name, steps=typed(body.steps, "wide"), y=typed(body.y, "wide"), slope=typed(body.slope, "wide"),
                                         **number(body.numbers)))
    return "".join(parts)
