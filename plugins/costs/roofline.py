"""Analytic seconds: the roofline of work and peak figures."""

from __future__ import annotations

from typing import ClassVar

from attrs import frozen

from parplan.contracts import CostModel
from parplan.graph import Estimate, Mode, Operator
from parplan.hardware import Device
from parplan.roofline import missing_figures, mode_kernels, roofline


@frozen
class Roofline(CostModel):
    """``max(FLOP / (e x peak[dtype]), bytes / (e x bandwidth))``, kernel by kernel."""

    name: ClassVar[str] = "roofline"

    def estimate(self, operator: Operator, mode: Mode, device: Device) -> Estimate | None:
        """Return the roofline (`parplan.roofline`); None if it cannot be drawn."""
        return roofline(operator, mode, device)

    def refusal(self, operator: Operator, mode: Mode, device: Device) -> str:
        """Say which figure is missing."""
        kernels = mode_kernels(operator, mode)
        flops = sum(kernel.flops for kernel in kernels)
        return missing_figures(flops, sum(kernel.bytes_touched for kernel in kernels), device)
