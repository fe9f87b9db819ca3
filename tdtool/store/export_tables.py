"""Decompositions of tensors and tables in the formats of other programs.

Of a tensor, NAME.SUFFIX holds the factors (mode, index, label, component, value; weight too for CP); NAME.core.SUFFIX
the core of a Tucker decomposition. Of a table, NAME.SUFFIX holds the loadings, NAME.scores.SUFFIX what each row scores.
.npz and .json hold everything, as matrices.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdtool.store.export_formats import Held, Rows, Stored, write_json_records, write_npz, write_table
from tdtool.store.reader import Reader

#: Arrays of a factor analysis by the names that they have in a .npz.
_FACTOR_ARRAYS = {
    "column": "variables/name",
    **{name: f"loadings/{name}" for name in ("pattern", "structure", "communality")},
    "correlation": "factors/correlation",
    "id": "scores/id",
    "score": "scores/value",
    "slice": "slices/name",
    "slice_weight": "slices/weight",
}


def export_cp(part: Path, path: Path, reader: Reader) -> None:
    """A CP decomposition. part : the file to write; path : what it will be called."""
    weights = reader.get("components/weight")
    if path.suffix.lower() == ".npz":
        write_npz(part, {"weights": Held(weights), **_mode_arrays(reader)})
    elif path.suffix.lower() == ".json":
        records = (
            {"component": component, "weight": float(weights[component]), "factors": columns}
            for component, columns in enumerate(zip(*_columns(reader), strict=True))
        )
        write_json_records(part, _head(reader), "components", records)
    else:
        columns = {"mode": "string", "index": "int64", "label": "string", "component": "int32"}
        blocks = _factor_blocks(reader, weights)
        write_table(part, path.suffix.lower(), {**columns, "weight": "float64", "value": "float64"}, blocks)


def export_tucker(part: Path, path: Path, reader: Reader) -> None:
    """A Tucker decomposition; complex numbers have a second column, for their imaginary part."""
    suffix, core = path.suffix.lower(), _complex(reader, "core/values", "core/imaginary")
    imaginary = {"imaginary": "float64"} if np.iscomplexobj(core) else {}
    if suffix == ".npz":
        write_npz(part, {"core": Held(core), **_mode_arrays(reader)})
    elif suffix == ".json":
        head = {**_head(reader), "core": _plain(core)}
        records = ({"mode": mode, "factor": _plain(_factor(reader, mode))} for mode in range(core.ndim))
        write_json_records(part, head, "factors", records)
    elif path.stem.endswith(".core"):
        columns = {f"component_{mode}": "int32" for mode in range(core.ndim)}
        write_table(part, suffix, {**columns, "value": "float64", **imaginary}, [_core_columns(core)])
    else:
        columns = {"mode": "string", "index": "int64", "label": "string", "component": "int32", "value": "float64"}
        write_table(part, suffix, {**columns, **imaginary}, _factor_blocks(reader, None))


def export_factors(part: Path, path: Path, reader: Reader) -> None:
    """A factor analysis: loadings (column, F1, F2, ..., communality), or scores (id, F1, F2, ...)."""
    suffix, scores = path.suffix.lower(), path.stem.endswith(".scores")
    if suffix == ".npz":
        write_npz(part, {name: Stored(reader, stored) for name, stored in _FACTOR_ARRAYS.items() if stored in reader})
        return
    key, keys = ("id", reader.get("scores/id")) if scores else ("column", reader.get("variables/name"))
    values = reader.get("scores/value" if scores else "loadings/pattern")
    names = [f"F{factor + 1}" for factor in range(values.shape[1])]
    if not scores:
        values = np.column_stack([values, reader.get("loadings/communality")])
        names.append("communality")
    if suffix == ".json":
        head = {} if scores else {name: reader.get(f"factors/{name}").tolist() for name in ("correlation", "variance")}
        rows = zip(keys, values, strict=True)
        records = ({key: name, **dict(zip(names, _plain(row), strict=True))} for name, row in rows)
        write_json_records(part, head, "scores" if scores else "loadings", records)
    else:
        kinds = {key: "string", **dict.fromkeys(names, "float32")}
        write_table(part, suffix, kinds, [[keys, *np.ascontiguousarray(values.T, np.float32)]])


#: The exporter of each kind of file.
EXPORTS: dict[str, Callable[[Path, Path, Reader], None]] = {
    "tdtool.cp": export_cp,
    "tdtool.tucker": export_tucker,
    "tdtool.factors": export_factors,
}


def _head(reader: Reader) -> dict[str, Any]:
    """What a .json of a tensor begins with."""
    names = reader.get("modes/name")
    modes = [{"name": name, "labels": _labels(reader, mode)} for mode, name in enumerate(names)]
    return {"modes": modes, "relative_error": reader.attributes.get("relative_error")}


def _mode_arrays(reader: Reader) -> dict[str, Rows]:
    """factor_0, factor_1, ..., labels_0, ... and mode_names."""
    names = reader.get("modes/name")
    arrays: dict[str, Rows] = {f"factor_{mode}": Held(_factor(reader, mode)) for mode in range(len(names))}
    labels = {f"labels_{mode}": _labels(reader, mode) for mode in range(len(names))}
    arrays |= {name: Held(texts) for name, texts in labels.items() if texts is not None}
    return {**arrays, "mode_names": Held(names)}


def _columns(reader: Reader) -> list[list[list[float]]]:
    """For each mode its columns, as lists."""
    return [_factor(reader, mode).T.tolist() for mode in range(len(reader.get("modes/name")))]


def _factor_blocks(reader: Reader, weights: NDArray | None) -> Iterator[list[Any]]:
    """One block a mode: a row for each index and component."""
    for mode, name in enumerate(reader.get("modes/name")):
        factor = _factor(reader, mode)
        n_places, n_components = factor.shape
        labels = _labels(reader, mode) or [""] * n_places
        block: list[Any] = [
            [name] * factor.size,
            np.repeat(np.arange(n_places), n_components),
            [label for label in labels for _ in range(n_components)],
            np.tile(np.arange(n_components, dtype=np.int32), n_places),
        ]
        block += [] if weights is None else [np.tile(weights, n_places)]
        yield [*block, *_parts(factor)]


def _core_columns(core: NDArray) -> list[Any]:
    places = np.unravel_index(np.arange(math.prod(core.shape)), core.shape)
    return [*(place.astype(np.int32) for place in places), *_parts(core)]


def _parts(values: NDArray) -> list[NDArray]:
    """Real, or real and imaginary, parts in one row each."""
    flat = values.reshape(-1)
    parts = [flat.real, flat.imag] if np.iscomplexobj(flat) else [flat]
    return [np.ascontiguousarray(part, np.float64) for part in parts]


def _factor(reader: Reader, mode: int) -> NDArray:
    return _complex(reader, f"factors/mode{mode}", f"imaginary/mode{mode}")


def _complex(reader: Reader, real: str, imaginary: str) -> NDArray:
    values = reader.get(real)
    return values + 1j * reader.get(imaginary) if imaginary in reader else values


def _labels(reader: Reader, mode: int) -> list[str] | None:
    path = f"labels/mode{mode}"
    return reader.get(path) if path in reader else None


def _plain(values: Any) -> Any:
    """As JSON can say it: NaN is null, a complex number is [real, imaginary]."""
    if np.iscomplexobj(values):
        return np.stack([values.real, values.imag], axis=-1).tolist()
    array = np.asarray(values)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        array = array.astype(object)
        array[~np.isfinite(values)] = None
    return array.tolist()
