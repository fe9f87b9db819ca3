"""The training of a net as a person reads it: what it would take, how it went, and what its head saves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tdtool.report.tables import Column, facts_text, print_table

_EPOCHS = 10  # shown, the last ones
_FIFTH = 5  # of so few classes the right one is always among the first five guesses
_STOPPED = {
    "done": "all epochs",
    "max_steps": "--max-steps reached",
    "interrupted": "interrupted; the same command goes on",
    "diverged": "diverged",
}


def print_plan(plan: Mapping[str, Any]) -> None:
    """What a run would take."""
    net, memory = plan["net"], plan["memory"]
    facts = {
        "net": f"{net['model']}, head {net['head']}, {plan['n_classes']:,} classes",
        "pixels": f"{plan['image_size']} x {plan['image_size']}",
        "parameters": f"{net['parameters']:,}",
        "  of the head": ("at most " if net["head"].startswith("auto") else "") + head_text(net),
        "arithmetic": f"{_giga(net['flops'])} an image forward, {_giga(net['head_flops'])} of it in the head",
        "device": _device_text(plan),
        "batch": _batch_text(plan),
        "images": _images_text(plan),
        "steps": "as many as the data gives" if plan["steps"] is None else f"{plan['steps']:,}",
        "memory": f"about {size_text(plan['memory_bytes'])} a process",
    }
    print(facts_text(facts))
    print()
    largest_first = sorted(((name, size) for name, size in memory.items() if size), key=lambda item: -item[1])
    print_table(
        (Column("memory for"), Column("size", right=True)), [(name, size_text(value)) for name, value in largest_first]
    )


def print_result(result: Mapping[str, Any]) -> None:
    """How a run ended; the path is the caller's to print."""
    if result["choice"]:
        print_choice(result["choice"])
        print()
    print_epochs(result["epochs_scored"], len(result["classes"]))
    print()
    print(scores_text(result))
    print(f"Parameters: {result['net']['parameters']:,}, of the head {head_text(result['net'])}.")
    print(_pace_text(result))


def print_epochs(epochs: Sequence[Mapping[str, Any]], n_classes: int) -> None:
    """The last evaluations, one a line."""
    names = ["epoch", "step", "train loss", "loss", "top-1", *(["top-5"] if n_classes > _FIFTH else [])]
    left = len(epochs) - _EPOCHS
    if left > 0:
        print(f"the last {_EPOCHS} of {len(epochs)}\n")
    rows = [
        (
            f"{epoch['epoch']:,}",
            f"{epoch['step']:,}",
            _decimal(epoch.get("train_loss")),
            _decimal(epoch.get("loss")),
            percent(epoch.get("top1")),
            percent(epoch.get("top5")),
        )[: len(names)]
        for epoch in epochs[-_EPOCHS:]
    ]
    print_table([Column(name, right=True) for name in names], rows)


def print_choice(choice: Mapping[str, Any]) -> None:
    """The heads that --head auto compared, the fc head first."""
    rows = [
        (
            trial["head"],
            f"{trial['parameters']:,}",
            percent(trial["share"]),
            _decimal(trial["loss"]),
            percent(trial["top1"]),
            "taken" if trial["head"] == choice["head"] else "",
        )
        for trial in choice["table"]
    ]
    names = ("parameters", "of fc's", "loss", "top-1")
    print_table((Column("head"), *(Column(name, right=True) for name in names), Column("")), rows)


def print_sweep(sweep: Mapping[str, Any]) -> None:
    """One line a head, in the order in which they were asked for."""
    guesses = ["top-1", "top-5"] if sweep["n_classes"] > _FIFTH else ["top-1"]
    names = ["head parameters", "saved", "loss", "images/s", *guesses]
    rows = [
        (
            row["head"],
            f"{row['head_parameters']:,}",
            percent(row["head_saved"]),
            _decimal(row["loss"]),
            _rate(row["images_per_second"]),
            percent(row["top1"]),
            percent(row["top5"]),
        )[: len(names) + 1]
        for row in sweep["runs"]
    ]
    print_table((Column("head"), *(Column(name, right=True) for name in names)), rows)
    print(f"\nDrawn in {sweep['plot']}.")


def head_text(net: Mapping[str, Any]) -> str:
    """ "42,126,112, 65.9% fewer than the 123,642,856 of the fc head"."""
    own, here = net["own_head"], net["head_parameters"]
    if here == own:
        return f"{here:,}"
    if here > 2 * own:
        return f"{here:,}, {here / own:.1f} times the {own:,} of the fc head"
    word = "fewer" if here < own else "more"
    return f"{here:,}, {abs(1 - here / own):.1%} {word} than the {own:,} of the fc head"


def scores_text(result: Mapping[str, Any]) -> str:
    """Last and best accuracy in a sentence or two."""
    if result["top1"] is None:
        return "No images were scored."
    n_classes, best = len(result["classes"]), result["best"]
    fifth = f", top-5 {percent(result['top5'])}" if n_classes > _FIFTH else ""
    text = f"Top-1 accuracy {percent(result['top1'])}{fifth}, loss {_decimal(result['loss'])}."
    if best is not None and best["top1"] > result["top1"]:
        text += f" The best epoch was {best['epoch']}: {percent(best['top1'])}."
    return text


def size_text(amount: float) -> str:
    """Bytes in words."""
    return f"{amount / 1e9:,.2f} GB" if amount >= 1e9 else f"{amount / 1e6:,.1f} MB"


def percent(share: float | None) -> str:
    """A share, "-" where it is not known."""
    return "-" if share is None or share != share else f"{share:.1%}"


def _pace_text(result: Mapping[str, Any]) -> str:
    end = _STOPPED.get(result["stopped"], result["stopped"])
    pace = f", {_rate(result['images_per_second'])} images/s" if result["images_per_second"] else ""
    if result["was"] == "finished":
        return f"{result['steps']:,} steps, {end}; finished before."
    return f"{result['steps']:,} steps, {end}; {result['seconds_all']:,.1f} s{pace} on {result['device']}."


def _device_text(plan: Mapping[str, Any]) -> str:
    processes = "" if plan["processes"] == 1 else f", {plan['processes']} processes"
    again = "" if plan["recompute"] == "none" else f", activations computed again: {plan['recompute']}"
    return f"{plan['device']}, {plan['precision']}{processes}{again}"


def _batch_text(plan: Mapping[str, Any]) -> str:
    parts = plan["processes"] * plan["accumulate"]
    shares = "" if parts == 1 else f" in {parts} parts of {plan['batch'] // parts:,}"
    why = plan["words"].partition(": ")[2]
    return f"{plan['batch']:,} images{shares}" + (f": {why}" if why else "")


def _images_text(plan: Mapping[str, Any]) -> str:
    if not plan["n_train"]:
        return "none were looked at; --data says which"
    scored = f", {plan['n_scored']:,} scored ({plan['scored']})" if plan["n_scored"] else ""
    return f"{plan['n_train']:,} for training{scored}"


def _giga(flops: float) -> str:
    return f"{flops / 1e9:,.2f} GFLOP" if flops >= 1e8 else f"{flops / 1e6:,.3f} MFLOP"


def _decimal(value: float | None) -> str:
    return "-" if value is None or value != value else f"{value:.3f}"


def _rate(value: float | None) -> str:
    return "-" if value is None or value != value else f"{value:,.0f}"
