"""Large neighbourhood search: a part of the incumbent is freed and solved again, the rest kept."""
