"""The independent check of schedules and plans."""

from parplan.checking.plans import check_plan
from parplan.checking.schedules import check_schedule

__all__ = ["check_plan", "check_schedule"]
