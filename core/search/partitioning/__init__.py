"""Devices for operators so that the busiest engine or link has least to do in a steady state."""
