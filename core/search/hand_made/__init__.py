"""Hand-made schedules as starts and as what a plan is compared with."""
