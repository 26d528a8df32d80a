"""The two Java programs of the caption metrics: the PTB tokeniser and METEOR, out of ``pycocoevalcap``.

pycocoevalcap's own wrappers go on silently when Java fails, and a carriage return in a caption makes two lines of it:
all captions after it are compared with the wrong references. Here white space is made plain, the lines that come
back are counted, and a known sentence goes first and last. The tokeniser also looks across the line's end ("No." before
a line that begins with a digit stays "no."): a plain word stands between any two texts.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from s3d_ros.benchmarks.files import BenchmarkError
from s3d_ros.types import F64

_LIMIT_S = 1800.0
# What pycocoevalcap takes out after tokenising
_PUNCTUATION = frozenset("'' ' `` ` -LRB- -RRB- -LCB- -RCB- . ? ! , : - -- ... ;".split())
_KNOWN, _KNOWN_TOKENS = "The robot's Box (2.5 m wide) isn't red.", "the robot 's box -lrb- 2.5 m wide -rrb- is n't red"
_BETWEEN = "x"
METEOR_NUMBERS = 23


class JavaMissing(BenchmarkError):
    """No Java: BLEU, ROUGE-L, CIDEr after PTB tokenising, and METEOR, can't be had."""


def find_java() -> str:
    """Return the program ``java``. Raises JavaMissing."""
    found = shutil.which("java")
    if found is None:
        raise JavaMissing(
            "no `java` on the PATH: install it, for example with  sudo apt-get install default-jre-headless"
        )
    return found


def _package() -> Path:
    spec = find_spec("pycocoevalcap")
    if spec is None or not spec.submodule_search_locations:
        raise BenchmarkError("Python does not find pycocoevalcap: pip install 's3d_ros[benchmark]'")
    return Path(spec.submodule_search_locations[0])


def ptb_tokens(texts: Sequence[str]) -> list[str]:
    """Tokenise as PTB does, in lower case, without punctuation; tokens are joined by spaces.

    Texts without anything in them give "". Raises JavaMissing, and BenchmarkError when what came back can't be right:
    lines missing, a known sentence changed, or nothing left of a text that has letters or digits.
    """
    flat = [" ".join(text.split()) for text in texts]  # a line break would make two of one
    sent = list(dict.fromkeys(text for text in flat if text))
    lines = [line for text in (_KNOWN, *sent, _KNOWN) for line in (text, _BETWEEN)]
    jar = _package() / "tokenizer" / "stanford-corenlp-3.4.1.jar"
    output = _java(
        [
            "-Dfile.encoding=UTF-8", "-Dstdout.encoding=UTF-8", "-cp", str(jar),
            "edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", "-lowerCase", "-encoding", "UTF-8",
        ],
        lines,
    )  # fmt: skip
    made = [" ".join(w for w in line.split(" ") if w and w not in _PUNCTUATION) for line in output]
    made, between = made[::2], made[1::2]
    right = set(between) <= {_BETWEEN} and len(output) == len(lines)
    if not right or made[0] != _KNOWN_TOKENS or made[-1] != _KNOWN_TOKENS:
        raise BenchmarkError(
            f"the PTB tokeniser did not run as it should: {len(lines)} lines went in, {len(output)} came back, the "
            f"first {made[0] if made else ''!r} where {_KNOWN_TOKENS!r} is right; no caption metric can be trusted"
        )
    of = dict(zip(sent, made[1:-1], strict=True))
    lost = [text for text, tokens in of.items() if not tokens and re.search("[A-Za-z0-9]", text)]
    if lost:
        raise BenchmarkError(f"the PTB tokeniser left nothing of {len(lost)} texts, the first {lost[0]!r}")
    return [of.get(text, "") for text in flat]


def meteor_statistics(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> F64:
    """Return METEOR 1.5's counts, (N, 23): of each candidate against the reference that suits it best.

    test and reference length, their function words; of the four matchers test and reference matches of content words,
    then of function words; chunks, of which a perfect match has 0 (METEOR sums them so); matched words of test and of
    reference. They add up over candidates.
    Raises JavaMissing and BenchmarkError.
    """
    requests = [
        "SCORE ||| " + " ||| ".join(_plain(text) for text in (*several, candidate))
        for candidate, several in zip(candidates, references, strict=True)
    ]
    sent = list(dict.fromkeys(requests))
    folder = _package() / "meteor"
    output = _java(
        [
            "-Xmx2G",
            "-Dfile.encoding=UTF-8",
            "-jar",
            str(folder / "meteor-1.5.jar"),
            "-",
            "-",
            "-stdio",
            "-l",
            "en",
            "-norm",
        ],
        sent,
        folder,
    )
    try:
        numbers = [[float(n) for n in line.split()] for line in output]
    except ValueError:
        numbers = []
    if len(numbers) != len(sent) or any(len(row) != METEOR_NUMBERS for row in numbers):
        raise BenchmarkError(f"METEOR did not run as it should: {len(sent)} requests, {len(output)} replies")
    of = dict(zip(sent, numbers, strict=True))
    counts = np.array([of[request] for request in requests], dtype=np.float64).reshape(-1, METEOR_NUMBERS)
    matched = counts[:, 4:20].reshape(-1, 4, 2, 2).sum(axis=(1, 2))
    counts[(matched == counts[:, 0:2]).all(axis=1) & (counts[:, 20] == 1), 20] = 0
    return counts


def meteor_scores(counts: F64) -> F64:
    """Return METEOR of sums of counts, (..., 23) to (...,): the formula and English parameters of METEOR 1.5."""
    alpha, beta, gamma, delta = 0.85, 0.2, 0.6, 0.75
    modules = np.array([1.0, 0.6, 0.8, 0.6])  # exact, stem, synonym, paraphrase
    length, function = counts[..., 0:2], counts[..., 2:4]  # test, reference
    by_module = counts[..., 4:20].reshape(*counts.shape[:-1], 4, 4)  # module; test, reference content, then function
    content, little = by_module[..., 0:2], by_module[..., 2:4]
    weighed = (modules[:, None] * (delta * content + (1 - delta) * little)).sum(axis=-2)
    total = delta * (length - function) + (1 - delta) * function
    chunks, words = counts[..., 20], counts[..., 21:23]
    with np.errstate(divide="ignore", invalid="ignore"):
        precision, recall = np.moveaxis(weighed / total, -1, 0)
        mean = 1 / ((1 - alpha) / precision + alpha / recall)
        score = mean * (1 - gamma * (chunks / (words.sum(axis=-1) / 2)) ** beta)
    return np.maximum(np.nan_to_num(score, nan=0.0), 0.0)


def _plain(text: str) -> str:
    return " ".join(text.replace("|||", " ").split())


def _java(arguments: Sequence[str], lines: Sequence[str], folder: Path | None = None) -> list[str]:
    try:
        done = subprocess.run(
            [find_java(), *arguments],
            input="".join(line + "\n" for line in lines).encode(),
            capture_output=True,
            cwd=folder,
            timeout=_LIMIT_S,
        )
    except subprocess.TimeoutExpired as error:
        raise BenchmarkError(f"Java took longer than {_LIMIT_S:.0f} s over {len(lines)} lines") from error
    if done.returncode != 0:
        words = done.stderr.decode(errors="replace").strip()[-400:]
        raise BenchmarkError(f"Java failed with {done.returncode}: {words}")
    return done.stdout.decode("utf-8").split("\n")[:-1]
