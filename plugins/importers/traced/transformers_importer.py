"""Models of Hugging Face's transformers as they really are, traced from their configuration.

Where ``huggingface`` writes the work of known architectures down, this importer makes the model
itself, on PyTorch's device ``meta`` (no weights, no network), and traces it as ``torch`` does. So
it knows every architecture that transformers knows; it takes longer, and counts bytes of kernels
that are not fused.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from attrs import frozen

from parplan.contracts import Importer
from parplan.differentiation import Passes
from parplan.errors import InputError
from parplan.graph import Graph
from parplan.plugins.importers.analytic.config import read_config
from parplan.plugins.importers.traced.example_inputs import Sizes, example_inputs
from parplan.plugins.importers.traced.options import TorchOptions
from parplan.plugins.importers.traced.torch_importer import torch_graph
from parplan.plugins.importers.traced.tracing import trace
from parplan.spec.structuring import did_you_mean, structure
from parplan.system.extras import required

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
    image_size
        Pixels along a side of each image; by default as the configuration says.
    dtype
        Format of weights and activations: ``bf16``, ``fp16`` or ``fp32``.
    model_class
        Class in transformers; by default the one that the configuration names, or the one for
        language models of its kind, or else the plain one.
    """

    sequence: int | None = None
    target_sequence: int | None = None
    microbatch: int = 1
    image_size: int | None = None
    dtype: str = "bf16"
    model_class: str = ""

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        for what in ("sequence", "target_sequence", "microbatch", "image_size"):
            value = getattr(self, what)
            if value is not None and value < 1:
                raise InputError(f"{what} is {value}; it must be at least 1")
        if self.dtype not in DTYPES:
            raise InputError(f"'{self.dtype}' is no format; there are {', '.join(DTYPES)}")

    @property
    def sizes(self) -> Sizes:
        """How much the model is given."""
        training = self.workload is Passes.TRAINING
        return Sizes(
            self.sequence, self.target_sequence, self.microbatch, self.image_size, training
        )


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
                model = _made(_class(library, config, chosen.model_class), config)
                model = model.to(getattr(torch, DTYPES[chosen.dtype]))
                inputs = example_inputs(torch, model, chosen.sizes)
            program = trace(model, (), inputs.given, inputs.known)
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


def _made(make: Any, config: Any) -> Any:
    """Return the model of a configuration, which keeps nothing from call to call."""
    for part in (config, *(getattr(config, name) for name in getattr(config, "sub_configs", ()))):
        if getattr(part, "use_cache", None):
            part.use_cache = False
    try:
        return make(config)
    except Exception as error:
        raise InputError(
            f"transformers cannot make the model: {type(error).__name__}: {error}"
        ) from error


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
