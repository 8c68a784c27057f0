"""Builds the compiled kernels: every src/twinlock/kernels/_*.c is an extension of its own.

All are optional: where no compiler is found, the plain Python twins serve.
"""

from pathlib import Path

from setuptools import Extension, setup

KERNELS = Path("src/twinlock/kernels")

setup(
    ext_modules=[
        Extension(
            f"twinlock.kernels.{source.stem}",
            [str(source)],
            depends=sorted(str(header) for header in KERNELS.glob("*.h")),
            extra_compile_args=["-O3", "-std=c11", "-fno-math-errno"],
            optional=True,
        )
        for source in sorted(KERNELS.glob("_*.c"))
    ]
)
