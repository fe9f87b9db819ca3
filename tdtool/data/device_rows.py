"""Documents in the memory of a GPU, and what a step that runs there looks like.

A GPU step does what its step of the CPU does, for a piece of the corpus that may be a part of a partition or several:

    gpu_step(gpu, rows, state, *parameters) -> (partials, new_state)

rows : DeviceRows; state : what earlier steps left for these documents, arrays of the GPU with one row per document;
parameters : those of the CPU step, their arrays (and those in the fields of dataclasses) on the GPU, numbers as they
are. partials : new arrays of the GPU, which the engine adds up over the pieces in their order and returns with the
dtypes that the step gave them; new_state : arrays of the GPU with one row per document. A step changes none of its
inputs, for it may run again: MemoryError in a step makes the engine free memory, or halve the piece. No atomics.

A module of GPU steps (moments/pairs_gpu.py, models/polish_gpu.py ...) has a table GPU_STEPS of them; run/gpu_steps.py
joins the tables, and run/engines.py gives them to the engine.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tdtool.kernels import sparse_gpu
from tdtool.kernels.device_gpu import DeviceArray, Gpu
from tdtool.kernels.sparse_gpu import ByWord, Segments

DeviceState = dict[str, DeviceArray]
DevicePartials = tuple[DeviceArray, ...]
GpuStep = Callable[..., tuple[DevicePartials, DeviceState]]
#: A step of the CPU -> what does the same on a GPU.
GpuSteps = Mapping[Callable[..., Any], GpuStep]


@dataclasses.dataclass
class DeviceRows:
    """D_p documents from document `start` of n_all_documents on, over n_terms words; arrays of the GPU.

    indptr : (D_p + 1,) int64 from 0; indices : (nnz,) int32; counts : (nnz,) float32; whole : whether the corpus
    counts in integers; long_rows : the documents of many entries, in segments, or None. A step that has declared
    rows=False may find no entries here.
    """

    gpu: Gpu
    start: int
    n_documents: int
    n_terms: int
    n_all_documents: int
    indptr: DeviceArray
    indices: DeviceArray
    counts: DeviceArray
    whole: bool
    long_rows: Segments | None

    @property
    def n_entries(self) -> int:
        """nnz."""
        return int(self.indices.size)

    @functools.cached_property
    def by_word(self) -> ByWord:
        """The entries by word; made when they are first asked for, and kept as long as the documents are.

        indptr : (V + 1,) int64; order : (nnz,) int32, positions of the entries sorted by word, stable, so that the
        documents of a word ascend; document : (nnz,) int32, the document (from 0) of the entry at each place of
        `order`; long_rows : the words of many entries, in segments, or None.
        """
        return sparse_gpu.by_word(self.gpu, self.indptr, self.indices, self.n_terms)

    @functools.cached_property
    def lengths(self) -> DeviceArray:
        """Words of each document, (D_p,) float64."""
        return sparse_gpu.row_sums(self.gpu, self.indptr, self.counts, self.long_rows)

    def share(self, n: int) -> slice:
        """The part of n things (words) that this piece takes: the pieces' parts make up range(n)."""
        if self.n_all_documents == 0:
            return slice(0, n)
        end = self.start + self.n_documents
        return slice(n * self.start // self.n_all_documents, n * end // self.n_all_documents)

    def contains(self, documents: DeviceArray) -> DeviceArray:
        """(D_p,) bool: which documents are among `documents`, indices of the corpus, int64 of the GPU in any order."""
        xp = self.gpu.xp
        local = documents - self.start
        inside = (local >= 0) & (local < self.n_documents)
        found = self.gpu.zeros(self.n_documents + 1, np.bool_)
        found[xp.where(inside, local, self.n_documents)] = True  # the last place takes all others
        return found[: self.n_documents]
