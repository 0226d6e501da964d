"""Two levels: an upper model assigns operators, a lower one times them, and proofs come back."""
