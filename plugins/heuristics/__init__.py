"""Built-in placement heuristics of parplan."""
