"""A Qwen2.5-VL with random weights, for measuring what it costs: no download, and its words mean nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

_CONTROL = "<|endoftext|> <|im_start|> <|im_end|> <|vision_start|> <|vision_end|> <|image_pad|> <|video_pad|>".split()
_WORDS = """You are a helpful assistant. system user assistant The robot looked around. Picture 12, seen 12.5 s ago:
The view from above: Where is the chair nearest to the table? How many mugs are on the desk, left of the lamp? Describe
the corner by the window with its kettle. in front of <OBJ012> and <OBJ007> Answer with a single word"""
_TEMPLATE = """{% for message in messages %}<|im_start|>{{ message['role'] }}
{% for content in message['content'] %}{% if content['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>\
{% else %}{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""


@dataclass(frozen=True)
class VlmShape:
    """Sizes of a Qwen2.5-VL. text, vision: the keys of its config classes."""

    name: str
    text: dict[str, Any] = field(default_factory=dict)
    vision: dict[str, Any] = field(default_factory=dict)


SMALL = VlmShape(
    "small Qwen2.5-VL",
    {
        "hidden_size": 256,
        "intermediate_size": 1024,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 1024,
        "mrope_section": [8, 12, 12],
    },
    {"depth": 2, "hidden_size": 64, "num_heads": 2, "intermediate_size": 256, "fullatt_block_indexes": [1]},
)
SEVEN_B = VlmShape(
    "Qwen2.5-VL of 7B, random weights",
    {
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "vocab_size": 152064,
        "mrope_section": [16, 24, 24],
    },
    {
        "depth": 32,
        "hidden_size": 1280,
        "num_heads": 16,
        "intermediate_size": 3420,
        "fullatt_block_indexes": [7, 15, 23, 31],
    },
)


def random_vlm(shape: VlmShape, device: str, seed: int = 0) -> tuple[Any, Any, str]:
    """Return model, processor and device; bfloat16 on CUDA, else float32."""
    from transformers import (
        AutoModelForImageTextToText,
        PreTrainedTokenizerFast,
        Qwen2_5_VLConfig,
        Qwen2_5_VLProcessor,
        Qwen2VLImageProcessorPil,
    )

    from s3d_ros.vlm.processor import without_videos

    tokenizer = PreTrainedTokenizerFast(tokenizer_object=_trained(), eos_token="<|im_end|>", pad_token="<|endoftext|>")
    tokenizer.add_special_tokens({"additional_special_tokens": _CONTROL})
    ids = {
        f"{name}_token_id": tokenizer.convert_tokens_to_ids(f"<|{token}|>")
        for name, token in (
            ("image", "image_pad"),
            ("video", "video_pad"),
            ("vision_start", "vision_start"),
            ("vision_end", "vision_end"),
        )
    }
    text = {k: v for k, v in shape.text.items() if k != "mrope_section"}
    text["rope_parameters"] = {
        "rope_type": "default",
        "rope_theta": 1e6,
        "mrope_section": shape.text["mrope_section"],
    }
    vision = {**shape.vision, "out_hidden_size": text["hidden_size"]}
    config = Qwen2_5_VLConfig(text_config={**text, "max_position_embeddings": 32768}, vision_config=vision, **ids)
    torch.manual_seed(seed)
    dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
    with torch.device(device):
        model = AutoModelForImageTextToText.from_config(config, dtype=dtype)
    processor = without_videos(Qwen2_5_VLProcessor)(Qwen2VLImageProcessorPil(), tokenizer, None, _TEMPLATE)
    return model.eval(), processor, device


def _trained() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    core.train_from_iterator([_WORDS], trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet))
    return core
