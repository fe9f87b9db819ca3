"""The words behind the columns of a count file: a list of terms, given or found beside the data."""

from __future__ import annotations

from tdtool import log
from tdtool.config import SourceConfig
from tdtool.data.readers.decompress import SUFFIXES
from tdtool.data.readers.formats import refuse
from tdtool.data.readers.places import beside, is_file, name_of, open_binary
from tdtool.data.readers.streams import ByteStream, Input
from tdtool.errors import InputError

#: More than this is no vocabulary.
_LARGEST = 1 << 30
#: Names that say nothing of the data they belong to.
_GENERAL = ("vocab.txt", "vocabulary.txt")


def find_vocabulary(source: Input, n_terms: int, *, exact: bool) -> tuple[list[str], str]:
    """The terms of a count file, and where they come from in words.

    n_terms : how many the data has (exact) or needs at least. A file named by the user or after the data must fit, one
    that only lies beside it is taken when it fits. Without any the terms are "term1", "term2", ...
    """
    given = source.config.vocabulary
    if given is not None:
        return _fitting(given, n_terms, exact, source), f"vocabulary of {name_of(given)}"
    if source.seekable:
        for path in _candidates(source):
            if is_file(path):
                return _fitting(path, n_terms, exact, source), f"vocabulary of {name_of(path)}"
        for path in (beside(source.place, name + suffix) for name in _GENERAL for suffix in ("", *SUFFIXES)):
            if is_file(path):
                terms = read_terms(path, source.config)
                if len(terms) == n_terms or (not exact and len(terms) > n_terms):
                    return terms, f"vocabulary of {name_of(path)}"
    log.warn(f"{source.path}: no vocabulary beside it, so the terms are numbered; name the file with --vocabulary")
    return [f"term{number}" for number in range(1, n_terms + 1)], "no vocabulary: terms are numbered"


def read_terms(path: str, config: SourceConfig) -> list[str]:
    """One term a line, each once."""
    with ByteStream(open_binary(path), path, config) as stream:
        raw = stream.read(_LARGEST + 1)
    if len(raw) > _LARGEST:
        raise InputError("a vocabulary may have 1 GB", path=path)
    refuse(raw, "", path)
    try:
        lines = raw.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise InputError(
            "the vocabulary is not UTF-8", path=path, line=line, hint="convert it: iconv -t UTF-8"
        ) from error
    terms = [line.strip() for line in lines]
    while terms and not terms[-1]:
        terms.pop()
    _check_terms(terms, path)
    return terms


def _candidates(source: Input) -> list[str]:
    """Where the vocabulary of a file lies by custom: docword.NAME.txt has vocab.NAME.txt, NAME.dat NAME.vocab."""
    name = source.name
    stem = name.rpartition(".")[0] or name
    names = [f"vocab.{stem}.txt", f"{stem}.vocab", f"{stem}.vocab.txt", f"{stem}.vocabulary", f"{stem}_vocab.txt"]
    if name.lower().startswith("docword."):
        names = ["vocab." + name[len("docword.") :]]
    return [beside(source.place, name + suffix) for name in names for suffix in ("", *SUFFIXES)]


def _check_terms(terms: list[str], path: str) -> None:
    if not terms:
        raise InputError("the vocabulary is empty", path=path)
    if len(set(terms)) == len(terms) and "" not in terms:
        return
    seen: dict[str, int] = {}
    for line, term in enumerate(terms, start=1):
        if not term:
            raise InputError("a term is empty", path=path, line=line, hint="a vocabulary has one term a line")
        if term in seen:
            raise InputError(f"the term {term!r} is there twice, first in line {seen[term]}", path=path, line=line)
        seen[term] = line


def _fitting(path: str, n_terms: int, exact: bool, source: Input) -> list[str]:
    terms = read_terms(path, source.config)
    if len(terms) < n_terms or (exact and len(terms) != n_terms):
        needs = f"{n_terms:,}" if exact else f"at least {n_terms:,}"
        raise InputError(
            f"the vocabulary has {len(terms):,} terms, the data {needs}",
            path=path,
            hint=f"name the vocabulary of {source.path} with --vocabulary",
        )
    return terms
