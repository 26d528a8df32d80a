"""The tokeniser and METEOR really run, and when they don't it is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from benchmark_data import score_small, values

from s3d_ros.benchmarks.captions import bleu_scores, caption_statistics
from s3d_ros.benchmarks.files import BenchmarkError
from s3d_ros.benchmarks.java import JavaMissing, meteor_scores, meteor_statistics, ptb_tokens


def test_tokens():
    assert ptb_tokens(["A brown Chair (small).", "it's 2.5m, isn't it?"]) == [
        "a brown chair -lrb- small -rrb-",
        "it 's 2.5 m is n't it",
    ]


def test_no_text_shifts_the_others():
    """A carriage return, U+2028 or a vertical tab is a line's end to Java: with pycocoevalcap "four" would get "c"."""
    texts = ["one chair", "   ", "", "two\nchairs", "\u2028", "...", "three\rchairs", "a\u2028b\x0bc", "four"]
    assert ptb_tokens(texts) == ["one chair", "", "", "two chairs", "", "", "three chairs", "a b c", "four"]


def test_tokens_do_not_depend_on_the_next_text():
    """pycocoevalcap's tokeniser gives "no." here, for it takes it for "No. 12"."""
    assert ptb_tokens(["No.", "12", "etc.", "The end"]) == ["no", "12", "etc.", "the end"]


def test_no_java_leaves_what_needs_none(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "/nowhere")
    result = score_small("scanqa")
    assert values(result)["EM@1"] == 12.5 and "CIDEr" not in result["metrics"]
    assert set(result["not_computed"]) == {"BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "METEOR", "ROUGE-L", "CIDEr"}
    assert "apt-get install default-jre-headless" in result["not_computed"]["METEOR"]
    without_ptb = score_small("scanqa", "leo")
    assert set(without_ptb["not_computed"]) == {"METEOR"} and values(without_ptb)["CIDEr"] > 0
    with pytest.raises(JavaMissing):
        meteor_statistics(["a"], [["a"]])


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("cat > /dev/null", "lines went in, 0 came back"),
        ("cat > /dev/null; echo it broke >&2; exit 1", "Java failed with 1: it broke"),
        ("sed 2d", "6 lines went in, 5 came back"),
        ("cat", "where \"the robot 's box"),  # gives back what it got
    ],
)
def test_a_tokeniser_that_does_not_run_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, why: str
):
    java = tmp_path / "java"
    java.write_text(f"#!/bin/sh\n{script}\n")
    java.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(BenchmarkError, match=why):
        ptb_tokens(["a chair"])


@pytest.mark.slow
def test_meteor_is_its_own_programs_to_the_last_digit():
    """The figures are what METEOR 1.5 itself gives for EVAL of these counts."""
    candidates = ["a brown chair", "", "on the table", "chair", "x ||| y", "chair"]
    references = [
        ["brown wooden chair by the desk", "the brown chair"],
        ["two"],
        ["at the desk"],
        ["chair"],
        ["x y"],
        ["chair"],
    ]
    counts = meteor_statistics(candidates, references)
    assert meteor_scores(counts) == pytest.approx([0.409431138876279, 0, 0.26749501073250226, 1, 1, 1], abs=1e-12)
    assert meteor_scores(counts.sum(axis=0)) == pytest.approx(0.45641563883199665, abs=1e-12)


def test_bleu_by_hand():
    # "a b c d" against "a b c e" and nothing shorter: 3/4, 2/3, 1/2, 0
    [statistics] = caption_statistics_without_meteor(["a b c d"], [["a b c e"]])
    assert statistics.bleu[0].tolist() == [3, 2, 1, 0, 4, 3, 2, 1, 4, 4]
    assert bleu_scores(statistics.bleu[0])[:3] == pytest.approx([3 / 4, np.sqrt(1 / 2), (1 / 4) ** (1 / 3)], abs=1e-6)
    # half as long as its reference: precision 1, brevity exp(1 - 2)
    [short] = caption_statistics_without_meteor(["a b"], [["a b c d"]])
    assert bleu_scores(short.bleu[0])[0] == pytest.approx(np.exp(-1), abs=1e-6)


def caption_statistics_without_meteor(candidates: list[str], references: list[list[str]]):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", "/nowhere")
        return caption_statistics([candidates], references)
