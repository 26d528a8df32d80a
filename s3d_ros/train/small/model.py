"""The small model: FastVLM's config class around a ResNet tower and a Qwen3 decoder, all of Transformers' own.

Convolutions read the digits, and give positions by their zero padding; pictures of any size go in as they are, 16x16
pixels a token. See docs/small_model.md for why.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from s3d_ros.offline.questions_wordings import ROUTE_STEPS, WORDINGS
from s3d_ros.offline.questions_wordings_camera import CAMERA
from s3d_ros.offline.questions_wordings_places import CAPTIONS, GROUNDING, SITUATED, SITUATIONS
from s3d_ros.offline.simulate.shapes import CATEGORIES
from s3d_ros.prompt import wording

CELL_PX = 16  # a token stands for so many pixels along and down
PIXEL_MEAN, PIXEL_STD = 0.5, 0.25  # of values 0..1
# An object's number has a token for each place, so that "1" in <OBJ100> and in <OBJ010> are learnt apart
HUNDREDS = tuple(f"<OBJ{d}" for d in range(10))
TENS = tuple("0123456789")
UNITS = tuple(f"{d}>" for d in range(10))
PLACES = (HUNDREDS, TENS, UNITS)
_STOP, _PAD, _IMAGE = "<|im_end|>", "<|endoftext|>", "<image>"
_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for item in message['content'] %}{% if item['type'] == 'image' %}<image>{% elif 'text' in item %}"
    "{{ item['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


class SmallModelError(ValueError):
    """Settings that make no model, or no run that goes on with another."""


@dataclass(frozen=True)
class ModelShape:
    """Sizes of the small model. tower: resnet or segformer, in three stages of strides 4, 8 and 16 px."""

    tower: str = "resnet"
    tower_widths: tuple[int, int, int] = (64, 128, 256)
    tower_depths: tuple[int, int, int] = (2, 2, 3)
    hidden: int = 320
    layers: int = 8
    heads: int = 5
    mlp: int = 896
    vocabulary: int = 2048
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


@torch.no_grad()
def _keep_scale(part: torch.nn.Module) -> None:
    """Let each layer keep its input's scale: with Transformers' 0.02 depthwise convolutions start as good as shut."""
    for layer in part.modules():
        if isinstance(layer, torch.nn.Linear | torch.nn.Conv2d):
            layer.weight.normal_(0, layer.weight[0].numel() ** -0.5)


def make_tokenizer(vocabulary: int, texts: Iterable[str] | None = None) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer of at most so many tokens, trained on texts, or on the project's wordings."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    core.decoder = decoders.ByteLevel()
    special = ["<|im_start|>", _STOP, _PAD, _IMAGE]
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - len(special) - 20, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )  # fmt: skip
    core.train_from_iterator(sorted(set(_project_texts() if texts is None else texts)), trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token=_STOP, pad_token=_PAD)
    tokenizer.add_special_tokens({"additional_special_tokens": special})
    tokenizer.add_tokens([*HUNDREDS, *UNITS])
    return tokenizer


def save_model(model: Any, tokenizer: PreTrainedTokenizerFast, directory: Path) -> None:
    """Write it so that the answerer (``answerer.transformers``) loads it: safetensors, config, processor, template."""
    directory.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    values = {"do_normalize": True, "image_mean": [PIXEL_MEAN] * 3, "image_std": [PIXEL_STD] * 3}
    transformers.GLPNImageProcessorPil(size_divisor=CELL_PX, **values).save_pretrained(directory)
    settings = {
        "processor_class": "LlavaProcessor",
        "patch_size": CELL_PX,
        "vision_feature_select_strategy": "full",
        "image_token": _IMAGE,
    }
    (directory / "processor_config.json").write_text(json.dumps(settings, indent=1), encoding="utf-8")
    (directory / "chat_template.jinja").write_text(_TEMPLATE, encoding="utf-8")


def _project_texts() -> list[str]:
    asked = [
        w.text for table in (WORDINGS, CAMERA, SITUATED, GROUNDING, CAPTIONS) for kind in table.values() for w in kind
    ]
    told = [t for style in wording.WORDINGS.values() for texts in style.values() for t in texts]
    places = [t for texts in SITUATIONS.values() for t in texts]
    names = [*CATEGORIES, *(f"the {c}" for c in CATEGORIES), *(f" {c}" for c in CATEGORIES)]
    return [
        *asked,
        *told,
        *places,
        *names,
        *(wording.system_text(style) for style in wording.WORDINGS),
        wording.SHORT,
        wording.LETTER,
        *map(str, ROUTE_STEPS),
    ]
