"""A Llama with TorchTitan's names: imported, planned for four devices, and trained on them."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

import parplan
from parplan.plugins.runtimes.training import Training

HERE = Path(__file__).parent
VOCABULARY, WIDTH, HEADS, LAYERS = 2048, 128, 4, 6
SAMPLES, MICROBATCHES, LENGTH = 2, 8, 64  # SAMPLES of each microbatch; as in llama.yaml


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.wq = nn.Linear(WIDTH, WIDTH, bias=False)
        self.wk = nn.Linear(WIDTH, WIDTH, bias=False)
        self.wv = nn.Linear(WIDTH, WIDTH, bias=False)
        self.wo = nn.Linear(WIDTH, WIDTH, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            w(x).unflatten(-1, (HEADS, -1)).transpose(1, 2) for w in (self.wq, self.wk, self.wv)
        )
        mixed = functional.scaled_dot_product_attention(rotated(q), rotated(k), v, is_causal=True)
        return self.wo(mixed.transpose(1, 2).flatten(-2))


def rotated(x: Tensor) -> Tensor:
    """Turn pairs of features by angles that grow with the position."""
    left, right = x.chunk(2, -1)
    rates = 10_000.0 ** -torch.linspace(0, 1, left.shape[-1])
    angles = torch.outer(torch.arange(x.shape[-2]), rates)
    sin, cos = angles.sin(), angles.cos()
    return torch.cat((left * cos - right * sin, left * sin + right * cos), -1)


class FeedForward(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w1 = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.w2 = nn.Linear(3 * WIDTH, WIDTH, bias=False)
        self.w3 = nn.Linear(WIDTH, 3 * WIDTH, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.w2(functional.silu(self.w1(x)) * self.w3(x))


class TransformerBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention, self.attention_norm = Attention(), nn.RMSNorm(WIDTH)
        self.feed_forward, self.ffn_norm = FeedForward(), nn.RMSNorm(WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x))
        return x + self.feed_forward(self.ffn_norm(x))


class Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tok_embeddings = nn.Embedding(VOCABULARY, WIDTH)
        self.layers = nn.ModuleDict({str(n): TransformerBlock() for n in range(LAYERS)})
        self.norm = nn.RMSNorm(WIDTH)
        self.output = nn.Linear(WIDTH, VOCABULARY, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.tok_embeddings(tokens)
        for layer in self.layers.values():
            x = layer(x)
        return self.output(self.norm(x))


def traced() -> tuple[nn.Module, tuple[Tensor]]:
    """Return the model and what it is called with, for the importer."""
    return Transformer(), (torch.zeros(SAMPLES, LENGTH, dtype=torch.long),)


def training() -> Training:
    """Return the model and a batch, for the processes of a run."""
    model = Transformer()
    names = ["tok_embeddings", *(f"layers.{n}" for n in range(LAYERS)), "norm", "output"]
    batch = torch.randint(VOCABULARY, (SAMPLES * MICROBATCHES, LENGTH + 1))
    return Training(
        blocks={name: model.get_submodule(name) for name in names},
        inputs=batch[:, :-1],
        target=batch[:, 1:],
        loss=lambda logits, labels: functional.cross_entropy(logits.mT, labels),
        optimizer=lambda parameters: torch.optim.AdamW(parameters, lr=1e-3),
    )


def main() -> None:
    out = Path("out")
    out.mkdir(exist_ok=True)
    graph = parplan.from_torch(*traced(), granularity="layer")
    parplan.save_graph(graph, out / "llama.json")

    found = parplan.plan(HERE / "llama.yaml", overrides=[f"model.file={out.resolve()}/llama.json"])
    print(parplan.show(found))
    print(*parplan.export_plan(found, "torch-csv", out / "schedule").notes, sep="\n")

    request = parplan.RunRequest("llama:training", str(HERE), steps=2, check_gradients=True)
    recording = parplan.run_plan(found, request)
    print(f"planned  {found.value * 1e3:7.1f} ms")
    for step, loss in zip(recording.steps, recording.losses, strict=True):
        print(f"measured {recording.step_seconds(step) * 1e3:7.1f} ms, loss {loss:.3f}")
    differences = recording.gradient_differences
    print(f"{len(differences)} gradients, relative difference {max(differences.values()):.1e}")


if __name__ == "__main__":
    main()
