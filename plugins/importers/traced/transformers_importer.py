"""Models of Hugging Face's transformers as they really are, traced from their configuration.

Where ``huggingface`` writes the work of known architectures down, this importer makes the model
itself, on PyTorch's device ``meta`` (no weights, no network), and traces it as ``torch`` does. So
it knows every architecture that transformers knows; it takes longer, and counts bytes of kernels
that are not fused.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from attrs import frozen

from parplan.contracts import Importer
from parplan.differentiation import Passes
from parplan.errors import InputError
from parplan.graph import Graph
from parplan.plugins.importers.analytic.config import read_config
from parplan.plugins.importers.traced.options import TorchOptions
from parplan.plugins.importers.traced.torch_importer import torch_graph
from parplan.plugins.importers.traced.tracing import trace
from parplan.spec.structuring import did_you_mean, structure
from parplan.system.extras import required

DEFAULT_SEQUENCE = 4096
UNLIMITED = 2**62

DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
"""PyTorch's names of the number formats."""


@frozen
class TransformersOptions(TorchOptions):
    """How a model is made and called, besides how it is run.

    Attributes
    ----------
    sequence
        Tokens per sequence; by default the model's maximum, at most 4096.
    target_sequence
        Those of a decoder behind an encoder; as many by default.
    microbatch
        Sequences per microbatch, or images, or pairs of them.
    dtype
        Format of weights and activations: ``bf16``, ``fp16`` or ``fp32``.
    model_class
        Class in transformers; by default the one that the configuration names, or the one for
        language models of its kind, or else the plain one.
    """

    sequence: int | None = None
    target_sequence: int | None = None
    microbatch: int = 1
    dtype: str = "bf16"
    model_class: str = ""

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        for what in ("sequence", "target_sequence", "microbatch"):
            value = getattr(self, what)
            if value is not None and value < 1:
                raise InputError(f"{what} is {value}; it must be at least 1")
        if self.dtype not in DTYPES:
            raise InputError(f"'{self.dtype}' is no format; there are {', '.join(DTYPES)}")


class Transformers(Importer):
    """Reads a ``config.json``, makes its model on ``meta`` and traces it.

    No code that a configuration names is run, and nothing is fetched.
    """

    name: ClassVar[str] = "transformers"
    options: ClassVar[type] = TransformersOptions

    def load(self, path: Path, options: Mapping[str, Any]) -> Graph:
        """Return the graph of a configuration; InputError names the file."""
        chosen = structure(dict(options), TransformersOptions, key="model.options")
        library = required("transformers", "huggingface")
        torch = required("torch", "huggingface")
        try:
            config = _config(library, read_config(path))
            with torch.device("meta"):
                model = _class(library, config, chosen.model_class)(config)
                model = model.to(getattr(torch, DTYPES[chosen.dtype]))
                inputs = _inputs(torch, model, chosen)
            program = trace(model, (), inputs)
            return torch_graph(_title(path), program, chosen)
        except InputError as error:
            raise error.located(file=str(path)) from None


def _title(path: Path) -> str:
    """Return a name for the model: the file's, or the folder's for a plain ``config.json``."""
    return path.resolve().parent.name if path.name == "config.json" else path.stem


def _config(library: Any, values: dict[str, Any]) -> Any:
    """Return a configuration as transformers has it."""
    kind = values.get("model_type")
    known = library.models.auto.configuration_auto.CONFIG_MAPPING_NAMES
    if not isinstance(kind, str):
        raise InputError("is missing or no text", key="model_type")
    if kind not in known:
        raise InputError(
            f"transformers {library.__version__} has no '{kind}'; {did_you_mean(kind, known)}",
            key="model_type",
        )
    given = {key: value for key, value in values.items() if key not in ("model_type", "auto_map")}
    try:
        return library.AutoConfig.for_model(kind, **given)
    except Exception as error:
        raise InputError(f"transformers refuses it: {type(error).__name__}: {error}") from error


def _class(library: Any, config: Any, name: str) -> Any:
    """Return the class of a configuration's model."""
    chosen = name or next(iter(getattr(config, "architectures", None) or ()), "")
    if chosen:
        found = getattr(library, chosen, None)
        if found is None or not hasattr(found, "_from_config"):
            raise InputError(
                f"transformers {library.__version__} has no model '{chosen}'",
                key="model.options.model_class" if name else "architectures",
            )
        return found._from_config
    language = library.models.auto.modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING
    auto = library.AutoModelForCausalLM if type(config) in language else library.AutoModel
    return auto.from_config


def _inputs(torch: Any, model: Any, options: TransformersOptions) -> dict[str, Any]:
    """Return what a model is called with: as much as its forward method asks for."""
    config = model.config
    accepted = inspect.signature(model.forward).parameters
    text = getattr(config, "text_config", None) or config
    longest = getattr(text, "max_position_embeddings", None)
    longest = longest or getattr(text, "n_positions", None) or UNLIMITED
    sequence = options.sequence or min(longest, DEFAULT_SEQUENCE)
    if sequence > longest:
        raise InputError(
            f"a sequence of {sequence} tokens does not fit the model's {longest} positions",
            key="model.options.sequence",
        )
    training = options.workload is Passes.TRAINING
    batch = options.microbatch
    made: dict[str, Any] = {}
    decoded = getattr(config, "is_encoder_decoder", False)
    length = (options.target_sequence or sequence) if decoded else sequence
    if "input_ids" in accepted:
        made["input_ids"] = torch.zeros(batch, sequence, dtype=torch.long)
    if "pixel_values" in accepted and not ("input_ids" in accepted and "labels" in accepted):
        made["pixel_values"] = _images(torch, model, batch)
    if training and "labels" in accepted and "input_ids" in accepted:
        made["labels"] = torch.zeros(batch, length, dtype=torch.long)
    if decoded and "decoder_input_ids" in accepted:
        made["decoder_input_ids"] = torch.zeros(batch, length, dtype=torch.long)
    if "use_cache" in accepted:
        made["use_cache"] = False
    if training and "return_loss" in accepted:
        made["return_loss"] = True
    if not made:
        raise InputError(f"'{type(model).__name__}' takes neither tokens nor images")
    return made


def _images(torch: Any, model: Any, batch: int) -> Any:
    """Return images of the size that a model takes."""
    config = model.config
    vision = getattr(config, "vision_config", None) or config
    size = getattr(vision, "image_size", None) or 224
    height, width = size if isinstance(size, list | tuple) else (size, size)
    channels = getattr(vision, "num_channels", None) or 3
    return torch.zeros(batch, channels, height, width, dtype=next(model.parameters()).dtype)
