"""What is sure in every schedule that the windows of a problem allow, found once for all bounds."""

from __future__ import annotations

from functools import cached_property

from attrs import frozen

from parplan.search.bounds.forced import (
    Activity,
    Crossing,
    Places,
    crossings,
    find_places,
    one_at_a_time,
    running,
)
from parplan.search.bounds.instance import Instance
from parplan.search.bounds.memory import Hold, Reach, holds_of, room_for_holds
from parplan.search.bounds.paths import Windows


@frozen(eq=False)
class Sure:
    """Places, tasks, transfers and holds that no choice can avoid, by index of the resource."""

    windows: Windows

    @property
    def instance(self) -> Instance:
        """The problem as arrays."""
        return self.windows.instance

    @cached_property
    def places(self) -> Places:
        """Where operators run."""
        return find_places(self.windows)

    @cached_property
    def tasks(self) -> dict[int, list[Activity]]:
        """The tasks that use each resource."""
        return running(self.windows)

    @cached_property
    def machines(self) -> dict[int, list[Activity]]:
        """The resources that run one task at a time, with these tasks."""
        capacities = [resource.capacity for _, resource in self.instance.resources]
        return one_at_a_time(self.tasks, capacities)

    @cached_property
    def crossings(self) -> tuple[Crossing, ...]:
        """The transfers between devices."""
        return crossings(self.windows, self.places)

    @cached_property
    def reach(self) -> Reach:
        """Longest paths from task to task."""
        return Reach(self.windows)

    @cached_property
    def holds(self) -> dict[int, list[Hold]]:
        """What is held on each resource."""
        return holds_of(self.windows, self.places, self.reach, self.crossings)

    @cached_property
    def rooms(self) -> dict[int, float]:
        """What there is for the holds of each resource that has any."""
        resources = self.instance.resources
        return {r: room_for_holds(self.windows, self.places, resources[r][1]) for r in self.holds}
