"""Words of UTF-8 text: a finite-state scan of the raw bytes, which numbers the lowercased words as they come.

A word is a maximal run of letters, marks and digits. Characters of Han, Hiragana and Katakana, each with the marks that
follow it, are units; a run of units gives its overlapping pairs, or itself when it is one unit. A word that is left out
leaves an empty one behind: a gap, so that its neighbours are not taken for adjacent. Nothing here allocates: the scan
stops in front of a word for which there is no room, and goes on from there when it is called again.

Most words are short, of ASCII, and were there a moment ago: they are recognised as integers, and what became of them
before becomes of them again. All others are written behind the last word of the table and looked up there.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tdtool.kernels.backend import jit
from tdtool.kernels.short_words import BEYOND_ASCII, LETTER, READ_BYTES, mixed, read_word, write_word
from tdtool.kernels.unicode_tables import ASCII_SEPARATOR, CJK, DIGIT, MARK, SEPARATOR, SHIFT, UNSPACED, UnicodeTables
from tdtool.kernels.word_table import Words, number_last

#: What the scan counts, as places of its `tally` (N_TALLY,) int64. The first four are what becomes of a word.
KEPT, SHORT, LONG, NUMBERS, INVALID, UNSPACED_SEEN, N_TALLY = range(7)
#: How far the scan is, as places of its `at` (N_AT,) int64: the document and byte to go on from, what there is so far.
DOCUMENT, BYTE, TOKENS, TERMS, N_AT = range(5)
#: What becomes of words of digits alone.
NUMBERS_KEEP, NUMBERS_DROP, NUMBERS_REPLACE = range(3)
#: Room that one step needs: bytes of words for each character of the maximum length and one (two units), and tokens.
BYTES_A_CHARACTER, TOKENS_A_STEP = 8, 2

_KIND = UNSPACED - 1
_ENTRY = (1 << SHIFT) - 1
_HASH_SIGN = ord("#")
#: An outcome is token * 4 + one of KEPT, SHORT, LONG, NUMBERS; the token is -1 where a word is left out.
_OUTCOME_SHIFT, _OUTCOME = 2, 3


class Rules(NamedTuple):
    """minimum, maximum : characters of a word; numbers : one of NUMBERS_*; case : of short_words, CASE to lowercase."""

    minimum: int
    maximum: int
    numbers: int
    case: np.uint64


class Scan(NamedTuple):
    """All that a scan works with. D documents; in `room` there is something up to the number in `at`.

    text : (n_bytes,) uint8; offsets : (D + 1,) int64 into it; words : the table, terms `at[TERMS]`;
    keys : (power of two, 2) uint64, short words, each where its hash says, zeros at first; outcomes : the same
    number, int64, what became of each; tokens : (room,) int32; ends : (D,) int64, filled with the number of tokens up
    to each document's end; tally : (N_TALLY,) int64; at : (N_AT,) int64.
    """

    text: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    tables: UnicodeTables
    rules: Rules
    words: Words
    keys: NDArray[np.uint64]
    outcomes: NDArray[np.int64]
    tokens: NDArray[np.int32]
    ends: NDArray[np.int64]
    tally: NDArray[np.int64]
    at: NDArray[np.int64]


@jit
def scan_documents(scan: Scan) -> bool:
    """Scan documents one after the other; False when room is short: make some, then call again."""
    at = scan.at
    while at[DOCUMENT] < scan.ends.size:
        end = scan.offsets[at[DOCUMENT] + 1]
        while at[BYTE] < end:
            at[BYTE] = _scan_short_words(scan, at[BYTE], end)
            if at[BYTE] < end:
                if not _has_room(scan):
                    return False
                at[BYTE] = _scan_any(scan, at[BYTE], end)
        scan.ends[at[DOCUMENT]] = at[TOKENS]
        at[DOCUMENT] += 1
    return True


@jit
def _scan_short_words(scan: Scan, start: int, end: int) -> int:
    """Short ASCII words and what separates them; returns where anything else is, or a word without room."""
    text, ascii_table, tokens, tally = scan.text, scan.tables.ascii, scan.tokens, scan.tally
    keys, outcomes, case = scan.keys, scan.outcomes, scan.rules.case
    mask = np.uint64(outcomes.size - 1)
    place, n_tokens = start, scan.at[TOKENS]
    last = min(end, text.size - READ_BYTES)
    while place < last and n_tokens < tokens.size:
        if ascii_table[text[place]] == ASCII_SEPARATOR:
            place += 1
            continue
        first, second, length = read_word(text, place, case)
        if length == READ_BYTES or (first | second) & BEYOND_ASCII or place + length > end:
            break
        slot = mixed(first, second) & mask
        if keys[slot, 0] != first or keys[slot, 1] != second:
            if not _has_room(scan):
                break
            outcomes[slot] = _short_word(scan, first, second, length)
            keys[slot, 0], keys[slot, 1] = first, second
        outcome = outcomes[slot]
        tokens[n_tokens] = outcome >> _OUTCOME_SHIFT
        tally[outcome & _OUTCOME] += 1
        n_tokens += 1
        place += length + 1
    scan.at[TOKENS] = n_tokens
    return min(place, end)


@jit
def _scan_any(scan: Scan, start: int, end: int) -> int:
    """One step from `start`, whatever is there: over a word, a run of units, a separator or an invalid byte."""
    code, length = _decode(scan.text, start, end)
    if code < 0:
        scan.tally[INVALID] += 1
        return start + 1
    kind = _entry(scan.tables, code) & _KIND
    if kind == SEPARATOR:
        return start + length
    if kind == CJK:
        return _scan_units(scan, start, end)
    return _scan_word(scan, start, end)


@jit
def _scan_word(scan: Scan, start: int, end: int) -> int:
    """The word at `start`, whatever its characters and length; returns the place after it."""
    place, size, characters, letters = start, _begin(scan), 0, False
    while place < end:
        code, length = _decode(scan.text, place, end)
        if code < 0:
            break
        entry = _entry(scan.tables, code)
        kind = entry & _KIND
        if kind in (SEPARATOR, CJK):
            break
        letters = letters or kind != DIGIT
        scan.tally[UNSPACED_SEEN] += entry & UNSPACED != 0
        characters += 1
        place += length
        if characters <= scan.rules.maximum:
            size = _encode(scan.words.terms, size, code + (entry >> SHIFT))
    _put(scan, _outcome(scan, size, characters, letters))
    return place


@jit
def _scan_units(scan: Scan, start: int, end: int) -> int:
    """The run of CJK units at `start`; returns the place after it, or of a unit to go on from when room is short.

    The last two units are behind the last word; the second starts at `split`; `first`, `second`: their characters.
    """
    terms = scan.words.terms
    begin = _begin(scan)
    place, size, split, first, second = start, begin, begin, 0, 0
    second_place = start
    while place < end:
        code, length = _decode(scan.text, place, end)
        entry = _entry(scan.tables, code) & _ENTRY if code >= 0 else SEPARATOR
        if entry not in (CJK, MARK):
            break
        if entry == CJK:
            if first > 0:
                _put_units(scan, size, first + second)
                begin = _begin(scan)
                if not _has_room(scan):
                    return second_place
                for byte in range(size - split):
                    terms[begin + byte] = terms[split + byte]
                size = begin + size - split
            first, second, split = second, 0, size
            second_place = place
        second += 1
        place += length
        if second <= scan.rules.maximum:
            size = _encode(terms, size, code)
    _put_units(scan, size, first + second)
    return place


@jit
def _put_units(scan: Scan, size: int, characters: int) -> None:
    """End a pair of units, or one alone: never too short; a gap follows, for pairs overlap and are no neighbours."""
    if characters > scan.rules.maximum:
        _put(scan, _left_out(LONG))
    else:
        _put(scan, _number(scan, size) << _OUTCOME_SHIFT)
    scan.tokens[scan.at[TOKENS]] = -1
    scan.at[TOKENS] += 1


@jit
def _short_word(scan: Scan, first: np.uint64, second: np.uint64, length: int) -> np.int64:
    """The outcome of a short word of ASCII."""
    size = write_word(first, second, length, scan.words.terms, _begin(scan))
    return _outcome(scan, size, length, ((first | second) & LETTER) != 0)


@jit
def _outcome(scan: Scan, size: int, characters: int, letters: bool) -> np.int64:
    """What becomes of the word behind the last one, written up to `size`; letters : whether it is not a number."""
    rules = scan.rules
    if not letters and rules.numbers != NUMBERS_KEEP:
        if rules.numbers == NUMBERS_DROP:
            return _left_out(NUMBERS)
        size = _encode(scan.words.terms, _begin(scan), _HASH_SIGN)
        return (_number(scan, size) << _OUTCOME_SHIFT) + NUMBERS
    if characters > rules.maximum:
        return _left_out(LONG)
    if characters < rules.minimum:
        return _left_out(SHORT)
    return _number(scan, size) << _OUTCOME_SHIFT


@jit
def _left_out(reason: int) -> np.int64:
    """The outcome of a word that is left out."""
    return np.int64(reason - (1 << _OUTCOME_SHIFT))


@jit
def _number(scan: Scan, size: int) -> np.int64:
    """Number of the word behind the last one, written up to `size`; it is the last one when it is new."""
    number = number_last(scan.words, scan.at[TERMS], size)
    scan.at[TERMS] = max(scan.at[TERMS], number + 1)
    return number


@jit
def _put(scan: Scan, outcome: np.int64) -> None:
    """Append a token, and count what became of it."""
    scan.tokens[scan.at[TOKENS]] = outcome >> _OUTCOME_SHIFT
    scan.tally[outcome & _OUTCOME] += 1
    scan.at[TOKENS] += 1


@jit
def _begin(scan: Scan) -> np.int64:
    """Where a word is written: behind the last one of the table."""
    return scan.words.starts[scan.at[TERMS]]


@jit
def _has_room(scan: Scan) -> bool:
    """Whether one more step surely fits."""
    bytes_left = scan.words.terms.size - _begin(scan)
    tokens_left = scan.tokens.size - scan.at[TOKENS]
    terms_left = scan.words.hashes.size - scan.at[TERMS]
    wanted = BYTES_A_CHARACTER * (scan.rules.maximum + 1)  # no less than a short word
    return bytes_left >= wanted and tokens_left >= TOKENS_A_STEP and terms_left > 0


@jit
def _entry(tables: UnicodeTables, code: int) -> np.int64:
    """What unicode_tables says about a code point."""
    return np.int64(tables.entries[(np.int64(tables.block[code >> 6]) << 6) + (code & 63)])


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
