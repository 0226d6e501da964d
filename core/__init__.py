"""parplan: plans how operators of a model run on a cluster, checked and with a proven bound."""

__version__ = "0.1.0"
