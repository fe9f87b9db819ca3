"""Einsum equations that hypothesis draws, for contractions on the CPU and on a GPU."""

from __future__ import annotations

from hypothesis import strategies as st


@st.composite
def equations(draw: st.DrawFn) -> tuple[str, dict[str, int]]:
    """Up to three operands of up to four modes; repeated, shared, lonely and missing indices; sizes 0 to 9."""
    terms = draw(st.lists(st.lists(st.sampled_from("abcdef"), max_size=4).map("".join), min_size=1, max_size=3))
    letters = sorted(set("".join(terms)))
    output = draw(st.permutations(letters)) if letters else []
    output = output[: draw(st.integers(0, len(letters)))]
    sizes = {letter: draw(st.sampled_from([1, 2, 3, 5, 7, 9, 0])) for letter in letters}
    return f"{','.join(terms)}->{''.join(output)}", sizes
