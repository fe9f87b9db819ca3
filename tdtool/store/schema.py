"""Everything tdtool stores, one line an array: writer, reader, `tdtool show` and the README are made from it."""

from __future__ import annotations

from typing import NamedTuple

#: What the kind letters of numpy mean to a reader.
KINDS = {"f": "float", "i": "integer", "u": "unsigned integer", "S": "text (UTF-8)"}


class ArraySpec(NamedTuple):
    """One stored array.

    path : "group/name"; dims : names of the axes, "x+1" is one longer than "x"; kind : numpy kind letter (f, i, u, S);
    about : what a value means; unit : of a value; optional : a file may lack it.
    """

    path: str
    dims: tuple[str, ...]
    kind: str
    about: str
    unit: str = ""
    optional: bool = False


class FileSchema(NamedTuple):
    """One kind of file. compressed : gzip, shuffle, fletcher32 (results), or contiguous and memory-mapped (stores)."""

    name: str
    version: int
    about: str
    compressed: bool
    arrays: tuple[ArraySpec, ...]

    def array(self, path: str) -> ArraySpec:
        """The line of one array; KeyError when this kind of file has none of that name."""
        for spec in self.arrays:
            if spec.path == path:
                return spec
        raise KeyError(f"{self.name} has no array {path}")

    @property
    def dims(self) -> tuple[str, ...]:
        """Names of all axes, in the order of their first use."""
        return tuple(dict.fromkeys(dim for spec in self.arrays for dim in spec.dims))

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups, in the order of their first use."""
        return tuple(dict.fromkeys(spec.path.partition("/")[0] for spec in self.arrays))


CORPUS = FileSchema(
    "tdtool.corpus",
    1,
    "Documents as word counts, in partitions that can be memory-mapped.",
    False,
    (
        ArraySpec("counts/indptr", ("document+1",), "i", "where each document's entries start"),
        ArraySpec("counts/indices", ("entry",), "i", "term of each entry, ascending within a document"),
        ArraySpec("counts/data", ("entry",), "i", "how often the document uses the term", "tokens"),
        ArraySpec("vocabulary/term", ("term",), "S", "the words, the one in most documents first"),
        ArraySpec("vocabulary/document_frequency", ("term",), "i", "documents that use the term", "documents"),
        ArraySpec("vocabulary/count", ("term",), "i", "uses of the term in all documents", "tokens"),
        ArraySpec("documents/id", ("document",), "S", "name of the document: its path, its id column, or path:line"),
        ArraySpec("partitions/start", ("partition+1",), "i", "first document of each partition"),
        ArraySpec("partitions/digest", ("partition",), "S", "BLAKE2b-128 of the partition's lengths, terms and counts"),
    ),
)

TOPICS = FileSchema(
    "tdtool.topics",
    1,
    "A topic model and the topics of the documents it was made from.",
    True,
    (
        ArraySpec("topics/topic_word", ("topic", "term"), "f", "probability of the term in the topic; rows sum to 1"),
        ArraySpec("topics/alpha", ("topic",), "f", "Dirichlet parameter of the topic"),
        ArraySpec("topics/weight", ("topic",), "f", "lambda of the spectral step, descending before the polish"),
        ArraySpec("topics/size", ("topic",), "f", "share of all tokens"),
        ArraySpec("topics/npmi", ("topic",), "f", "coherence: mean normalised PMI of the top word pairs"),
        ArraySpec("topics/umass", ("topic",), "f", "coherence: mean log conditional probability of the top word pairs"),
        ArraySpec("topics/cv", ("topic",), "f", "coherence: C_v of the top words"),
        ArraySpec("vocabulary/term", ("term",), "S", "the words, the one in most documents first"),
        ArraySpec("vocabulary/document_frequency", ("term",), "i", "documents that use the term", "documents"),
        ArraySpec("vocabulary/count", ("term",), "i", "uses of the term in all documents", "tokens"),
        ArraySpec("documents/id", ("document",), "S", "name of the document: its path, its id column, or path:line"),
        ArraySpec("documents/topic", ("document", "topic"), "f", "share of the topic in the document; rows sum to 1"),
        ArraySpec(
            "documents/held_out", ("document",), "u", "1 where the document was kept out of the fit, for the score"
        ),
        ArraySpec("documents/length", ("document",), "i", "words of the document that are in the vocabulary", "tokens"),
        ArraySpec("selection/n_topics", ("candidate",), "i", "numbers of topics tried by -k auto", optional=True),
        ArraySpec("selection/perplexity", ("candidate",), "f", "held-out perplexity of each", optional=True),
        ArraySpec(
            "selection/npmi",
            ("candidate",),
            "f",
            "coherence of each; see -k auto",
            optional=True,
        ),
        ArraySpec("selection/diversity", ("candidate",), "f", "share of distinct words among top words", optional=True),
        ArraySpec("history/perplexity", ("pass",), "f", "perplexity after each pass of --polish auto", optional=True),
    ),
)

DOCUMENTS = FileSchema(
    "tdtool.documents",
    1,
    "The topics of new documents, inferred with a model.",
    True,
    (
        ArraySpec("documents/id", ("document",), "S", "name of the document: its path, its id column, or path:line"),
        ArraySpec("documents/topic", ("document", "topic"), "f", "share of the topic in the document; rows sum to 1"),
        ArraySpec("documents/length", ("document",), "i", "words of the document that the model knows", "tokens"),
    ),
)

SCHEMAS = {schema.name: schema for schema in (CORPUS, TOPICS, DOCUMENTS)}


def check_array(spec: ArraySpec, shape: tuple[int, ...], kind: str) -> None:
    """ValueError unless an array of this shape and numpy kind (or "O", "U": text) is what `spec` says."""
    kind = "S" if kind in "OUST" else kind
    if len(shape) != len(spec.dims) or kind != spec.kind:
        have = f"{len(shape)} axes of kind {KINDS.get(kind, kind)}"
        raise ValueError(f"{spec.path}: want ({', '.join(spec.dims)}) of kind {KINDS[spec.kind]}, got {have}")


def check_dims(spec: ArraySpec, shape: tuple[int, ...], sizes: dict[str, int]) -> None:
    """ValueError unless `shape` agrees with the axes known from other arrays; new ones are added to `sizes`."""
    for dim, length in zip(spec.dims, shape, strict=True):
        base, longer = dim.removesuffix("+1"), dim.endswith("+1")
        size = length - 1 if longer else length
        if size < 0 or sizes.setdefault(base, size) != size:
            raise ValueError(
                f"{spec.path}: axis {dim} has length {length}, other arrays have {sizes.get(base, 0) + longer}"
            )


def as_text() -> str:
    """Every schema as a plain table: the golden file of the tests, and what documentation quotes."""
    lines = []
    for schema in SCHEMAS.values():
        layout = "gzip+shuffle+fletcher32" if schema.compressed else "contiguous"
        lines += [f"{schema.name} version {schema.version} ({layout}): {schema.about}"]
        for spec in schema.arrays:
            unit = f" [{spec.unit}]" if spec.unit else ""
            optional = ", optional" if spec.optional else ""
            lines += [f"  {spec.path} ({', '.join(spec.dims)}) {KINDS[spec.kind]}{optional}: {spec.about}{unit}"]
        lines += [""]
    return "\n".join(lines)
