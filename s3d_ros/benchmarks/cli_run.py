"""``s3d benchmark run``: its options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from s3d_ros.benchmarks.cleaning import Normalisation
from s3d_ros.cli_support import progress_bar, read_config, read_settings


def run(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="scanqa, sqa3d, scan2cap, scanrefer, multi3drefer, vsi, vsti, openeqa; generated: our own questions",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="OUT", help="folder; the same command goes on in it")],
    scenes: Annotated[
        Path | None,
        typer.Option("--scenes", metavar="DIR", help="of runs or recordings, by scene id; maps are in OUT/maps"),
    ] = None,
    layouts: Annotated[
        list[Path] | None, typer.Option("--layouts", "-l", help="generated: homes to simulate, JSON or a list of them")
    ] = None,
    annotations: Annotated[
        list[Path] | None, typer.Option("--annotations", "-a", help="the official file; SQA3D has two of them")
    ] = None,
    answerer: Annotated[
        list[str] | None, typer.Option("--answerer", help="geometric, transformers, openai or auto; several: in turn")
    ] = None,
    model: Annotated[str, typer.Option("--model", "-m", metavar="DIR", help="a language model, as for `s3d ask`")] = "",
    server: Annotated[str, typer.Option("--server", metavar="URL", help="of an OpenAI-compatible server")] = "",
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", metavar="KEY=VALUE", help="of the answerer, such as dtype=float32"),
    ] = None,
    label: Annotated[str, typer.Option(help="what the answerer is called in tables and folders")] = "",
    frames: Annotated[str, typer.Option(help="view frames at most, a list such as 8,16,32")] = "32",
    bev: Annotated[str, typer.Option(help="bird's-eye view: on, off, or on,off")] = "on",
    markers: Annotated[str, typer.Option(help="objects marked by number: on, off, or on,off")] = "on",
    workers: Annotated[int, typer.Option(min=1, max=256, help="questions at once")] = 1,
    limit: Annotated[int, typer.Option(min=0, help="official: so many questions, drawn at random; 0: all")] = 0,
    some: Annotated[
        bool, typer.Option("--some", help="leave out scenes that are not there; not to be published")
    ] = False,
    kinds: Annotated[
        str, typer.Option(help="generated: families or kinds of question")
    ] = "vsi,vsti,situated,grounding",
    per_kind: Annotated[int, typer.Option(min=1, help="generated: questions of each kind in each scene")] = 6,
    seed: Annotated[int, typer.Option(help="of generated questions, simulated homes and drawn questions")] = 0,
    noise: Annotated[str, typer.Option(help="of simulated homes: none, sensor, detector, all")] = "none",
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="YAML of the mapping, where it is mapped")
    ] = None,
    normalisation: Annotated[Normalisation, typer.Option("--normalisation", "-n")] = Normalisation.official,
    boxes: Annotated[Path | None, typer.Option(help="boxes of the true objects, for grounding and captions")] = None,
    labels: Annotated[Path | None, typer.Option(help="scannetv2-labels.combined.tsv, for ScanRefer")] = None,
    oriented: Annotated[bool, typer.Option("--oriented", help="compare turned boxes as they are")] = False,
    samples: Annotated[int, typer.Option(min=0, max=100_000, help="of the bootstrap; 0 for no intervals")] = 1000,
    by_scene: Annotated[bool, typer.Option("--by-scene", help="draw scenes instead of single questions")] = False,
    worst: Annotated[int, typer.Option(min=0, help="pages of the worst answers for each run")] = 5,
) -> None:
    """Ask answerers about a benchmark's scenes, in variants of what they see; score them beside guessing."""
    from s3d_ros.benchmarks.bootstrap import BootstrapConfig
    from s3d_ros.benchmarks.files import BenchmarkError
    from s3d_ros.benchmarks.running.generated import GeneratedConfig, GeneratedSet
    from s3d_ros.benchmarks.running.items import QuestionSet
    from s3d_ros.benchmarks.running.official import OfficialSet
    from s3d_ros.benchmarks.running.places import find_places, furnished, names_with_truth
    from s3d_ros.benchmarks.running.report import show_report, write_report
    from s3d_ros.benchmarks.running.run import Contestant, run_benchmark
    from s3d_ros.benchmarks.running.variants import grid
    from s3d_ros.benchmarks.scored import ScoreSettings

    variants = grid(frames, bev, markers)
    given: dict[str, Any] = {k: v for k, v in {"model": model, "server.url": server}.items() if v}
    given |= read_settings(set_, "max_new_tokens=64")
    contestants = [Contestant({**given, "answerer": one}, label) for one in answerer or ["geometric"]]
    for contestant in contestants:
        contestant.config(variants[0]).chosen()  # wrong settings are told now, not after an hour of mapping
    settings = ScoreSettings(
        normalisation=normalisation,
        boxes=boxes,
        labels=labels,
        oriented=oriented,
        worst=max(worst, 1),
        bootstrap=BootstrapConfig(samples=samples, seed=0, by="scene" if by_scene else "question"),
    )
    mapping, cache = read_config(config, None), out / "maps"
    questions: QuestionSet
    if name == "generated":
        if (scenes is None) == (layouts is None):
            raise BenchmarkError("generated needs either --layouts, to be simulated, or --scenes with their truth.json")
        with progress_bar("scenes", "frames") as progress:
            if scenes is not None:
                places = find_places(scenes, names_with_truth(scenes), cache, mapping, progress=progress)
            else:
                places = furnished(layouts or (), cache, seed=seed, noise=noise, config=mapping, progress=progress)
        fewest = min(variant.frames for variant in variants)
        made = GeneratedConfig(tuple(k.strip() for k in kinds.split(",") if k.strip()), per_kind, seed, fewest)
        questions = GeneratedSet(places, made, settings)
    else:
        official = OfficialSet(name, annotations or (), settings, limit, seed)
        if scenes is None or layouts:
            raise BenchmarkError(
                f"{official.title} needs its scenes: give --scenes DIR, with a run or recording for each"
            )
        wanted = list(dict.fromkeys(item.scene for item in official.items))
        with progress_bar("scenes", "frames") as progress:
            places = find_places(scenes, wanted, cache, mapping, some, progress)
        official.only(list(places))
        questions = official

    def say(text: str) -> None:
        typer.echo(text, err=True)

    results = run_benchmark(
        questions, places, contestants, variants, out, workers=workers, worst=worst, bar=progress_bar, say=say
    )
    guesses = questions.baselines()
    page = write_report(out, questions.title, guesses, results)
    show_report(questions.title, guesses, results)
    typer.echo(f"report: {page}")
