"""Tiny models with random weights, made from the real config classes and saved as real ones are: nothing is downloaded.

``make_tiny("qwen2_5_vl", directory)`` writes config, weights (safetensors), tokenizer with the family's control tokens,
image processor and chat template, so that the code under test loads it as it would the real one.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

_WORDS = """Where is the chair nearest to the table? There are two mugs on the desk, left of the lamp. System prompt
You are a helpful assistant. user assistant Picture 1 of 33, seen 12.5 s ago: the robot stands here, facing the window.
Answer the question using a single word or phrase. <OBJ012> <OBJ007> yes no Image frame view from above BEV User: End
describe the corner by the window with its kettle, how many books lie on the shelf? 0 1 2 3 4 5 6 7 8 9 metres"""
_CHATML = """{% for message in messages %}{% if loop.first and message['role'] != 'system' %}<|im_start|>system
You are a helpful assistant.<|im_end|>
{% endif %}<|im_start|>{{ message['role'] }}
{% if message['content'] is string %}{{ message['content'] }}<|im_end|>
{% else %}{% for content in message['content'] %}{% if content['type'] == 'image' %}IMAGE{% elif 'text' in content %}\
{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>
{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
_QWEN = _CHATML.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>")
_INTERN = _CHATML.replace("IMAGE", "<IMG_CONTEXT>\n")
# As published: all pictures first, then the texts.
_ONEVISION = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + ' '}}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>' }}{% endfor %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{{ '\\n' + content['text'] }}"
    "{% endfor %}{{'<|im_end|>'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
_SMOL = (
    "<|im_start|>{% for message in messages %}{{message['role'] | capitalize}}"
    "{% if message['content'][0]['type'] == 'image' %}{{':'}}{% else %}{{': '}}{% endif %}"
    "{% for line in message['content'] %}{% if line['type'] == 'text' %}{{line['text']}}"
    "{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
_GEMMA = (
    "{{ bos_token }}{% for message in messages %}{{ '<start_of_turn>' + message['role'] + '\n' }}"
    "{% if message['content'] is string %}{{ message['content'] | trim }}{% else %}{% for item in message['content'] %}"
    "{% if item['type'] == 'image' %}{{ '<start_of_image>' }}{% elif item['type'] == 'text' %}{{ item['text'] | trim }}"
    "{% endif %}{% endfor %}{% endif %}{{ '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
_QWEN_TOKENS = (
    "<|endoftext|> <|im_start|> <|im_end|> <|vision_start|> <|vision_end|> <|image_pad|> <|video_pad|>".split()
)


def tiny_tokenizer(special: list[str], plain_added: tuple[str, ...] = (), **named: str) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer trained on a few words, with control tokens."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    core.train_from_iterator([_WORDS], trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, **named)
    tokenizer.add_special_tokens({"additional_special_tokens": special})
    tokenizer.add_tokens(list(plain_added))  # control tokens that are not "special", as Qwen's <tool_call>
    return tokenizer


def make_tiny(family: str, directory: Path, seed: int = 0, **shape: int) -> Path:
    """Write a tiny model of a family. shape: hidden, layers, heads, kv_heads, context of its language model."""
    torch.manual_seed(seed)
    config, tokenizer, image_processor, settings, template = FAMILIES[family](_Shape(**shape))
    model_class = transformers.models.auto.modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES[config.model_type]
    model = getattr(transformers, model_class)(config)
    _enliven(model)
    stop = tokenizer.convert_tokens_to_ids(tokenizer.eos_token)
    model.generation_config.eos_token_id = stop
    model.generation_config.pad_token_id = stop
    directory.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    image_processor.save_pretrained(directory)
    (directory / "processor_config.json").write_text(json.dumps(settings), encoding="utf-8")
    (directory / "chat_template.jinja").write_text(template, encoding="utf-8")
    return directory


def make_endless(directory: Path) -> Path:
    """Write a model that never ends, and says more with each token: only tokens of letters have logits but 0."""
    make_tiny("qwen2_5_vl", directory)
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    weights = load_file(directory / "model.safetensors")
    for token in range(len(weights["lm_head.weight"])):
        if not tokenizer.decode([token], skip_special_tokens=True).strip().isalpha():
            weights["lm_head.weight"][token] = 0
    save_file(weights, directory / "model.safetensors", {"format": "pt"})
    return directory


def _enliven(model: Any) -> None:
    """Make random weights larger, so that different prompts get different, sure enough, words."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim >= 2:
                weight.copy_(torch.randn_like(weight) / weight[0].numel() ** 0.5 * 1.5)
            elif name.endswith("bias"):
                weight.normal_(0, 0.1)


class _Shape:
    """The language model's size."""

    def __init__(
        self, hidden: int = 64, layers: int = 2, heads: int = 4, kv_heads: int = 2, context: int = 32768
    ) -> None:
        self.hidden = hidden
        self.text = {
            "hidden_size": hidden,
            "intermediate_size": 2 * hidden,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "num_key_value_heads": kv_heads,
            "max_position_embeddings": context,
        }
        self.head_dim = hidden // heads


Made = tuple[Any, PreTrainedTokenizerFast, Any, dict[str, Any], str]


def _qwen_tokenizer() -> PreTrainedTokenizerFast:
    return tiny_tokenizer(_QWEN_TOKENS, ("<tool_call>",), eos_token="<|im_end|>", pad_token="<|endoftext|>")


def _qwen_ids(tokenizer: PreTrainedTokenizerFast) -> dict[str, int]:
    names = {
        "image_token_id": "<|image_pad|>",
        "video_token_id": "<|video_pad|>",
        "vision_start_token_id": "<|vision_start|>",
        "vision_end_token_id": "<|vision_end|>",
    }
    return {k: tokenizer.convert_tokens_to_ids(v) for k, v in names.items()}


def _qwen2_vl(shape: _Shape) -> Made:
    tokenizer = _qwen_tokenizer()
    half = shape.head_dim // 2
    mrope = {"rope_type": "default", "mrope_section": [half - 2 * (half * 3 // 8), half * 3 // 8, half * 3 // 8]}
    config = transformers.Qwen2VLConfig(
        text_config={**shape.text, "vocab_size": len(tokenizer), "rope_parameters": {**mrope, "rope_theta": 1e6}},
        vision_config={"depth": 2, "embed_dim": 32, "num_heads": 2, "hidden_size": shape.hidden, "mlp_ratio": 2},
        **_qwen_ids(tokenizer),
    )
    return config, tokenizer, transformers.Qwen2VLImageProcessorPil(), {"processor_class": "Qwen2VLProcessor"}, _QWEN


def _qwen2_5_vl(shape: _Shape) -> Made:
    tokenizer = _qwen_tokenizer()
    half = shape.head_dim // 2
    mrope = {"rope_type": "default", "mrope_section": [half - 2 * (half * 3 // 8), half * 3 // 8, half * 3 // 8]}
    config = transformers.Qwen2_5_VLConfig(
        text_config={**shape.text, "vocab_size": len(tokenizer), "rope_parameters": {**mrope, "rope_theta": 1e6}},
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "num_heads": 2,
            "intermediate_size": 64,
            "out_hidden_size": shape.hidden,
            "fullatt_block_indexes": [1],
        },
        **_qwen_ids(tokenizer),
    )
    return config, tokenizer, transformers.Qwen2VLImageProcessorPil(), {"processor_class": "Qwen2_5_VLProcessor"}, _QWEN


def _qwen3_vl(shape: _Shape) -> Made:
    tokenizer = _qwen_tokenizer()
    half = shape.head_dim // 2
    mrope = {"rope_type": "default", "mrope_section": [half - 2 * (half * 3 // 8), half * 3 // 8, half * 3 // 8]}
    config = transformers.Qwen3VLConfig(
        text_config={
            **shape.text,
            "vocab_size": len(tokenizer),
            "head_dim": shape.head_dim,
            "rope_parameters": {**mrope, "rope_theta": 1e6},
        },
        vision_config={
            "depth": 3,
            "hidden_size": 32,
            "num_heads": 2,
            "intermediate_size": 64,
            "out_hidden_size": shape.hidden,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0, 1],
        },
        **_qwen_ids(tokenizer),
    )
    image_processor = transformers.Qwen2VLImageProcessorPil(
        patch_size=16,
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
        size={"shortest_edge": 65536, "longest_edge": 16777216},
    )
    return config, tokenizer, image_processor, {"processor_class": "Qwen3VLProcessor"}, _QWEN


def _qwen3_5(shape: _Shape) -> Made:
    """Every second layer is linear attention: its state can't be cut."""
    tokenizer = _qwen_tokenizer()
    config = transformers.Qwen3_5Config(
        text_config={
            **shape.text,
            "vocab_size": len(tokenizer),
            "head_dim": 32,
            "layer_types": ["linear_attention", "full_attention"],
            "linear_key_head_dim": 16,
            "linear_value_head_dim": 16,
            "linear_num_key_heads": 2,
            "linear_num_value_heads": 4,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e6,
                "mrope_section": [2, 1, 1],
                "mrope_interleaved": True,
                "partial_rotary_factor": 0.25,
            },
        },
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "num_heads": 2,
            "intermediate_size": 64,
            "out_hidden_size": shape.hidden,
            "num_position_embeddings": 64,
        },
        **_qwen_ids(tokenizer),
    )
    image_processor = transformers.Qwen2VLImageProcessorPil(
        patch_size=16, image_mean=[0.5] * 3, image_std=[0.5] * 3, size={"shortest_edge": 1024, "longest_edge": 16777216}
    )
    return config, tokenizer, image_processor, {"processor_class": "Qwen3VLProcessor"}, _QWEN


def _llava_onevision(shape: _Shape) -> Made:
    special = ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<image>", "<video>"]
    tokenizer = tiny_tokenizer(special, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    config = transformers.LlavaOnevisionConfig(
        text_config={"model_type": "qwen2", **shape.text, "vocab_size": len(tokenizer)},
        vision_config={**_SIGLIP, "vision_use_head": False},
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        video_token_index=tokenizer.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=[[56, 56], [56, 112], [112, 56], [112, 112]],
    )
    image_processor = transformers.LlavaOnevisionImageProcessorPil(
        size={"height": 56, "width": 56}, image_grid_pinpoints=[[56, 56], [56, 112], [112, 56], [112, 112]]
    )
    settings = {
        "processor_class": "LlavaOnevisionProcessor",
        "num_image_tokens": 16,
        "vision_feature_select_strategy": "full",
    }
    return config, tokenizer, image_processor, settings, _ONEVISION


def _internvl(shape: _Shape) -> Made:
    named = {
        "context_image_token": "<IMG_CONTEXT>",
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "video_token": "<video>",
    }
    special = ["<|im_start|>", "<|im_end|>", "<|endoftext|>"]
    tokenizer = tiny_tokenizer(special, eos_token="<|im_end|>", pad_token="<|endoftext|>", extra_special_tokens=named)
    config = transformers.InternVLConfig(
        text_config={"model_type": "qwen2", **shape.text, "vocab_size": len(tokenizer)},
        vision_config={
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 64,
            "image_size": [56, 56],
            "patch_size": [14, 14],
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
    )
    image_processor = transformers.GotOcr2ImageProcessorPil(
        size={"height": 56, "width": 56}, min_patches=1, max_patches=4
    )
    settings = {"processor_class": "InternVLProcessor", "image_seq_length": 4}
    return config, tokenizer, image_processor, settings, _INTERN


def _smol_parts(shape: _Shape, text_type: str) -> tuple[PreTrainedTokenizerFast, dict[str, Any], dict[str, Any]]:
    tiles = [f"<row_{r}_col_{c}>" for r in range(1, 7) for c in range(1, 7)]
    special = ["<|im_start|>", "<end_of_utterance>", "<fake_token_around_image>", "<image>", "<global-img>", *tiles]
    tokenizer = tiny_tokenizer(special, eos_token="<end_of_utterance>", pad_token="<|im_start|>")
    parts = {
        "text_config": {"model_type": text_type, **shape.text, "vocab_size": len(tokenizer), "pad_token_id": 0},
        "vision_config": _SIGLIP,
        "image_token_id": tokenizer.convert_tokens_to_ids("<image>"),
        "scale_factor": 2,
    }
    sizes = {"size": {"longest_edge": 112}, "max_image_size": {"longest_edge": 56}}
    return tokenizer, parts, sizes


def _smolvlm(shape: _Shape) -> Made:
    tokenizer, parts, sizes = _smol_parts(shape, "llama")
    settings = {"processor_class": "SmolVLMProcessor", "image_seq_len": 4}
    image_processor = transformers.SmolVLMImageProcessorPil(**sizes)
    return transformers.SmolVLMConfig(**parts), tokenizer, image_processor, settings, _SMOL


def _idefics3(shape: _Shape) -> Made:
    tokenizer, parts, sizes = _smol_parts(shape, "llama")
    settings = {"processor_class": "Idefics3Processor", "image_seq_len": 4}
    image_processor = transformers.Idefics3ImageProcessorPil(**sizes)
    return transformers.Idefics3Config(**parts), tokenizer, image_processor, settings, _SMOL


def _llava(shape: _Shape) -> Made:
    special = ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<image>"]
    tokenizer = tiny_tokenizer(special, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    config = transformers.LlavaConfig(
        text_config={"model_type": "llama", **shape.text, "vocab_size": len(tokenizer)},
        vision_config=_CLIP,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-2,
    )
    image_processor = transformers.CLIPImageProcessorPil(
        size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56}
    )
    settings = {
        "processor_class": "LlavaProcessor",
        "patch_size": 14,
        "vision_feature_select_strategy": "default",
        "num_additional_image_tokens": 1,
    }
    return config, tokenizer, image_processor, settings, _ONEVISION


def _gemma3(shape: _Shape) -> Made:
    named = {"image_token": "<image_soft_token>", "boi_token": "<start_of_image>", "eoi_token": "<end_of_image>"}
    special = ["<bos>", "<start_of_turn>", "<end_of_turn>"]
    tokenizer = tiny_tokenizer(
        special, bos_token="<bos>", eos_token="<end_of_turn>", pad_token="<bos>", extra_special_tokens=named
    )
    config = transformers.Gemma3Config(
        text_config={
            **shape.text,
            "vocab_size": len(tokenizer),
            "head_dim": shape.head_dim,
            "sliding_window": 32,
            "layer_types": ["sliding_attention", "full_attention"],
        },
        vision_config=_SIGLIP,
        mm_tokens_per_image=4,
        image_token_index=tokenizer.convert_tokens_to_ids("<image_soft_token>"),
        boi_token_index=tokenizer.convert_tokens_to_ids("<start_of_image>"),
        eoi_token_index=tokenizer.convert_tokens_to_ids("<end_of_image>"),
    )
    image_processor = transformers.Gemma3ImageProcessorPil(size={"height": 56, "width": 56})
    return config, tokenizer, image_processor, {"processor_class": "Gemma3Processor", "image_seq_length": 4}, _GEMMA


_SIGLIP = {
    "model_type": "siglip_vision_model",
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "image_size": 56,
    "patch_size": 14,
}
_CLIP = {**_SIGLIP, "model_type": "clip_vision_model", "num_hidden_layers": 3}

FAMILIES: dict[str, Callable[[_Shape], Made]] = {
    "qwen2_vl": _qwen2_vl,
    "qwen2_5_vl": _qwen2_5_vl,
    "qwen3_vl": _qwen3_vl,
    "llava_onevision": _llava_onevision,
    "internvl": _internvl,
    "smolvlm": _smolvlm,
    "idefics3": _idefics3,
    "llava": _llava,
    "gemma3": _gemma3,
    "qwen3_5": _qwen3_5,
}
