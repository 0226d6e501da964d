"""Measured seconds: what the importer found in a profile."""

from __future__ import annotations

from typing import ClassVar

from attrs import frozen

from parplan.contracts import CostModel
from parplan.errors import InputError
from parplan.graph import Estimate, Mode, Operator
from parplan.hardware import Device
from parplan.presets import device_preset
from parplan.roofline import roofline


@frozen
class Measured(CostModel):
    """The seconds that stand in the model file, for the device kind they were measured on.

    Attributes
    ----------
    scale
        Whether to scale them to other device kinds, by the ratio of the two rooflines.
    reference
        Device preset of the kind they were measured on; empty: the preset of that kind's name.
    """

    name: ClassVar[str] = "measured"

    scale: bool = False
    reference: str = ""

    def estimate(self, operator: Operator, mode: Mode, device: Device) -> Estimate | None:
        """Return the measurement; None if there is none, or it must not or cannot be scaled."""
        source = mode.source or "seconds given with the model"
        seconds = mode.seconds_on(device.kind)
        if seconds is not None:
            return Estimate(seconds, "measured", source)
        if not self.scale or not mode.seconds:
            return None
        kind, seconds = min(mode.seconds.items())
        if seconds == 0:
            return Estimate(0.0, f"measured: 0 s on {kind}", source)
        here = roofline(operator, mode, device)
        there = roofline(operator, mode, self._reference(kind, device))
        if here is None or there is None:
            return None
        ratio = here.seconds / there.seconds
        return Estimate(
            seconds * ratio,
            f"measured {seconds:.6g} s on {kind} x {ratio:.4g}, the ratio of rooflines",
            f"{source}; {here.source}; {there.source}",
        )

    def refusal(self, operator: Operator, mode: Mode, device: Device) -> str:
        """Say which kinds were measured."""
        if not mode.seconds:
            return "the model file has no measurement"
        kinds = ", ".join(sorted(mode.seconds))
        if not self.scale:
            return f"measured on {kinds} only; set its option 'scale: true' for other kinds"
        return f"measured on {kinds} only, and no roofline can be drawn to scale it"

    def _reference(self, kind: str, device: Device) -> Device:
        """Return the figures of the kind that was measured."""
        try:
            return device_preset(self.reference or kind)
        except InputError as error:
            raise InputError(
                f"cannot scale seconds measured on '{kind}' to '{device.kind}': {error.message}; "
                "name a preset by the option 'reference' of the cost model 'measured'"
            ) from None
