"""Words of UTF-8 text: a finite-state scan of the raw bytes, which writes the lowercased words one after the other.

A word is a maximal run of letters, marks and digits. Characters of Han, Hiragana and Katakana, each with the marks that
follow it, are units; a run of units gives its overlapping pairs, or itself when it is one unit. A word that is left out
leaves an empty one behind: a gap, so that its neighbours are not taken for adjacent. Nothing here allocates: the scan
stops in front of a word for which there is no room, and goes on from there when it is called again.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tdtool.kernels.backend import jit
from tdtool.kernels.unicode_tables import ASCII_BEYOND, ASCII_SEPARATOR, CJK, DIGIT, MARK, SEPARATOR, SHIFT, UNSPACED
from tdtool.kernels.word_table import HASH_START, hash_end, hash_step, hash_word

#: What the scan counts, as places of its `tally` (N_TALLY,) int64. WORDS and BYTES are what it has written.
WORDS, BYTES, INVALID, SHORT, LONG, NUMBERS, UNSPACED_SEEN, N_TALLY = range(8)
#: What becomes of words of digits alone.
NUMBERS_KEEP, NUMBERS_DROP, NUMBERS_REPLACE = range(3)
#: Room that one step needs in `written` for each character of the maximum length (two units), and in `word_ends`.
BYTES_A_CHARACTER, WORDS_A_STEP = 8, 2

_KIND = UNSPACED - 1
_ENTRY = (1 << SHIFT) - 1
_NINE, _HASH_SIGN = ord("9"), ord("#")


@jit
def scan_documents(
    text: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    cursor: NDArray[np.int64],
    ascii_table: NDArray[np.uint8],
    index: NDArray[np.uint16],
    blocks: NDArray[np.int32],
    limits: tuple[int, int, int],
    written: NDArray[np.uint8],
    word_ends: NDArray[np.int64],
    hashes: NDArray[np.int64],
    tally: NDArray[np.int64],
    document_ends: NDArray[np.int64],
    n_before: int,
) -> bool:
    """Scan documents one after the other; False when room is short: use what is written, then call again.

    text : (n_bytes,) uint8; offsets : (D + 1,) int64 into it; cursor : (2,) int64, document and byte to go on from;
    ascii_table, index, blocks : UnicodeTables; limits : least, greatest length in characters, what to do with numbers;
    written : (room,) uint8, the words; word_ends, hashes : (room,) int64, the place after each, its hash_word;
    tally : (N_TALLY,) int64; document_ends : (D,) int64, filled with the number of words up to each document's
    end, n_before of them in earlier calls.
    """
    tally[WORDS], tally[BYTES] = 0, 0
    while cursor[0] < document_ends.size:
        end = offsets[cursor[0] + 1]
        cursor[1] = _scan(text, cursor[1], end, ascii_table, index, blocks, limits, written, word_ends, hashes, tally)
        if cursor[1] < end:
            return False
        document_ends[cursor[0]] = n_before + tally[WORDS]
        cursor[0] += 1
    return True


@jit
def _scan(
    text: NDArray[np.uint8],
    start: int,
    end: int,
    ascii_table: NDArray[np.uint8],
    index: NDArray[np.uint16],
    blocks: NDArray[np.int32],
    limits: tuple[int, int, int],
    written: NDArray[np.uint8],
    word_ends: NDArray[np.int64],
    hashes: NDArray[np.int64],
    tally: NDArray[np.int64],
) -> int:
    """Scan text[start:end]; returns where it stopped: `end`, or a word for which there is no room."""
    minimum, maximum, _ = limits
    place = start
    while place < end:
        lower = ascii_table[text[place]]
        if lower == ASCII_SEPARATOR:
            place += 1
            continue
        begin, size = place, tally[BYTES]
        if not _has_room(maximum, written, word_ends, tally):
            return place
        highest, value = lower, np.int64(HASH_START)
        last = min(end, place + maximum)
        while lower > ASCII_BEYOND:  # most words are ASCII from end to end
            written[size] = lower
            value = hash_step(value, lower)
            size += 1
            place += 1
            highest = max(highest, lower)
            if place == last:
                break
            lower = ascii_table[text[place]]
        ended = place == end or ascii_table[text[place]] == ASCII_SEPARATOR
        if ended and highest > _NINE:
            if place - begin < minimum:
                tally[SHORT] += 1
                size = tally[BYTES]
            hashes[tally[WORDS]] = hash_end(value)
            _write_end(size, word_ends, tally)
        else:
            place = _scan_any(text, begin, end, index, blocks, limits, written, word_ends, hashes, tally)
    return place


@jit
def _scan_any(
    text: NDArray[np.uint8],
    start: int,
    end: int,
    index: NDArray[np.uint16],
    blocks: NDArray[np.int32],
    limits: tuple[int, int, int],
    written: NDArray[np.uint8],
    word_ends: NDArray[np.int64],
    hashes: NDArray[np.int64],
    tally: NDArray[np.int64],
) -> int:
    """One step from `start`, whatever is there: over a word, a run of units, a separator or an invalid byte."""
    code, length = _decode(text, start, end)
    if code < 0:
        tally[INVALID] += 1
        return start + 1
    kind = _entry(index, blocks, code) & _KIND
    if kind == SEPARATOR:
        return start + length
    if kind == CJK:
        return _scan_units(text, start, end, index, blocks, limits, written, word_ends, hashes, tally)
    return _scan_word(text, start, end, index, blocks, limits, written, word_ends, hashes, tally)


@jit
def _scan_word(
    text: NDArray[np.uint8],
    start: int,
    end: int,
    index: NDArray[np.uint16],
    blocks: NDArray[np.int32],
    limits: tuple[int, int, int],
    written: NDArray[np.uint8],
    word_ends: NDArray[np.int64],
    hashes: NDArray[np.int64],
    tally: NDArray[np.int64],
) -> int:
    """The word at `start`, whatever its characters and length; returns the place after it."""
    minimum, maximum, numbers = limits
    place, size, characters, letters = start, tally[BYTES], 0, False
    while place < end:
        code, length = _decode(text, place, end)
        if code < 0:
            break
        entry = _entry(index, blocks, code)
        kind = entry & _KIND
        if kind in (SEPARATOR, CJK):
            break
        letters = letters or kind != DIGIT
        tally[UNSPACED_SEEN] += entry & UNSPACED != 0
        characters += 1
        place += length
        if characters <= maximum:
            size = _encode(written, size, code + (entry >> SHIFT))
    if not letters and numbers != NUMBERS_KEEP:
        tally[NUMBERS] += 1
        size = tally[BYTES]
        if numbers == NUMBERS_REPLACE:
            size = _encode(written, size, _HASH_SIGN)
    elif characters > maximum or characters < minimum:
        tally[LONG if characters > maximum else SHORT] += 1
        size = tally[BYTES]
    hashes[tally[WORDS]] = hash_word(written, tally[BYTES], size)
    _write_end(size, word_ends, tally)
    return place


@jit
def _scan_units(
    text: NDArray[np.uint8],
    start: int,
    end: int,
    index: NDArray[np.uint16],
    blocks: NDArray[np.int32],
    limits: tuple[int, int, int],
    written: NDArray[np.uint8],
    word_ends: NDArray[np.int64],
    hashes: NDArray[np.int64],
    tally: NDArray[np.int64],
) -> int:
    """The run of CJK units at `start`; returns the place after it, or of a unit to go on from when room is short.

    The last two units are at the end of `written`; the second starts at `split`; `first`, `second`: their characters.
    """
    maximum = limits[1]
    place, size, split, first, second = start, tally[BYTES], tally[BYTES], 0, 0
    second_place = start
    while place < end:
        code, length = _decode(text, place, end)
        entry = _entry(index, blocks, code) & _ENTRY if code >= 0 else SEPARATOR
        if entry not in (CJK, MARK):
            break
        if entry == CJK:
            if first > 0:
                _write_units(size, first + second, maximum, written, word_ends, hashes, tally)
                begin = tally[BYTES]
                if not _has_room(maximum, written, word_ends, tally):
                    return second_place
                for byte in range(size - split):
                    written[begin + byte] = written[split + byte]
                size = begin + size - split
            first, second, split = second, 0, size
            second_place = place
        second += 1
        place += length
        if second <= maximum:
            size = _encode(written, size, code)
    _write_units(size, first + second, maximum, written, word_ends, hashes, tally)
    return place


@jit
def _write_units(
    size: int,
    characters: int,
    maximum: int,
    written: NDArray[np.uint8],
    word_ends: NDArray[np.int64],
    hashes: NDArray[np.int64],
    tally: NDArray[np.int64],
) -> None:
    """End a pair of units, or one alone: never too short; a gap follows, for pairs overlap and are no neighbours."""
    if characters > maximum:
        tally[LONG] += 1
        size = tally[BYTES]
    hashes[tally[WORDS]] = hash_word(written, tally[BYTES], size)
    _write_end(size, word_ends, tally)
    _write_end(size, word_ends, tally)


@jit
def _write_end(size: int, word_ends: NDArray[np.int64], tally: NDArray[np.int64]) -> None:
    """End a word that was written up to `size`."""
    word_ends[tally[WORDS]] = size
    tally[WORDS] += 1
    tally[BYTES] = size


@jit
def _has_room(maximum: int, written: NDArray[np.uint8], word_ends: NDArray[np.int64], tally: NDArray[np.int64]) -> bool:
    """Whether one more step surely fits."""
    bytes_left, words_left = written.size - tally[BYTES], word_ends.size - tally[WORDS]
    return bytes_left >= BYTES_A_CHARACTER * (maximum + 1) and words_left >= WORDS_A_STEP


@jit
def _entry(index: NDArray[np.uint16], blocks: NDArray[np.int32], code: int) -> np.int64:
    """What unicode_tables says about a code point."""
    return np.int64(blocks[(np.int64(index[code >> 6]) << 6) + (code & 63)])


@jit
def _decode(text: NDArray[np.uint8], place: int, end: int) -> tuple[np.int64, int]:
    """Code point and length in bytes of the sequence at `place`; -1 and 1 when it is not valid UTF-8."""
    lead = np.int64(text[place])
    if lead < 0x80:
        return lead, 1
    length = 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
    if lead < 0xC2 or lead > 0xF4 or place + length > end:
        return np.int64(-1), 1
    code = lead & (0x7F >> length)
    for step in range(1, length):
        follower = np.int64(text[place + step])
        if follower & 0xC0 != 0x80:
            return np.int64(-1), 1
        code = (code << 6) | (follower & 0x3F)
    overlong = (length == 3 and code < 0x800) or (length == 4 and code < 0x10000)
    if overlong or code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        return np.int64(-1), 1
    return code, length


@jit
def _encode(written: NDArray[np.uint8], size: int, code: int | np.int64) -> int:
    """Append a code point as UTF-8; returns the new size."""
    if code < 0x80:
        written[size] = code
        return size + 1
    if code < 0x800:
        written[size] = 0xC0 | (code >> 6)
        written[size + 1] = 0x80 | (code & 0x3F)
        return size + 2
    if code < 0x10000:
        written[size] = 0xE0 | (code >> 12)
        written[size + 1] = 0x80 | ((code >> 6) & 0x3F)
        written[size + 2] = 0x80 | (code & 0x3F)
        return size + 3
    written[size] = 0xF0 | (code >> 18)
    written[size + 1] = 0x80 | ((code >> 12) & 0x3F)
    written[size + 2] = 0x80 | ((code >> 6) & 0x3F)
    written[size + 3] = 0x80 | (code & 0x3F)
    return size + 4
