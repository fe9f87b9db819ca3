"""Words too common to tell topics apart: lists by language, a file, or the language recognised from the words."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Mapping
from pathlib import Path

from tdtool.errors import InputError, UsageError

AUTO, NONE = "auto", "none"
_LARGEST_FILE = 1 << 24


@dataclasses.dataclass(frozen=True)
class StopWords:
    """A set of stop words, and what it is called."""

    label: str
    words: frozenset[str]


NO_STOP_WORDS = StopWords(NONE, frozenset())


def stop_words(setting: str) -> StopWords | None:
    """The stop words of a setting: codes ("en", "en,de"), a file with one word a line, or "none"; None for "auto".

    UsageError when it is none of these, InputError when the file cannot be used.
    """
    if setting in (AUTO, NONE):
        return None if setting == AUTO else NO_STOP_WORDS
    codes = setting.split(",")
    if all(code in languages() for code in codes):
        return StopWords(setting, frozenset().union(*map(of_language, codes)))
    if Path(setting).is_file():
        return StopWords(Path(setting).name, _of_file(Path(setting)))
    known = f"known are {AUTO}, {NONE}, a file with one word a line, and {' '.join(languages())}"
    raise UsageError(f'--stop-words "{setting}" is no language code and no file', hint=known)


@functools.cache
def languages() -> tuple[str, ...]:
    """The codes of the languages that have a list."""
    import stopwordsiso

    return tuple(sorted(stopwordsiso.langs()))


@functools.cache
def of_language(code: str) -> frozenset[str]:
    """The stop words of one language, as the tokeniser would cut them."""
    import stopwordsiso

    words = _pieces(stopwordsiso.stopwords(code))
    if code == "en":
        strays = {word for word in words if len(word) == 2 and word not in _ENGLISH_TWO_LETTERS}
        return frozenset((words | _ENGLISH_MORE) - strays - _ENGLISH_CONTENT)
    return words


def in_capitals(stop: StopWords) -> StopWords:
    """The same words also Capitalised and in CAPITALS, for text that keeps its case."""
    words = stop.words
    return StopWords(stop.label, words | {word.capitalize() for word in words} | {word.upper() for word in words})


def recognise(counts: Mapping[str, int], n_tokens: int) -> str | None:
    """The language whose commonest function words make up the largest share of a text, or None when no share is large.

    counts : how often each of `core_words()` is used, any case; n_tokens : all words of the text. Every language brings
    equally many words, so that none wins by the length of its list.
    """
    best, best_share = None, 0.0
    for code, words in _CORE.items():
        uses = sorted((counts.get(word, 0) for word in words), reverse=True)
        share = sum(uses) / max(n_tokens, 1)
        spread = sum(uses[_DOMINANT:]) / max(n_tokens, 1)
        if share >= _LEAST_SHARE and spread >= _LEAST_SPREAD and share > best_share:
            best, best_share = code, share
    return best


def core_words() -> list[str]:
    """All words that `recognise` looks for."""
    return sorted(set().union(*_CORE.values()))


def _pieces(words: set[str] | frozenset[str]) -> frozenset[str]:
    """Words as the tokeniser leaves them: "don't" becomes don and t."""
    return frozenset(piece for word in words for piece in re.split(r"[^\w]+|_", word.lower()) if piece)


def _of_file(path: Path) -> frozenset[str]:
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST_FILE + 1)
    except OSError as error:
        raise InputError(f"the stop words cannot be read: {error.strerror or error}", path=path) from error
    if len(data) > _LARGEST_FILE:
        raise InputError("too large for a list of stop words", path=path, hint="one word a line is expected")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError("not UTF-8 text", path=path, line=data[: error.start].count(b"\n") + 1) from error
    return _pieces({line for line in text.splitlines() if not line.lstrip().startswith("#")})


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: A text is in a language when its core words are this share of all words ...
_LEAST_SHARE = 0.07
#: ... and this much is left without the few commonest of them (program code has "for", "in", "if" and no others).
_DOMINANT, _LEAST_SPREAD = 3, 0.02

# fmt: off
#: Sixteen function words of two letters or more for each language, among its commonest.
_CORE = {code: _words(text) for code, text in {
    "ar": "في من على أن إلى التي عن لا ما هذا هذه الذي كان مع وقد بين",
    "bg": "на да се от за че не са по ще като но това си до към",
    "ca": "de la que el els les en per una amb del no un és al més",
    "cs": "na se že je do ve by za ale jako jsem pro jsou nebo tak byl",
    "da": "og det er at en til af den på med de for der ikke som har",
    "de": "der die und das den von mit ist des dem ein eine nicht sich auch auf",
    "el": "και το να του της τα από στο για με την των ότι είναι τον στην",
    "en": "the of and to in is that it for as with was on be are this",
    "es": "de la que el en los se del las un por con una no para su",
    "et": "ja on ei et ta see kui oli ma aga mis oma ning või ka seda",
    "fa": "در به از که این را با است برای آن یک خود تا بر هم نیز",
    "fi": "ja on ei että se oli ovat hän joka mutta myös kun sen niin tai ole",
    "fr": "de la le les et des en un du une que est pour dans qui pas",
    "he": "של את על לא הוא זה עם כי גם היא אני כל או היה אבל יש",
    "hi": "के में है की और से को का पर यह ने भी हैं था एक नहीं",
    "hr": "je da se na za su od što ne ili kao ali koji bi iz kako",
    "hu": "az és hogy nem is egy ez van volt meg csak de még mint ha sem",
    "id": "yang dan di itu dengan untuk tidak ini dari dalam akan pada juga saya ke adalah",
    "it": "di che la il un per non in una è del con della le si sono",
    "lt": "ir kad yra su tai iš bet kaip jo tik buvo apie ar jau dar prie",
    "lv": "un ir ka no ar par uz bet tas kas bija pie vai viņš gan lai",
    "nl": "de het een van en dat in is te op zijn niet met voor die aan",
    "no": "og det er at en til av på som med de for har ikke jeg den",
    "pl": "na się nie do że to jest jak za od ale po co dla przez oraz",
    "pt": "de que do da em um para com não uma os no se na por dos",
    "ro": "de în și la cu pe din să nu care un pentru mai este au ce",
    "ru": "не на что он как по это но из за от то все для его был",
    "sk": "na sa že je do by ale ako vo za som pre sú alebo tak bol",
    "sl": "je in na se da so za pa ki ne tudi od bi kot po ali",
    "sv": "och det att en som är på för av med den till inte har ett om",
    "tr": "ve bir bu da de için ile çok ne daha gibi olarak olan kadar ama en",
    "uk": "не на що як він до та за це від але із для його був або",
    "vi": "và của là có cho không được trong một các người những với để đã này",
}.items()}

#: Two-letter entries of the English list that are words; the rest are country codes and abbreviations.
_ENGLISH_TWO_LETTERS = _words("""
    ah al am an as at be by co de do ed eg eh et ex go he hi ie if ii im in is it la ll me mr ms my na no of oh ok
    on or pp re so st th to un up us ve vs we ye
""")

#: Left by contractions and possessives once apostrophes separate words, when the list lacks them.
_ENGLISH_MORE = _words("""
    ain aren couldn daren didn doesn don hadn hasn haven isn ll mayn mightn mustn needn oughtn re shan shouldn ve
    wasn weren won wouldn
""")

#: Entries of the English list that say what a text is about.
_ENGLISH_CONTENT = _words("""
    act adopted amount announce area areas arpa auth bill billion biol bottom buy caption case cases cause changes
    click computer copy cry date detail effect empty face faces fill fire fix free front gmt goods gov greetings
    group grouped grouping groups hell home homepage hundred ill importance index information interest interests
    invention join keys length line man member members men microsoft mil mill million mine minus move mrs msie mug
    net netscape novel null number numbers old older oldest open opened opening opens order ordered ordering orders
    page pages parts place places pmid point pointing points present presenting presents problem problems proud
    research reserved results ring room rooms round run second seconds section shed shell side sides site small
    state states stop sub system test text thick thin thousand tip today top trillion uucp value web webpage
    website wed welcome wells width wish words work worked working works world year years young younger youngest
    zero
""")
# fmt: on
