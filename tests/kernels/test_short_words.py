"""Words as integers equal words as bytes."""

from __future__ import annotations

import re

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tdtool.kernels import short_words


@settings(deadline=None)
@given(st.binary(min_size=8, max_size=8) | st.text("/09:@AZ[`az{ é", min_size=8).map(lambda text: text.encode()[:8]))
def test_eight_bytes_up_to_the_first_separator(data: bytes) -> None:
    text = np.frombuffer(bytearray(data), np.uint8)
    expected = re.match(rb"[0-9A-Za-z\x80-\xff]*", data)
    assert expected is not None
    for case, wanted in ((short_words.CASE, expected[0].lower()), (short_words.CASE & 0, expected[0])):
        word, length = short_words.read_eight(text, 0, case)
        assert length == len(wanted)
        if not word & short_words.BEYOND_ASCII:
            assert int(word).to_bytes(8, "little") == wanted.ljust(8, b"\0")
            out = np.full(16, 7, np.uint8)
            assert short_words.write_short(word, word, length, out, 3) == 3 + length
            assert out.tobytes() == b"\7\7\7" + wanted + b"\7" * (13 - length)


def test_hashes_of_words_that_differ_in_one_place_differ() -> None:
    halves = [(np.uint64(0x6161 + (step << place)), np.uint64(0)) for step in range(16) for place in range(16, 64, 8)]
    halves += [(np.uint64(0x61), np.uint64(1 << place)) for place in range(64)]
    low = {int(short_words.hash_short(*half)) & 0x7FFF for half in halves}
    assert len(low) > 0.95 * len(set(halves))
