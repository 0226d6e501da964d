"""Small graphs to coarsen: drawn by hypothesis, and made for a size."""

from __future__ import annotations

import networkx as nx
import numpy as np
from hypothesis import strategies as st

from parplan.scheduling.tables import Whole
from parplan.search.coarsening.dag import Dag
from parplan.search.coarsening.task_graphs import ancestry_of


def make_dag(
    work: list[float],
    tensors: list[tuple[int, float, list[int]]],
    modules: list[str] | None = None,
) -> Dag:
    """Return a graph by the work of its nodes and (maker, bytes, readers) of its tensors."""
    pairs = [(t, reader) for t, (_, _, readers) in enumerate(tensors) for reader in sorted(readers)]
    return Dag(
        work=np.array(work, dtype=float).reshape(len(work), -1),
        maker=np.array([maker for maker, _, _ in tensors], dtype=np.int64),
        sizes=np.array([size for _, size, _ in tensors], dtype=float),
        read=np.array([t for t, _ in pairs], dtype=np.int64),
        reader=np.array([r for _, r in pairs], dtype=np.int64),
        ancestry=ancestry_of(modules or [], len(work)),
    )


@st.composite
def dags(draw: st.DrawFn, most: int = 12) -> Dag:
    """Draw a graph of some nodes, each of which makes one tensor for some of the later ones."""
    count = draw(st.integers(1, most))
    work = draw(st.lists(st.integers(0, 9), min_size=count, max_size=count))
    tensors = []
    for maker in range(count - 1):
        readers = draw(st.sets(st.integers(maker + 1, count - 1), max_size=3))
        tensors.append((maker, float(draw(st.integers(0, 9))), sorted(readers)))
    modules = draw(
        st.lists(st.sampled_from(["", "a", "a.b", "a.c", "d"]), min_size=count, max_size=count)
    )
    return make_dag([float(w) for w in work], tensors, modules)


def digraph(dag: Dag) -> nx.DiGraph[int]:
    """Return the pairs of a graph in networkx."""
    graph: nx.DiGraph[int] = nx.DiGraph()
    graph.add_nodes_from(range(len(dag)))
    graph.add_edges_from(zip(dag.pairs.tails.tolist(), dag.pairs.heads.tolist(), strict=True))
    return graph


def is_acyclic_when_merged(dag: Dag, part_of: Whole) -> bool:
    """Return whether the parts of a graph wait for each other in no circle."""
    graph: nx.DiGraph[int] = nx.DiGraph()
    for tail, head in digraph(dag).edges:
        if part_of[tail] != part_of[head]:
            graph.add_edge(int(part_of[tail]), int(part_of[head]))
    return bool(nx.is_directed_acyclic_graph(graph))
