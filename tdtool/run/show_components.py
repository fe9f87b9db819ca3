"""What a file of `tdtool decompose` or `tdtool factors` says of its components, for `tdtool show`."""

from __future__ import annotations

import math
from typing import Any

from numpy.typing import NDArray

from tdtool.errors import InputError
from tdtool.run.components import core_entries, cp_components, squares_of, tucker_modes
from tdtool.store import hdf5


def describe_components(reader: hdf5.Reader, n_components: int | None, n_top: int) -> dict[str, list[dict[str, Any]]]:
    """components of CP, modes and core of Tucker; empty for other files. n_components : the first, None for all."""
    empty: dict[str, list[dict[str, Any]]] = {"components": [], "modes": [], "core": []}
    if reader.schema.name not in ("tdtool.cp", "tdtool.tucker"):
        return empty
    names = reader.get("modes/name")
    factors = [_complex(reader, f"factors/mode{mode}", f"imaginary/mode{mode}") for mode in range(len(names))]
    labels = [reader.get(path) if (path := f"labels/mode{mode}") in reader else None for mode in range(len(names))]
    squares = _squares(reader, tuple(len(factor) for factor in factors))
    if reader.schema.name == "tdtool.cp":
        weights = reader.get("components/weight")[:n_components]
        return {**empty, "components": cp_components(weights, factors, names, labels, squares, n_top)}
    core = _complex(reader, "core/values", "core/imaginary")
    modes = tucker_modes(core, factors, names, labels, squares, n_top)
    errors = reader.attributes.get("mode_errors")
    if isinstance(errors, list) and len(errors) == len(modes):
        modes = [{**mode, "relative_error": float(error)} for mode, error in zip(modes, errors, strict=True)]
    modes = [{**mode, "components": mode["components"][:n_components]} for mode in modes]
    return {**empty, "modes": modes, "core": core_entries(core, squares)}


def describe_selection(reader: hdf5.Reader) -> list[dict[str, Any]]:
    """The table of --rank auto; [] when the rank was given."""
    paths = {
        "rank": "selection/rank",
        "relative_error": "selection/error",
        "core_consistency": "selection/core_consistency",
        "congruence": "selection/congruence",
    }
    if not all(path in reader for path in paths.values()):
        return []
    columns = [reader.get(path).tolist() for path in paths.values()]
    return [dict(zip(paths, row, strict=True)) for row in zip(*columns, strict=True)]


def describe_loadings(reader: hdf5.Reader) -> dict[str, Any]:
    """columns, pattern, communality, variance, correlation of a factor analysis; {} for other files."""
    if reader.schema.name != "tdtool.factors":
        return {}
    paths = {"columns": "variables/name", "pattern": "loadings/pattern", "communality": "loadings/communality"}
    paths |= {"variance": "factors/variance", "correlation": "factors/correlation"}
    return {name: reader.get(path) for name, path in paths.items()}


def _complex(reader: hdf5.Reader, real: str, imaginary: str) -> NDArray[Any]:
    values = reader.get(real)
    return values + 1j * reader.get(imaginary) if imaginary in reader else values


def _squares(reader: hdf5.Reader, shape: tuple[int, ...]) -> float:
    """Sum of squares of the tensor that was decomposed."""
    norm, n_missing = reader.attributes.get("norm", math.nan), reader.attributes.get("n_missing", 0)
    if not isinstance(norm, (int, float)) or not isinstance(n_missing, int):
        raise InputError("what it says of the tensor is damaged", path=reader.path, hint="run: tdtool verify")
    n_cells = math.prod(shape)
    return squares_of(float(norm), n_cells, n_missing if 0 <= n_missing < n_cells else 0)
