"""Why a plan takes as long as it does, and what a change of its problem would give."""
