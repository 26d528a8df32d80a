"""How the small model's decoder begins: as a look-up of what words name, in vectors that words and pictures share.

A thing that is named is found on the picture by its number, and in the legend by its number or its category; where it
lies is then told to what comes after. The layers only begin so: all but the first one's queries and keys are trained.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast

from s3d_ros.offline.questions_wordings import plural
from s3d_ros.train.small.sprites import LABELS

# An object is one token, so that whoever names it needs nothing else to look for it
NUMBERS = tuple(f"<OBJ{n:03d}>" for n in range(1000))
BLANK = "\u0120"  # as byte-level tokenizers write it
TURNED_BY = 1e7  # rotary base: what is far away can still be found by content
PLACE_SCALE = 8.0  # a cell's token holds (place - 0.5) so many times, along vectors of length 1
TURN_SCALE = 3.0  # and its place as turns so many times
LOOKED_UP = 6  # layers that ``look_up`` makes
_BACK_TO_LABEL = 2  # in "chair=<OBJ012>"
_BACK_TO_NAME = 4  # from one named thing to the one before it, in most questions
_FLAGS = ("named", "listed", "word", "end", "text", "nothing", "seen")
_TURNS = 8
_NOT_ITSELF, _ALIKE, _WHOM = 2.0, 2.0, 2.0
_TEXT, _SEEN, _USUAL_REACH, _WORD_LENGTH = 0.8, 8.0, 0.1, 0.9


@dataclass(frozen=True)
class Codes:
    """The vectors that words and pictures' cells share.

    digits: (3, 10, d) hundreds, tens, units. labels: (L, d). places: (3, 4, d) where a thing's middle is along both
    axes and how far it reaches; that of the thing itself, of the one named before it, of the one before that. turns:
    (8, d) its place once more, as ``turns_of`` writes it. flags: a thing named in a question, a number in the legend, a
    word for a category, the end of a text, any word, what is looked at by those who look for nothing (the system text,
    which stands first), and a picture's cell.
    """

    digits: torch.Tensor
    labels: torch.Tensor
    places: torch.Tensor
    turns: torch.Tensor
    flags: dict[str, torch.Tensor]


@cache
def codes(hidden: int) -> Codes:
    """Return the vectors of a width; always the same, not to be written to."""
    rng = np.random.default_rng(20)
    digits, labels = (
        torch.from_numpy(rng.normal(0, hidden**-0.5, (*n, hidden))).float() for n in ((3, 10), (len(LABELS),))
    )
    taken = [*digits.flatten(0, 1), *digits.roll(hidden // 2, dims=-1).flatten(0, 1)]
    own = []
    named = 12 + len(_FLAGS)
    for _ in range(named + _TURNS):
        one = torch.from_numpy(rng.normal(0, 1, hidden)).float()
        if len(taken) + 2 <= hidden:  # in narrow models they are only unlike each other
            basis = torch.linalg.svd(torch.stack(taken), full_matrices=False).Vh
            one = one - basis.T @ (basis @ one)
        own.append(one / one.norm())
        taken += [own[-1], own[-1].roll(hidden // 2)]
    if len(own) < hidden // 2:
        basis = torch.linalg.svd(torch.stack(own), full_matrices=False).Vh
        labels = labels - labels @ basis.T @ basis
    places, flags, turns = torch.stack(own[:12]).unflatten(0, (3, 4)), own[12:named], torch.stack(own[named:])
    return Codes(digits, labels, places, turns, dict(zip(_FLAGS, flags, strict=True)))


def turns_of(places: torch.Tensor) -> torch.Tensor:
    """Return places (..., 2), shares of the picture, as (..., 8): cosine and sine of half a turn and a whole one.

    Their product tells how close two places are, so that who looks for what is near looks for what is alike.
    """
    angle = places[..., None] * torch.tensor([math.pi, 2 * math.pi])
    return torch.stack([angle.cos(), angle.sin()], dim=-1).flatten(-3)


def seen_digits(hidden: int) -> torch.Tensor:
    """Return the vectors (3, 10, d) of digits as cells hold them: words', turned by half their length."""
    return codes(hidden).digits.roll(hidden // 2, dims=-1)


def seen_places(hidden: int) -> torch.Tensor:
    """Return the vectors (4, d) of places as cells hold them, turned likewise."""
    return codes(hidden).places[0].roll(hidden // 2, dims=-1)


def seen_turns(hidden: int) -> torch.Tensor:
    """Return the vectors (8, d) of places as turns as cells hold them, turned likewise."""
    return codes(hidden).turns.roll(hidden // 2, dims=-1)


def number_ids(tokenizer: PreTrainedTokenizerFast) -> torch.Tensor:
    """Return the tokens (2, 1000) of objects' numbers, without a blank before them and with one."""
    known = tokenizer.get_vocab()
    return torch.tensor([[known[f"{blank}{n}"] for n in NUMBERS] for blank in ("", BLANK)])


@torch.no_grad()
def look_up(decoder: Any, tokenizer: PreTrainedTokenizerFast, stop_id: int, first_ids: Sequence[int]) -> None:
    """Let the layers begin as look-ups. stop_id: the token that ends each text; first_ids: those a prompt begins with.

    1. A number finds the cells that show it, and takes over what they hold: cells hold vectors turned by half their
       length, so a word does not find itself.
    2. A number in the legend takes over the category before it.
    3. What is named finds itself in the legend, numbers by their digits, categories by what numbers took over.
    4. What is named takes over the places of the two named before it.
    5. The end of a question takes over what it finds at the last name.
    6. It then finds what is near that, of its category, among what is listed, and what is near it among what is named.

    Of fewer layers only the first are made.
    """
    width = decoder.config.hidden_size
    shared = codes(width)
    _words(decoder.embed_tokens.weight, tokenizer, stop_id, first_ids, shared)
    seed = torch.Generator().manual_seed(22)
    makers = (_find_cells, _find_label, _find_listed, _find_named, _gather, _find_near)
    for layer, make in zip(decoder.layers, makers, strict=False):
        make(layer.self_attn, shared, seed)


@torch.no_grad()
def mark_cells(projector: Any) -> None:
    """Let the tokens of pictures' cells tell that they are such, and hold nothing of what only words are to hold.

    And let them hold how far things reach about what is usual, not about half of the picture.
    """
    width = projector.linear_2.out_features
    words = _span(torch.stack(list(codes(width).flags.values())))
    for held in (projector.linear_2.weight, projector.linear_2.bias):
        held.sub_(words @ held)
    projector.linear_2.bias.add_(_SEEN * codes(width).flags["seen"])
    projector.linear_2.bias.add_(PLACE_SCALE * (0.5 - _USUAL_REACH) * seen_places(width)[2:].sum(dim=0))


@torch.no_grad()
def unmark_cells(projector: Any) -> None:
    """Undo what ``mark_cells`` adds, so that the encoder can learn on."""
    width = projector.linear_2.out_features
    projector.linear_2.bias.sub_(_SEEN * codes(width).flags["seen"])
    projector.linear_2.bias.sub_(PLACE_SCALE * (0.5 - _USUAL_REACH) * seen_places(width)[2:].sum(dim=0))


def _words(
    words: torch.Tensor, tokenizer: PreTrainedTokenizerFast, stop_id: int, first_ids: Sequence[int], shared: Codes
) -> None:
    flags, n = shared.flags, torch.arange(1000)
    # Else numbers, which are long, are said all the time
    words.mul_(_WORD_LENGTH * words.shape[1] ** -0.5 / words.std())
    words[stop_id] = 1.5 * flags["end"]
    told = shared.digits[0, n // 100] + shared.digits[1, n // 10 % 10] + shared.digits[2, n % 10]
    bare, blank = number_ids(tokenizer)  # in the legend and in answers they stand without a blank
    words[bare], words[blank] = told + flags["listed"], told + flags["named"]
    known = tokenizer.get_vocab()
    for code, label in zip(shared.labels, LABELS, strict=True):
        for form in {label.split()[-1], plural(label).split()[-1]}:
            for word, flag in ((form, 0.0), (f"{BLANK}{form}", flags["named"])):
                if word in known:
                    words[known[word]] = code + flags["word"] + flag
    words += _TEXT * flags["text"]
    words[first_ids] = 4 * flags["nothing"]  # much, beside what layers add to it


def _find_cells(at: Any, shared: Codes, seed: torch.Generator) -> None:
    half = at.q_proj.in_features // 2
    # By digits alone: beside what else a real cell holds, of its place and its surroundings, they are little
    digits = _span(_centred_digits(shared))
    at.q_proj.weight.copy_(_orthogonal(at, seed) @ digits * _slow(at))
    at.k_proj.weight.copy_(at.q_proj.weight.roll(half, dims=1))
    kept = 0.03 * torch.eye(len(digits)) + 0.6 * digits + 0.8 * (_span(shared.places[0]) + _span(shared.turns))
    _carry(at, kept.roll(half, dims=1), seed)
    _sink(at, shared, seed, 0.02)
    _sharpen(at, 2.6)


def _find_label(at: Any, shared: Codes, seed: torch.Generator) -> None:
    asks, is_asked = _steps_back(at, _BACK_TO_LABEL, range(_fast(at.head_dim)))
    _let(at, asks, is_asked, shared.flags["listed"], shared.flags["word"], seed)
    _carry(at, 0.4 * _span(shared.labels).roll(_quarter(at), dims=0), seed)
    _sink(at, shared, seed)
    _sharpen(at, 1.8)


def _find_listed(at: Any, shared: Codes, seed: torch.Generator) -> None:
    mixed, labels, digits = _orthogonal(at, seed), _span(shared.labels), _span(_centred_digits(shared))
    meet = _meet(at, seed) * 0.7
    at.q_proj.weight.copy_(mixed @ (labels + digits) * _slow(at) + torch.outer(meet, shared.flags["named"]))
    taken = labels.roll(_quarter(at), dims=1)  # turned back
    at.k_proj.weight.copy_(mixed @ (taken + digits) * _slow(at) + torch.outer(meet, shared.flags["listed"]))
    _carry(at, 0.3 * _all_but_nothing(shared) + 0.2 * _span(shared.turns), seed)
    _sink(at, shared, seed)
    _sharpen(at, 2.0)


def _find_named(at: Any, shared: Codes, seed: torch.Generator) -> None:
    d = at.head_dim
    named = shared.flags["named"]
    meet = _meet(at, seed)
    asks, is_asked = meet.clone(), meet.clone()
    for head in (0, 1):
        part = slice(head * d, (head + 1) * d)
        back = _steps_back(at, _BACK_TO_NAME * (head + 1), range(1, 4))
        asks[part], is_asked[part] = meet[part] + back[0][part], meet[part] + back[1][part]
    _let(at, asks, is_asked, named, named, seed)
    _carry(at, 0.1 * (_all_but_nothing(shared) - _span(shared.turns)), seed)
    for head in (0, 1):
        _carry_places(at, head, shared, 0.4)
    _sink(at, shared, seed)
    _sharpen(at, 2.0)


def _gather(at: Any, shared: Codes, seed: torch.Generator) -> None:
    d = at.head_dim
    asks, is_asked = _steps_back(at, 0, range(4, 7))
    meet = _meet(at, seed)
    flags, digits = shared.flags, _span(_centred_digits(shared))
    _let(at, meet + asks, meet + is_asked, flags["end"], flags["named"], seed)
    category = slice(2 * d, 3 * d)  # this head looks for what is sought, which need not be named last
    at.q_proj.weight[category] = torch.outer(meet[category], flags["end"])
    both = flags["word"] + flags["named"] - 1.2 * flags["text"]  # words of questions alone; keys have one length
    at.k_proj.weight[category] = torch.outer(meet[category], both) + torch.outer(asks[category], 0.5 * flags["text"])
    kept = 0.15 * _all_but_nothing(shared) + 0.2 * _span(shared.places.flatten(0, 1)) + 0.3 * _span(shared.turns)
    kept = kept - 0.08 * digits  # else each question is answered by the last thing's number
    _carry(at, kept + 0.3 * digits.roll(_quarter(at), dims=0), seed)
    if len(at.o_proj.weight[0, category]):
        at.o_proj.weight[:, category] = 1.5 * _span(shared.labels) @ at.v_proj.weight[category].T
    _sink(at, shared, seed)
    _sharpen(at, 2.0)


def _find_near(at: Any, shared: Codes, seed: torch.Generator) -> None:
    d, quarter = at.head_dim, _quarter(at)
    slowest = torch.tensor([k + half for half in (0, d // 2) for k in range(d // 2 - _TURNS // 2, d // 2)])
    mixed, meet = _orthogonal(at, seed) * _slow(at), _meet(at, seed)
    labels, digits = _span(shared.labels), _span(_centred_digits(shared))
    # What it is near to is named itself, and is not looked for
    asks = [-_NOT_ITSELF * digits.roll(quarter, dims=1)] * 3
    asks[0] = asks[0] + _ALIKE * labels
    for head in range(at.q_proj.out_features // d):
        part, at_turns = slice(head * d, (head + 1) * d), head * d + slowest
        mixed[at_turns] = 0.0
        meet[at_turns] = 0.0
        whom = shared.flags["named" if head == 1 else "listed"]
        at.q_proj.weight[part] = mixed[part] @ asks[head % 3] + torch.outer(_WHOM * meet[part], shared.flags["end"])
        at.k_proj.weight[part] = mixed[part] @ (digits + _ALIKE * labels.roll(quarter, dims=1))
        at.k_proj.weight[part] += torch.outer(_WHOM * meet[part], whom)
        at.q_proj.weight[at_turns] = at.k_proj.weight[at_turns] = shared.turns
    _carry(at, 0.3 * digits, seed)
    _sink(at, shared, seed)
    _sharpen(at, 3.0)


def _let(
    at: Any, asks: torch.Tensor, is_asked: torch.Tensor, who: torch.Tensor, whom: torch.Tensor, seed: torch.Generator
) -> None:
    """Let tokens that hold ``who`` look at those that hold ``whom``, by vectors of all heads."""
    for part, held, flag in ((at.q_proj, asks, who), (at.k_proj, is_asked, whom)):
        part.weight.copy_(0.05 * _orthogonal(at, seed) + torch.outer(held, flag))


def _sink(at: Any, shared: Codes, seed: torch.Generator, cells: float = 1.0) -> None:
    """Let those who look for nothing look at the first token, which holds nothing, and at nothing that isn't marked."""
    meet, flags = _meet(at, seed), shared.flags
    at.q_proj.weight.add_(torch.outer(0.5 * meet, flags["text"]))
    away = flags["nothing"] - 0.5 * flags["text"] - cells * flags["seen"]
    at.k_proj.weight.add_(torch.outer(meet, away))


def _carry(at: Any, matrix: torch.Tensor, seed: torch.Generator) -> None:
    """Let what is looked at be taken over through a matrix (d, d)."""
    at.v_proj.weight.copy_(_orthogonal(at, seed))
    at.o_proj.weight.copy_(matrix @ at.v_proj.weight.T)


def _all_but_nothing(shared: Codes) -> torch.Tensor:
    nothing = shared.flags["nothing"]
    return torch.eye(len(nothing)) - torch.outer(nothing, nothing)


def _carry_places(at: Any, head: int, shared: Codes, share: float) -> None:
    """Let a head's first four values be a place, and take it over as that of the one, or the second one, before."""
    own, other = shared.places[0], shared.places[head + 1]
    part = slice(head * at.head_dim, (head + 1) * at.head_dim)
    value = at.v_proj.weight[part] - at.v_proj.weight[part] @ own.T @ own
    value[:4] = own
    at.v_proj.weight[part] = value
    taken = 0.1 * _all_but_nothing(shared) @ value.T
    taken[:, :4] = share * other.T
    at.o_proj.weight[:, part] = taken


def _steps_back(at: Any, steps: int, pairs: range) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what asks (all heads) and what is asked, so that they meet best so many tokens apart."""
    d = at.head_dim
    i = torch.tensor(list(pairs))
    speed = TURNED_BY ** (-2 * i / d)
    asks, is_asked = torch.zeros(d), torch.zeros(d)
    is_asked[i] = 1.0
    asks[i], asks[i + d // 2] = (steps * speed).cos(), -(steps * speed).sin()
    heads = at.q_proj.out_features // d
    return (asks / asks.norm()).repeat(heads), (is_asked / is_asked.norm()).repeat(heads)


def _meet(at: Any, seed: torch.Generator) -> torch.Tensor:
    """Return a vector of all heads by which two meet however far apart they stand."""
    head = torch.randn(at.head_dim, generator=seed) * _slow_pairs(at.head_dim)
    return (head / head.norm()).repeat(at.q_proj.out_features // at.head_dim)


def _orthogonal(at: Any, seed: torch.Generator) -> torch.Tensor:
    return torch.linalg.qr(torch.randn(at.q_proj.weight.shape, generator=seed))[0]


def _centred_digits(shared: Codes) -> torch.Tensor:
    return (shared.digits - shared.digits.mean(dim=1, keepdim=True)).flatten(0, 1)


def _span(vectors: torch.Tensor) -> torch.Tensor:
    """Return what projects on the span of (N, d) vectors, (d, d)."""
    _, size, basis = torch.linalg.svd(vectors, full_matrices=False)
    basis = basis[size > 1e-3 * size[0]]
    return basis.T @ basis


def _sharpen(at: Any, scale: float) -> None:
    at.q_norm.weight.fill_(scale)
    at.k_norm.weight.fill_(scale)


def _slow(at: Any) -> torch.Tensor:
    """Return 1 for the rows (all heads, 1) that hardly turn over a prompt."""
    return _slow_pairs(at.head_dim).repeat(at.q_proj.out_features // at.head_dim)[:, None]


def _slow_pairs(head_dim: int) -> torch.Tensor:
    return (torch.arange(head_dim) % (head_dim // 2) >= _fast(head_dim)).float()


def _fast(head_dim: int) -> int:
    """Return how many of a head's pairs turn fast enough to tell neighbours apart: the first ones."""
    return head_dim // 5


def _quarter(at: Any) -> int:
    """Return by how much what is taken over from the legend's categories is turned, to be told from one's own."""
    return int(at.q_proj.in_features) // 4
