"""Lists of stop words, and the language of a text by its function words."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from tdtool.data import stop_words
from tdtool.errors import InputError, UsageError

TEXTS = {
    "en": "The committee met on Tuesday to discuss the plan for the new bridge. Most of the members were in favour of "
    "it, but some of them said that the cost was too high and that this money should be spent on schools.",
    "de": "Der Ausschuss traf sich am Dienstag, um den Plan für die neue Brücke zu besprechen. Die meisten waren dafür "
    "aber einige sagten, dass die Kosten zu hoch seien und das Geld nicht für eine Brücke ausgegeben werden "
    "sollte.",
    "fr": "Le comité s'est réuni mardi pour discuter du projet de nouveau pont. La plupart des membres étaient "
    "d'accord, mais certains ont dit que le coût était trop élevé et que cet argent devrait être dépensé pour les "
    "écoles.",
    "es": "El comité se reunió el martes para discutir el plan del nuevo puente. La mayoría de los miembros estaba a "
    "favor, pero algunos dijeron que el coste era demasiado alto y que ese dinero debería gastarse en las "
    "escuelas.",
    "it": "Il comitato si è riunito martedì per discutere il progetto del nuovo ponte. La maggior parte dei membri era "
    "favorevole, ma alcuni hanno detto che il costo era troppo alto e che il denaro non dovrebbe essere speso "
    "così.",
    "nl": "De commissie kwam dinsdag bijeen om het plan voor de nieuwe brug te bespreken. De meeste leden waren voor, "
    "maar sommigen zeiden dat de kosten te hoog waren en dat het geld aan scholen moest worden besteed.",
    "pt": "A comissão reuniu-se na terça-feira para discutir o plano da nova ponte. A maioria dos membros era a favor, "
    "mas alguns disseram que o custo era demasiado alto e que o dinheiro não devia ser gasto em obras mas nas "
    "escolas.",
    "sv": "Kommittén träffades i tisdags för att diskutera planen för den nya bron. De flesta av medlemmarna var för "
    "den, men några sade att kostnaden var för hög och att pengarna borde användas till skolor.",
    "ru": "Комитет собрался во вторник, чтобы обсудить план нового моста. Большинство членов было за него но некоторые "
    "сказали, что цена слишком высока и что на эти деньги лучше построить школы, а не мост.",
    "pl": "Komitet zebrał się we wtorek, aby omówić plan nowego mostu. Większość członków była za, ale niektórzy "
    "powiedzieli, że koszt jest za wysoki i że pieniądze powinny być wydane na szkoły, a nie na most.",
}
CODE = """
for (size_t i = 0; i < n; ++i) { if (table[i].key == key && !table[i].deleted) return &table[i].value; else continue; }
static inline int compare(const void *left, const void *right) { return *(int *)left - *(int *)right; }
while (queue.size() > 0) { node = queue.pop(); for (auto child : node.children) if (seen.insert(child)) push(child); }
"""
GARBAGE = "".join(chr(97 + (i * i * 31 + i * 7) % 26) + (" " if i % 5 == 3 else "") for i in range(3000))


def recognised(text: str) -> str | None:
    words = [word for word in re.findall(r"[^\W_]+", text.lower()) if len(word) > 1]
    return stop_words.recognise(Counter(words), len(words))


@pytest.mark.parametrize("code", TEXTS)
def test_a_language_is_recognised(code: str) -> None:
    assert recognised(TEXTS[code]) == code
    assert recognised(TEXTS[code] + CODE) == code


@pytest.mark.parametrize("text", [CODE, GARBAGE, "", "the the the the the the"])
def test_what_is_no_language_is_not_recognised(text: str) -> None:
    assert recognised(text) is None


def test_one_common_word_of_many_is_no_language() -> None:
    assert recognised("for key in table if value in table " * 50) is None


def test_every_language_brings_equally_many_words_to_recognition() -> None:
    assert {len(words) for words in stop_words._CORE.values()} == {16}
    assert set(stop_words._CORE) <= set(stop_words.languages())


def test_the_english_list_keeps_content_and_knows_contractions() -> None:
    english = stop_words.of_language("en")
    content = "computer microsoft fire bill system test page states ai tv web world research number room"
    assert english.isdisjoint(content.split())
    function = "the of and don isn ll ve re didn doesn won ain said about not mr"
    assert english.issuperset(function.split())
    assert all(word == word.lower() and re.fullmatch(r"[^\W_]+", word) for word in english)


def test_exemptions_name_words_that_are_in_the_list() -> None:
    import stopwordsiso

    listed = stop_words._pieces(stopwordsiso.stopwords("en"))
    assert listed >= stop_words._ENGLISH_CONTENT
    assert not stop_words._ENGLISH_CONTENT & stop_words.of_language("en")


@pytest.mark.parametrize(("code", "parts"), [("fr", ["qu", "les"]), ("it", ["dell", "che"]), ("de", ["und", "nicht"])])
def test_other_languages_have_their_pieces(code: str, parts: list[str]) -> None:
    assert set(parts) <= stop_words.of_language(code)


def test_settings(tmp_path: Path) -> None:
    assert stop_words.stop_words("auto") is None
    assert stop_words.stop_words("none") is stop_words.NO_STOP_WORDS
    two = stop_words.stop_words("en,de")
    assert two is not None
    assert (two.label, {"the", "und"} <= two.words) == ("en,de", True)
    path = tmp_path / "mine.txt"
    path.write_text("\ufeffThe\n# a remark\n\n  don't \nFoo-Bar\n", encoding="utf-8")
    mine = stop_words.stop_words(str(path))
    assert mine == stop_words.StopWords("mine.txt", frozenset({"the", "don", "t", "foo", "bar"}))


def test_an_unknown_code_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r'"xx" is no language code and no file\n.*auto, none.* de .* zu'):
        stop_words.stop_words("xx")


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "latin1.txt"
    path.write_bytes(b"and\ncaf\xe9\n")
    with pytest.raises(InputError, match=r"latin1.txt:2: not UTF-8"):
        stop_words.stop_words(str(path))


def test_capitals_are_added_for_text_that_keeps_its_case() -> None:
    assert stop_words.in_capitals(stop_words.StopWords("x", frozenset({"der"}))).words == {"der", "Der", "DER"}
