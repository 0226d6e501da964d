"""Splits of hand-made schedules, judged by sums over blocks: no network is built for these."""
