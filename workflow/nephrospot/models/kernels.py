"""Loops over a tensor's numbers, compiled: bfloat16 (as uint16) or float32 in memory, float32 in the processor.

They let go of the interpreter, and each works on a share of the lines, so that threads can divide a tensor.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import carray, types
from numba.extending import intrinsic

from nephrospot.compiled import compile_loops

FLOAT, INT = ir.FloatType(), ir.IntType(32)
ZERO = np.float32(0)
HALF_PLACE = 0x7FFF  # with the last bit that stays: to the nearest, ties to even


@intrinsic
def _load(typingctx, value):
    """A number from memory as float32; bfloat16 is the upper half of one."""

    def widen(context, builder, signature, arguments):
        (given,) = arguments
        if signature.args[0] == types.float32:
            return given
        return builder.bitcast(builder.shl(builder.zext(given, INT), INT(16)), FLOAT)

    return types.float32(value), widen


@intrinsic
def _store(typingctx, value, like):
    """A float32 as the kind of number that ``like`` is."""

    def round_off(context, builder, signature, arguments):
        given = arguments[0]
        if signature.return_type == types.float32:
            return given
        bits = builder.bitcast(given, INT)
        last = builder.and_(builder.lshr(bits, INT(16)), INT(1))
        rounded = builder.add(builder.add(bits, INT(HALF_PLACE)), last)
        return builder.trunc(builder.lshr(rounded, INT(16)), ir.IntType(16))

    return like(types.float32, like), round_off


@intrinsic
def _of_255(typingctx, value, like):
    """value / 255, of a float32 that is a whole number up to 255, right to the digits of the kind of ``like``."""

    def divide(context, builder, signature, arguments):
        if signature.args[1] == types.float32:
            return builder.fdiv(arguments[0], ir.Constant(FLOAT, 255.0))
        # Faster; the last bit of a float32 may be another then, that of a bfloat16 isn't for any of the 256.
        return builder.fmul(arguments[0], ir.Constant(FLOAT, float(np.float32(1 / 255))))

    return types.float32(types.float32, like), divide


@intrinsic
def _point(typingctx, address):
    """The memory at an address."""

    def cast(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], ir.IntType(8).as_pointer())

    return types.voidptr(address), cast


@compile_loops
def sum_up(x: np.ndarray, sums: np.ndarray, squares: np.ndarray, first: int, last: int) -> None:
    """Sums and sums of squares over the lines of blocks ``first`` to ``last``.

    Parameters
    ----------
    x : (lines, length)
    sums, squares : float32 (blocks, length), written; a block is so few lines that float32 loses nothing
    """
    per_block, length = -(-len(x) // len(sums)), x.shape[1]
    for block in range(first, last):
        one, two = sums[block], squares[block]
        one[:], two[:] = 0, 0
        for i in range(block * per_block, min(len(x), (block + 1) * per_block)):
            line = x[i]
            for j in range(length):
                value = _load(line[j])
                one[j] += value
                two[j] += value * value


@compile_loops
def fold(sums: np.ndarray, pixels: int, means: np.ndarray) -> None:
    """Means over all pixels from the sums of blocks of lines.

    Parameters
    ----------
    sums : float32 (blocks, length)
    means : float64 (channels,), written; a line is ``length / channels`` pixels
    """
    channels = means.size
    means[:] = 0
    for block in range(len(sums)):
        line = sums[block]
        for j in range(line.size):
            means[j % channels] += line[j]
    means /= pixels


@compile_loops
def tell_affine(
    means: np.ndarray, norm: np.ndarray, groups: int, eps: float, scale: np.ndarray, shift: np.ndarray
) -> None:
    """What a group norm does to each number of a line: x · scale + shift.

    Parameters
    ----------
    means : float64 (2, channels)
        Of the numbers and of their squares.
    norm : float64 (2, channels)
        Its weight and bias.
    scale, shift : float32 (length,), written
    """
    channels = norm.shape[1]
    size = channels // groups
    for group in range(groups):
        first, last = group * size, (group + 1) * size
        mean, square = 0.0, 0.0
        for channel in range(first, last):
            mean += means[0, channel] / size
            square += means[1, channel] / size
        spread = square - mean * mean
        # A variance that rounding made negative is none; NaN goes on to the answer, where it is told.
        spread = np.sqrt((0.0 if spread < 0 else spread) + eps)
        for channel in range(first, last):
            slope = norm[0, channel] / spread
            for j in range(channel, scale.size, channels):
                scale[j], shift[j] = slope, norm[1, channel] - mean * slope


@compile_loops
def rectify(x: np.ndarray, y: np.ndarray, scale: np.ndarray, shift: np.ndarray, first: int, last: int) -> None:
    """y = max(x · scale + shift, 0), lines ``first`` to ``last``; NaN stays NaN.

    Parameters
    ----------
    x, y : (lines, length)
    scale, shift : float32 (length,)
    """
    for i in range(first, last):
        line, out = x[i], y[i]
        for j in range(scale.size):
            value = _load(line[j]) * scale[j] + shift[j]
            out[j] = _store(ZERO if value < ZERO else value, out[j])


@compile_loops
def rectify_in_place(x: np.ndarray, scale: np.ndarray, shift: np.ndarray, first: int, last: int) -> None:
    """`rectify` of x to x; given the same array twice, that would go number by number."""
    for i in range(first, last):
        line = x[i]
        for j in range(scale.size):
            value = _load(line[j]) * scale[j] + shift[j]
            line[j] = _store(ZERO if value < ZERO else value, line[j])


@compile_loops
def widen_add(deep: np.ndarray, skip: np.ndarray, y: np.ndarray, first: int, last: int) -> None:
    """y = each pixel of deep four times + skip, rows ``first`` to ``last``.

    Parameters
    ----------
    deep : (rows / 2, columns / 2, channels)
    skip, y : (rows, columns, channels)
    """
    columns, channels = deep.shape[1], deep.shape[2]
    for row in range(first, last):
        for column in range(columns):
            line = deep[row // 2, column]
            for side in range(2):
                beside, out = skip[row, 2 * column + side], y[row, 2 * column + side]
                for j in range(channels):
                    out[j] = _store(_load(line[j]) + _load(beside[j]), out[j])


@compile_loops
def add_border(x: np.ndarray, missing: np.ndarray) -> None:
    """Add the nine values of missing to the corners, edges and middle of x, in place; the middle's are taken for 0.

    Parameters
    ----------
    x : (rows, columns, channels)
    missing : float32 (3, 3, channels)
    """
    rows, columns, channels = x.shape
    for row in range(rows):
        upright = 0 if row == 0 else 2 if row == rows - 1 else 1
        step = columns - 1 if upright == 1 else 1
        for column in range(0, columns, step):
            side = 0 if column == 0 else 2 if column == columns - 1 else 1
            line, own = x[row, column], missing[upright, side]
            for j in range(channels):
                line[j] = _store(_load(line[j]) + own[j], line[j])


@compile_loops
def shuffle_beside(wide: np.ndarray, skip: np.ndarray, y: np.ndarray, first: int, last: int) -> None:
    """Each pixel of wide as the four pixels that it stands for, and skip's channels behind them; rows of ``wide``.

    Nothing is calculated, so that several channels may come as one number.

    Parameters
    ----------
    wide : (rows, columns, 2, 2, outputs)
    skip : (2 rows, 2 columns, channels)
    y : (2 rows, 2 columns, outputs + channels), written
    """
    outputs, channels = wide.shape[4], skip.shape[2]
    for row in range(first, last):
        line = wide[row]
        for lower in range(2):
            beside, out = skip[2 * row + lower], y[2 * row + lower]
            for column in range(line.shape[0]):
                for right in range(2):
                    for j in range(outputs):
                        out[2 * column + right, j] = line[column, lower, right, j]
                    for j in range(channels):
                        out[2 * column + right, outputs + j] = beside[2 * column + right, j]


@compile_loops
def read_parts(parts: np.ndarray, y: np.ndarray) -> None:
    """Parts of y = parts of images / 255, all in one call: whoever lets go of the interpreter waits to have it again.

    Parameters
    ----------
    parts : int64 (n, 6)
        Where an image's bytes begin in memory, how many lie between its lines, where the part begins in ``y``, and how
        many lines of how many numbers it is. Nobody else may free or move the images meanwhile.
    y : (lines, length), written
    """
    for k in range(len(parts)):
        address, step, row, column, height, width = parts[k]
        for i in range(height):
            line, out = carray(_point(address + i * step), width, np.uint8), y[row + i, column : column + width]
            for j in range(width):
                out[j] = _store(_of_255(np.float32(line[j]), out[j]), out[j])
