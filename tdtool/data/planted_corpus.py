"""A readable planted corpus: short documents in plain English, each about one to three of eight subjects."""

from __future__ import annotations

import json
import math
import re
import textwrap
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tdtool.errors import UsageError


class Subject(NamedTuple):
    """The forty words of one topic, by their place in a sentence. deeds : past tense, also good as participles."""

    people: str
    things: str
    deeds: str
    qualities: str


# fmt: off
SUBJECTS = {
    "astronomy": Subject(
        "astronomer astronaut stargazer physicist cosmologist",
        "telescope planet comet galaxy nebula asteroid orbit moon eclipse satellite observatory meteor crater "
        "constellation supernova spectrum rocket quasar aurora",
        "observed photographed detected magnified tracked scanned glimpsed catalogued",
        "lunar solar stellar luminous celestial faint orbital cosmic"),
    "cooking": Subject(
        "chef baker waiter cook butcher",
        "oven recipe sauce butter onion garlic flour soup kitchen pepper dough cheese spoon basil broth pastry stew "
        "salad skillet",
        "baked simmered seasoned chopped stirred roasted tasted garnished",
        "savory creamy crispy tender spicy buttery fragrant salted"),
    "football": Subject(
        "striker goalkeeper referee defender midfielder",
        "goal match penalty stadium league tournament pitch corner tackle team whistle trophy season championship "
        "crossbar jersey scoreboard halftime cup",
        "kicked scored defended dribbled intercepted cheered blocked replayed",
        "offside unbeaten defensive attacking athletic victorious goalless rival"),
    "medicine": Subject(
        "doctor nurse surgeon patient pharmacist",
        "hospital clinic diagnosis vaccine fever symptom surgery infection antibiotic therapy dose heartbeat ward "
        "bandage tumor virus prescription syringe artery",
        "examined diagnosed treated vaccinated prescribed healed monitored injected",
        "chronic acute surgical clinical contagious feverish pediatric cardiac"),
    "sailing": Subject(
        "sailor captain skipper helmsman navigator",
        "boat sail mast harbor anchor rudder keel tide wind compass yacht deck rope hull voyage lighthouse buoy storm "
        "wave",
        "steered anchored moored hoisted navigated charted boarded rigged",
        "nautical coastal windward seaworthy stormy tidal briny maritime"),
    "music": Subject(
        "violinist pianist composer singer drummer",
        "melody orchestra symphony guitar piano chord concert rhythm violin chorus song trumpet album sonata opera "
        "tempo cello harmony flute",
        "composed rehearsed conducted performed recorded strummed tuned improvised",
        "acoustic melodic orchestral harmonic choral rhythmic lyrical baroque"),
    "law": Subject(
        "judge lawyer attorney plaintiff juror",
        "court trial verdict contract statute lawsuit testimony appeal evidence clause hearing jury tribunal "
        "settlement litigation injunction subpoena courtroom bail",
        "prosecuted contested sued litigated overturned ratified sentenced acquitted",
        "judicial guilty constitutional criminal lawful unlawful binding liable"),
    "gardening": Subject(
        "gardener florist botanist landscaper horticulturist",
        "garden seed soil flower tulip rose compost shovel hedge lawn orchard fertilizer greenhouse weed petal shrub "
        "seedling wheelbarrow trellis",
        "planted watered pruned weeded mulched harvested transplanted fertilized",
        "leafy thorny perennial evergreen organic blooming earthy shady"),
}

#: Words that every subject uses.
COMMON = {
    "someone": "neighbor friend visitor stranger teacher journalist traveler cousin",
    "place": "village town city valley region district county suburb",
    "time": "morning evening afternoon winter summer autumn weekend holiday",
}

SENTENCES = (
    "In the {time}, the {person} {deed} the {quality} {thing}.",
    "The {person} {deed} a {thing} beside the {quality} {thing}.",
    "Nobody in the {place} forgot how the {person} {deed} the {thing} and the {thing}.",
    "A {quality} {thing} and a {quality} {thing} were all the {person} had asked for.",
    "The {person} told a {someone} about the {thing}, the {thing} and the {quality} {thing}.",
    "When the {person} {deed} the {thing}, every {someone} in the {place} came to look at the {thing}.",
    "That {time} the {thing} looked {quality}, so the {person} {deed} it again.",
    "A {someone} from the {place} had never seen a {thing} near such a {quality} {thing}.",
    "First the {person} {deed} the {thing}, then the {person} {deed} the {thing}.",
    "The {thing} was {quality}, the {thing} was {quality}, and the {person} {deed} both.",
    "Without a {thing} or a {thing}, no {person} ever {deed} a {quality} {thing}.",
    "By the end of the {time}, the {person} had {deed} the {thing} near the {thing}.",
    "The {someone} wrote that a {quality} {thing} had made the {person} proud of the {thing}.",
    "For years the {person} kept a {quality} {thing} and {deed} every {thing} in the {place}.",
)
# fmt: on

N_DOCUMENTS = 300
#: How likely a document is about one, two or three subjects.
_SUBJECTS_A_DOCUMENT = (0.4, 0.4, 0.2)
_FEWEST_SENTENCES, _MOST_SENTENCES = 3, 8
_LINE_WIDTH = 88


def planted_corpus(directory: Path, rng: np.random.Generator) -> None:
    """Write directory/corpus/DDD-some-name.txt, and the truth beside it in directory/corpus.truth.json.

    The truth holds each topic's words, the words all topics share, and for each document the share of its topic words
    that came from each topic. Only rng.random() is drawn from: its numbers are the same in every numpy.
    """
    folder = directory / "corpus"
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} already holds files", hint="remove it first, or name another directory")
    folder.mkdir(parents=True, exist_ok=True)
    shares = {}
    for number in range(N_DOCUMENTS):
        name, text, shares_of_document = _document(number, rng)
        (folder / name).write_bytes(text.encode("ascii"))
        shares[name] = shares_of_document
    truth = {
        "topics": {name: sorted(" ".join(subject).split()) for name, subject in SUBJECTS.items()},
        "common": sorted(" ".join(COMMON.values()).split()),
        "documents": shares,
    }
    (directory / "corpus.truth.json").write_bytes((json.dumps(truth, indent=1) + "\n").encode("ascii"))


def _document(number: int, rng: np.random.Generator) -> tuple[str, str, dict[str, float]]:
    """File name, text, and share of each subject among the document's topic words."""
    subjects = _some(list(SUBJECTS), _weighted(_SUBJECTS_A_DOCUMENT, rng) + 1, rng)
    weights = [-math.log(1.0 - rng.random()) for _ in subjects]  # normalised: Dirichlet(1)
    n_sentences = _FEWEST_SENTENCES + _below(_MOST_SENTENCES - _FEWEST_SENTENCES + 1, rng)
    sentences, used = [], Counter[str]()
    for _ in range(n_sentences):
        subject = subjects[_weighted(weights, rng)]
        sentence, n_words = _sentence(SUBJECTS[subject], rng)
        sentences.append(sentence)
        used[subject] += n_words
    main = SUBJECTS[used.most_common(1)[0][0]]
    name = f"{number:03d}-{_pick(main.qualities.split(), rng)}-{_pick(main.things.split(), rng)}.txt"
    shares = {subject: round(count / used.total(), 4) for subject, count in sorted(used.items())}
    return name, textwrap.fill(" ".join(sentences), _LINE_WIDTH) + "\n", shares


def _sentence(subject: Subject, rng: np.random.Generator) -> tuple[str, int]:
    """A sentence about the subject, without a word twice in it, and the number of topic words in it."""
    left = {kind: words.split() for kind, words in COMMON.items()}
    left |= {"person": subject.people.split(), "thing": subject.things.split()}
    left |= {"deed": subject.deeds.split(), "quality": subject.qualities.split()}
    n_words = 0

    def fill(slot: re.Match[str]) -> str:
        nonlocal n_words
        kind = slot[1]
        n_words += kind not in COMMON
        word = _pick(left[kind], rng)
        left[kind].remove(word)
        return word

    text = re.sub(r"\{(\w+)\}", fill, SENTENCES[_below(len(SENTENCES), rng)])
    return re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", text), n_words


def _below(n: int, rng: np.random.Generator) -> int:
    return int(rng.random() * n)


def _pick(words: list[str], rng: np.random.Generator) -> str:
    """One of the words; early ones more often, as in real text."""
    return words[int(rng.random() ** 1.5 * len(words))]


def _some(items: list[str], how_many: int, rng: np.random.Generator) -> list[str]:
    left = list(items)
    return [left.pop(_below(len(left), rng)) for _ in range(how_many)]


def _weighted(weights: tuple[float, ...] | list[float], rng: np.random.Generator) -> int:
    """An index, drawn in proportion to its weight."""
    point = rng.random() * sum(weights)
    for index, weight in enumerate(weights):
        point -= weight
        if point < 0:
            return index
    return len(weights) - 1
