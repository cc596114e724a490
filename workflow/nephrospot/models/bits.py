"""Masks with a bit a reading: packed from a network's answers, and counted, by compiled loops."""

from __future__ import annotations

import numpy as np
from numba.extending import intrinsic

from nephrospot.compiled import compile_loops

ZERO = np.float32(0)
LOWEST_BITS = 0x0101010101010101  # of the eight bytes of a word
WORDS = 4096  # that are looked at for one bit after the other while they are in the cache


@intrinsic
def _count_ones(typingctx, word):
    """How many bits of a word are set."""

    def count(context, builder, signature, arguments):
        return builder.ctpop(arguments[0])

    return word(word), count


@compile_loops
def pack_signs(margins: np.ndarray, bits: np.ndarray, top: int, left: int) -> bool:
    """Bit r of a pixel is set where the r-th margin is above 0; whether all of them are finite.

    Parameters
    ----------
    margins : float32 (readings, rows, columns)
    bits : uint8, written from row ``top`` and column ``left`` on
    """
    broken = 0
    for row in range(margins.shape[1]):
        out = bits[top + row, left : left + margins.shape[2]]
        out[:] = 0
        for reading in range(margins.shape[0]):
            line, bit = margins[reading, row], np.uint8(1 << reading)
            for column in range(out.size):
                out[column] |= bit if line[column] > ZERO else np.uint8(0)
                broken += line[column] - line[column] != ZERO  # infinity less infinity is NaN, too
    return broken == 0


@compile_loops
def pack_shares(logits: np.ndarray, own: np.ndarray, bits: np.ndarray, top: int, left: int) -> bool:
    """Bit r of a pixel is set where the r-th reading's classes have more than half of the soft-max; whether all logits
    are finite.

    Parameters
    ----------
    logits : float32 (rows, columns, classes)
    own : bool (readings, classes)
    bits : uint8, written from row ``top`` and column ``left`` on
    """
    readings, classes = own.shape
    shares = np.empty(classes, np.float32)
    broken = 0
    for row in range(logits.shape[0]):
        for column in range(logits.shape[1]):
            line = logits[row, column]
            largest = line[0]
            for j in range(classes):
                largest = max(largest, line[j])
                broken += line[j] - line[j] != ZERO
            for j in range(classes):
                shares[j] = np.exp(line[j] - largest)  # the largest is 1, so that not all vanish
            packed = np.uint8(0)
            for reading in range(readings):
                mine, others = ZERO, ZERO
                for j in range(classes):
                    if own[reading, j]:
                        mine += shares[j]
                    else:
                        others += shares[j]
                packed |= np.uint8(1 << reading) if mine > others else np.uint8(0)
            bits[top + row, left + column] = packed
    return broken == 0


@compile_loops
def clear_parts(bits: np.ndarray, tops: np.ndarray, lefts: np.ndarray, stays: np.ndarray) -> None:
    """Set to 0 what doesn't stay.

    Parameters
    ----------
    bits : uint8 (side, side), changed
    tops, lefts : where rows and columns of parts begin, and where the last ones end
    stays : bool (tops - 1, lefts - 1), of each part
    """
    for i in range(stays.shape[0]):
        first = 0  # of the parts, side by side, that don't stay
        for j in range(stays.shape[1] + 1):
            if j == stays.shape[1] or stays[i, j]:
                if first < j:
                    for row in range(tops[i], tops[i + 1]):
                        bits[row, lefts[first] : lefts[j]] = 0
                first = j + 1


@compile_loops
def count_bits(words: np.ndarray, counts: np.ndarray) -> None:
    """In how many bytes of ``words`` each bit is set.

    Parameters
    ----------
    words : uint64 (n,)
    counts : int64 (up to 8,), written
    """
    counts[:] = 0
    for first in range(0, words.size, WORDS):
        some = words[first : first + WORDS]
        for bit in range(counts.size):
            mask, count = np.uint64(LOWEST_BITS) << np.uint64(bit), np.uint64(0)
            for i in range(some.size):
                count += _count_ones(some[i] & mask)
            counts[bit] += np.int64(count)
