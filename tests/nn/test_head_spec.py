"""Words for heads: what they mean, what they do not, and what a head costs."""

from __future__ import annotations

import pytest

from tdtool.errors import UsageError
from tdtool.nn.head_candidates import candidates
from tdtool.nn.head_spec import (
    HeadSpec,
    check_head,
    head_flops,
    head_parameters,
    hidden_widths,
    parse_head,
    parse_heads,
)

VGG16, ALEXNET, RESNET50 = (512, 7, 7), (256, 6, 6), (2048, 7, 7)


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("fc", HeadSpec("fc")),
        ("gap", HeadSpec("gap")),
        ("tcl:384,5,5", HeadSpec("tcl", (384, 5, 5))),
        ("tcl:384,5,5,fc=3072", HeadSpec("tcl", (384, 5, 5), (3072,))),
        ("tcl:-,5,5,fc=30x20", HeadSpec("tcl", (None, 5, 5), (30, 20))),
        ("tcl:64,-,-,fc=-", HeadSpec("tcl", (64, None, None), ())),
        ("trl:48,3,3", HeadSpec("trl", (48, 3, 3))),
        ("trl:48,-,3,20", HeadSpec("trl", (48, None, 3, 20))),
        ("cp:30", HeadSpec("cp", (30,))),
        ("auto:0.35", HeadSpec("auto", share=0.35)),
    ],
)
def test_words_and_heads_stand_for_each_other(text: str, spec: HeadSpec) -> None:
    assert parse_head(text) == spec
    assert str(spec) == text


def test_spaces_and_shares_without_zero_are_read() -> None:
    assert parse_head(" tcl: 384, 5,5 ") == parse_head("tcl:384,5,5")
    assert str(parse_head("auto:.5")) == "auto:0.5"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "FC",
        "fc:3",
        "gap:",
        "tcl",
        "tcl:3,4",
        "tcl:3,4,5,6",
        "tcl:0,1,1",
        "tcl:3,4,5,fc=",
        "tcl:3,4,5,fc=0",
        "trl:3,4",
        "trl:3,4,5,6,7",
        "trl:3,4,x",
        "trl:3,4,-5",
        "trl:3,4,5,fc=3",
        "cp:",
        "cp:-",
        "cp:3,4",
        "tucker:3,4,5",
    ],
)
def test_what_is_no_head_is_answered_with_the_grammar(text: str) -> None:
    with pytest.raises(UsageError, match=r"is no head\n.*tcl:384,5,5,fc=3072"):
        parse_head(text)


@pytest.mark.parametrize("share", ["0", "1", "1.5", "-0.5", "", "half", "nan", "1e-3"])
def test_shares_lie_between_nothing_and_all(share: str) -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        parse_head(f"auto:{share}")


def test_a_list_of_heads_is_cut_before_each_kind() -> None:
    text = "fc,tcl:64,3,3,trl:48,3,3,9,tcl:-,2,2,fc=30,gap,auto:0.2,cp:5"
    words = ["fc", "tcl:64,3,3", "trl:48,3,3,9", "tcl:-,2,2,fc=30", "gap", "auto:0.2", "cp:5"]
    assert parse_heads(text) == [parse_head(word) for word in words]
    with pytest.raises(UsageError, match="is no head"):
        parse_heads("3,3,trl:48,3,3")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("tcl:6,3,4", "rank 6 of the channels is larger than their number, 5"),
        ("trl:5,4,4", "rank 4 of the rows is larger than their number, 3"),
        ("trl:-,3,5", "rank 5 of the columns is larger than their number, 4"),
        ("trl:5,3,4,3", "rank 3 of the classes is larger than their number, 2"),
        ("cp:25", "CP rank above 24"),
    ],
)
def test_ranks_above_the_activation_are_refused(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        check_head(parse_head(text), (5, 3, 4), 2)


@pytest.mark.parametrize("text", ["tcl:5,3,4", "trl:5,3,4,2", "cp:24", "fc", "auto:0.9"])
def test_ranks_up_to_the_activation_are_fine(text: str) -> None:
    check_head(parse_head(text), (5, 3, 4), 2)


def test_widths_of_hidden_layers() -> None:
    assert hidden_widths(parse_head("tcl:2,2,2,fc=30"), (8, 9)) == (30, 30)
    assert hidden_widths(parse_head("tcl:2,2,2,fc=30"), ()) == (30,)
    assert hidden_widths(parse_head("tcl:2,2,2,fc=30x20x10"), (8, 9)) == (30, 20, 10)
    assert hidden_widths(parse_head("tcl:2,2,2,fc=-"), (8, 9)) == ()
    assert hidden_widths(parse_head("tcl:2,2,2"), (8, 9)) == (8, 9)
    assert hidden_widths(parse_head("trl:2,2,2"), (8, 9)) == ()


def test_parameters_of_torchvisions_heads() -> None:
    assert head_parameters(HeadSpec("fc"), VGG16, 1000, (4096, 4096)) == 123_642_856
    assert head_parameters(HeadSpec("fc"), ALEXNET, 1000, (4096, 4096)) == 58_631_144
    assert head_parameters(HeadSpec("fc"), RESNET50, 1000, ()) == 2048 * 1000 + 1000


@pytest.mark.parametrize(
    ("text", "shape", "saved"), [("tcl:384,5,5,fc=3072", VGG16, 0.659), ("tcl:168,5,5,fc=3072", ALEXNET, 0.566)]
)
def test_what_contraction_saves_at_imagenet_size(text: str, shape: tuple[int, int, int], saved: float) -> None:
    """The figures of the literature: VGG 65.9 %, AlexNet 56.6 % of the parameters of the fully connected layers."""
    fc = head_parameters(HeadSpec("fc"), shape, 1000, (4096, 4096))
    found = 1 - head_parameters(parse_head(text), shape, 1000, (4096, 4096)) / fc
    assert found == pytest.approx(saved, abs=5e-4)


def test_parameters_by_hand() -> None:
    shape, hidden = (5, 3, 4), (11, 7)
    assert head_parameters(parse_head("trl:2,3,-"), shape, 6, hidden) == 5 * 2 + 3 * 3 + 2 * 3 * 4 * 6 + 6
    assert head_parameters(parse_head("trl:2,1,2,3"), shape, 6, hidden) == 10 + 3 + 8 + 2 * 1 * 2 * 3 + 6 * 3 + 6
    assert head_parameters(parse_head("cp:4"), shape, 6, hidden) == (5 + 3 + 4 + 6) * 4 + 6
    assert head_parameters(parse_head("tcl:2,-,2"), shape, 6, hidden) == 18 + (12 * 11 + 11) + (11 * 7 + 7) + 7 * 6 + 6
    assert head_parameters(parse_head("gap"), shape, 6, hidden) == 5 * 6 + 6
    whole = head_parameters(HeadSpec("fc"), shape, 6, hidden)
    assert whole == 60 * 11 + 11 + 84 + 48
    assert head_parameters(parse_head("auto:0.5"), shape, 6, hidden) == whole // 2


def test_flops_by_hand() -> None:
    shape, hidden = (5, 3, 4), (11, 7)
    assert head_flops(parse_head("gap"), shape, 6, hidden, batch=9) == 2 * 9 * 5 * 6
    assert head_flops(HeadSpec("fc"), shape, 6, hidden, batch=9) == 2 * 9 * (60 * 11 + 11 * 7 + 7 * 6)
    assert head_flops(parse_head("tcl:2,-,-,fc=-"), shape, 6, hidden, batch=9) == 2 * 9 * (2 * 60 + 24 * 6)
    assert head_flops(parse_head("cp:4"), shape, 6, hidden, batch=9) == 2 * 9 * 4 * (60 + 12 + 6) + 4 * 12


@pytest.mark.parametrize("share", [0.05, 0.35, 0.8])
@pytest.mark.parametrize(
    ("shape", "n_classes", "hidden"),
    [(VGG16, 1000, (4096, 4096)), (RESNET50, 1000, ()), ((128, 4, 4), 10, (128, 128)), ((40, 1, 2), 70, (90,))],
)
def test_candidates_fit_the_share_and_the_activation(
    share: float, shape: tuple[int, int, int], n_classes: int, hidden: tuple[int, ...]
) -> None:
    found = candidates(share, shape, n_classes, hidden)
    budget = share * head_parameters(HeadSpec("fc"), shape, n_classes, hidden)
    sizes = [head_parameters(spec, shape, n_classes, hidden) for spec in found]
    assert len(set(found)) == len(found) <= 20
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] <= budget
    for spec in found:
        check_head(spec, shape, n_classes)
    if share == 0.35 and hidden == (4096, 4096):
        assert sizes[0] > 0.95 * budget


def test_a_share_that_no_head_has_is_an_error() -> None:
    with pytest.raises(UsageError, match=r"no tensor head has so few as 5\d parameters\n.*trl:1,1,1, has 540"):
        candidates(0.01, (512, 4, 4), 10, ())
