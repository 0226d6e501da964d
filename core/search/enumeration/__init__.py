"""Exact search for tasks with delays between devices: every order of starts, one at a time."""
