"""Work of the operators of an imported graph."""


def flops(graph, *kinds, module=""):
    return sum(o.flops for o in graph.operators if o.kind in kinds and o.module.startswith(module))
