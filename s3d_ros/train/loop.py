"""Supervised fine-tuning, from config to checkpoint, top to bottom.

    s3d train config/train/gpt4scene.yaml --set data.set=sets/scannet --set run.out=runs/gpt4scene
    accelerate launch -m s3d_ros.train config/train/gpt4scene.yaml ...          several GPUs, FSDP, DeepSpeed

A step is a function of its number: which records, in which order, at which rate. What else there is (weights,
optimiser, random numbers) is in the checkpoint, so a run that was killed goes on as if it had not been.
"""

from __future__ import annotations

import importlib.util
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from s3d_ros.train import checkpoint
from s3d_ros.train.batch import Batch, prefetched
from s3d_ros.train.config import OptimizerConfig, TrainConfig, TrainError
from s3d_ros.train.data import Samples
from s3d_ros.train.evaluation import answered
from s3d_ros.train.metrics import Metrics
from s3d_ros.train.model import Trainee, check_model, choose_weights, load
from s3d_ros.train.parts.make import answer_lead, begin_from, check_parts, learns_pictures, make_parts, switched_on
from s3d_ros.train.reader import TrainingSet
from s3d_ros.train.together import Unit
from s3d_ros.vlm.family import Family

Progress = Callable[[str, int, int], None]  # what is being done, how many, of how many


def _silent(what: str, done: int, total: int) -> None:
    pass


def train(config: TrainConfig, progress: Progress = _silent) -> Path:
    """Train, or go on with what ``run.out`` holds; return the last checkpoint. Raises TrainError, DatasetError."""
    out = _checked(config)
    precision = choose_precision(config)
    accelerator = _accelerator(config, precision)
    device, world, first = accelerator.device, accelerator.num_processes, accelerator.is_main_process
    if not first:
        progress = _silent
    _seed(config.run.seed)

    sharded = str(accelerator.distributed_type).rsplit(".", 1)[-1] in ("FSDP", "DEEPSPEED")
    dtype = "bfloat16" if precision == "bf16" and config.tune.method == "lora" else "float32"
    told = lambda what, share: progress(what, round(100 * share), 100)  # noqa: E731
    loaded = load(config.model, dtype, "cpu" if sharded else str(device), told)
    model, family = loaded.model, loaded.family

    lead = answer_lead(config, loaded)
    samples = Samples(config.data, config.data.split, family, config.run.seed, learns_pictures(config), lead)
    text = model.config.get_text_config()
    samples.measure(getattr(text, "max_position_embeddings", 0) or 0, lambda k, n: progress("reading records", k, n))
    with accelerator.main_process_first():  # it may have to train an autoencoder
        parts = make_parts(config, loaded, samples, progress)
    begin_from(parts, loaded.directory)
    samples.use(parts)
    held_out = _held_out(config, samples)

    moving = choose_weights(model, config.tune)
    if config.run.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    trainee = Trainee(model, family, parts)
    optimizer = _optimizer(trainee, config.optimizer)
    trainee, optimizer = accelerator.prepare(trainee, optimizer)

    start = 0
    found = checkpoint.checkpoints(out)
    if found:
        start, path = found[-1]
        checkpoint.check_resume(path, config, model.config)
        accelerator.load_state(str(path / "state"))
    metrics = Metrics(out, start) if first else None

    size, accumulate = config.optimizer.batch_size, config.optimizer.accumulate
    in_epoch = len(samples.batches(0, size))
    steps = config.optimizer.steps or math.ceil(config.optimizer.epochs * in_epoch / (world * accumulate))
    orders: dict[int, list[list[Unit]]] = {}

    def micro_batch(number: int) -> Batch:
        epoch, at = divmod(number, in_epoch)
        if epoch not in orders:
            orders.clear()
            orders[epoch] = samples.batches(epoch, size)
        return samples.batch(orders[epoch][at], epoch, number // (accumulate * world), number)

    told_by_parts = [name for part in parts for name in part.told]
    mine = range(start * accumulate * world + accelerator.process_index, steps * accumulate * world, world)
    batches = prefetched(micro_batch, mine)
    trainee.train()
    for step in range(start, steps):
        began = time.perf_counter()
        held = [next(batches) for _ in range(accumulate)]
        waited = time.perf_counter() - began
        # Each answer's token counts the same, in whichever micro-batch and on whichever device it is
        learnt = torch.tensor(sum(b.answer_tokens for b in held), device=device)
        tokens = int(accelerator.reduce(learnt, "sum"))
        rate = rate_at(step, steps, config.optimizer)
        for group in optimizer.param_groups:
            group["lr"] = rate
        total, model_s = torch.zeros((), device=device), 0.0
        beside = torch.zeros(2, len(told_by_parts), device=device)  # sums, and in how many micro-batches
        for batch in held:
            with accelerator.accumulate(trainee):
                from_s = time.perf_counter()
                answers, extra = trainee(batch.to(device))
                loss = answers / max(tokens, 1)
                total += loss.detach()
                for name, value in extra.items():  # means of a micro-batch, all of which count the same
                    loss = loss + value / (world * accumulate)
                    beside[:, told_by_parts.index(name)] += torch.stack([value.detach(), torch.ones_like(value)])
                accelerator.backward(loss * (world * accumulate))  # accelerate and DDP take means
                if device.type == "cuda":
                    torch.cuda.synchronize(device)
                model_s += time.perf_counter() - from_s
                norm = torch.zeros(())
                if accelerator.sync_gradients and config.optimizer.clip:
                    norm = accelerator.clip_grad_norm_(trainee.parameters(), config.optimizer.clip)
                optimizer.step()
                optimizer.zero_grad()
        summed = float(accelerator.reduce(total, "sum"))
        sums, counts = (accelerator.reduce(beside, "sum") if parts else beside).tolist()
        each = {name: s / n for name, s, n in zip(told_by_parts, sums, counts, strict=True) if n}
        each = ({"loss": summed} if tokens else {}) | each  # a step may have no text at all
        for name, value in each.items():
            if not math.isfinite(value):
                raise TrainError(f"{name} is {value} at step {step + 1}: make optimizer.lr smaller, or precision fp32")
        if metrics:
            took = time.perf_counter() - began
            metrics.add(step=step + 1, **each, lr=rate, grad_norm=float(norm), answer_tokens=tokens,
                        step_s=round(took, 4), model_s=round(model_s, 4), data_wait_s=round(waited, 4))  # fmt: skip
        last = step + 1 == steps
        every = config.run.eval_every
        if held_out and every and (last or (step + 1) % every == 0):
            _evaluate(accelerator, trainee, loaded.processor, held_out, config, metrics, step + 1, sharded)
        if last or (step + 1) % config.run.save_every == 0:
            path = out / f"step-{step + 1:07d}"
            checkpoint.save(path, accelerator, trainee, loaded.directory, config, {"step": step + 1, "moving": moving})
            if metrics:
                metrics.draw()
        progress(f"loss {summed:.3f}", step + 1, steps)
    accelerator.free_memory()
    return checkpoint.checkpoints(out)[-1][1]


def rate_at(step: int, steps: int, config: OptimizerConfig) -> float:
    """Return the learning rate of a step (from 0): up in a line, down in half a cosine.

    >>> c = OptimizerConfig(lr=1.0, warmup=0.5)
    >>> [round(rate_at(s, 4, c), 3) for s in range(4)]
    [0.5, 1.0, 1.0, 0.5]
    """
    rising = round(steps * config.warmup)
    if step < rising:
        return config.lr * (step + 1) / rising
    share = (step - rising) / max(1, steps - rising)
    return config.min_lr + (config.lr - config.min_lr) * (1 + math.cos(math.pi * share)) / 2


def choose_precision(config: TrainConfig) -> str:
    """Return bf16 or fp32. Raises TrainError where the device can't."""
    cuda = torch.cuda.is_available() and config.run.device != "cpu"
    able = cuda and torch.cuda.is_bf16_supported(including_emulation=False)
    if config.run.precision == "bf16" and not able:
        where = "this GPU has no bf16" if cuda else "there is no GPU here" if config.run.device != "cpu" else "the CPU"
        raise TrainError(f"run.precision = bf16 can't be: {where}; set it to auto or fp32, or use a GPU that has it")
    return "bf16" if able and config.run.precision != "fp32" else "fp32"


def _checked(config: TrainConfig) -> Path:
    """Refuse what can be refused before anything is loaded; return the folder of the run."""
    if not config.run.out:
        raise TrainError("run.out is empty: name the folder that the run goes to")
    if config.run.device not in ("auto", "cpu", "cuda"):
        raise TrainError(
            f"run.device = {config.run.device!r} is none of auto, cpu, cuda; accelerate deals several GPUs"
        )
    cuda = torch.cuda.is_available() and config.run.device != "cpu"
    if config.run.device == "cuda" and not cuda:
        raise TrainError("run.device = cuda: there is no CUDA device here; set it to auto or cpu")
    if config.model.attention == "flash_attention_2" and not cuda:
        raise TrainError("model.attention = flash_attention_2 needs a GPU; set it to auto or sdpa")
    check_parts(config, check_model(config.model))
    if config.data.set:
        _check_shards(Path(config.data.set))
        TrainingSet(config.data.set, config.data.split).close()
        if config.data.val_split and config.run.eval_every:
            TrainingSet(config.data.set, config.data.val_split).close()
    return Path(config.run.out)


def _check_shards(folder: Path) -> None:
    """Raise TrainError where a shard that the set's card lists is not there; a set without a card is taken as it is."""
    try:
        card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
        listed = [name for split in card["splits"].values() for name in split["shards"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return
    files = (folder / name for shard in listed for name in (shard, shard.replace(".tar", ".json")))
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise TrainError(
            f"{folder} lacks {', '.join(missing)}, which its card.json lists; copy them again, or build on"
        )


def _accelerator(config: TrainConfig, precision: str) -> Any:
    if importlib.util.find_spec("accelerate") is None:
        raise TrainError("accelerate is not installed: pip install 's3d_ros[train]'")
    from accelerate import Accelerator
    from accelerate.utils import DistributedDataParallelKwargs

    # some steps have no use for some weights of parts
    handlers = [DistributedDataParallelKwargs(find_unused_parameters=True)] if switched_on(config) else None
    return Accelerator(
        cpu=config.run.device == "cpu",
        kwargs_handlers=handlers,
        mixed_precision="bf16" if precision == "bf16" else "no",
        gradient_accumulation_steps=config.optimizer.accumulate,
    )


def _seed(seed: int) -> None:
    from accelerate.utils import set_seed

    set_seed(seed)


def _optimizer(trainee: Trainee, config: OptimizerConfig) -> torch.optim.Optimizer:
    weights = [p for p in trainee.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in weights if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in weights if p.ndim < 2], "weight_decay": 0.0},
    ]
    betas = (config.beta1, config.beta2)
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=config.lr, betas=betas)


def _held_out(config: TrainConfig, samples: Samples) -> tuple[Samples, list[int]] | None:
    """Return the records that are evaluated, spread over the split, or None."""
    if not config.data.val_split or not config.run.eval_every:
        return None
    own = Family(samples.family.model, samples.family.processor, samples.family.tile)  # the other is a thread's
    held = Samples(config.data, config.data.val_split, own, config.run.seed, lead=samples.lead)
    held.use(samples.parts)
    count = min(len(held.records), config.run.eval_records)
    return held, [k * len(held.records) // count for k in range(count)]


def _evaluate(
    accelerator: Any, trainee: Any, processor: Any, held_out: tuple[Samples, list[int]], config: TrainConfig,
    metrics: Metrics | None, step: int, sharded: bool,
) -> None:  # fmt: skip
    """Note the loss on held-out records and, where one process holds the whole model, how right its answers are."""
    held, indices = held_out
    trainee.eval()
    summed, count = 0.0, 0
    figures: dict[str, list[float]] = {}
    with torch.no_grad():
        for index in indices:
            batch = held.batch([index], 0).to(accelerator.device)
            answers, extra = trainee(batch)
            summed, count = summed + float(answers), count + batch.answer_tokens
            for name, value in extra.items():
                figures.setdefault(f"val_{name}", []).append(float(value))
    told: dict[str, Any] = {"val_loss": summed / max(count, 1)}
    told |= {name: sum(values) / len(values) for name, values in figures.items()}
    if metrics and not sharded:
        with accelerator.autocast():
            device = str(accelerator.device)
            told |= answered(accelerator.unwrap_model(trainee).model, processor, device, held, indices)
    if metrics:
        metrics.add(step=step, **told)
    accelerator.wait_for_everyone()
    trainee.train()
