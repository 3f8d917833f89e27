"""Installation of tinygrad_ed: `pip install .`, with extras for examples, tests, parity checks, benchmarks and CUDA.

Where a C compiler is present the compiled kernels are built too; `python setup.py build_ext --inplace` builds them in a checkout.
"""
import runpy
from pathlib import Path

from setuptools import find_packages, setup

EXTRAS = {
    "examples": ["scikit-learn", "matplotlib", "tqdm"],
    "plot": ["matplotlib"],
    "test": ["pytest>=8", "hypothesis>=6.100", "pytest-xdist>=3", "ml_dtypes>=0.5", "scikit-learn", "matplotlib", "tqdm"],
    "bfloat16": ["ml_dtypes>=0.5"],
    "parity": ["torch==2.13.0", "safetensors"],
    "bench": ["torch==2.13.0", "jax", "mygrad", "autograd", "tinygrad", "ziglang", "matplotlib"],
    "cuda12": ["cupy-cuda12x[ctk]>=14,<15", "ml_dtypes>=0.5"],
    "cuda13": ["cupy-cuda13x[ctk]>=14,<15", "ml_dtypes>=0.5"],
    # what compiles the CUDA kernels, and checks what cuBLASLt and cuDNN are asked for, where there is no device
    "gpu-check": ["nvidia-cuda-nvrtc==13.0.*", "cuda-pathfinder", "nvidia-cublas==13.*"],
    "cudnn12": ["nvidia-cudnn-frontend<1.29", "nvidia-cudnn-cu12"],
    "cudnn13": ["nvidia-cudnn-frontend<1.29", "nvidia-cudnn-cu13"],
}
EXTRAS["dev"] = [*EXTRAS["test"], *EXTRAS["parity"], "ruff", "mypy"]

kernels = runpy.run_path(str(Path(__file__).with_name("tinygrad_ed") / "backend" / "kernels" / "compiled" / "build.py"))

setup(
    name="tinygrad_ed",
    version="0.1.0",
    description="A readable, fast, GPU-capable autograd framework: PyTorch's interface at NumPy's size",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    packages=find_packages(include=["tinygrad_ed", "tinygrad_ed.*"]),
    package_data={"tinygrad_ed": ["py.typed", "backend/kernels/cuda/source/*"]},
    ext_modules=kernels["extensions"](),
    cmdclass={"build_ext": kernels["BuildKernels"]},
    python_requires=">=3.10",
    install_requires=["numpy>=2", "scipy>=1.13"],
    extras_require=EXTRAS,
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Education",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
