"""The lexicon: phrases, word borders, scripts, and the guard of the encoder's own languages."""

from __future__ import annotations

from modalities.text.cldr import Annotation
from modalities.text.lexicon import Lexicon, is_foreign_script, normal_form, words_of
from modalities.text.lexicon_build import build_lexicon, compact, translate_terms


def nothing_known(word: str) -> bool:
    return False


def everything_known(word: str) -> bool:
    return True


LEXICON = Lexicon({"äpple": "apple", "rött äpple": "red apple", "लाल": "red", "សេះ": "horse", "펭귄": "penguin"})


def test_longest_phrase_wins() -> None:
    assert LEXICON.replace("ett rött äpple!", nothing_known) == "ett red apple!"


def test_phrases_stand_as_whole_words() -> None:
    assert LEXICON.replace("äpplen", nothing_known) == "äpplen"
    assert LEXICON.replace("ÄPPLE,äpple", nothing_known) == "apple,apple"


def test_known_prompts_in_shared_scripts_are_left_alone() -> None:
    assert LEXICON.replace("das äpple ist gut", everything_known) == "das äpple ist gut"
    assert LEXICON.replace("äpple", everything_known) == "apple", "the whole prompt is one phrase"
    assert LEXICON.replace("a लाल car", everything_known) == "a red car"


def test_unspaced_scripts_match_inside() -> None:
    assert LEXICON.replace("ខសេះខ", nothing_known) == "ខ horse ខ"
    assert LEXICON.replace("귀여운 펭귄이", everything_known) == "귀여운 penguin 이"


def test_text_is_compared_without_case_and_composition() -> None:
    assert normal_form("  A\u0308PPLE  x ") == "äpple x"
    assert words_of("«один», two... तीन।") == ["один", "two", "तीन"]
    assert is_foreign_script("μήλο")
    assert not is_foreign_script("яблоко")
    assert not is_foreign_script("12")


def test_terms_align_by_the_emoji_they_mark() -> None:
    english = {"red": {"🍎", "🚗", "🌹"}, "apple": {"🍎", "🍏"}, "green": {"🍏", "🌲"}}
    foreign = {"rouge": {"🍎", "🚗", "🌹"}, "pomme": {"🍎", "🍏"}}
    assert translate_terms(foreign, english) == {"rouge": "red", "pomme": "apple"}


def test_phrases_of_own_languages_are_left_out() -> None:
    english = {"🍎": Annotation("red apple", ("apple",)), "🐶": Annotation("dog face", ("dog",))}
    german = {"🍎": Annotation("roter Apfel", ("Apfel",)), "🐶": Annotation("Hundegesicht", ("Hund",))}
    danish = {"🍎": Annotation("rødt æble", ("æble",)), "🐶": Annotation("Hund", ("hund",))}
    lexicon = build_lexicon({"da": danish}, {"en": english, "de": german}, lambda text: True)
    assert lexicon == {"rødt æble": "red apple"}
    assert Lexicon.from_compact(compact(lexicon)).meanings == lexicon
