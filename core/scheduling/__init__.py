"""Assigned operators as a network of activities, and list schedules of it."""
