"""The search: bounds, coarsening, list scheduling, sequences and the orchestrator."""
