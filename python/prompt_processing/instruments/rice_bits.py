"""Instructions of the processor that Python has no name for, for compiled functions."""

from __future__ import annotations

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = ["leading_zeros", "reversed_bytes"]


@intrinsic
def leading_zeros(context, bits):  # type: ignore[no-untyped-def]
    """Return the number of zeros before the first one of 64 bits."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.ctlz(arguments[0], cgutils.false_bit)

    return types.uint64(types.uint64), generate


@intrinsic
def reversed_bytes(context, bits):  # type: ignore[no-untyped-def]
    """Return 64 bits with the order of their bytes reversed."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.bswap(arguments[0])

    return types.uint64(types.uint64), generate
