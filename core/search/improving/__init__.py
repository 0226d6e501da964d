"""From first schedules to better ones: local search over placements, rules and orders."""
