"""General graphs as arrays: ranks, placement by earliest finish, and search on placements."""
