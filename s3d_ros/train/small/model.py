"""The small model: FastVLM's config class around a ResNet tower and a Qwen3 decoder, all of Transformers' own.

Convolutions read the digits, and give positions by their zero padding: for one size of pictures, so all are scaled to
it; 16x16 pixels a token. See docs/small_model.md for why.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from s3d_ros.offline.questions_wordings import ROUTE_STEPS, SYNONYMS, WORDINGS, plural
from s3d_ros.offline.questions_wordings_camera import CAMERA
from s3d_ros.offline.questions_wordings_places import CAPTIONS, GROUNDING, SITUATED, SITUATIONS
from s3d_ros.offline.simulate.shapes import CATEGORIES
from s3d_ros.prompt import wording
from s3d_ros.prompt.config import PromptConfig
from s3d_ros.train.small.lookup import BLANK, NUMBERS, TURNED_BY, look_up
from s3d_ros.train.small.paraphrases import MORE
from s3d_ros.train.small.wordings import ASKED
from s3d_ros.types import U8

CELL_PX = 16  # a token stands for so many pixels along and down
PIXEL_MEAN, PIXEL_STD = 0.5, 0.25  # of values 0..1
# What it is shown, and how it is asked: goes with its weights as prompt.json
PROMPT = PromptConfig(
    wording=wording.FINE_TUNED, frames=0, marker_px=9, marker_colors=True, bev_px=320, bev_square_m=8.0,
    bev_dots_px=16, bev_markers=24, legend=True, measured=False,
)  # fmt: skip
_STOP, _PAD, _IMAGE = "<|im_end|>", "<|endoftext|>", "<image>"
# Short, for each token costs: what the user says ends with the stop token, and so does each answer
TEMPLATE = (
    "{% for message in messages %}{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for item in message['content'] %}{% if item['type'] == 'image' %}<image>{% elif 'text' in item %}"
    "{{ item['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>{% endfor %}"
)


class SmallModelError(ValueError):
    """Settings that make no model, or no run that goes on with another."""


@dataclass(frozen=True)
class ModelShape:
    """Sizes of the small model. tower: resnet or segformer, in three stages of strides 4, 8 and 16 px."""

    tower: str = "resnet"
    tower_widths: tuple[int, int, int] = (32, 64, 160)
    tower_depths: tuple[int, int, int] = (2, 2, 6)
    hidden: int = 192
    layers: int = 7
    heads: int = 3
    mlp: int = 384
    vocabulary: int = 5120
    context_tokens: int = 16_384

    def __post_init__(self) -> None:
        if self.tower not in _TOWERS:
            raise SmallModelError(f"tower = {self.tower!r} is none of {', '.join(_TOWERS)}")
        if self.hidden % self.heads or any(w % 32 for w in self.tower_widths):
            raise SmallModelError(
                f"hidden = {self.hidden} must be a multiple of heads = {self.heads}, "
                f"and tower_widths = {self.tower_widths} multiples of 32"
            )


def make_model(shape: ModelShape, tokenizer: PreTrainedTokenizerFast, seed: int = 0) -> Any:
    """Return an untrained model."""
    torch.manual_seed(seed)
    tower = _TOWERS[shape.tower](shape)
    text = transformers.Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=shape.hidden,
        intermediate_size=shape.mlp,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        head_dim=shape.hidden // shape.heads,
        max_position_embeddings=shape.context_tokens,
        rope_parameters={"rope_type": "default", "rope_theta": TURNED_BY},
        tie_word_embeddings=True,
    )
    config = transformers.FastVlmConfig(
        vision_config=tower,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids(_IMAGE),
        tie_word_embeddings=True,
    )
    model = transformers.FastVlmForConditionalGeneration(config)
    _keep_scale(model.model.multi_modal_projector)
    known = tokenizer.get_vocab()
    first = [known[t] for t in (_bytes(t) for t in _system_texts()) if t in known]
    look_up(model.model.language_model, tokenizer, known[_STOP], first)
    if shape.tower == "segformer":
        _keep_scale(model.model.vision_tower)
    model.generation_config.eos_token_id = tokenizer.convert_tokens_to_ids(_STOP)
    model.generation_config.pad_token_id = tokenizer.convert_tokens_to_ids(_PAD)
    return model


def _segformer(shape: ModelShape) -> Any:
    return transformers.SegformerConfig(
        num_encoder_blocks=3,
        depths=list(shape.tower_depths),
        hidden_sizes=list(shape.tower_widths),
        num_attention_heads=[w // 32 for w in shape.tower_widths],
        sr_ratios=[8, 4, 2],
        patch_sizes=[7, 3, 3],
        strides=[4, 2, 2],
        mlp_ratios=[4, 4, 4],
        drop_path_rate=0.0,
        hidden_size=shape.tower_widths[-1],  # what FastVLM's projector asks for
    )


def _resnet(shape: ModelShape) -> Any:
    return transformers.ResNetConfig(
        embedding_size=shape.tower_widths[0],
        hidden_sizes=list(shape.tower_widths),
        depths=list(shape.tower_depths),
        layer_type="basic",
        hidden_size=shape.tower_widths[-1],
    )


_TOWERS = {"segformer": _segformer, "resnet": _resnet}


def pixel_values(images: Sequence[U8]) -> torch.Tensor:
    """Return pictures (H, W, 3) of one size as the image processor gives them, (B, 3, H, W) float32."""
    return (torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255 - PIXEL_MEAN) / PIXEL_STD


@torch.no_grad()
def _keep_scale(part: torch.nn.Module) -> None:
    """Let each layer keep its input's scale: with Transformers' 0.02 depthwise convolutions start as good as shut."""
    for layer in part.modules():
        if isinstance(layer, torch.nn.Linear | torch.nn.Conv2d):
            layer.weight.normal_(0, layer.weight[0].numel() ** -0.5)


def make_tokenizer(vocabulary: int, texts: Iterable[str] | None = None) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer of at most so many tokens, trained on texts, or on the project's wordings.

    The parts of an object's number, and the sentences that end each prompt, are tokens of the vocabulary itself: the
    engine knows no added tokens in what people typed.
    """
    fixed = (wording.SHORT, wording.LETTER, *_system_texts())
    whole = [*dict.fromkeys([*(f" {t}" for t in fixed), *fixed])]
    split = "|".join(
        [*(re.escape(t) for t in sorted(whole, key=len, reverse=True)), " ?<OBJ[0-9]{3}>", "[0-9]", r"\n+",
         " ?[A-Za-z]+", r" ?[^\sA-Za-z0-9]", r"\s+"]
    )  # fmt: skip
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(split), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    special = [_STOP, _PAD, _IMAGE]
    own = [*NUMBERS, *(f"{BLANK}{n}" for n in NUMBERS)]
    own += [_bytes(t) for t in whole]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    learnt = vocabulary - len(special) - len(own)
    if learnt < len(alphabet):
        least = vocabulary - learnt + len(alphabet)
        raise SmallModelError(f"a vocabulary of {vocabulary} has no room for what it always holds: at least {least}")
    trainer = trainers.BpeTrainer(vocab_size=learnt, initial_alphabet=alphabet, show_progress=False)
    core.train_from_iterator(sorted(set(_project_texts() if texts is None else texts)), trainer)
    learnt = json.loads(core.to_str())["model"]
    words = {**learnt["vocab"]}
    for word in own:
        words.setdefault(word, len(words))
    merges = [tuple(m) for m in learnt["merges"]]
    core.model = models.BPE(vocab=words, merges=merges, ignore_merges=True)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token=_STOP, pad_token=_PAD)
    tokenizer.add_special_tokens({"additional_special_tokens": special})
    return tokenizer


def _system_texts() -> list[str]:
    return [wording.system_text(style, frames=frames) for style in wording.WORDINGS for frames in (True, False)]


def _bytes(text: str) -> str:
    return text.replace(" ", BLANK).replace("\n", "\u010a")


def save_model(model: Any, tokenizer: PreTrainedTokenizerFast, directory: Path) -> None:
    """Write it so that the answerer (``answerer.transformers``) loads it: safetensors, config, processor, template."""
    directory.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    values = {"do_normalize": True, "image_mean": [PIXEL_MEAN] * 3, "image_std": [PIXEL_STD] * 3}
    square = {"height": PROMPT.bev_px, "width": PROMPT.bev_px}
    transformers.LlavaImageProcessorPil(
        do_pad=False, do_center_crop=False, size=square, crop_size=square, **values
    ).save_pretrained(directory)
    settings = {
        "processor_class": "LlavaProcessor",
        "patch_size": CELL_PX,
        "vision_feature_select_strategy": "full",
        "image_token": _IMAGE,
    }
    (directory / "processor_config.json").write_text(json.dumps(settings, indent=1), encoding="utf-8")
    (directory / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    (directory / "prompt.json").write_text(json.dumps(asdict(PROMPT), indent=1), encoding="utf-8")


def _project_texts() -> list[str]:
    asked = [
        w.text for table in (WORDINGS, CAMERA, SITUATED, GROUNDING, CAPTIONS) for kind in table.values() for w in kind
    ]
    told = [t for style in wording.WORDINGS.values() for texts in style.values() for t in texts]
    places = [t for texts in SITUATIONS.values() for t in texts]
    every = [*CATEGORIES, *(plural(c) for c in CATEGORIES), *(s for many in SYNONYMS.values() for s in many)]
    names = [*every, *(f"the {c}" for c in every)]
    return [
        *asked,
        *(w.text for table in (ASKED, MORE) for kind in table.values() for w in kind),
        *told,
        *places,
        *names,
        *(wording.system_text(style) for style in wording.WORDINGS),
        wording.SHORT,
        wording.LETTER,
        *(f"Bird's-eye view of {what}, 8 m wide:" for what in ("the whole scene", "a part of the scene")),
        "; the magenta arrow is where I stand and look square is where I stand:",
        *map(str, ROUTE_STEPS),
    ]
