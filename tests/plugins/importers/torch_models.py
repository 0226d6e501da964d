"""Small models of PyTorch that tests trace."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

TOKENS, WIDTH, HEADS, VOCABULARY = 16, 64, 4, 100
BATCH = 2


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)
        self.mlp = nn.Sequential(
            nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, t, d = x.shape
        parts = self.qkv(self.norm(x)).view(b, t, 3, HEADS, d // HEADS)
        q, k, v = parts.permute(2, 0, 3, 1, 4).unbind(0)
        seen = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(seen.transpose(1, 2).reshape(b, t, d))
        return x + self.mlp(x)


class Decoder(nn.Module):
    """A decoder with tied embeddings; a loss where it gets labels."""

    def __init__(self, layers: int = 2) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.layers = nn.ModuleList([Block() for _ in range(layers)])
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, VOCABULARY, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        x = self.embedding(tokens)
        for layer in self.layers:
            x = layer(x)
        logits = self.head(self.norm(x))
        if labels is None:
            return logits
        return nn.functional.cross_entropy(logits.view(-1, VOCABULARY), labels.view(-1))


class Towers(nn.Module):
    """Two towers that meet in one product."""

    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Sequential(nn.Conv2d(3, 8, 4, stride=4), nn.Flatten(), nn.Linear(128, 32))
        self.text = nn.Sequential(nn.Embedding(50, 16), nn.Flatten(), nn.Linear(64, 32))

    def forward(self, pixels: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        scores = self.image(pixels) @ self.text(tokens).t()
        return nn.functional.cross_entropy(
            scores, torch.arange(scores.shape[0], device=scores.device)
        )


def tokens(device: str) -> torch.Tensor:
    return torch.zeros(BATCH, TOKENS, dtype=torch.long, device=device)


def decoder(device: str = "meta") -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    """A decoder with its loss, as the command line's ``--model`` names it."""
    with torch.device(device):
        model = Decoder()
    return model, (tokens(device), tokens(device) + 1), {}


def towers(device: str = "meta") -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    with torch.device(device):
        model = Towers()
    pixels = torch.zeros(4, 3, 16, 16, device=device)
    return model, (pixels, torch.zeros(4, 4, dtype=torch.long, device=device)), {}
