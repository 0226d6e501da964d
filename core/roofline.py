"""Seconds from work and peaks: the roofline of Williams, Waterman and Patterson (CACM 2009)."""

from __future__ import annotations

import math

from parplan.errors import InputError
from parplan.graph import Estimate, Kernel, Mode, Operator
from parplan.hardware import Device


def roofline(operator: Operator, mode: Mode, device: Device) -> Estimate | None:
    """Return the sum over kernels of max(FLOP / (e_f x peak[dtype]), bytes / (e_b x bandwidth)).

    e_f and e_b are the device's ``flops_efficiency`` and ``bandwidth_efficiency``. Kernels run one
    after another; an operator without ``kernels`` is one. None if no work is known, or the device
    lacks the figures.

    Raises
    ------
    InputError
        If the device has peaks for other number formats but not for the operator's.
    """
    kernels = mode_kernels(operator, mode)
    flops = sum(kernel.flops for kernel in kernels)
    touched = sum(kernel.bytes_touched for kernel in kernels)
    if missing_figures(flops, touched, device):
        return None
    speed = _speed(operator, device) if flops else math.inf
    rate = device.bandwidth_efficiency * device.memory_bandwidth if touched else math.inf
    seconds = sum(max(k.flops / speed, k.bytes_touched / rate) for k in kernels)
    formula = _formula(operator, device, flops, touched)
    if len(kernels) > 1:
        formula = f"sum over {len(kernels)} kernels, in total {formula}"
    return Estimate(seconds, formula, device.source or f"figures of device '{device.name}'")


def missing_figures(flops: float, touched: float, device: Device) -> str:
    """Return what keeps a roofline from being drawn, in words; empty if nothing does."""
    if not flops and not touched:
        return "neither FLOP nor bytes are known"
    if flops and not device.peak_flops:
        return f"device '{device.name}' states no peak_flops"
    if touched and not device.memory_bandwidth:
        return f"device '{device.name}' states no memory_bandwidth"
    return ""


def mode_kernels(operator: Operator, mode: Mode) -> tuple[Kernel, ...]:
    """Return an operator's kernels as a mode runs them on each of its devices.

    Where the mode states its own work, each kernel is scaled by the mode's share of the total.
    """
    flops = operator.flops if mode.flops is None else mode.flops
    touched = operator.bytes_touched if mode.bytes_touched is None else mode.bytes_touched
    unknown = (flops and not operator.flops) or (touched and not operator.bytes_touched)
    if not operator.kernels or unknown:
        return (Kernel(flops, touched),)
    if mode.flops is None and mode.bytes_touched is None:
        return operator.kernels
    share = flops / operator.flops if operator.flops else 0.0
    moved = touched / operator.bytes_touched if operator.bytes_touched else 0.0
    return tuple(Kernel(k.flops * share, k.bytes_touched * moved) for k in operator.kernels)


def _speed(operator: Operator, device: Device) -> float:
    if operator.dtype not in device.peak_flops:
        raise InputError(
            f"device '{device.name}' ({device.kind}) has no peak FLOP/s for '{operator.dtype}', "
            f"the format of operator '{operator.name}'; it has "
            f"{', '.join(sorted(device.peak_flops))}: choose one of these as dtype, or give "
            "peak_flops to the device"
        )
    return device.flops_efficiency * device.peak_flops[operator.dtype]


def _formula(operator: Operator, device: Device, flops: float, touched: float) -> str:
    parts = []
    if flops:
        peak = device.peak_flops[operator.dtype]
        parts.append(f"{flops:.6g} FLOP / ({device.flops_efficiency:g} x {peak:g} FLOP/s)")
    if touched:
        bandwidth = device.memory_bandwidth
        parts.append(f"{touched:.6g} B / ({device.bandwidth_efficiency:g} x {bandwidth:g} B/s)")
    return f"max({', '.join(parts)})" if len(parts) > 1 else parts[0]
