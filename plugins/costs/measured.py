"""Measured seconds: from a profile that the importer read, or from recorded runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from attrs import evolve, field, frozen

from parplan.contracts import CostModel
from parplan.errors import InputError
from parplan.graph import Estimate, Mode, Operator
from parplan.hardware import Device
from parplan.measuring.measured_costs import EVERY_KIND, MeasuredCosts, MeasuredSeconds, load_costs
from parplan.roofline import roofline
from parplan.spec.presets import device_preset
from parplan.spec.structuring import NOT_IN_FILES
from parplan.text import percent_text


@frozen
class Measured(CostModel):
    """The seconds of a costs file, or those of the model file, for the kind they were measured on.

    Attributes
    ----------
    file
        Written by ``parplan calibrate``; empty: the seconds that stand in the model file.
    scale
        Whether to scale them to other device kinds: by the ratio of the seconds that the model
        file gives for both kinds, or else by that of the two rooflines.
    reference
        Device preset of the kind they were measured on; empty: the preset of that kind's name.
    """

    name: ClassVar[str] = "measured"

    file: str = ""
    scale: bool = False
    reference: str = ""
    costs: MeasuredCosts | None = field(default=None, metadata=NOT_IN_FILES)

    def read_files(self, folder: Path) -> Measured:
        """Return the model with its costs file; InputError if it cannot be read."""
        return evolve(self, costs=load_costs(folder / self.file)) if self.file else self

    def estimate(self, operator: Operator, mode: Mode, device: Device) -> Estimate | None:
        """Return the measurement; None if there is none, or it must not or cannot be scaled."""
        known = self._known(operator, mode)
        found = known.get(device.kind) or known.get(EVERY_KIND)
        if found is not None or not self.scale or not known:
            return found
        kind, measured = min(known.items())
        if measured.seconds == 0:
            return Estimate(0.0, f"measured: 0 s on {kind}", measured.source)
        return self._given_ratio(mode, kind, measured, device) or self._roofline_ratio(
            operator, mode, kind, measured, device
        )

    def refusal(self, operator: Operator, mode: Mode, device: Device) -> str:
        """Say which kinds were measured."""
        known = self._known(operator, mode)
        if not known:
            where = f"'{self.file}'" if self.file else "the model file"
            return f"{where} has no measurement"
        kinds = ", ".join(sorted(known))
        if not self.scale:
            return f"measured on {kinds} only; set its option 'scale: true' for other kinds"
        return f"measured on {kinds} only, and no roofline can be drawn to scale it"

    def _known(self, operator: Operator, mode: Mode) -> Mapping[str, Estimate]:
        """Return what was measured of an operator's mode, by kind of device."""
        if self.costs is None:
            source = mode.source or "seconds given with the model"
            return {
                kind: Estimate(seconds, "measured", source)
                for kind, seconds in mode.seconds.items()
            }
        return {
            kind: Estimate(one.seconds, _formula(one), f"{self.file}: {self.costs.source}")
            for kind, one in self.costs.of(operator.name, mode.name).items()
        }

    def _given_ratio(
        self, mode: Mode, kind: str, measured: Estimate, device: Device
    ) -> Estimate | None:
        """Scale what a costs file has by the seconds that the model file gives."""
        here, there = mode.seconds_on(device.kind), mode.seconds_on(kind)
        if self.costs is None or not here or not there:
            return None
        return Estimate(
            measured.seconds * here / there,
            f"measured {measured.seconds:.6g} s on {kind} x {here / there:.4g}, the ratio of the "
            "seconds given with the model",
            measured.source,
        )

    def _roofline_ratio(
        self, operator: Operator, mode: Mode, kind: str, measured: Estimate, device: Device
    ) -> Estimate | None:
        here = roofline(operator, mode, device)
        there = roofline(operator, mode, self._reference(kind, device))
        if here is None or there is None:
            return None
        ratio = here.seconds / there.seconds
        return Estimate(
            measured.seconds * ratio,
            f"measured {measured.seconds:.6g} s on {kind} x {ratio:.4g}, the ratio of rooflines",
            f"{measured.source}; {here.source}; {there.source}",
        )

    def _reference(self, kind: str, device: Device) -> Device:
        """Return the figures of the kind that was measured."""
        try:
            return device_preset(self.reference or kind)
        except InputError as error:
            raise InputError(
                f"cannot scale seconds measured on '{kind}' to '{device.kind}': {error.message}; "
                "name a preset by the option 'reference' of the cost model 'measured'"
            ) from None


def _formula(one: MeasuredSeconds) -> str:
    share = f", its share among {one.companions + 1} operators" if one.companions else ""
    return f"measured: median of {one.samples}, spread {percent_text(one.spread)}{share}"
