"""Everything tdtool stores, one line an array: writer, reader, `tdtool show` and the README are made from it."""

from __future__ import annotations

from tdtool.store.array_spec import KINDS, ArraySpec, FileSchema, base_axis, check_array, check_dims, check_modes
from tdtool.store.schema_nets import IMAGES, TRAINING

__all__ = [
    "KINDS",
    "SCHEMAS",
    "ArraySpec",
    "FileSchema",
    "as_text",
    "base_axis",
    "check_array",
    "check_dims",
    "check_modes",
]

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
        ArraySpec(
            "topics/npmi",
            ("topic",),
            "f",
            "coherence: mean normalised PMI of the top word pairs, NaN: not known",
        ),
        ArraySpec(
            "topics/umass",
            ("topic",),
            "f",
            "coherence: mean log conditional probability of the top word pairs, NaN: not known",
        ),
        ArraySpec("topics/cv", ("topic",), "f", "coherence: C_v of the top words, NaN: not known"),
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

_MODE_NAME = ArraySpec("modes/name", ("mode",), "S", "name of each mode of the tensor")
_MODE_LABELS = ArraySpec("labels/mode*", ("mode*",), "S", "name of each place along the mode", optional=True)
_SWEEP_ERROR = ArraySpec("history/error", ("sweep",), "f", "relative error after each sweep of the iteration")

CP = FileSchema(
    "tdtool.cp",
    1,
    "A tensor as a sum of components: each a weight times one vector a mode.",
    True,
    (
        ArraySpec("components/weight", ("component",), "f", "scale of the component, descending"),
        ArraySpec("factors/mode*", ("mode*", "component"), "f", "the components along one mode; columns have length 1"),
        _MODE_NAME,
        _MODE_LABELS,
        _SWEEP_ERROR,
        ArraySpec("selection/rank", ("candidate",), "i", "ranks tried by --rank auto", optional=True),
        ArraySpec("selection/error", ("candidate",), "f", "relative error of each", optional=True),
        ArraySpec(
            "selection/core_consistency",
            ("candidate",),
            "f",
            "core consistency of each, NaN: not known",
            "percent",
            optional=True,
        ),
        ArraySpec(
            "selection/congruence",
            ("candidate",),
            "f",
            "agreement of two halves' components, NaN: not known",
            optional=True,
        ),
    ),
)

TUCKER = FileSchema(
    "tdtool.tucker",
    1,
    "A tensor as a small core times an orthonormal factor a mode.",
    True,
    (
        ArraySpec("core/values", ("rank*",), "f", "how components of the modes go together; real part"),
        ArraySpec("core/imaginary", ("rank*",), "f", "imaginary part of the core of a complex tensor", optional=True),
        ArraySpec("factors/mode*", ("mode*", "rank*"), "f", "orthonormal columns of the mode; real part"),
        ArraySpec(
            "imaginary/mode*",
            ("mode*", "rank*"),
            "f",
            "imaginary part of the factors of a complex tensor",
            optional=True,
        ),
        _MODE_NAME,
        _MODE_LABELS,
        _SWEEP_ERROR,
    ),
)

FACTORS = FileSchema(
    "tdtool.factors",
    1,
    "The factors behind the columns of a table, and what each row scores on them.",
    True,
    (
        ArraySpec("loadings/pattern", ("variable", "factor"), "f", "weight of the factor in the variable"),
        ArraySpec("loadings/structure", ("variable", "factor"), "f", "correlation of the variable with the factor"),
        ArraySpec("loadings/communality", ("variable",), "f", "share of the variable's variance that factors explain"),
        ArraySpec("factors/correlation", ("factor", "factor_"), "f", "correlation of the factors with each other"),
        ArraySpec("factors/variance", ("factor",), "f", "share of all variance that the factor explains"),
        ArraySpec("scores/value", ("observation", "factor"), "f", "score of the row on the factor, NaN: not known"),
        ArraySpec("scores/id", ("observation",), "S", "name of the row: its id column, or its number"),
        ArraySpec("variables/name", ("variable",), "S", "the columns of the table"),
        ArraySpec("variables/mean", ("variable",), "f", "mean of the column"),
        ArraySpec("variables/scale", ("variable",), "f", "standard deviation of the column"),
        ArraySpec("parallel/eigenvalue", ("eigenvalue",), "f", "of the correlation matrix, descending", optional=True),
        ArraySpec("parallel/threshold", ("eigenvalue",), "f", "what chance alone gives", optional=True),
        ArraySpec("slices/name", ("slice",), "S", "tables of the stack", optional=True),
        ArraySpec("slices/weight", ("slice", "factor"), "f", "weight of the factor in each table", optional=True),
    ),
)

_NODE_NAME = ArraySpec("nodes/name", ("node",), "S", "name of the node; whole numbers ascend, other names by bytes")
_NODE_SIDE = ArraySpec("nodes/side", ("node",), "u", "kind of the node in a bipartite graph, 0 or 1", optional=True)

GRAPH = FileSchema(
    "tdtool.graph",
    1,
    "A graph as neighbours of each node, in partitions that can be memory-mapped.",
    False,
    (
        ArraySpec("graph/indptr", ("node+1",), "i", "where each node's neighbours start"),
        ArraySpec("graph/neighbours", ("entry",), "i", "the other end of each edge, ascending within a node"),
        ArraySpec("graph/weights", ("entry",), "f", "weight of the edge; without, each counts 1", optional=True),
        _NODE_NAME,
        _NODE_SIDE,
        ArraySpec("partitions/start", ("partition+1",), "i", "first node of each partition"),
        ArraySpec("partitions/digest", ("partition",), "S", "BLAKE2b-128 of the partition's degrees and edges"),
    ),
)

COMMUNITIES = FileSchema(
    "tdtool.communities",
    1,
    "The overlapping communities of a graph, and the graph.",
    True,
    (
        ArraySpec("membership/indptr", ("node+1",), "i", "where each node's memberships start"),
        ArraySpec("membership/community", ("entry",), "i", "community of each membership, ascending within a node"),
        ArraySpec("membership/weight", ("entry",), "f", "share of the community in the node; a node's sum to 1"),
        ArraySpec(
            "membership/strength",
            ("entry",),
            "f",
            "of a member: two of them multiplied are the links expected between the two",
        ),
        ArraySpec("mixture/indptr", ("node+1",), "i", "where each node's graded shares start", optional=True),
        ArraySpec("mixture/community", ("share",), "i", "community of each share, ascending in a node", optional=True),
        ArraySpec(
            "mixture/share",
            ("share",),
            "f",
            "graded share of the community in the node, members or not, from one percent on; a node's sum to 1",
            optional=True,
        ),
        ArraySpec("communities/size", ("community",), "i", "members, descending", "nodes"),
        ArraySpec("communities/lambda", ("community",), "f", "links that the community is expected to make inside"),
        ArraySpec(
            "communities/conductance",
            ("community",),
            "f",
            "weight of the edges that lead out, over the smaller of the volumes in and out, NaN: not known",
        ),
        ArraySpec(
            "communities/density", ("community",), "f", "share of its pairs of members that are linked, NaN: not known"
        ),
        ArraySpec(
            "communities/stability",
            ("community",),
            "f",
            "mean overlap (Jaccard) with the most like community of other seeds",
            optional=True,
        ),
        ArraySpec(
            "communities/link_probability",
            ("community", "community_"),
            "f",
            "chance that pure members are linked; of at most 2,000 communities",
            optional=True,
        ),
        _NODE_NAME,
        ArraySpec("nodes/degree", ("node",), "f", "sum of the weights of the node's edges"),
        ArraySpec("nodes/propensity", ("node",), "f", "links that the node makes outside of communities, relative"),
        ArraySpec("nodes/component", ("node",), "i", "connected component of the node, the largest is 0"),
        _NODE_SIDE,
        ArraySpec(
            "embedding/vectors", ("node", "dimension"), "f", "spectral coordinates, NaN: not fitted", optional=True
        ),
        ArraySpec(
            "embedding/eigenvalue", ("dimension",), "f", "of the normalised adjacency, descending", optional=True
        ),
        ArraySpec(
            "graph/indptr",
            ("node+1",),
            "i",
            "where each node's neighbours start; without, they are not known",
            optional=True,
        ),
        ArraySpec(
            "graph/neighbours", ("edge_end",), "i", "the other end of each edge, ascending within a node", optional=True
        ),
        ArraySpec("graph/weights", ("edge_end",), "f", "weight of the edge; without, each counts 1", optional=True),
        ArraySpec("selection/n_asked", ("candidate",), "i", "numbers of communities tried by -k auto", optional=True),
        ArraySpec("selection/n_found", ("candidate",), "i", "communities that were left of them", optional=True),
        ArraySpec(
            "selection/gain", ("candidate",), "f", "what the communities say of the edges", "bits", optional=True
        ),
        ArraySpec("selection/cost", ("candidate",), "f", "what the memberships take to write", "bits", optional=True),
        ArraySpec("selection/objective", ("candidate",), "f", "gain less cost, as chosen by", "bits", optional=True),
    ),
)

_TENSOR = ArraySpec(
    "third/tensor",
    ("direction", "direction_", "direction__"),
    "f",
    "the whitened third moment, symmetric; of very many directions there is none",
    optional=True,
)

MOMENTS = FileSchema(
    "tdtool.moments",
    1,
    "The moments of a corpus, from which topics are found without its documents.",
    True,
    (
        ArraySpec("first/moment", ("term",), "f", "M1: share of the term in all words of documents of three or more"),
        ArraySpec("first/pair", ("term",), "f", "pairs of the same token, which M2 leaves out: its diagonal term"),
        ArraySpec("first/whitened", ("direction",), "f", "M1 in whitened coordinates"),
        ArraySpec("second/whitening", ("term", "direction"), "f", "W, with W' M2 W = 1; columns by falling eigenvalue"),
        ArraySpec("second/unwhitening", ("term", "direction"), "f", "B, the way back: B' W = 1"),
        ArraySpec("second/eigenvalue", ("eigenvalue",), "f", "of M2, descending; some more than there are directions"),
        _TENSOR,
        ArraySpec(
            "third/sketch", ("repeat", "place"), "f", "its entries i < j < k, hashed and added up", optional=True
        ),
        ArraySpec(
            "third/pairs", ("direction", "direction_"), "f", "its entries i, j, j, beside a sketch", optional=True
        ),
        ArraySpec("third/hash", ("repeat", "direction"), "i", "i, j, k go to the sum of theirs, cyclic", optional=True),
        ArraySpec("third/sign", ("repeat", "direction"), "i", "and with the product of theirs, -1 or 1", optional=True),
        ArraySpec(
            "third/word",
            ("term",),
            "f",
            "n: sum of s c, c its uses in a document of l words, s = 1 / ((l - 1) (l - 2) L)",
        ),
        ArraySpec("third/word_whitened", ("term", "direction"), "f", "z: sum of s c y, y the whitened document"),
        ArraySpec("vocabulary/term", ("term",), "S", "the words, the one in most documents first"),
        ArraySpec("vocabulary/document_frequency", ("term",), "i", "documents that use the term", "documents"),
        ArraySpec("vocabulary/count", ("term",), "i", "uses of the term in all documents", "tokens"),
    ),
)

GRAPH_MOMENTS = FileSchema(
    "tdtool.graph_moments",
    1,
    "The moments of a graph, from which communities are found without its edges.",
    True,
    (
        ArraySpec("embedding/point", ("node", "direction"), "f", "whitened coordinates, NaN: in a small component"),
        ArraySpec("embedding/weight", ("node",), "f", "weight of the node in the moments, 0: in a small component"),
        ArraySpec("embedding/eigenvalue", ("direction",), "f", "of the normalised adjacency, descending"),
        _TENSOR,
        _NODE_NAME,
        ArraySpec("nodes/degree", ("node",), "f", "sum of the weights of the node's edges"),
        ArraySpec("nodes/propensity", ("node",), "f", "links that the node makes by chance, relative"),
        ArraySpec("nodes/component", ("node",), "i", "connected component of the node, the largest is 0"),
        _NODE_SIDE,
    ),
)

_ALL = (
    *(CORPUS, TOPICS, DOCUMENTS, CP, TUCKER, FACTORS, GRAPH, COMMUNITIES, MOMENTS, GRAPH_MOMENTS),
    *(IMAGES, TRAINING),
)
SCHEMAS = {schema.name: schema for schema in _ALL}


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
