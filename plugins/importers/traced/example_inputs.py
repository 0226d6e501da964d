"""What a model of transformers is called with, made for its configuration."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from parplan.errors import InputError
from parplan.plugins.importers.analytic.vision_configs import QWEN2_VL_IMAGE
from parplan.plugins.importers.traced.known_values import known

DEFAULT_SEQUENCE = 4096
UNLIMITED = 2**62

LIMITS = ("max_position_embeddings", "n_positions", "max_target_positions")
"""Where a configuration says how many tokens a sequence may have."""

FRAMES_PER_POSITION = 2
"""Frames of a spectrum for one position of Whisper's encoder, whose second convolution halves them
(`Radford et al. 2022 <https://arxiv.org/abs/2212.04356>`_, section 2.2)."""


@frozen
class Inputs:
    """Arguments of a model's ``forward``.

    Attributes
    ----------
    given
        Tensors whose values are none.
    known
        Tensors whose values tell the model what to do.
    """

    given: Mapping[str, Any]
    known: Mapping[str, Any] = field(factory=dict)


@frozen
class Sizes:
    """How much a model is given.

    Attributes
    ----------
    sequence, target_sequence
        Tokens; of a decoder behind an encoder the latter. None: as many as the model takes, at
        most 4096.
    microbatch
        Sequences, images, or pairs of them.
    image_size
        Pixels along a side of each image; None: as the configuration says.
    training
        Whether the model is to return its loss.
    """

    sequence: int | None
    target_sequence: int | None
    microbatch: int
    image_size: int | None
    training: bool


def example_inputs(torch: Any, model: Any, sizes: Sizes) -> Inputs:
    """Return what a model is called with: as much as its forward method asks for.

    Raises
    ------
    InputError
        If the model takes neither tokens nor images nor spectra; if a size does not fit it.
    """
    config = model.config
    accepted = inspect.signature(model.forward).parameters
    training, batch = sizes.training, sizes.microbatch
    sequence = _sequence(config, sizes)
    made: dict[str, Any] = {}
    decoded = getattr(config, "is_encoder_decoder", False)
    length = (sizes.target_sequence or sequence) if decoded else sequence
    reads = "input_ids" in accepted or "input_features" in accepted
    if "input_ids" in accepted:
        made["input_ids"] = torch.zeros(batch, sequence, dtype=torch.long)
    if "input_features" in accepted:
        made["input_features"] = _spectra(torch, model, batch)
    if training and "labels" in accepted and reads:
        made["labels"] = torch.zeros(batch, length, dtype=torch.long)
    if decoded and "decoder_input_ids" in accepted:
        made["decoder_input_ids"] = torch.zeros(batch, length, dtype=torch.long)
    if "use_cache" in accepted:
        made["use_cache"] = False
    if training and "return_loss" in accepted:
        made["return_loss"] = True
    if "image_grid_thw" in accepted:
        return _with_grids(torch, model, made, sizes, sequence)
    if "pixel_values" in accepted:
        made["pixel_values"] = _images(torch, model, sizes)
        if training and "token_type_ids" in accepted and "input_ids" in accepted:
            made["token_type_ids"] = torch.zeros(batch, sequence, dtype=torch.long)
    if not made:
        raise InputError(f"'{type(model).__name__}' takes neither tokens nor images nor spectra")
    return Inputs(made)


def _sequence(config: Any, sizes: Sizes) -> int:
    """Return the tokens of a sequence; InputError if the model has no positions for them."""
    text = getattr(config, "text_config", None) or config
    longest = next((size for name in LIMITS if (size := getattr(text, name, None))), UNLIMITED)
    sequence = sizes.sequence or min(longest, DEFAULT_SEQUENCE)
    if sequence > longest:
        raise InputError(
            f"a sequence of {sequence} tokens does not fit the model's {longest} positions",
            key="model.options.sequence",
        )
    return sequence


def _images(torch: Any, model: Any, sizes: Sizes) -> Any:
    """Return images of the size that a model takes."""
    vision = _vision(model)
    size = sizes.image_size or getattr(vision, "image_size", None) or 224
    height, width = size if isinstance(size, list | tuple) else (size, size)
    channels = getattr(vision, "num_channels", None) or 3
    return torch.zeros(sizes.microbatch, channels, height, width, dtype=_dtype(model))


def _spectra(torch: Any, model: Any, batch: int) -> Any:
    """Return spectra of sound as long as a model takes them."""
    config = model.config
    frames = getattr(config, "max_source_positions", 1500) * FRAMES_PER_POSITION
    return torch.zeros(batch, getattr(config, "num_mel_bins", 80), frames, dtype=_dtype(model))


def _with_grids(
    torch: Any, model: Any, made: dict[str, Any], sizes: Sizes, sequence: int
) -> Inputs:
    """Return the inputs of a model that is told how many patches each image has.

    Each sequence begins with the tokens of its image.
    """
    vision = _vision(model)
    patch = vision.patch_size
    times = getattr(vision, "temporal_patch_size", 2)
    side = getattr(vision, "spatial_merge_size", 2)
    pixels = sizes.image_size or getattr(vision, "image_size", None) or QWEN2_VL_IMAGE
    if pixels % (patch * side):
        raise InputError(
            f"images of {pixels} pixels cannot be divided by {side} patches of {patch}",
            key="model.options.image_size",
        )
    batch, across = sizes.microbatch, pixels // patch
    seen = (across // side) ** 2
    if sequence <= seen:
        raise InputError(
            f"a sequence of {sequence} tokens has no room for text behind the {seen} of its image; "
            "raise 'sequence', or lower 'image_size'",
            key="model.options.sequence",
        )
    width = getattr(vision, "in_channels", None) or getattr(vision, "in_chans", None) or 3
    with torch.device("cpu"):
        tokens = torch.zeros(batch, sequence, dtype=torch.long)
        tokens[:, :seen] = model.config.image_token_id
        values = {
            "input_ids": tokens,
            "attention_mask": torch.ones_like(tokens),
            "mm_token_type_ids": (tokens == model.config.image_token_id).long(),
            "position_ids": torch.zeros(3, batch, sequence, dtype=torch.long),
            "image_grid_thw": torch.tensor([[1, across, across]] * batch),
        }
    patches = (batch * across**2, width * times * patch**2)
    given = {name: value for name, value in made.items() if name != "input_ids"}
    given["pixel_values"] = torch.zeros(patches, dtype=_dtype(model))
    return Inputs(given, {name: known(torch, value) for name, value in values.items()})


def _vision(model: Any) -> Any:
    """Return the part of a configuration that is about images."""
    return getattr(model.config, "vision_config", None) or model.config


def _dtype(model: Any) -> Any:
    return next(model.parameters()).dtype
