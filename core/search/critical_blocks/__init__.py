"""Search on critical blocks: what runs without a pause on a longest path, and moves at its ends."""
