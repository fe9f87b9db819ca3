"""Words of UTF-8 text: a finite-state scan of the raw bytes, which numbers the lowercased words as they come.

A word is a maximal run of letters, marks and digits. Characters of Han, Hiragana and Katakana, each with the marks that
follow it, are units; a run of units gives its overlapping pairs, or itself when it is one unit. A word that is left out
leaves a gap behind, so that its neighbours are not taken for adjacent. Nothing here allocates: the scan stops in front
of a word for which there is no room, and goes on from there when it is called again.

Most words are short, of ASCII, and were there a moment ago: they are recognised as integers, and what became of them
before becomes of them again. All others are written behind the last word of the table and looked up there.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tdtool.kernels.backend import jit
from tdtool.kernels.short_words import BEYOND_ASCII, LETTER, NO_BYTES, READ_BYTES, hash_short, read_eight, write_short
from tdtool.kernels.unicode_tables import ASCII_SEPARATOR, CJK, DIGIT, MARK, SEPARATOR, SHIFT, UNSPACED, UnicodeTables
from tdtool.kernels.word_table import Words, hash_word, number_last

#: What the scan counts, as places of its `tally` (N_TALLY,) int64. The first four are what becomes of a word.
KEPT, SHORT, LONG, NUMBERS, INVALID, UNSPACED_SEEN, N_TALLY = range(7)
#: How far the scan is, as places of its `at` (N_AT,) int64: the document and byte to go on from, what was found before
#: them, and how many tokens and words there are.
DOCUMENT, BYTE, FOUND, TOKENS, TERMS, N_AT = range(6)
#: What becomes of words of digits alone.
NUMBERS_KEEP, NUMBERS_DROP, NUMBERS_REPLACE = range(3)
#: Room that one word needs: bytes for each character of the maximum length and one (two units), and tokens.
BYTES_A_CHARACTER, TOKENS_A_WORD = 8, 2

_KIND = UNSPACED - 1
_ENTRY = (1 << SHIFT) - 1
_HASH_SIGN = ord("#")
#: What is found: a separator or something invalid, digits alone, any other word, one CJK unit, two of them.
_NOTHING, _DIGITS, _WORD, _UNIT, _PAIR = range(5)
#: What becomes of a word is remembered as (token + 1) * 4 + one of KEPT, SHORT, LONG, NUMBERS.
_REASON_BITS, _REASON = np.uint64(2), np.uint64(3)


class Rules(NamedTuple):
    """minimum, maximum : characters of a word; numbers : one of NUMBERS_*; case : CASE of short_words, or 0."""

    minimum: int
    maximum: int
    numbers: int
    case: np.uint64


class Scan(NamedTuple):
    """All that a scan of D documents works with.

    text : (n_bytes,) uint8; offsets : (D + 1,) int64 into it; words : a table, of which `at` says the size;
    known : (power of two, 3) uint64, zeros at first: short words, each where its hash says, and what became of them;
    tokens : (room,) int32; ends : (D,) int64, filled with the number of tokens up to each document's end;
    tally : (N_TALLY,) int64; at : (N_AT,) int64.
    """

    text: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    tables: UnicodeTables
    rules: Rules
    words: Words
    known: NDArray[np.uint64]
    tokens: NDArray[np.int32]
    ends: NDArray[np.int64]
    tally: NDArray[np.int64]
    at: NDArray[np.int64]


@jit
def scan_documents(scan: Scan) -> bool:
    """Scan documents one after the other; False when room is short: make some, then call again.

    The arrays are handed on one by one, to functions with one way out that call no others: else numba counts
    references to them at every call, which takes several times as long as the scan itself.
    """
    text, offsets, rules, known, tokens = scan.text, scan.offsets, scan.rules, scan.known, scan.tokens
    ends, tally, at = scan.ends, scan.tally, scan.at
    ascii_table, block, entries = scan.tables
    terms, starts, hashes, slots = scan.words
    step_bytes = BYTES_A_CHARACTER * (rules.maximum + 1)
    document, place, found, n_tokens, n_terms = at[DOCUMENT], at[BYTE], at[FOUND], at[TOKENS], at[TERMS]
    while document < ends.size:
        end = offsets[document + 1]
        place, n_tokens, first, second, length = _scan_known(
            text, place, end, ascii_table, rules.case, known, tokens, n_tokens, tally
        )
        if place == end:
            ends[document] = n_tokens
            document += 1
            continue
        begin = starts[n_terms]
        if tokens.size - n_tokens < TOKENS_A_WORD or hashes.size == n_terms or terms.size - begin < step_bytes:
            break
        if length > 0:
            size = write_short(first, second, length, terms, begin)
            place, characters, found = place + length, length, _WORD if (first | second) & LETTER else _DIGITS
        else:
            place, size, characters, found = _read_any(
                text, place, end, block, entries, rules.maximum, found == _PAIR, terms, begin, tally
            )
            if found == _NOTHING:
                continue
        reason = _reason(found, characters, rules.minimum, rules.maximum, rules.numbers)
        if reason == NUMBERS and rules.numbers == NUMBERS_REPLACE:
            size = _encode(terms, begin, _HASH_SIGN)
        elif reason != KEPT:
            size = begin
        token = np.int64(-1)
        if size > begin:
            token = number_last(size, hash_word(terms, begin, size), terms, starts, hashes, slots, n_terms)
            n_terms = max(n_terms, token + 1)
        if length > 0:
            _remember(first, second, token, reason, known)
        tokens[n_tokens] = token
        tally[reason] += 1
        n_tokens += 1
        if found >= _UNIT:  # pairs overlap: they are no neighbours
            tokens[n_tokens] = -1
            n_tokens += 1
    at[DOCUMENT], at[BYTE], at[FOUND], at[TOKENS], at[TERMS] = document, place, found, n_tokens, n_terms
    return document == ends.size


@jit
def _scan_known(
    text: NDArray[np.uint8],
    place: int,
    end: int,
    ascii_table: NDArray[np.uint8],
    case: np.uint64,
    known: NDArray[np.uint64],
    tokens: NDArray[np.int32],
    n_tokens: int,
    tally: NDArray[np.int64],
) -> tuple[int, int, np.uint64, np.uint64, int]:
    """Pass over known words and ASCII separators from `place` on, while there is room for tokens.

    Returns the place of anything else, the number of tokens, and what is there when it is a short word: its two
    integers and length, else 0. The last bytes of a text hold no short word.
    """
    first, second, length, going = NO_BYTES, NO_BYTES, 0, True
    while going and place < end and n_tokens < tokens.size:
        if ascii_table[text[place]] == ASCII_SEPARATOR:
            place += 1
            continue
        first, second, length = NO_BYTES, NO_BYTES, 0
        if place + READ_BYTES <= text.size:
            first, length = read_eight(text, place, case)
            if length == 8:
                second, more = read_eight(text, place + 8, case)
                length += more
        is_short = length < READ_BYTES and (first | second) & BEYOND_ASCII == NO_BYTES and place + length <= end
        length = length if is_short else 0
        slot = hash_short(first, second) & np.uint64(known.shape[0] - 1)
        going = length > 0 and known[slot, 0] == first and known[slot, 1] == second
        if going:
            outcome = known[slot, 2]
            tokens[n_tokens] = np.int64(outcome >> _REASON_BITS) - 1
            tally[outcome & _REASON] += 1
            n_tokens += 1
            place += length
    return place, n_tokens, first, second, length


@jit
def _remember(first: np.uint64, second: np.uint64, token: np.int64, reason: int, known: NDArray[np.uint64]) -> None:
    """Remember what became of a short word, in place of another one of that hash."""
    slot = hash_short(first, second) & np.uint64(known.shape[0] - 1)
    known[slot, 0], known[slot, 1] = first, second
    known[slot, 2] = (np.uint64(token + 1) << _REASON_BITS) | np.uint64(reason)


@jit
def _reason(found: int, characters: int, minimum: int, maximum: int, numbers: int) -> int:
    """What becomes of a word."""
    if found == _DIGITS and numbers != NUMBERS_KEEP:
        return NUMBERS
    if characters > maximum:
        return LONG
    return SHORT if characters < minimum and found < _UNIT else KEPT


@jit
def _read_any(
    text: NDArray[np.uint8],
    start: int,
    end: int,
    block: NDArray[np.uint16],
    entries: NDArray[np.int32],
    maximum: int,
    in_pair: bool,
    terms: NDArray[np.uint8],
    size: int,
    tally: NDArray[np.int64],
) -> tuple[int, int, int, int]:
    """One step from `start`, whatever is there: over a word, a CJK unit, a separator or an invalid byte.

    Writes what it finds into terms[size:]; returns the place after it, the new size, the characters, what was found.
    in_pair : whether the step before found a pair, of which the unit at `start` is the second.
    """
    place, size, characters = _read_unit(text, start, end, block, entries, maximum, terms, size)
    if characters > 0:
        _, size, more = _read_unit(text, place, end, block, entries, maximum, terms, size)
        found = _PAIR if more > 0 else _NOTHING if in_pair else _UNIT
        return place, size, characters + more, found
    place, size, characters, found = _read_word(text, start, end, block, entries, maximum, terms, size, tally)
    if characters == 0:
        code, length = _decode(text, start, end)
        tally[INVALID] += code < 0
        return start + length, size, 0, _NOTHING
    return place, size, characters, found


@jit
def _read_word(
    text: NDArray[np.uint8],
    start: int,
    end: int,
    block: NDArray[np.uint16],
    entries: NDArray[np.int32],
    maximum: int,
    terms: NDArray[np.uint8],
    size: int,
    tally: NDArray[np.int64],
) -> tuple[int, int, int, int]:
    """The word at `start`, if there is one, whatever its characters and length; result as of _read_any."""
    place, characters, found, inside = start, 0, _DIGITS, True
    while inside and place < end:
        code, length = _decode(text, place, end)
        entry = _entry(block, entries, max(code, 0))  # what is invalid is a separator, as U+0000 is
        kind = entry & _KIND
        inside = kind not in (SEPARATOR, CJK)
        if inside:
            found = found if kind == DIGIT else _WORD
            tally[UNSPACED_SEEN] += entry & UNSPACED != 0
            characters += 1
            place += length
            if characters <= maximum:
                size = _encode(terms, size, code + (entry >> SHIFT))
    return place, size, characters, found


@jit
def _read_unit(
    text: NDArray[np.uint8],
    start: int,
    end: int,
    block: NDArray[np.uint16],
    entries: NDArray[np.int32],
    maximum: int,
    terms: NDArray[np.uint8],
    size: int,
) -> tuple[int, int, int]:
    """The CJK character at `start`, if there is one, and the marks that follow it.

    Returns the place after them, the new size, the characters.
    """
    place, characters, inside = start, 0, True
    while inside and place < end:
        code, length = _decode(text, place, end)
        entry = _entry(block, entries, max(code, 0)) & _ENTRY  # what is invalid is a separator, as U+0000 is
        inside = entry == (MARK if characters > 0 else CJK)
        if inside:
            characters += 1
            place += length
            if characters <= maximum:
                size = _encode(terms, size, code)
    return place, size, characters


@jit
def _entry(block: NDArray[np.uint16], entries: NDArray[np.int32], code: int) -> np.int64:
    """What unicode_tables says about a code point."""
    return np.int64(entries[(np.int64(block[code >> 6]) << 6) + (code & 63)])


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
