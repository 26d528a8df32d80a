"""From sentences to slots: tokens, names and IDs, options, stated viewpoints."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s3d_ros.answer.language import pattern, tokenize
from s3d_ros.answer.lexicon import RESERVED, forms, labels_for, plural, synonyms
from s3d_ros.answer.mentions import Lexicon, Slotted, slotted
from s3d_ros.answer.options import read_options
from s3d_ros.answer.parsed import parse
from s3d_ros.answer.refusal import Refusal
from s3d_ros.answer.viewpoint import View, take_view
from s3d_ros.types import ErrorCode, Question

LABELS = frozenset({"chair", "sofa", "computer mouse", "table lamp", "table", "trash can", "shoes", "tv", "door"})
LEXICON = Lexicon(LABELS)


def slots(text: str, lexicon: Lexicon = LEXICON) -> Slotted:
    return slotted(tokenize(text), lexicon, {3: 0, 5: 0, 12: 0})


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("What's the chair(s)?", "what is the chairs ?"),
        ("How many shoes(s)", "how many shoes"),
        ("I'm at the bed, don't", "i am at the bed , do not"),
        ("the sofa’s front-left", "the sofa 's front left"),
        ("in sq. m, in m², 2.5m or 30cm", "in squaremetres , in squaremetres , 2.5 metres or 30 centimetres"),
        ("(in meters)", "( in metres )"),
        ("in inches or square feet", "in inches or squarefeet"),
        ("1. Go 2. [please fill in] 3. Go", "stepmark go stepmark blankturn stepmark go"),
        ("is it chair 2. Then", "is it chair 2 . then"),
        ("go, then ___, go", "go , then blankturn , go"),
        ("go, <turn left or right?>, go {fill in} go", "go , blankturn , go blankturn go"),
        ("of [the bed, sofa] i.e. which", "of [ the bed , sofa ] that is which"),
        ("<OBJ012>", "< obj 012 >"),
        ("bed -> sofa → tv", "bed -> sofa -> tv"),
    ],
)
def test_tokens(text: str, tokens: str) -> None:
    assert tokenize(text) == tokens.split()


@pytest.mark.parametrize(
    ("one", "many"), [("shelf", "shelves"), ("box", "boxes"), ("mouse", "mice"), ("tray", "trays"), ("baby", "babies")]
)
def test_plurals(one: str, many: str) -> None:
    assert plural(one) == many


def test_forms_of_names_that_are_plural_already() -> None:
    assert forms(("shoes",)) == {("shoes",): True, ("shoe",): False}
    assert forms(("computer", "mouse"))[("computer", "mice")] is True
    assert forms(("shelf", "2")) == {("shelf", "2"): False}


def test_no_everyday_word_is_reserved_or_said_of_two_things() -> None:
    assert not RESERVED & set(synonyms())
    groups = [frozenset(group) for group in synonyms().values() if len(group) > 1]
    for word in synonyms():
        assert len({g for g in groups if word in g}) <= 1, word


@pytest.mark.parametrize(
    ("word", "labels"),
    [
        ("sofa", ("sofa",)),
        ("couch", ("sofa",)),
        ("mouse", ("computer mouse",)),
        ("lamp", ("table lamp",)),
        ("light", ("table lamp",)),
        ("rubbish bin", ("trash can",)),
        ("table", ("table",)),  # not the table lamp
        ("piano", ()),
    ],
)
def test_labels_that_a_word_stands_for(word: str, labels: tuple[str, ...]) -> None:
    assert labels_for(word, LABELS) == labels


def test_a_label_of_the_map_wins_over_a_synonym() -> None:
    assert labels_for("mug", frozenset({"mug", "cup"})) == ("mug",)
    assert labels_for("cup", frozenset({"mug", "cup"})) == ("cup",)
    assert labels_for("cup", frozenset({"mug"})) == ("mug",)


@pytest.mark.parametrize(
    ("text", "slotted_text", "words"),
    [
        ("the telly and computer mice", " the @0 and @1 ", ["television telly"[11:], "computer mouse"]),
        ("how far is chair 12 from #5", " how far is @0 from @1 ", ["chair 12", "object 5"]),
        ("object 3, 5 and 12", " @0 , @1 and @2 ", ["object 3", "object 5", "object 12"]),
        ("<OBJ012> or the chair with id 3", " @0 or the @1 ", ["object 12", "chair 3"]),
        ("the closest chair to me", " the nearest @0 ", ["chair"]),
        ("the chair that is nearest to me", " the nearest @0 ", ["chair"]),
        ("the two chairs", " the two @0 ", ["chair"]),
        ("is there light", " is there light ", []),
        ("the chair\nanswer", " the @0 ~ answer ", ["chair"]),
    ],
)
def test_slots(text: str, slotted_text: str, words: list[str]) -> None:
    found = slots(text)
    assert found.text == slotted_text
    assert [m.word for m in found.mentions] == words


def test_what_a_mention_keeps() -> None:
    nearest, two, numbered = (slots(t).mentions[0] for t in ("the nearest chair", "both chairs", "chair 12"))
    assert nearest.nearest and not nearest.plural
    assert two.count == 2 and two.plural
    assert numbered.object_id == 12 and numbered.labels == ("chair",)


def test_things_listed_together() -> None:
    found = slots("which of these (sofa, the tv, chair or door) is the closest to the table?")
    assert found.groups == ((0, 1, 2, 3), (4,))


def test_odd_labels_of_a_map_do_not_break_the_language() -> None:
    lexicon = Lexicon(frozenset({"is", "left", "object", "@", "", "12", "the chair", "a b c"}))
    assert slots("is the object left", lexicon).mentions == ()
    assert [m.word for m in slots("where is a b c", lexicon).mentions] == ["a b c"]


@pytest.mark.parametrize(
    ("text", "stem", "options"),
    [
        ("Which? A. left B. right", "Which?", {"A": "left", "B": "right"}),
        ("Which?\nA) left\nB) right\nAnswer with the letter.", "Which?\nAnswer with the letter.", None),
        ("Which way (a) left (b) right", "Which way", {"A": "left", "B": "right"}),
        ("Which? Options: left; right; back", "Which? ", {"A": "left", "B": "right", "C": "back"}),
        ("Is it A. or not", "Is it A. or not", {}),
    ],
)
def test_options_in_the_text(text: str, stem: str, options: dict[str, str] | None) -> None:
    left, found = read_options(text, ())
    assert left == stem
    assert {o.letter: o.text for o in found} == (options if options is not None else {"A": "left", "B": "right"})


@pytest.mark.parametrize(
    ("given", "letters"),
    [
        (("left", "right"), "AB"),
        (("B. left", "A) right"), "BA"),
        (("(c) left", "[d] right"), "CD"),
        (("a chair", "the door"), "AB"),
    ],
)
def test_options_beside_the_text(given: tuple[str, ...], letters: str) -> None:
    _, options = read_options("Which?", given)
    assert "".join(o.letter for o in options) == letters


@pytest.mark.parametrize(
    "given",
    [
        ("left",),
        ("left", ""),
        ("left", " . "),
        ("left", "Left."),
        ("A. left", "A. right"),
        ("A. left", "B. right", "back"),
        tuple(f"thing {i}" for i in range(30)),
        ("x" * 1000, "y"),
    ],
)
def test_broken_options(given: tuple[str, ...]) -> None:
    with pytest.raises(Refusal) as refused:
        read_options("Which?", given)
    assert refused.value.code == ErrorCode.BAD_QUESTION


@pytest.mark.parametrize(
    ("text", "view"),
    [
        (" if i am standing by the @0 and facing the @1 , is the @2 left ", View(0, 1)),
        (" i am at the @0 looking at the @1 ~ which side is the @2 on ", View(0, 1)),
        (" from the @0 facing the @1 , is the @2 left or right ", View(0, 1)),
        (" looking from the @0 to the @1 , where is the @2 ", View(0, 1)),
        (" standing at the @0 with my back to the @1 , what is left ", View(0, None, 1)),
        (" you are a robot beginning at the @0 facing the @1 ~ go to the @2 ", View(0, 1)),
        (" what is left of the @0 as seen from the @1 ", View(1)),
        (" when i face the @0 , is the @1 left ", View(None, 0)),
        (" which @0 is facing the @1 ", View()),
        (" is the @0 facing the @1 ", View()),
        (" what is standing on the @0 ", View()),
        (" how far is the @0 from the @1 ", View()),
        (" which @0 is located near the @1 ", View()),
        (" looking at the @0 , the @1 and the @2 , which is closest to the @3 ", View()),
        (" how far is the @0 from the @1 facing the @2 ", View(1, 2, loose=True)),
        (" the view from the @0 towards the @1 , is the @2 left ", View(0, 1)),
        (" with the @0 as my position and the @1 as what i face , is the @2 left ", View(0, 1)),
        (" a robot at the @0 ~ its camera faces the @1 ~ is the @2 left ", View(0, 1, loose=True)),
        (" how far is the @0 from the person standing at the @1 ", View(1, loose=True)),
    ],
)
def test_stated_viewpoints(text: str, view: View) -> None:
    assert take_view(text)[1] == view


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Hey robot, could you please tell me how far the chair is?", " ~ how far the @0 is ~ "),
        ("Do you know if the chair is near the table?", " ~ is the @0 near the @1 ~ "),
        ("I wonder where the chair is right now.", " ~ where the @0 is ~ "),
        ("Where is the chair? Answer with a single word.", " ~ where is the @0 ~ "),
        ("Is it left? An object is to my back if I would have to turn at least 135 degrees.", " ~ is it left ~ "),
    ],
)
def test_phrases_that_ask_nothing_are_taken_out(text: str, left: str) -> None:
    assert parse(Question(text), LEXICON, {}).text == left


def test_patterns_read_over_articles() -> None:
    far = pattern(r"how far(?: away)? is @")
    assert far.search(" so how far away is the nearest @3 ")
    assert not far.search(" how far is red @3 ")
    assert not far.search(" how farther is @3 ")


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200))
def test_any_text_becomes_tokens_without_spaces(text: str) -> None:
    for token in tokenize(text):
        assert token and token == token.lower() and not set(token) & set(" \t@~")


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from([*sorted(LABELS), "the", "and", "12", "#", "nearest", "two", "to", "me", ","]), max_size=15
    )
)
def test_slots_count_up_and_groups_hold_each_once(parts: list[str]) -> None:
    found = slots(" ".join(parts))
    in_text = [int(t[1:]) for t in found.text.split() if t.startswith("@")]
    assert in_text == list(range(len(found.mentions)))
    assert [k for group in found.groups for k in group] == in_text
