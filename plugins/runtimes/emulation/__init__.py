"""Runs any plan by processes that do nothing but take its time, and send real messages."""
