"""One model of any family: pictures to features, positions, and a step through the layers.

What differs between families is asked of the model's own methods and of the processor that belongs to it.
"""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from transformers.modeling_outputs import BaseModelOutputWithPooling

from s3d_ros.chat import ChatImage
from s3d_ros.vlm.attention import GROUPED, use_grouped_attention
from s3d_ros.vlm.config import ModelError
from s3d_ros.vlm.grid import TokenGrid, token_grid
from s3d_ros.vlm.parts import FeaturePart
from s3d_ros.vlm.projector import Change, before_projector
from s3d_ros.vlm.tokens import I64, ImageLayout, Prompt, common_prefix

_WITHOUT_TILES = {"do_image_splitting": False, "crop_to_patches": False}
_POSITIONS = 4  # prompts whose positions are remembered
_LAYOUTS = 64  # of pictures of so many sizes are remembered


class Family:
    """A model with its processor. tile: let the processor cut pictures into tiles, if the family does.

    parts: what changes features after the encoder, in order.
    """

    def __init__(self, model: Any, processor: Any, tile: bool, parts: Sequence[FeaturePart] = ()) -> None:
        self.model = model
        self.parts = tuple(parts)
        self.core = getattr(model, "model", model)
        self.processor = processor
        self.tile = tile
        config = model.config
        named = getattr(config, "image_token_id", None)
        self.image_token_id = int(getattr(config, "image_token_index", -1) if named is None else named)
        self.image_token: str = processor.tokenizer.convert_ids_to_tokens(self.image_token_id)
        self.placeholder: str = getattr(processor, "image_token", self.image_token)
        use_grouped_attention(model)
        self._layouts: dict[tuple[int, ...], ImageLayout] = {}
        forward = inspect.signature(model.forward).parameters
        if not hasattr(self.core, "get_image_features") or "mm_encoder_outputs" not in forward:
            raise ModelError(f"{type(model).__name__} has no separate image encoder that could be used here")
        self._accepted = inspect.signature(self.core.get_image_features).parameters
        self._output_type: Any = None
        self._positions: deque[tuple[I64, torch.Tensor]] = deque(maxlen=_POSITIONS)
        self._listed = True
        self._rope: Any = getattr(self.core, "get_rope_index", None)
        self.needs_types = next((n for n in ("token_type_ids", "mm_token_type_ids") if n in forward), "")

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def layout(self, image: ChatImage) -> ImageLayout:
        """Return how a picture of that size stands in the prompt."""
        size = image.pixels.shape
        if size not in self._layouts:
            inputs, written = self._processed(image)
            bare = written.strip()
            before, after = written[: written.find(bare)], written[written.find(bare) + len(bare) :]
            ids = np.array(self.processor.tokenizer(bare, add_special_tokens=False)["input_ids"], dtype=np.int64)
            if len(self._layouts) >= _LAYOUTS:
                self._layouts.clear()
            kept = {k: v for k, v in inputs.items() if k == "image_grid_thw"}
            self._layouts[size] = ImageLayout(ids, ids == self.image_token_id, kept, before, after)
        return self._layouts[size]

    def encode(self, image: ChatImage) -> tuple[torch.Tensor, ...]:
        """Return a picture's features (n, d); with them those of further layers, where a family has such."""
        inputs, _ = self._processed(image)
        given = {k: v.to(self.device) for k, v in inputs.items() if k in self._accepted}
        early = [self._early(p, image) for p in self.parts if p.early]
        with before_projector(self.core, early):
            output = self.core.get_image_features(**given, return_dict=True)
        deep = getattr(output, "deepstack_features", None) or ()
        features = tuple(_flat(f) for f in (output.pooler_output, *deep))
        expected = int(self.layout(image).is_image.sum())
        if len(features[0]) != expected:
            raise ModelError(f"its processor writes {expected} tokens for a picture, the model {len(features[0])}")
        self._output_type, self._listed = _pooling(type(output)), not isinstance(output.pooler_output, torch.Tensor)
        for part in (p for p in self.parts if not p.early):
            made = {k: v.to(self.device) for k, v in part.inputs(image, self.grid(image, inputs)).items()}
            features = (part(features[0], [len(features[0])], [made]), *features[1:])
        return features

    @staticmethod
    def _early(part: FeaturePart, image: ChatImage) -> Change:
        told = part.tokens_of(image)
        return lambda vision: part.fused(vision, [len(vision)], [told])

    def grid(self, image: ChatImage, inputs: Mapping[str, Any]) -> TokenGrid:
        """Return where the tokens of a picture lie on it. inputs: the encoder's. Raises ModelError."""
        count = int(self.layout(image).is_image.sum())
        return token_grid(inputs, count, self.model.config, self.processor.image_processor)

    def pixel_inputs(self, image: ChatImage) -> dict[str, torch.Tensor]:
        """Return the encoder's inputs for a picture."""
        return {k: torch.as_tensor(v) for k, v in self._processed(image)[0].items() if k in self._accepted}

    @staticmethod
    def grouped(pictures: Sequence[dict[str, torch.Tensor]]) -> list[dict[str, torch.Tensor]]:
        """Join ``pixel_inputs`` of pictures in order, those of one shape that follow each other into one group."""
        groups: list[tuple[Any, list[dict[str, torch.Tensor]]]] = []
        for inputs in pictures:
            shape = {k: v.shape[1:] for k, v in inputs.items()}
            if not groups or groups[-1][0] != shape:
                groups.append((shape, []))
            groups[-1][1].append(inputs)
        return [{k: torch.cat([one[k] for one in held]) for k in held[0]} for _, held in groups]

    def encoded(self, pixels: Sequence[dict[str, torch.Tensor]]) -> tuple[torch.Tensor, ...]:
        """Return the features (n, d) of ``pixel_inputs``, and those of further layers; gradients flow through them."""
        layers: list[tuple[torch.Tensor, ...]] = []
        for group in pixels:
            output = self.core.get_image_features(**group, return_dict=True)
            deep = getattr(output, "deepstack_features", None) or ()
            layers.append(tuple(_flat(f) for f in (output.pooler_output, *deep)))
            self._output_type, self._listed = type(output), not isinstance(output.pooler_output, torch.Tensor)
        return tuple(torch.cat(layer) for layer in zip(*layers, strict=True))

    def given(self, features: tuple[torch.Tensor, ...]) -> dict[str, Any]:
        """Return what hands the model's forward these features of its pictures, in order."""
        if not features:
            return {}
        pooled = [features[0]] if self._listed else features[0][None]
        deep = {"deepstack_features": [[f] for f in features[1:]]} if len(features) > 1 else {}
        return {"mm_encoder_outputs": {"image": self._output_type(pooler_output=pooled, **deep)}}

    def positions(self, prompt: Prompt) -> torch.Tensor:
        """Return positions (k, n) of a prompt's tokens: k is 1, or 3 where a family has them in time and plane."""
        if self._rope is None:
            return torch.arange(len(prompt))[None]
        for keys, known in self._positions:  # they depend on nothing that comes later
            same = common_prefix(keys, prompt.keys)
            if same > 0 and (prompt.image[same:] < 0).all():
                on = int(known[:, :same].max()) + 1 + torch.arange(len(prompt) - same)
                return torch.cat([known[:, :same], on.expand(known.shape[0], -1)], dim=1)
        positions = self._rope_positions(prompt)
        self._positions.appendleft((prompt.keys, positions))
        return positions

    def _rope_positions(self, prompt: Prompt) -> torch.Tensor:
        grids = [g for layout in prompt.layouts for g in layout.inputs["image_grid_thw"]]
        known = {
            "input_ids": torch.from_numpy(prompt.ids)[None],
            "mm_token_type_ids": torch.from_numpy((prompt.image >= 0).astype(np.int64))[None],
            "image_grid_thw": torch.stack([torch.as_tensor(g) for g in grids]) if grids else None,
            "attention_mask": torch.ones(1, len(prompt), dtype=torch.long),
        }
        wanted = inspect.signature(self._rope).parameters
        positions, _ = self._rope(**{k: v for k, v in known.items() if k in wanted})
        rows: torch.Tensor = positions[:, 0]
        return rows

    def step(
        self,
        ids: torch.Tensor,
        positions: torch.Tensor,
        cache: Any,
        features: tuple[torch.Tensor, ...] = (),
        mask: torch.Tensor | None = None,
        keep: torch.Tensor | int = 1,
        **more: Any,
    ) -> torch.Tensor:
        """Read tokens (n,) at positions (k, n); return the logits (m, vocabulary) of those in ``keep``.

        features: of the pictures' tokens among them, in order. mask: (n, cache + n) bool, what each may look at; None:
        all before it.
        """
        more |= self.given(features)
        # An attention that knows no masks but the causal one can't keep questions apart.
        text = self.model.config.get_text_config()
        usual = text._attn_implementation
        try:
            if mask is not None and usual not in (GROUPED, "sdpa", "eager"):
                text._attn_implementation = "sdpa"
            output = self.model(
                input_ids=ids[None],
                position_ids=positions if positions.shape[0] == 1 else positions[:, None],
                attention_mask=None if mask is None else self._mask(mask),
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=keep,
                **more,
            )
        finally:
            text._attn_implementation = usual
        logits: torch.Tensor = output.logits[0]
        return logits

    def _mask(self, mask: torch.Tensor) -> torch.Tensor:
        return self.allowed(mask[None, None])

    def allowed(self, mask: torch.Tensor) -> torch.Tensor:
        """Return a mask (b, 1, n, m) bool, true where a token may look, as the model's attention takes it."""
        if self.model.config.get_text_config()._attn_implementation != "eager":
            return mask
        dtype = self.model.dtype
        return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, torch.finfo(dtype).min)

    def _processed(self, image: ChatImage) -> tuple[dict[str, Any], str]:
        """Return the model's inputs for one picture, and what the processor writes for it in the prompt."""
        processor = self.processor
        known = processor.image_processor.valid_kwargs.__annotations__
        own = {} if self.tile else {k: v for k, v in _WITHOUT_TILES.items() if k in known}
        merged = processor._merge_kwargs(
            tokenizer_init_kwargs=processor.tokenizer.init_kwargs, return_tensors="pt", **own
        )["images_kwargs"]
        pictures = [image.pixels]
        # This family leaves out tiles if, and only if, there are several pictures: a tiny one keeps it company.
        alone = not self.tile and self.model.config.model_type == "llava_onevision"
        images = (
            [[image.pixels, image.pixels[:2, :2]]] if alone else processor.prepare_inputs_layout(images=pictures)[0]
        )
        inputs, written = processor._process_images(images, **merged)
        if alone:
            inputs = {k: v[:1] for k, v in inputs.items()}
        return dict(inputs), written[0]


def _pooling(output_type: Any) -> Any:
    """Return a type that can be made with ``pooler_output``: some families only set it on what their encoder gave."""
    return output_type if "pooler_output" in output_type.__dataclass_fields__ else BaseModelOutputWithPooling


def _flat(features: Any) -> torch.Tensor:
    whole = features if isinstance(features, torch.Tensor) else torch.cat([_flat(f) for f in features])
    return whole.reshape(-1, whole.shape[-1])
