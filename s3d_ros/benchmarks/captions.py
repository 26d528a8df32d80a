"""BLEU, ROUGE-L, CIDEr and METEOR of texts that are tokenised already, as counts that can be resampled.

The counting is pycocoevalcap's. What makes a corpus figure of the counts is written as a function of how often each
item is drawn, so that the same function gives the figure (each once) and its bootstrap interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from s3d_ros.benchmarks.bootstrap import Metric, mean_metric
from s3d_ros.benchmarks.java import JavaMissing, meteor_scores, meteor_statistics
from s3d_ros.types import F64

_TINY, _SMALL = 1e-15, 1e-9  # of pycocoevalcap's BLEU: no match at all is still a number
CAPTION_NAMES = ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "METEOR", "ROUGE-L", "CIDEr")


@dataclass(frozen=True)
class CaptionStatistics:
    """Of N items. bleu: (N, 10), matched n-grams and n-grams for n = 1 to 4, then lengths of caption and reference.

    rouge, cider: (N,). meteor: (N, 23), or None with the reason in ``no_meteor``.
    """

    bleu: F64
    rouge: F64
    cider: F64
    meteor: F64 | None
    no_meteor: str = ""


def caption_statistics(
    candidates: Sequence[Sequence[str]], references: Sequence[Sequence[str]]
) -> list[CaptionStatistics]:
    """Count what the metrics need for one or more sets of captions of the same items.

    candidates: each set has one text for each item. references: of each item, one at least. Texts are tokens joined by
    spaces. CIDEr's document frequencies are those of the references given here, and stay so when items are resampled.
    """
    flat = [said for several in candidates for said in several]
    with ThreadPoolExecutor(1) as pool:  # Java counts while Python does
        waiting = pool.submit(meteor_statistics, flat, [r for _ in candidates for r in references])
        counted = [_counts(several, references) for several in candidates]
        try:
            meteor, why = waiting.result(), ""
        except JavaMissing as error:
            meteor, why = None, str(error)
    n = len(references)
    return [
        CaptionStatistics(*counts, None if meteor is None else meteor[k * n : (k + 1) * n], why)
        for k, counts in enumerate(counted)
    ]


def _counts(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> tuple[F64, F64, F64]:
    from pycocoevalcap.bleu.bleu_scorer import cook_refs, cook_test
    from pycocoevalcap.cider.cider_scorer import CiderScorer
    from pycocoevalcap.rouge.rouge import Rouge

    bleu, rouges = np.zeros((len(candidates), 10)), np.zeros(len(candidates))
    cider, rouge = CiderScorer(), Rouge()
    for i, (said, several) in enumerate(zip(candidates, references, strict=True)):
        counts = cook_test(said, cook_refs(several), eff="closest")
        bleu[i] = [*counts["correct"], *counts["guess"], counts["testlen"], counts["reflen"]]
        rouges[i] = rouge.calc_score([said], several)
        cider += (said, several)
    _, ciders = cider.compute_score()
    return bleu, rouges, np.asarray(ciders, np.float64)


def bleu_scores(sums: F64) -> F64:
    """Return BLEU-1 to 4, (..., 4), of summed counts (..., 10)."""
    precisions = (sums[..., 0:4] + _TINY) / (sums[..., 4:8] + _SMALL)
    scores = np.cumprod(precisions, axis=-1) ** (1 / np.arange(1, 5))
    ratio = (sums[..., 8] + _TINY) / (sums[..., 9] + _SMALL)
    return np.asarray(scores * np.exp(np.minimum(1 - 1 / ratio, 0))[..., None])


def caption_metrics(statistics: CaptionStatistics, suffix: str = "") -> dict[str, Metric]:
    """Return the figures, times 100; METEOR only where there is Java."""

    def bleu(order: int) -> Metric:
        return lambda draws: 100 * bleu_scores(draws @ statistics.bleu)[..., order]

    metrics: dict[str, Metric] = {f"BLEU-{n + 1}{suffix}": bleu(n) for n in range(4)}
    counts = statistics.meteor
    if counts is not None:
        metrics[f"METEOR{suffix}"] = lambda draws: 100 * meteor_scores(draws @ counts)
    metrics[f"ROUGE-L{suffix}"] = mean_metric(100 * statistics.rouge)
    metrics[f"CIDEr{suffix}"] = mean_metric(100 * statistics.cider)
    return metrics
