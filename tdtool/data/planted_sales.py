"""A readable planted tensor: what twelve shops sold of thirty products in the weeks of a year, after four seasons."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Season(NamedTuple):
    """A pattern of sales. week, width : when it is highest (from 1) and how long it lasts; scale : how strong it is."""

    products: str
    shops: str
    week: float
    width: float
    scale: float


# fmt: off
SEASONS = {
    "summer": Season("ice_cream lemonade sunscreen sandals watermelon parasol charcoal",
                     "Harbour Beach Lakeside", 29, 6, 120),
    "winter": Season("soup gloves scarf tea firewood cough_syrup boots", "Hilltop Station Northgate", 3, 7, 90),
    "school": Season("notebook pencils backpack lunchbox calculator glue", "Campus Park Library", 35, 2.5, 70),
    "festive": Season("candles chocolate wrapping_paper wine toys cake", "Market Castle Riverside", 51, 2, 110),
}
# fmt: on
#: Sold all year round, in every shop: a little of every season.
STAPLES = ("bread", "milk", "apples", "soap")
N_WEEKS = 52
_NOISE = 4.0  # standard deviation, in units sold
_MISSING = 0.002


def planted_sales(directory: Path, rng: np.random.Generator) -> None:
    """Write directory/tensor.npz and the truth beside it, tensor.truth.json: the same bytes for the same seed.

    tensor.npz : sales (12, 30, 52) float64, NaN where missing; labels0, labels1, labels2, modes : names. The truth
    holds weights (4,), the unit columns of each mode's factor, and their names. Only rng.random() is drawn from, and
    only + - * / and sqrt are used: the numbers are the same everywhere.
    """
    directory.mkdir(parents=True, exist_ok=True)
    labels = _labels()
    raw = [_shops(labels[0], rng), _products(labels[1], rng), _weeks(rng)]
    weights, factors = _normalised(raw, np.array([season.scale for season in SEASONS.values()]))
    sales = np.zeros([len(names) for names in labels])
    for number, weight in enumerate(weights):
        first, second, third = (factor[:, number] for factor in factors)
        sales += weight * first[:, None, None] * second[None, :, None] * third[None, None, :]
    sales += _NOISE * bell(sales.shape, rng)
    sales = np.maximum(sales, 0.0).round(1)
    sales[rng.random(sales.shape) < _MISSING] = np.nan
    sales[7, :, 17:19] = np.nan  # closed for two weeks
    _write_npz(directory / "tensor.npz", {"sales": sales} | _texts(labels))
    truth = {
        "modes": ["shop", "product", "week"],
        "components": list(SEASONS),
        "weights": np.round(weights, 4).tolist(),
        "factors": [np.round(factor, 5).tolist() for factor in factors],
        "labels": labels,
        "noise": _NOISE,
        "missing": int(np.isnan(sales).sum()),
    }
    text = json.dumps(truth, indent=1) + "\n"
    (directory / "tensor.truth.json").write_bytes(text.encode("ascii"))


def bell(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
    """Numbers that are nearly normal: mean 0, variance 1, the sum of twelve uniform ones."""
    total = np.zeros(shape)
    for _ in range(12):
        total += rng.random(shape)
    return total - 6.0


def _labels() -> list[list[str]]:
    shops = [shop for season in SEASONS.values() for shop in season.shops.split()]
    products = [product for season in SEASONS.values() for product in season.products.split()] + list(STAPLES)
    return [shops, products, [f"week {week:02d}" for week in range(1, N_WEEKS + 1)]]


def _shops(names: list[str], rng: np.random.Generator) -> NDArray[np.float64]:
    """Every shop sells something of every season, its own most."""
    factor = 0.15 + 0.25 * rng.random((len(names), len(SEASONS)))
    for number, season in enumerate(SEASONS.values()):
        for shop in season.shops.split():
            factor[names.index(shop), number] += 0.8 + 0.4 * rng.random()
    return factor


def _products(names: list[str], rng: np.random.Generator) -> NDArray[np.float64]:
    factor = np.zeros((len(names), len(SEASONS)))
    for number, season in enumerate(SEASONS.values()):
        for product in season.products.split():
            factor[names.index(product), number] = 0.5 + rng.random()
    for staple in STAPLES:
        factor[names.index(staple)] = 0.2 + 0.3 * rng.random(len(SEASONS))
    return factor


def _weeks(rng: np.random.Generator) -> NDArray[np.float64]:
    """A bump round the year for each season, a little uneven."""
    weeks = np.arange(1, N_WEEKS + 1, dtype=np.float64)
    columns = []
    for season in SEASONS.values():
        distance = np.abs(weeks - season.week)
        distance = np.minimum(distance, N_WEEKS - distance) / season.width
        columns.append((1.0 / (1.0 + distance * distance)) * (0.9 + 0.2 * rng.random(N_WEEKS)))
    return np.stack(columns, axis=1)


def _normalised(
    raw: list[NDArray[np.float64]], scales: NDArray[np.float64]
) -> tuple[NDArray[np.float64], list[NDArray[np.float64]]]:
    """Unit columns and their weights; the components stay in the order of SEASONS."""
    weights, factors = scales.astype(np.float64), []
    for factor in raw:
        squares = np.zeros(factor.shape[1])
        for row in factor:  # one after the other: a sum that is the same on every machine
            squares += row * row
        weights *= np.sqrt(squares)
        factors.append(factor / np.sqrt(squares))
    return weights, factors


def _texts(labels: list[list[str]]) -> dict[str, NDArray]:
    texts = {f"labels{mode}": np.array(names) for mode, names in enumerate(labels)}
    return texts | {"modes": np.array(["shop", "product", "week"])}


def _write_npz(path: Path, arrays: dict[str, NDArray]) -> None:
    """As numpy.savez, with no time and no machine in the bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, values in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, values, version=(1, 0), allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            info.create_system, info.external_attr = 3, 0o644 << 16
            archive.writestr(info, content.getvalue())
