"""Plans under random times: noise, scenarios, the replay of a plan's orders, statistics."""
