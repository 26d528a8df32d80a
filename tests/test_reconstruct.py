"""The denoiser, its costs, what is taken away and what is recovered, and the autoencoder: by hand where that can be."""

from __future__ import annotations

import json
import math
import sys
import types
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from part_sets import write_view_run, write_view_set
from safetensors.torch import load_file
from torch.utils.flop_counter import FlopCounterMode

from s3d_ros.train.batch import IGNORED, Batch, Seen
from s3d_ros.train.config import ReconstructConfig, TrainError
from s3d_ros.train.parts.autoencoder import Latents, SmallAutoencoder, from_tokens, load_latents, to_tokens
from s3d_ros.train.parts.autoencoder_train import pictures_of, train_autoencoder
from s3d_ros.train.parts.cost import WIDTHS, Load, choose_width, denoiser_flops, language_flops
from s3d_ros.train.parts.denoiser import (
    STEPS,
    Denoiser,
    head_width,
    noise_error,
    noise_told,
    noised,
    sampled,
    signal_shares,
)
from s3d_ros.train.parts.masking import without_views
from s3d_ros.train.parts.reconstruct import Reconstruct, masked_of, masked_pictures, visual_outputs
from s3d_ros.train.parts.targets import bev_pixels, rays, scene_bev
from s3d_ros.train.reader import TrainingSet

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def records(tmp_path_factory: pytest.TempPathFactory) -> TrainingSet:
    root = tmp_path_factory.mktemp("reconstruct")
    return TrainingSet(write_view_set(root / "set", write_view_run(root / "run")), "train")


# --- the denoiser ---------------------------------------------------------------------------------------------------


def test_the_schedule_is_the_cosine() -> None:
    shares = signal_shares()
    assert len(shares) == STEPS and (shares.diff() < 0).all() and shares[0] > 0.9999 and shares[-1] < 1e-5
    level = [math.cos((t / STEPS + 0.008) / 1.008 * math.pi / 2) ** 2 for t in (0, 501)]
    assert float(shares[500]) == pytest.approx(level[1] / level[0], rel=1e-4)
    tokens, noise = torch.ones(2, 1, 1), torch.full((2, 1, 1), 3.0)
    told = noised(tokens, noise, torch.tensor([0, STEPS - 1]))
    assert told[0, 0, 0] == pytest.approx(1.0, abs=0.05) and told[1, 0, 0] == pytest.approx(3.0, abs=0.01)


def test_a_fresh_denoiser_says_nothing_and_its_blocks_change_nothing() -> None:
    denoiser = Denoiser(24, 32, 8, {"bev": 16}, False)
    tokens, condition = torch.randn(2, 16, 8), torch.randn(2, 16, 32)
    assert not denoiser(tokens, torch.tensor([0, 999]), condition).any()  # adaLN-Zero
    x = torch.randn(2, 16, 32)
    assert torch.equal(denoiser.blocks[0](x, condition), x)
    noise = torch.randn(2, 16, 8)
    error = noise_error(denoiser, tokens, noise, torch.tensor([5, 7]), condition)
    assert float(error.detach()) == pytest.approx(float(noise.square().mean()))


def test_with_a_skip_a_fresh_denoiser_tells_what_is_likeliest() -> None:
    """Of standard normal latents the noise in x is sqrt(1 - share) x in the mean; what is sampled is bounded then."""
    denoiser = Denoiser(24, 32, 8, {"bev": 16}, False, skip=True)
    tokens, noise, condition = torch.randn(4000, 1, 8), torch.randn(4000, 1, 8), torch.zeros(4000, 1, 32)
    for step in (50, 500, 950):
        steps, share = torch.full((4000,), step), float(signal_shares()[step])
        x = noised(tokens, noise, steps)
        told = noise_told(denoiser, x, steps, condition)
        assert torch.allclose(told, (1 - share) ** 0.5 * x, atol=1e-6)
        assert float((told - noise).square().mean()) == pytest.approx(share, rel=0.05)  # nothing linear is better
    start = torch.randn(2, 16, 8)
    assert sampled(denoiser, start, torch.zeros(2, 16, 32), 20).abs().max() < 3 * start.abs().max()


def test_what_is_told_of_others_is_used() -> None:
    """Latents of four scenes, and outputs that tell which: what is sampled is nearest to the right one."""
    torch.manual_seed(0)
    outputs, clean = torch.randn(1, 20, 24) + 0.4 * torch.randn(4, 20, 24), torch.randn(4, 4, 16)
    denoiser = Denoiser(24, 32, 16, {"bev": 4}, False, skip=True)
    optimizer = torch.optim.AdamW(denoiser.parameters(), 3e-3)
    known, row = torch.ones(4, 20, dtype=torch.bool), torch.arange(4)
    for _ in range(250):
        condition = denoiser.condition("bev", outputs, known, row.repeat(4))
        tokens = clean.repeat(4, 1, 1)
        error = noise_error(denoiser, tokens, torch.randn_like(tokens), torch.randint(0, STEPS, (16,)), condition)
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
    made = sampled(denoiser, torch.randn(4, 4, 16), denoiser.condition("bev", outputs, known, row), 10)
    far = (made[:, None] - clean[None]).square().mean(dim=(2, 3))
    assert far.argmin(dim=1).tolist() == [0, 1, 2, 3] and far.diagonal().max() < 0.6 * far.mean()


def test_only_known_cells_count() -> None:
    denoiser = Denoiser(24, 32, 8, {"bev": 16}, False)
    torch.nn.init.normal_(denoiser.leave.weight)
    tokens, noise, steps, condition = (
        torch.randn(1, 16, 8),
        torch.randn(1, 16, 8),
        torch.tensor([400]),
        torch.randn(1, 16, 32),
    )
    known = torch.zeros(1, 16, dtype=torch.bool)
    known[0, :5] = True
    told = denoiser(noised(tokens, noise, steps), steps, condition)
    by_hand = (told - noise).square()[0, :5].mean()
    assert float(noise_error(denoiser, tokens, noise, steps, condition, known)) == pytest.approx(float(by_hand))
    assert float(noise_error(denoiser, tokens, noise, steps, condition, known & False)) == 0.0


def test_who_knows_the_noise_gets_the_picture_back() -> None:
    clean, noise = torch.randn(2, 16, 8).clamp(-3, 3), torch.randn(2, 16, 8)

    class Knowing(torch.nn.Module):
        skip = False

        def forward(self, x: torch.Tensor, steps: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
            share = signal_shares()[steps][:, None, None]
            return (x - share.sqrt() * clean) / (1 - share).sqrt()

    for count in (1, 5, 20):
        assert torch.allclose(sampled(Knowing(), noise, torch.zeros(()), count), clean, atol=1e-2)  # type: ignore[arg-type]


def test_without_poses_all_are_told_the_same_and_with_them_not() -> None:
    outputs, known = torch.randn(2, 7, 24), torch.ones(2, 7, dtype=torch.bool)
    known[1, 4:] = False
    row, seen_from = torch.tensor([0, 0, 1]), torch.randn(3, 4, 6)
    plain = Denoiser(24, 32, 8, {"view": 4}, False)
    same = plain.condition("view", outputs, known, row, None)
    assert torch.equal(same[0], same[1]) and not torch.allclose(same[0], same[2])
    outputs_ = outputs.clone()
    outputs_[1, 4:] = 99.0  # filling
    assert torch.allclose(plain.condition("view", outputs_, known, row, None), same, atol=1e-6)
    posed = Denoiser(24, 32, 8, {"view": 4}, True)
    each = posed.condition("view", outputs, known, row, seen_from)
    assert not torch.allclose(each[0], each[1])
    alone = posed.condition("view", outputs[1:, :4], known[1:, :4], torch.tensor([0]), seen_from[2:])
    assert torch.allclose(each[2:], alone, atol=1e-5)


# --- costs ----------------------------------------------------------------------------------------------------------


class _Text(torch.nn.Module):
    def __init__(self, hidden: int, layers: int, words: int) -> None:
        super().__init__()
        self.words = torch.nn.Embedding(words, hidden)
        self.layers = torch.nn.ModuleList(torch.nn.Linear(hidden, 12 * hidden, bias=False) for _ in range(layers))
        self.norm = torch.nn.LayerNorm(hidden)


class _Model(torch.nn.Module):
    """The sizes of a language model, without its weights where they would be large."""

    def __init__(self, hidden: int, layers: int) -> None:
        super().__init__()
        with torch.device("meta"):
            self.language_model = _Text(hidden, layers, 1000)
        text = types.SimpleNamespace(num_hidden_layers=layers, hidden_size=hidden)
        self.config = types.SimpleNamespace(get_text_config=lambda: text)

    def get_input_embeddings(self) -> torch.nn.Embedding:
        return self.language_model.words


def test_costs_are_what_is_counted() -> None:
    hidden, width, visual = 96, 64, 50
    load = Load(tokens=60, visual=visual, view_cells=9, bev_cells=16, view_side=3, bev_side=4)
    denoiser = Denoiser(hidden, width, 64, {"view": 9, "bev": 16}, False)
    outputs, known, row = torch.randn(1, visual, hidden), torch.ones(1, visual, dtype=torch.bool), torch.tensor([0])
    with FlopCounterMode(display=False) as counted:
        for kind, n in (("view", 9), ("bev", 16)):
            condition = denoiser.condition(kind, outputs, known, row)
            denoiser(torch.randn(1, n, 64), torch.tensor([3]), condition)
    told = denoiser_flops(width, hidden, load)
    once_more = 2 * 2 * hidden * width * visual  # the rule lets one step pool once; here both kinds did
    assert told == pytest.approx(counted.get_total_flops() - once_more, rel=0.08)
    assert language_flops(_Model(hidden, 2), load) == 2 * (2 * 12 * hidden**2) * 60 + 2 * 2 * hidden * 60**2


def test_the_papers_width_for_full_sizes_and_a_tenth_for_small_ones() -> None:
    views = Load(
        tokens=32 * 196 + 800, visual=32 * 196, view_cells=8 * 196 / 4, bev_cells=729, view_side=14, bev_side=27
    )
    assert choose_width(_Model(2048, 36), 2048, views, 0.1) == 1024  # of a 3B
    assert choose_width(_Model(3584, 28), 3584, views, 0.1) == 1024  # of a 7B
    small = choose_width(_Model(320, 8), 320, views, 0.1)
    wider = WIDTHS[WIDTHS.index(small) - 1]
    most = 0.1 * language_flops(_Model(320, 8), views)
    assert denoiser_flops(small, 320, views) <= most < denoiser_flops(wider, 320, views)
    with pytest.raises(
        TrainError, match=r"even a denoiser of width 32 takes \d+ MFLOP, above reconstruct\.flops_share"
    ):
        choose_width(_Model(16, 1), 16, views, 0.1)
    assert all(w % head_width(w) == 0 and w // head_width(w) >= 2 for w in WIDTHS) and 1024 // head_width(1024) == 16


# --- what is taken away ---------------------------------------------------------------------------------------------


def _batch() -> tuple[Batch, torch.Tensor]:
    """Two samples: text, view (3 tokens), text, view (2), view from above (2), answer; the second lacks a view."""
    ids = torch.tensor([[5, 9, 9, 9, 6, 9, 9, 9, 9, 7, 8], [5, 9, 9, 9, 6, 9, 9, 7, 8, 0, 0]])
    types_ = (ids == 9).long()
    labels = torch.where(ids == 8, ids, torch.full_like(ids, IGNORED))
    mask = (ids > 0).long()
    positions = torch.arange(11).expand(3, 2, -1).clone()
    names = [("a.view0001.marked.jpg", 3), ("a.view0002.marked.jpg", 2), ("a.bev.marked.png", 2)]
    seen = [Seen(0, n, c, {}) for n, c in names] + [Seen(1, names[0][0], 3, {}), Seen(1, names[2][0], 2, {})]
    extra = ({"reconstruct": {"masked": torch.tensor([0])}}, {"reconstruct": {}})
    features = torch.arange(12).float()[:, None].expand(-1, 4).clone()
    return Batch(ids, labels, types_, positions, mask, [], tuple(seen), extra, 0), features


def test_a_view_that_is_taken_away_leaves_one_token() -> None:
    batch, features = _batch()
    assert masked_pictures(batch) == {0}
    deep = features + 100
    changed, (first, second) = without_views(batch, (features, deep), {0}, torch.full((4,), -1.0))
    assert first[:, 0].tolist() == [-1, 3, 4, 5, 6, 7, 8, 9, 10, 11]
    assert second[:, 0].tolist() == [0, 103, 104, 105, 106, 107, 108, 109, 110, 111]
    assert changed.ids[0].tolist() == [5, 9, 6, 9, 9, 9, 9, 7, 8]
    assert changed.positions[0, 0].tolist() == [0, 1, 4, 5, 6, 7, 8, 9, 10]
    assert changed.mask is not None and changed.mask.tolist() == [[1] * 9, [1] * 9]
    assert changed.ids[1].tolist()[:9] == [5, 9, 9, 9, 6, 9, 9, 7, 8] and changed.answer_tokens == 2
    assert [p.tokens for p in changed.pictures] == [1, 2, 2, 3, 2] and len(first) == int(changed.types.sum())
    alone = Batch(
        batch.ids[:1], batch.labels[:1], batch.types[:1], batch.positions[:, :1], None, [], batch.pictures[:3]
    )
    assert without_views(alone, (features[:7],), {0, 1}, torch.zeros(4))[0].mask is not None  # always said


def test_of_outputs_only_those_of_views_that_were_seen() -> None:
    batch, features = _batch()
    changed, _ = without_views(batch, (features,), {0}, torch.zeros(4))
    output = torch.arange(18).float().reshape(2, 9, 1)
    found, known = visual_outputs(changed, output)
    assert found[0, known[0], 0].tolist() == [3, 4] and found[1, known[1], 0].tolist() == [10, 11, 12]


def test_a_quarter_of_the_views_is_masked_and_never_all() -> None:
    names = tuple(f"s.view{i:04d}.marked.jpg" for i in range(32)) + ("s.bev.marked.png",)
    drawn = [masked_of(names, 0.25, np.random.default_rng(k)) for k in range(60)]
    assert all(len(set(d)) == 8 for d in drawn) and set().union(*drawn) == set(range(32))
    assert masked_of(names, 0.25, np.random.default_rng(3)) == drawn[3]
    assert len(masked_of(names[:2], 0.9, np.random.default_rng(0))) == 1
    assert (
        masked_of(names[:1], 0.5, np.random.default_rng(0))
        == masked_of(names[-1:], 0.5, np.random.default_rng(0))
        == []
    )


def test_every_so_many_steps_and_the_whole_in_each(records: TrainingSet, tmp_path: Path) -> None:
    from s3d_ros.train.parts.base import Example

    scene = records.scene(0)
    names = tuple(v.marked for v in scene.views) + tuple(scene.data["bevs"])[:1]
    train_autoencoder([np.zeros((64, 64, 3), np.uint8)], tmp_path / "vae", 0, 0)
    latents = load_latents(tmp_path / "vae", "cpu")
    asked = ReconstructConfig(cross_view=True, global_view=True, view_px=32, bev_px=64, every=3)
    part = Reconstruct(asked, latents, 24, 32, 64)

    def made(step: int) -> Any:
        return part.example(Example(scene, names, None, step, np.random.default_rng(step + 1)))

    assert [("view" in made(s), "bev" in made(s)) for s in (0, 1, 2, 3)] == [
        (True, True),
        (False, True),
        (False, True),
        (True, True),
    ]
    assert made(-1) == {}
    first = made(0)
    assert first["view"].shape == (1, 4, 64) and first["bev"].shape == (1, 16, 64) and first["bev_step"].max() < STEPS
    assert first["bev_known"].shape == (1, 16) and 0 < first["bev_known"].sum() < 16
    again = made(0)
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert not torch.equal(first["bev_noise"], made(3)["bev_noise"])


def test_several_draws_of_noise_are_a_mean(records: TrainingSet, tmp_path: Path) -> None:
    from s3d_ros.train.parts.base import Example

    scene = records.scene(0)
    names = tuple(v.marked for v in scene.views) + tuple(scene.data["bevs"])[:1]
    train_autoencoder([np.zeros((64, 64, 3), np.uint8)], tmp_path / "vae", 0, 0)
    asked = ReconstructConfig(cross_view=True, global_view=True, view_px=32, bev_px=64, draws=3)
    part = Reconstruct(asked, load_latents(tmp_path / "vae", "cpu"), 24, 32, 64)
    made = part.example(Example(scene, names, None, 0, np.random.default_rng(0)))
    assert made["view_noise"].shape == (3, 4, 64) and made["bev_noise"].shape == (3, 16, 64)
    output = torch.randn(1, 30, 24)
    seen = tuple(Seen(0, name, 5, {}) for name in names)
    ones = torch.ones(1, 30, dtype=torch.long)
    extra = ({"reconstruct": {**made, "masked": torch.tensor([])}},)
    batch = Batch(ones, ones, ones, ones[None], None, [], seen, extra, 0)
    torch.nn.init.normal_(part.denoiser.leave.weight)
    outputs, known = visual_outputs(batch, output)
    condition = part.denoiser.condition("bev", outputs, known, torch.tensor([0]))
    each = [
        float(noise_error(part.denoiser, made["bev"], made["bev_noise"][k : k + 1], made["bev_step"][k : k + 1],
                          condition, made["bev_known"]).detach())
        for k in range(3)
    ]  # fmt: skip
    assert float(part.losses(batch, output[0], output)["global_view"]) == pytest.approx(sum(each) / 3, rel=1e-4)
    assert len(set(each)) == 3


def test_rays_by_hand(records: TrainingSet) -> None:
    scene = records.scene(0)
    view = scene.views[0]  # at (1.4, 0.2, 1.2), looking along +y; right is +x
    told = rays(scene, view, 64).reshape(4, 4, 6)
    assert told[2, 1, :3] == pytest.approx([1.4, 0.2, 1.2], abs=1e-5)
    assert np.linalg.norm(told[..., 3:], axis=-1) == pytest.approx(1.0, abs=1e-5)
    assert told[..., 4].min() > 0 and told[0, 0, 3] < 0 < told[0, 3, 3] and told[3, 0, 5] < 0 < told[0, 0, 5]
    # the cells' middles: 64 px at f = 60 are 4 cells at f = 3.75, the centre 1.5
    assert told[0, 3, 3] / told[0, 3, 4] == pytest.approx(1.5 / 3.75, rel=1e-3)


def test_the_whole_is_where_it_is_not_blank(records: TrainingSet) -> None:
    scene = records.scene(0)
    name = scene_bev(scene)
    assert name is not None and name.endswith(".plain.png")
    pixels, known = bev_pixels(scene, name, 64)
    image = scene.image(name)
    assert pixels.shape == (64, 64, 3) and image.shape[1] > image.shape[0] and not pixels[-1].any()
    cells = pixels.reshape(4, 16, 4, 16, 3).any(axis=(1, 3, 4)).ravel()
    assert (known >= cells).all() and known.any() and not known.all()


# --- the autoencoder ------------------------------------------------------------------------------------------------


def test_tokens_are_two_by_two() -> None:
    latents = torch.randn(2, 3, 4, 6)
    tokens = to_tokens(latents)
    assert tokens.shape == (2, 6, 12) and torch.equal(from_tokens(tokens, 2, 3), latents)
    assert sorted(tokens[0, 4].tolist()) == sorted(latents[0, :, 2:4, 2:4].flatten().tolist())  # row 1, column 1


def test_it_learns_and_is_the_same_again(records: TrainingSet, tmp_path: Path) -> None:
    pictures = pictures_of(records, 64, 64)
    assert len(pictures) == 6 and all(p.shape[0] >= 64 for p in pictures)
    before = torch.get_rng_state()
    train_autoencoder(pictures, tmp_path / "vae", 25, 0)
    train_autoencoder(pictures, tmp_path / "again", 25, 0)
    train_autoencoder(pictures, tmp_path / "first", 0, 0)
    assert torch.equal(torch.get_rng_state(), before)
    a, b = (load_file(tmp_path / k / "model.safetensors") for k in ("vae", "again"))
    assert all(torch.equal(a[k], b[k]) for k in a)
    error = {}
    for name in ("first", "vae"):
        known = load_latents(tmp_path / name, "cpu")
        made = [known.picture(known.tokens(p), p.shape[0] // 16, p.shape[1] // 16) for p in pictures]
        error[name] = np.mean([np.abs(m.astype(int) - p).mean() for m, p in zip(made, pictures, strict=True)])
    assert error["vae"] < error["first"] < 12
    latents = load_latents(tmp_path / "vae", "cpu")
    tokens = latents.tokens(pictures[0])
    assert tokens.shape == (16, 64) and latents.channels == 64
    seen = latents.picture(tokens, 4, 4)
    assert seen.dtype == np.uint8 and seen.shape == pictures[0].shape
    spread = torch.cat([latents.tokens(p) for p in pictures])
    assert abs(float(spread.mean())) < 0.7 and 0.4 < float(spread.std()) < 2.5


@pytest.mark.parametrize("steps", [0, 1, 10])
def test_it_may_be_trained_for_any_while(steps: int, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    train_autoencoder([np.zeros((64, 64, 3), np.uint8)], tmp_path / "vae", steps, 0, lambda *row: told.append(row))
    assert [row[1] for row in told] == [*range(1, steps + 1)]
    assert load_latents(tmp_path / "vae", "cpu").tokens(np.zeros((16, 16, 3), np.uint8)).isfinite().all()


def test_what_is_no_autoencoder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TrainError, match=r"reconstruct\.vae: .* holds no config\.json"):
        load_latents(tmp_path, "cpu")
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "UNet2DModel"}))
    with pytest.raises(TrainError, match="is no AutoencoderKL, but 'UNet2DModel'"):
        load_latents(tmp_path, "cpu")
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "AutoencoderKL"}))
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(TrainError, match="loaded by diffusers, which is not installed: pip install diffusers"):
        load_latents(tmp_path, "cpu")
    train_autoencoder([np.zeros((64, 64, 3), np.uint8)], tmp_path / "vae", 0, 0)
    weights = tmp_path / "vae" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-5])
    with pytest.raises(TrainError, match=r"vae is damaged .*; remove it, and it is made anew"):
        load_latents(tmp_path / "vae", "cpu")
    with pytest.raises(TrainError, match="no pictures"):
        train_autoencoder([], tmp_path / "none", 1, 0)


class _Flux(torch.nn.Module):
    """Stands for diffusers' AutoencoderKL: its latents are the means of 8x8 pixels, in 16 channels."""

    config = types.SimpleNamespace(
        block_out_channels=(1, 1, 1, 1), shift_factor=0.5, scaling_factor=2.0, latent_channels=16
    )
    loaded: ClassVar[list[Any]] = []

    @classmethod
    def from_pretrained(cls, directory: Path, **options: Any) -> _Flux:
        cls.loaded.append((directory, options))
        return cls()

    def encode(self, x: torch.Tensor) -> Any:
        mean = torch.nn.functional.avg_pool2d(x, 8).repeat(1, 6, 1, 1)[:, :16]
        return types.SimpleNamespace(latent_dist=types.SimpleNamespace(mode=lambda: mean))

    def decode(self, z: torch.Tensor) -> Any:
        return types.SimpleNamespace(sample=torch.nn.functional.interpolate(z[:, :3], scale_factor=8))


def test_that_of_flux_is_shifted_and_scaled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", types.SimpleNamespace(AutoencoderKL=_Flux))
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "AutoencoderKL"}))
    latents = load_latents(tmp_path, "cpu")
    assert _Flux.loaded[0][1]["local_files_only"] and latents.channels == 64 and not latents.own
    white = np.full((32, 16, 3), 255, np.uint8)
    tokens = latents.tokens(white)
    assert tokens.shape == (2, 64) and torch.allclose(tokens, torch.ones(2, 64))  # (1 - 0.5) * 2
    assert (latents.picture(tokens, 2, 1) == 255).all()
    _Flux.config.block_out_channels = (1, 1, 1)
    with pytest.raises(TrainError, match="4 times smaller; 8 times are needed"):
        load_latents(tmp_path, "cpu")
    _Flux.config.block_out_channels = (1, 1, 1, 1)


def test_the_small_one_is_small() -> None:
    assert sum(p.numel() for p in SmallAutoencoder().parameters()) < 1_200_000
    assert isinstance(Latents(SmallAutoencoder(), 0.0, 1.0, Path("."), True, "cpu").channels, int)
