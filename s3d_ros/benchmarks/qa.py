"""ScanQA and SQA3D: short answers against those that people gave."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from s3d_ros.benchmarks.annotations import SQA3D_TYPES, QaItem
from s3d_ros.benchmarks.bootstrap import mean_metric
from s3d_ros.benchmarks.captions import CAPTION_NAMES, caption_metrics, caption_statistics
from s3d_ros.benchmarks.cleaning import Normalisation, clean, contained, exact, exact_first, without_stop
from s3d_ros.benchmarks.java import JavaMissing, ptb_tokens
from s3d_ros.benchmarks.predictions import Prediction
from s3d_ros.benchmarks.scored import Scored, ScoreSettings, by_kind

_CLASSES = ("place", "number", "color", "object nature", "object", "other")
_RULES = {
    Normalisation.official: "ScanQA's own: texts are compared as they are, capitals and full stops too",
    Normalisation.gpt4scene: "GPT4Scene's: full stop and first capital off, prediction cleaned, references as they are",
    Normalisation.leo: "LEO's: prediction and references cleaned",
}
_SQA3D_RULES = {
    Normalisation.official: "SQA3D's own cleaning of prediction and answers",
    Normalisation.gpt4scene: "GPT4Scene's: full stop and first capital off, then SQA3D's cleaning of both",
    Normalisation.leo: "LEO's, which is SQA3D's own cleaning of both",
}


def score_scanqa(items: Sequence[QaItem], predictions: Sequence[Prediction | None], settings: ScoreSettings) -> Scored:
    """Score ScanQA: EM@1, BLEU-1 to 4, METEOR, ROUGE-L, CIDEr; EM-R too where the preset has it.

    A question without a prediction counts as one with an empty one: wrong, and an empty caption.
    """
    preset = settings.normalisation
    raw = [p.text if p else "" for p in predictions]
    said = [_prepared(text, preset) for text in raw]
    cleaned_references = preset is Normalisation.leo
    answers = [tuple(map(clean, item.answers)) if cleaned_references else item.answers for item in items]
    em = 100.0 * np.array([exact(s, a) for s, a in zip(said, answers, strict=True)])
    metrics = {"EM@1": mean_metric(em)}
    if preset is not Normalisation.official:
        refined = [e or contained(s, a) for e, s, a in zip(em, said, answers, strict=True)]
        metrics["EM-R@1"] = mean_metric(100.0 * np.array(refined, dtype=bool))
    if preset is Normalisation.leo:
        first = [exact_first(s, a) for s, a in zip(said, answers, strict=True)]
        metrics["EM@1, as LEO's code"] = mean_metric(100.0 * np.array(first))
    kinds, count = by_kind("EM@1", em, [item.kind for item in items], _CLASSES)
    points, not_computed, tokeniser = em / 100, {}, "none: texts are split at white space"
    try:
        if preset is Normalisation.leo:
            texts, references = said, [list(a) for a in answers]
        else:
            texts, references = _tokenised(said, answers)
            tokeniser = "PTB (Stanford CoreNLP 3.4.1), checked with a known sentence"
        statistics = caption_statistics([texts], references)[0]
        metrics |= caption_metrics(statistics)
        points = np.maximum(points, statistics.rouge)
        if statistics.no_meteor:
            not_computed = {"METEOR": statistics.no_meteor}
    except JavaMissing as error:
        not_computed = dict.fromkeys(CAPTION_NAMES, str(error))
    return Scored(
        metrics | kinds,
        points,
        np.array([p is not None and not t.strip() for p, t in zip(predictions, raw, strict=True)]),
        raw,
        [list(item.answers) for item in items],
        {"answers": _RULES[preset], "tokeniser": tokeniser},
        count,
        not_computed,
    )


def score_sqa3d(items: Sequence[QaItem], predictions: Sequence[Prediction | None], settings: ScoreSettings) -> Scored:
    """Score SQA3D: EM and EM-R, over all and by type. An empty prediction is wrong in both."""
    raw = [p.text if p else "" for p in predictions]
    preset = settings.normalisation
    said = [clean(without_stop(text) if preset is Normalisation.gpt4scene else text) for text in raw]
    return exact_scored(items, predictions, raw, said, ("EM", "EM-R"), (*SQA3D_TYPES, "other"), _SQA3D_RULES[preset])


def exact_scored(
    items: Sequence[QaItem],
    predictions: Sequence[Prediction | None],
    raw: Sequence[str],
    said: Sequence[str],
    names: tuple[str, str],
    kinds: Sequence[str],
    rule: str,
) -> Scored:
    """Score cleaned predictions against cleaned answers: exactly, and by containment either way."""
    answers = [tuple(map(clean, item.answers)) for item in items]
    em = np.array([exact(s, a) for s, a in zip(said, answers, strict=True)], dtype=bool)
    refined = em | np.array([contained(s, a) for s, a in zip(said, answers, strict=True)], dtype=bool)
    metrics = {names[0]: mean_metric(100.0 * em), names[1]: mean_metric(100.0 * refined)}
    count: dict[str, int] = {}
    for name, values in zip(names, (em, refined), strict=True):
        of_kind, of_count = by_kind(name, 100.0 * values, [item.kind for item in items], kinds)
        metrics, count = metrics | of_kind, count | of_count
    return Scored(
        metrics,
        (em + 1.0 * refined) / 2,
        np.array([p is not None and not s.strip() for p, s in zip(predictions, said, strict=True)], dtype=bool),
        raw,
        [list(item.answers) for item in items],
        {"answers": rule},
        count,
    )


def _prepared(text: str, preset: Normalisation) -> str:
    if preset is Normalisation.official:
        return text
    return clean(without_stop(text) if preset is Normalisation.gpt4scene else text)


def _tokenised(said: Sequence[str], answers: Sequence[Sequence[str]]) -> tuple[list[str], list[list[str]]]:
    tokens = iter(ptb_tokens([*said, *(answer for several in answers for answer in several)]))
    return [next(tokens) for _ in said], [[next(tokens) for _ in several] for several in answers]
