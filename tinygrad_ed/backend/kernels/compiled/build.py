"""How the compiled kernels are built: what setup.py needs to know, and the C code that is written for them.

Loaded by setup.py, by its path. A family is a file c/<family>.c. For each family and for float and double a small C file is written that includes
it and has, for each `KERNEL void name(idx begin, idx end, …)`, the code that unpacks the arguments from Python and an entry in a table. The
family `elementwise` is written as a whole, from the bodies in ../bodies.py.
"""
from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from setuptools import Extension
from setuptools.command.build_ext import build_ext

HERE = Path(__file__).parent
SOURCES = HERE / "c"
MODULE = ("binding", "heap", "memory", "multiply", "threads")         # what holds the kernels together
HANDWRITTEN = sorted(path.stem for path in SOURCES.glob("*.c") if path.stem not in MODULE)
FAMILIES = [*HANDWRITTEN, "elementwise"]
LETTERS = {"real": "r", "int64_t": "i", "uint64_t": "u", "uint8_t": "b", "double": "g"}
MOST_ARGUMENTS = 32                                   # as in c/binding.c
NAME = "tinygrad_ed.backend.kernels.compiled._native"


# -- what is written ---------------------------------------------------------------------------------------------------

def _bodies() -> Any:
    spec = spec_from_file_location("bodies", HERE.parent / "bodies.py")
    module = module_from_spec(spec)                   # type: ignore[arg-type]
    sys.modules["bodies"] = module
    spec.loader.exec_module(module)                   # type: ignore[union-attr]
    return module


_ACTIVATION = """
KERNEL void {name}(idx begin, idx end, const real *restrict X, real *restrict Y{output}{numbers}) {{
{constants}    for (idx i = begin; i < end; i++) {{
        real x = X[i];
        {steps}
        Y[i] = {y};{slope}
    }}
}}
"""

_FORMULA = """
KERNEL void {name}(idx begin, idx end{arrays}, real *restrict RESULT{numbers}) {{
{constants}    for (idx i = begin; i < end; i++) {{
        {elements}
        RESULT[i] = {result};
    }}
}}
"""

_LOSS = """
KERNEL void {name}(idx begin, idx end, const real *restrict X, const real *restrict TARGET, real *restrict Y{output}, double scale{numbers}) {{
{constants}    const real factor = (real)scale;
    for (idx i = begin; i < end; i++) {{
        real x = X[i], t = TARGET[i];
        {steps}
        Y[i] = factor * ({y});{slope}
    }}
}}
"""

_SUM_OF_LOSSES = """
KERNEL void {name}(idx begin, idx end, const real *restrict X, const real *restrict TARGET, double *PARTS, idx piece{output}, double scale
{numbers}) {{
{constants}    const real factor = (real)scale;
    double total = 0;
    for (idx a = begin, b; a < end; a = b) {{
        real sum = 0;
        b = least(a + 1024, end);
#pragma omp simd reduction(+ : sum)
        for (idx i = a; i < b; i++) {{
            real x = X[i], t = TARGET[i];
            {steps}
            sum += {y};{slope}
        }}
        total += sum;
    }}
    PARTS[begin / piece] = total;
    (void)factor;
}}
"""


def elementwise_source() -> str:
    """The C file with the loops over the bodies: a function for the value alone and one for value and slope; for losses also with the sum."""
    bodies = _bodies()

    def c(text: str) -> str:
        return bodies.typed(text, "real", "real_")

    def number(names: str) -> dict[str, str]:
        return {"numbers": "".join(f", double {n}_" for n in names.split()),
                "constants": "".join(f"    const real {n} = (real){n}_;\n" for n in names.split())}
    parts = ["/* Written by build.py from bodies.py. */\n", '#include "maths.h"\n', "#define real_magnitude magnitude\n"]
    for name, body in bodies.ACTIVATIONS.items():
        common = dict(number(body.numbers), steps=c(body.steps), y=c(body.y))
        parts.append(_ACTIVATION.format(name=name, output="", slope="", **common))
        parts.append(_ACTIVATION.format(name=name + "_slope", output=", real *restrict S", slope=f"\n        S[i] = {c(body.slope)};", **common))
    for name, formula in bodies.FORMULAS.items():
        arrays = formula.arrays.split()
        parts.append(_FORMULA.format(name=name, arrays="".join(f", const real *restrict {a.upper()}" for a in arrays),
                                     elements=" ".join(f"real {a} = {a.upper()}[i];" for a in arrays) + c(formula.steps), result=c(formula.result),
                                     **number(formula.numbers)))
    for name, body in bodies.LOSSES.items():
        common = dict(number(body.numbers), steps=c(body.steps), y=c(body.y))
        with_slope = dict(output=", real *restrict S", slope=f"\n        S[i] = factor * ({c(body.slope)});", **common)
        for template, suffix in ((_LOSS, ""), (_SUM_OF_LOSSES, "_sum")):
            parts.append(template.format(name=name + suffix, output="", slope="", **common))
            parts.append(template.format(name=name + suffix + "_slope", **with_slope))
    return "".join(parts)


def _kernels(source: str) -> list[tuple[str, str]]:
    """The names and the parameters of a file's kernels."""
    return re.findall(r"^KERNEL void (\w+)\(([^)]*)\)", source, re.MULTILINE)


def _glue(source: str, table: str) -> str:
    """The functions that unpack arguments, and the table of a family's kernels."""
    functions, entries = [], []
    for name, parameters in _kernels(source):
        letters, values = "", []
        first, second, *rest = [" ".join(p.replace("*", " * ").split()) for p in parameters.split(",")]
        if (first, second) != ("idx begin", "idx end"):
            raise ValueError(f"a kernel begins with (idx begin, idx end, ...), {name} with ({first}, {second}")
        if len(rest) > MOST_ARGUMENTS:
            raise ValueError(f"a kernel takes at most {MOST_ARGUMENTS} arguments, {name} has {len(rest)}")
        for i, parameter in enumerate(rest):
            kind = parameter.removeprefix("const ").split()[0]
            if "*" in parameter:
                letter = LETTERS[kind]
                letters += letter if parameter.startswith("const ") else letter.upper()
                values.append(f"a[{i}].p")
            else:
                letters += {"idx": "n", "double": "d"}[kind]
                values.append(f"a[{i}].{letters[-1]}")
        functions.append(f"static void call_{name}(idx begin, idx end, const union arg *a) {{ {name}({', '.join(['begin', 'end', *values])}); }}\n")
        entries.append(f'    {{"{name}", "{letters}", call_{name}}},\n')
    return "\n" + "".join(functions) + f"\nconst struct kernel {table}[] = {{\n{''.join(entries)}    {{0}},\n}};\n"


def write_sources(folder: Path) -> list[str]:
    """Write the C files of all families into a folder.

    Returns:
        Their paths.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "elementwise.c").write_text(elementwise_source())
    written, tables = [], []
    shared = "".join(path.read_text() for path in sorted(SOURCES.glob("*.h")))
    for family in FAMILIES:
        source = (folder if family == "elementwise" else SOURCES) / f"{family}.c"
        for precision in ("float", "double"):
            table = f"{family}_{precision}_kernels"
            text = source.read_text()
            defines = "#define FLOAT\n" if precision == "float" else ""
            for name, _ in _kernels(text + shared):   # clang lets the linker see them, and take those of one name for one
                defines += f"#define {name} {name}_{family}_{precision}\n"
            path = folder / f"{family}_{precision}.c"
            path.write_text(f'{defines}#include "{source.name}"\n{_glue(text, table)}')
            written.append(str(path))
            tables.append(table)
    declarations = "".join(f"extern const struct kernel {table}[];\n" for table in tables)
    pairs = ", ".join(f"{{{a}, {b}}}" for a, b in zip(tables[::2], tables[1::2]))
    (folder / "families.h").write_text(f'#include "kernel.h"\n\n{declarations}\n#define FAMILIES {pairs}\n')
    return written


# -- how it is compiled ------------------------------------------------------------------------------------------------

# What is allowed of -ffast-math: no errno, no traps, a·b + c in one rounding; but NaN, infinities and the order of sums stay.
_UNIX = ["-std=gnu11", "-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-fopenmp-simd", "-fno-semantic-interposition",
         "-Wno-unknown-pragmas"]
_OPTIONAL = ["-mprefer-vector-width=512", "-g0", "-Wno-unused-function"]
_CLONES = '"arch=x86-64-v4","arch=x86-64-v3","default"'


def _compiles(compiler: list[str], flags: list[str], program: str = "int f(int x) { return x; }") -> bool:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "try.c")
        source.write_text(program + "\n")
        command = [*compiler, "-Werror", *flags, "-c", str(source), "-o", str(Path(folder, "try.o"))]
        try:
            return subprocess.run(command, capture_output=True).returncode == 0
        except OSError:
            return False


def _in_parallel(compile: Any) -> Any:
    """A compiler's function for several sources that compiles them at the same time."""
    def compile_all(sources: list[str], **options: Any) -> list[str]:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return sum(pool.map(lambda source: compile([source], **options), sources), [])
    return compile_all


def extensions() -> list[Extension]:
    """The extension, its own sources only; the rest is written when it is built."""
    # relative paths, as setuptools wants them
    return [Extension(NAME, [os.path.relpath(SOURCES / f"{name}.c") for name in MODULE], optional=True,
                      depends=[os.path.relpath(p) for p in sorted([*SOURCES.glob("*"), HERE.parent / "bodies.py", Path(__file__)])])]


class BuildKernels(build_ext):
    """`build_ext` that writes the kernels' sources, chooses the flags that the compiler has, and says what came of it."""

    def build_extension(self, ext: Extension) -> None:
        """Build the extension; where that fails, say so and go on without."""
        try:
            import numpy
            folder = Path(self.build_temp, "kernels")
            ext.sources = [*ext.sources, *write_sources(folder)]
            ext.include_dirs += [numpy.get_include(), str(SOURCES), str(folder)]
            self._choose_flags(ext)
            self.compiler.compile = _in_parallel(self.compiler.compile)
            super().build_extension(ext)
        except Exception as error:                    # whatever is missing: the package works without
            print(f"tinygrad_ed: the compiled kernels were not built ({error}); NumPy's serve instead, slower", file=sys.stderr)
        else:
            print(f"tinygrad_ed: compiled kernels built, {len(ext.sources)} files, {' '.join(ext.extra_compile_args)}", file=sys.stderr)

    def _choose_flags(self, ext: Extension) -> None:
        if self.compiler.compiler_type == "msvc":
            ext.extra_compile_args += ["/O2", "/std:c11"]
            return
        if os.environ.get("TINYGRAD_ED_SANITIZE"):    # Python then needs LD_PRELOAD="$(gcc -print-file-name=libasan.so)", ASAN_OPTIONS=detect_leaks=0
            ext.extra_compile_args += ["-g", "-O1", "-fopenmp-simd", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
            ext.extra_link_args += ["-fsanitize=address,undefined"]
            return
        compiler = list(self.compiler.compiler_so)
        if not _compiles(compiler, []):
            raise OSError(f"{compiler[0]} does not compile")
        ext.extra_compile_args += [flag for flag in [*_UNIX, *_OPTIONAL] if _compiles(compiler, [flag])]
        if _compiles(compiler, [], f"__attribute__((target_clones({_CLONES}))) static int g(int x) {{ return x; }}\nint f(int x) {{ return g(x); }}"):
            ext.define_macros.append(("CLONES", _CLONES))
        if sys.platform != "win32":
            ext.extra_compile_args.append("-pthread")
            ext.extra_link_args.append("-pthread")
