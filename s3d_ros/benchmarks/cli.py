"""``s3d benchmark``: the field's benchmarks. ``s3d benchmark scanqa ...`` is short for ``... score scanqa ...``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from s3d_ros.benchmarks.cleaning import Normalisation
from s3d_ros.benchmarks.cli_run import run
from s3d_ros.cli_support import progress_bar


class _Group(TyperGroup):
    """Takes what is no command for the name of a benchmark to score."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            args = ["score", *args]
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    help="Score answers to ScanQA, SQA3D, Scan2Cap, ScanRefer, Multi3DRefer, VSI-Bench, VSTI-Bench or OpenEQA, or have "
    "an answerer answer them.",
)
app.command()(run)


@app.command()
def score(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="scanqa, sqa3d, scan2cap, scanrefer, multi3drefer, vsi, vsti or openeqa"),
    ],
    predictions: Annotated[
        Path, typer.Option("--predictions", "-p", help="JSON or JSONL: question id to answer (docs/benchmarks.md)")
    ],
    annotations: Annotated[
        list[Path], typer.Option("--annotations", "-a", help="the official file; SQA3D has two of them")
    ],
    normalisation: Annotated[
        Normalisation, typer.Option("--normalisation", "-n", help="how texts are made comparable")
    ] = Normalisation.official,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="JSON file for all figures")] = None,
    boxes: Annotated[Path | None, typer.Option(help="boxes of the true objects, where annotations lack them")] = None,
    proposals: Annotated[Path | None, typer.Option(help="boxes of the objects that answers name by ID")] = None,
    labels: Annotated[
        Path | None, typer.Option(help="scannetv2-labels.combined.tsv, for ScanRefer's unique and multiple")
    ] = None,
    true_boxes: Annotated[bool, typer.Option("--true-boxes", help="captions were made of the true boxes")] = False,
    oriented: Annotated[bool, typer.Option("--oriented", help="compare turned boxes as they are")] = False,
    answered_only: Annotated[
        bool, typer.Option("--answered-only", help="leave out questions without a prediction; not to be published")
    ] = False,
    samples: Annotated[int, typer.Option(min=0, max=100_000, help="of the bootstrap; 0 for no intervals")] = 1000,
    seed: Annotated[int, typer.Option(help="of the bootstrap")] = 0,
    by_scene: Annotated[bool, typer.Option("--by-scene", help="draw scenes instead of single questions")] = False,
    worst: Annotated[int, typer.Option(min=0, help="so many of the worst answers are shown")] = 10,
    judge_url: Annotated[
        str, typer.Option(metavar="URL", help="OpenAI-compatible server that marks OpenEQA's answers")
    ] = "",
    judge_model: Annotated[str, typer.Option(metavar="MODEL", help="the model on it")] = "",
    judge_prompt: Annotated[
        Path | None, typer.Option(help="OpenEQA's mmbench.txt, instead of a prompt of ours")
    ] = None,
    judge_extra_prompt: Annotated[
        Path | None, typer.Option(help="OpenEQA's mmbench-extra.txt, for questions with several answers")
    ] = None,
    marks: Annotated[Path | None, typer.Option(help="file that the judge's marks are kept in and taken from")] = None,
) -> None:
    """Score predictions against official annotations, with confidence intervals."""
    import json

    from s3d_ros.benchmarks.bootstrap import BootstrapConfig
    from s3d_ros.benchmarks.files import BenchmarkError
    from s3d_ros.benchmarks.judge import JudgeConfig
    from s3d_ros.benchmarks.score import score_benchmark
    from s3d_ros.benchmarks.scored import ScoreSettings
    from s3d_ros.benchmarks.show import show_result

    if bool(judge_url) != bool(judge_model):
        raise BenchmarkError("a judge needs both --judge-url and --judge-model")
    judge = JudgeConfig(judge_url, judge_model, judge_prompt, judge_extra_prompt, marks) if judge_url else None
    settings = ScoreSettings(
        normalisation=normalisation,
        boxes=boxes,
        proposals=proposals,
        labels=labels,
        true_boxes=true_boxes,
        oriented=oriented,
        answered_only=answered_only,
        worst=worst,
        bootstrap=BootstrapConfig(samples=samples, seed=seed, by="scene" if by_scene else "question"),
        judge=judge,
    )
    with progress_bar("scoring", "marks") as progress:
        result = score_benchmark(name, predictions, annotations, settings, progress)
    if out is not None:
        out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    show_result(result)
