"""Which block of a model runs in which stage, and what feeds what: from the plan's graph."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import networkx as nx
from attrs import frozen

from parplan.errors import InputError
from parplan.plugins.runtimes.job import ForwardOperator


@frozen
class Block:
    """A block of the model: a module that gives one tensor.

    Attributes
    ----------
    sources
        Blocks whose tensors it takes, in the order in which the graph reads them; none: it takes
        inputs of the model.
    """

    name: str
    stage: int
    sources: tuple[str, ...]


def find_blocks(forward: Sequence[ForwardOperator], names: Collection[str]) -> tuple[Block, ...]:
    """Return the blocks in a topological order.

    An operator belongs to the block with the longest name that is its module path, its name, or
    the beginning of one of them up to a dot.

    Raises
    ------
    InputError
        If an operator has no block, a block no operator, or a block is on two stages.
    """
    block_of = {operator.name: _block_of(operator, names) for operator in forward}
    unused = [name for name in names if name not in block_of.values()]
    if unused:
        raise InputError(
            f"the plan has no operator of the model's block '{unused[0]}'; its operators are "
            f"{quoted([operator.name for operator in forward])}"
        )
    stage_of: dict[str, int] = {}
    sources: dict[str, dict[str, None]] = {}
    for operator in forward:
        block = block_of[operator.name]
        if stage_of.setdefault(block, operator.stage) != operator.stage:
            raise InputError(
                f"the model's block '{block}' is on stages {stage_of[block]} and "
                f"{operator.stage} of the plan; a block runs in one stage: give smaller blocks, "
                "or plan with the operators of a block together"
            )
        found = sources.setdefault(block, {})
        found.update({block_of[s]: None for s in operator.sources if block_of[s] != block})
    return tuple(Block(name, stage_of[name], tuple(sources[name])) for name in _in_order(sources))


def _block_of(operator: ForwardOperator, names: Collection[str]) -> str:
    paths = [path for path in (operator.module, operator.name) if path]
    fitting = [
        name for name in names if any(path == name or path.startswith(f"{name}.") for path in paths)
    ]
    if not fitting:
        path = f" (module '{operator.module}')" if operator.module else ""
        raise InputError(
            f"no block of the model is called like operator '{operator.name}'{path}; "
            f"the blocks are {quoted(list(names))}"
        )
    return max(fitting, key=len)


def _in_order(sources: Mapping[str, Collection[str]]) -> list[str]:
    """Return blocks so that each comes after its sources."""
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(sources)
    graph.add_edges_from((source, block) for block in sources for source in sources[block])
    place = {block: number for number, block in enumerate(sources)}
    try:
        return list(nx.lexicographical_topological_sort(graph, key=place.__getitem__))
    except nx.NetworkXUnfeasible:
        cycle = [edge[0] for edge in nx.find_cycle(graph)]
        raise InputError(
            f"the model's blocks {quoted(cycle)} feed each other; give smaller blocks"
        ) from None


def quoted(names: Sequence[str]) -> str:
    """Return names for a message, not too many of them."""
    told = ", ".join(f"'{name}'" for name in names[:8])
    return f"{told} and {len(names) - 8} more" if len(names) > 8 else told or "none"
