"""Forms of the MIP that recorded terms are lowered to."""
