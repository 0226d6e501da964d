"""Megatron-LM's layout strings: which layers each stage of a pipeline holds.

Grammar and rules: ``megatron/core/transformer/pipeline_parallel_layer_layout.py`` (Megatron-LM
d98e8a6). Stages are divided by ``|``; E is the embedding, t a decoder layer, m one that predicts
several tokens, L the output with its loss; ``x*n`` and ``(...)*n`` repeat; commas mean nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby

from parplan.errors import InputError

_TOKEN = re.compile(r"(?P<body>\((?P<inner>[^()]+)\)|[EtmL|])(?:\*(?P<times>[1-9]\d*))?")


def layout_text(stages: Sequence[str]) -> str:
    """Return the layout of stages, each given as its letters.

    >>> layout_text(["Ettt", "tt", "tt", "tt", "m", "L"])
    'Ettt|(tt|)*3m|L'
    """
    *first, last = stages
    found = []
    for stage, equal in groupby(first):
        count, text = len(list(equal)), _shortened(stage)
        found.append(f"({text}|)*{count}" if count > 2 else f"{text}|" * count)
    return "".join(found) + _shortened(last)


def _shortened(stage: str) -> str:
    runs = [(letter, len(list(equal))) for letter, equal in groupby(stage)]
    return "".join(f"{letter}*{n}" if n > 3 else letter * n for letter, n in runs)


def parse_layout(text: str) -> list[str]:
    """Return the letters of each stage of a layout.

    >>> parse_layout("Et*3|(tt|)*2,m|L")
    ['Ettt', 'tt', 'tt', 'm', 'L']

    Raises
    ------
    InputError
        Naming the place of what is no layout.
    """
    return _expanded(text.replace(",", "")).split("|")


def _expanded(text: str) -> str:
    found, at = [], 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise InputError(f"'{text[at:]}' is no layout of Megatron-LM's")
        body = match["body"] if match["inner"] is None else _expanded(match["inner"])
        found.append(body * int(match["times"] or 1))
        at = match.end()
    return "".join(found)


def check_layout(stages: Sequence[str], ranks: int, layers: int) -> None:
    """Raise InputError if Megatron-LM would refuse a layout of so many decoder layers.

    Stage s is on pipeline rank s modulo ``ranks``.
    """
    flat = "".join(stages)
    if len(stages) % ranks:
        raise InputError(f"Megatron-LM needs as many stages on each of {ranks} ranks")
    if not flat.startswith("E") or not flat.endswith("L"):
        raise InputError("Megatron-LM's layouts begin with the embedding and end with the loss")
    if flat.count("E") != 1 or flat.count("L") != 1 or flat.count("t") != layers:
        raise InputError(f"the layout is not one of an embedding, {layers} layers and a loss")
    holders = [s for s, stage in enumerate(stages) if "m" in stage]
    if not holders:
        return
    if len(holders) > 1 or "t" in flat[flat.index("m") :]:
        raise InputError("Megatron-LM has all layers 'mtp' in one stage, behind the others")
    if holders[0] < len(stages) - ranks:
        raise InputError(
            f"stage {holders[0]} holds 'mtp'; Megatron-LM has it in the last stage of its rank: "
            "put it on the device of the output (constraint 'placement', option 'together')"
        )
