"""Two towers of unlike weight that meet in one loss: planned as a graph, trained as a graph."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

import parplan
from parplan.plugins.runtimes.training import Training

HERE = Path(__file__).parent
PATCHES, PATCH_SIZE, WORDS, VOCABULARY, SHARED = 49, 192, 16, 1000, 64
PAIRS, MICROBATCHES = 8, 6  # PAIRS of each microbatch; MICROBATCHES as in clip.yaml


class Layer(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, 4, batch_first=True)
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        normed = self.first(x)
        x = x + self.attention(normed, normed, normed, need_weights=False)[0]
        return x + self.mlp(self.second(x))


class Tower(nn.Module):
    def __init__(self, embedding: nn.Module, width: int, layers: int) -> None:
        super().__init__()
        self.embedding = embedding
        self.layers = nn.ModuleList(Layer(width) for _ in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        x = self.embedding(x)
        for layer in self.layers:
            x = layer(x)
        return x


class Similarity(nn.Module):
    """The cosine of every image with every text, on a learned scale."""

    def __init__(self, image_width: int, text_width: int) -> None:
        super().__init__()
        self.image = nn.Linear(image_width, SHARED, bias=False)
        self.text = nn.Linear(text_width, SHARED, bias=False)
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, images: Tensor, texts: Tensor) -> Tensor:
        images = functional.normalize(self.image(images.mean(1)), dim=-1)
        texts = functional.normalize(self.text(texts.mean(1)), dim=-1)
        return self.scale.exp() * images @ texts.T


class Clip(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.vision = Tower(nn.Linear(PATCH_SIZE, 192), width=192, layers=6)
        self.text = Tower(nn.Embedding(VOCABULARY, 96), width=96, layers=4)
        self.similarity = Similarity(192, 96)

    def forward(self, images: Tensor, texts: Tensor) -> Tensor:
        return self.similarity(self.vision(images), self.text(texts))


def batch(pairs: int) -> tuple[Tensor, Tensor]:
    return torch.randn(pairs, PATCHES, PATCH_SIZE), torch.randint(VOCABULARY, (pairs, WORDS))


def contrast(logits: Tensor, pairs: Tensor) -> Tensor:
    """Each image is to find its text among those of the microbatch, and each text its image."""
    return functional.cross_entropy(logits, pairs) + functional.cross_entropy(logits.T, pairs)


def training() -> Training:
    """Return the model and a batch, for the processes of a run."""
    model = Clip()
    images, texts = batch(PAIRS * MICROBATCHES)
    parts = [
        f"{tower}.{part}"
        for tower, layers in (("vision", 6), ("text", 4))
        for part in ("embedding", *(f"layers.{n}" for n in range(layers)))
    ]
    return Training(
        blocks={part: model.get_submodule(part) for part in (*parts, "similarity")},
        inputs={"vision.embedding": images, "text.embedding": texts},
        target=torch.arange(PAIRS).repeat(MICROBATCHES),
        loss=contrast,
        optimizer=lambda parameters: torch.optim.AdamW(parameters, lr=1e-3),
    )


def main() -> None:
    out = Path("out")
    out.mkdir(exist_ok=True)
    graph = parplan.from_torch(Clip(), batch(PAIRS), granularity="layer")
    parplan.save_graph(graph, out / "clip.json")
    compared = parplan.compare(
        HERE / "clip.yaml",
        schedules=["1f1b", "zb-h1", "zb-v"],
        overrides=[f"model.file={out.resolve()}/clip.json"],
    )
    found, chain = compared.plan, compared.best_hand_made(compared.problem)
    print(parplan.show(compared))
    parplan.write_comparison(compared, out / "clip.html")

    request = parplan.RunRequest("clip:training", str(HERE), steps=2, check_gradients=True)
    recording = parplan.run_plan(found, request)
    for tower in ("vision", "text"):
        spans = (span for span in recording.spans if any(tower in op for op in span.operators))
        print(f"{tower} ran on {', '.join(sorted({span.device for span in spans}))}")
    if chain is not None and chain.plan is not None:
        print(f"planned  {chain.plan.value * 1e3:7.1f} ms for the best chain, {chain.name}")
    print(f"planned  {found.value * 1e3:7.1f} ms")
    for step, loss in zip(recording.steps, recording.losses, strict=True):
        print(f"measured {recording.step_seconds(step) * 1e3:7.1f} ms, loss {loss:.3f}")
    differences = recording.gradient_differences
    print(f"{len(differences)} gradients, relative difference {max(differences.values()):.1e}")


if __name__ == "__main__":
    main()
