"""Hugging Face ``config.json``: transformers with analytic work and bytes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Protocol

from attrs import field, frozen

from parplan.contracts import Importer
from parplan.differentiation import Backward, Passes, inference_graph, training_graph
from parplan.errors import InputError
from parplan.graph import Graph
from parplan.patterns import matching_modules
from parplan.plugins.importers.analytic.config import Config, read_config
from parplan.plugins.importers.analytic.decoder_configs import DECODERS, read_decoder
from parplan.plugins.importers.analytic.encoder_decoder_configs import read_switch, read_t5
from parplan.plugins.importers.analytic.expert_parallel import ExpertParallel
from parplan.plugins.importers.analytic.granularity import join_modules
from parplan.plugins.importers.analytic.model import Model
from parplan.plugins.importers.analytic.shape import ELEMENT_BYTES, Setting, Shape
from parplan.plugins.importers.analytic.vision_configs import (
    read_clip,
    read_llava,
    read_qwen2_vl,
)
from parplan.spec.structuring import did_you_mean, structure

DEFAULT_SEQUENCE = 4096

LAYER = re.compile(r"^(.*?\blayers\.\d+)\..*$")
"""The path of a module inside a layer, with the layer's own."""


class Granularity(StrEnum):
    """What one operator is: a product or norm, a module (half a layer, or less), or a layer."""

    OPERATOR = "operator"
    BLOCK = "block"
    LAYER = "layer"


class Experts(StrEnum):
    """Whether the experts of a layer are one part, or branches that may run side by side."""

    TOGETHER = "together"
    BRANCHES = "branches"


class Tied(StrEnum):
    """Whether tied embeddings are one group on one device, or copies that exchange gradients."""

    TOGETHER = "together"
    REPLICAS = "replicas"


class Attention(StrEnum):
    """Whether sequence x sequence matrices are kept for the backward pass."""

    FLASH = "flash"
    FULL = "full"


class NumberFormat(StrEnum):
    """Format of activations and arithmetic."""

    BF16 = "bf16"
    FP16 = "fp16"
    FP32 = "fp32"


@frozen
class HuggingFaceOptions:
    """How the model of a ``config.json`` is run.

    Attributes
    ----------
    sequence
        Tokens per sequence; by default the model's maximum, at most 4096.
    microbatch
        Sequences per microbatch; for CLIP pairs of an image and a text.
    target_sequence
        Tokens per sequence of the decoder, where an encoder reads ``sequence``; as many by default.
    workload
        ``inference`` has forward passes alone, and logits of the last token (prefill).
    whole_backward
        Modules (names or patterns) whose backward is one pass where the others' is split: PyTorch's
        pipelines do not split that of their first stage.
    causal_half
        Count attention for the half that a causal mask leaves; by default it counts in full.
    weight_bytes, gradient_bytes, optimizer_bytes
        Per parameter; by default mixed-precision Adam: bf16 weights and gradients, fp32 master
        weights and two moments (ZeRO, 2 + 2 + 12).
    logit_bytes
        Per element of the logits; fp32 by default.
    tied
        Whether tied embeddings are one group, so that all that read it are on one device, or every
        reader has a copy, as in Megatron's pipelines: once per step the copies exchange gradients.
    experts
        For a mixture of experts: whether those of a layer are one part, or each is a branch.
    expert_parallel
        For a mixture of experts: among how many ranks its experts are divided, and what the
        exchange of tokens takes.
    """

    sequence: int | None = None
    microbatch: int = 1
    target_sequence: int | None = None
    workload: Passes = Passes.TRAINING
    granularity: Granularity = Granularity.BLOCK
    backward: Backward = Backward.SPLIT
    whole_backward: tuple[str, ...] = ()
    attention: Attention = Attention.FLASH
    causal_half: bool = False
    dtype: NumberFormat = NumberFormat.BF16
    weight_bytes: int = 2
    gradient_bytes: int = 2
    optimizer_bytes: int = 12
    logit_bytes: int = 4
    tied: Tied = Tied.TOGETHER
    experts: Experts = Experts.TOGETHER
    expert_parallel: ExpertParallel = field(factory=ExpertParallel)

    def __attrs_post_init__(self) -> None:
        for what in ("sequence", "target_sequence", "microbatch", "weight_bytes", "logit_bytes"):
            value = getattr(self, what)
            if value is not None and value < 1:
                raise InputError(f"{what} is {value}; it must be at least 1")
        for what in ("gradient_bytes", "optimizer_bytes"):
            if getattr(self, what) < 0:
                raise InputError(f"{what} is {getattr(self, what)}; it cannot be negative")

    def setting(self, longest: int) -> Setting:
        """Return how the layers are to be made, for a model that takes ``longest`` tokens."""
        return Setting(
            sequence=self.sequence or min(longest, DEFAULT_SEQUENCE),
            microbatch=self.microbatch,
            target_sequence=self.target_sequence,
            training=self.workload is Passes.TRAINING,
            flash=self.attention is Attention.FLASH,
            causal_half=self.causal_half,
            dtype=self.dtype.value,
            element_bytes=ELEMENT_BYTES[self.dtype],
            logit_bytes=self.logit_bytes,
            weight_bytes=self.weight_bytes,
            gradient_bytes=self.gradient_bytes,
            optimizer_bytes=self.optimizer_bytes,
            expert_parallel=self.expert_parallel,
            expert_branches=self.experts is Experts.BRANCHES,
        )


class Architecture(Protocol):
    """A model that a configuration describes."""

    @property
    def tokens(self) -> Shape:
        """The stack that reads ``sequence`` tokens."""

    @property
    def longest(self) -> int:
        """Tokens that a sequence may have, or has where nothing else is said."""

    def model(self, setting: Setting) -> Model:
        """Return the model as it is run."""


class HuggingFace(Importer):
    """Reads the ``config.json`` of a transformer; ``MODELS`` lists the known ones.

    Embedding, final norm, head, loss and the optimizer of each module are operators of their own.
    Tied embeddings are one parameter group, read by embedding and head.
    """

    name: ClassVar[str] = "huggingface"
    options: ClassVar[type] = HuggingFaceOptions

    def load(self, path: Path, options: Mapping[str, Any]) -> Graph:
        """Return the graph of a model; InputError names the file, and the key at fault."""
        chosen = structure(dict(options), HuggingFaceOptions, key="model.options")
        values = read_config(path)
        try:
            architecture = read_architecture(values)
            setting = chosen.setting(architecture.longest)
            _check_sequence(architecture, setting)
            _check_experts(architecture.tokens, chosen)
            model = architecture.model(setting)
        except InputError as error:
            raise error.located(file=str(path)) from None
        return model_graph(_title(path), model, setting, chosen)


def _check_sequence(architecture: Architecture, setting: Setting) -> None:
    """Raise InputError where a sequence is longer than a table of positions."""
    positions = architecture.tokens.positions
    if positions and setting.sequence > positions:
        raise InputError(
            f"a sequence of {setting.sequence} tokens does not fit the model's "
            f"{positions} learned positions; lower model.options.sequence",
            key="n_positions",
        )


def _check_experts(shape: Shape, options: HuggingFaceOptions) -> None:
    """Raise InputError where experts are divided in vain, twice, or unseen."""
    group = options.expert_parallel
    apart = options.experts is Experts.BRANCHES
    if shape.mixture is None:
        if group.degree > 1:
            raise InputError(
                "the model has no experts to divide", key="model.options.expert_parallel"
            )
        if apart:
            raise InputError("the model has no experts", key="model.options.experts")
        return
    group.local_experts(shape.mixture.experts)
    if group.degree > 1 and apart:
        raise InputError(
            "experts that are branches are placed on devices of the plan; an expert_parallel."
            "degree above 1 divides them among ranks outside of it: choose one of the two",
            key="model.options.experts",
        )
    if options.granularity is Granularity.LAYER and (group.degree > 1 or apart):
        hidden = "the exchange of tokens" if group.degree > 1 else "the branches of its experts"
        raise InputError(
            f"an operator that is a whole layer would hide {hidden} in it; choose "
            "'block' or 'operator'",
            key="model.options.granularity",
        )


def model_graph(name: str, model: Model, setting: Setting, options: HuggingFaceOptions) -> Graph:
    """Return the graph of a model in a setting, in the chosen granularity."""
    if options.tied is Tied.REPLICAS:
        model = model.replicated()
    layers, groups = list(model.layers), tuple(model.groups(setting))
    if setting.training:
        whole = _whole(options, [layer.module for layer in layers])
        graph = training_graph(
            name,
            layers,
            groups,
            list(model.updates(setting)),
            split=lambda layer: layer.module not in whole,
            replicas=list(model.replicas(setting)),
        )
    else:
        graph = inference_graph(name, layers, groups)
    if options.granularity is Granularity.OPERATOR:
        return graph
    if options.granularity is Granularity.BLOCK:
        return join_modules(graph, lambda module: module)
    return join_modules(graph, lambda module: LAYER.sub(r"\1", module))


def _whole(options: HuggingFaceOptions, modules: Sequence[str]) -> frozenset[str]:
    """Return the modules whose backward is one pass; InputError if a pattern means none."""
    if options.backward is Backward.WHOLE:
        return frozenset(modules)
    key = "model.options.whole_backward"
    return frozenset(
        m for pattern in options.whole_backward for m in matching_modules(pattern, modules, key=key)
    )


def read_architecture(values: Mapping[str, Any]) -> Architecture:
    """Return the model that a configuration describes.

    Raises
    ------
    InputError
        For a ``model_type`` that is not known, and for a key that is missing or of a wrong type.
    """
    kind = values.get("model_type")
    if not isinstance(kind, str):
        raise InputError(f"is missing or no text; known: {', '.join(MODELS)}", key="model_type")
    if kind not in MODELS:
        raise InputError(f"'{kind}' is not known; {did_you_mean(kind, MODELS)}", key="model_type")
    return MODELS[kind](Config(values, kind))


MODELS: Mapping[str, Callable[[Config], Architecture]] = {
    **dict.fromkeys(DECODERS, read_decoder),
    "t5": read_t5,
    "switch_transformers": read_switch,
    "clip": read_clip,
    "llava": read_llava,
    "qwen2_vl": read_qwen2_vl,
}
"""Known values of ``model_type``."""


def _title(path: Path) -> str:
    """Return a name for the model: the file's, or the folder's for a plain ``config.json``."""
    return path.resolve().parent.name if path.name == "config.json" else path.stem
