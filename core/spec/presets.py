"""Figures of real devices and links, from ``data/presets.json``, each with its source.

Peaks are dense. Sizes are as published, with GB read as 10^9 bytes: what a device has beyond that
is left to the runtime. Bandwidths of links are per direction.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from importlib import resources

from attrs import field, frozen

from parplan.errors import InputError
from parplan.hardware import Device, Link
from parplan.spec.structuring import did_you_mean, structure

VERSION = 1


@frozen
class DevicePreset:
    """A device as it stands in the file; ``efficiency_source`` says measured or assumed.

    Attributes
    ----------
    reported_as
        Names that drivers report for it.
    """

    kind: str
    memory_bytes: int
    memory_bandwidth: float
    peak_flops: Mapping[str, float]
    flops_efficiency: float
    bandwidth_efficiency: float
    source: str
    efficiency_source: str
    aliases: tuple[str, ...] = ()
    reported_as: tuple[str, ...] = ()
    attributes: Mapping[str, float] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        for what in ("flops_efficiency", "bandwidth_efficiency"):
            if getattr(self, what) > 1:
                raise InputError(f"{what} is {getattr(self, what)}; it cannot be above 1")

    def device(self, name: str) -> Device:
        """Return a device of this kind."""
        return Device(
            name=name,
            kind=self.kind,
            memory_bytes=self.memory_bytes,
            peak_flops=self.peak_flops,
            memory_bandwidth=self.memory_bandwidth,
            flops_efficiency=self.flops_efficiency,
            bandwidth_efficiency=self.bandwidth_efficiency,
            attributes=self.attributes,
            source=f"{self.source}; efficiency {self.efficiency_source}",
        )


@frozen
class LinkPreset:
    """A link as it stands in the file; bandwidth per direction."""

    bandwidth: float
    latency_s: float
    source: str
    aliases: tuple[str, ...] = ()


@frozen
class Presets:
    """All presets by name."""

    version: int
    devices: Mapping[str, DevicePreset]
    links: Mapping[str, LinkPreset]

    def __attrs_post_init__(self) -> None:
        if self.version != VERSION:
            raise InputError(f"version is {self.version}; this parplan reads {VERSION}")
        for entries in (self.devices, self.links):
            names = [n for name, e in entries.items() for n in (name, *e.aliases)]
            twice = next(
                (n for i, n in enumerate(names) if _plain(n) in map(_plain, names[:i])), ""
            )
            if twice:
                raise InputError(f"two presets are named '{twice}'")


@functools.cache
def presets() -> Presets:
    """Return the presets that come with parplan."""
    text = resources.files("parplan").joinpath("data/presets.json").read_text(encoding="utf-8")
    return structure(json.loads(text), Presets, file="presets.json")


def device_preset(name: str) -> Device:
    """Return a device by its preset's name or alias, with that name; case and hyphens are ignored.

    Raises
    ------
    InputError
        For an unknown name, with a did-you-mean and all that are known.

    Examples
    --------
    >>> device_preset("H100").memory_bandwidth
    3350000000000.0
    """
    full = _find("device", name, {n: preset.aliases for n, preset in presets().devices.items()})
    return presets().devices[full].device(full)


def device_reported_as(name: str) -> str:
    """Return the preset of a device by the name that its driver reports; empty if there is none.

    Examples
    --------
    >>> device_reported_as("NVIDIA A100-SXM4-80GB"), device_reported_as("NVIDIA A100-PCIE-40GB")
    ('a100-sxm-80gb', '')
    """
    found = (full for full, preset in presets().devices.items() if name in preset.reported_as)
    return next(found, "")


def link_preset(name: str) -> Link:
    """Return a link by its preset's name or alias; its ends are for the caller to set.

    Raises
    ------
    InputError
        For an unknown name, with a did-you-mean and all that are known.
    """
    full = _find("link", name, {n: preset.aliases for n, preset in presets().links.items()})
    preset = presets().links[full]
    return Link(full, "source", "target", preset.bandwidth, preset.latency_s)


def _find(what: str, name: str, known: Mapping[str, tuple[str, ...]]) -> str:
    """Return the preset that goes by a name."""
    plain = {_plain(n): full for full, aliases in known.items() for n in (full, *aliases)}
    if _plain(name) not in plain:
        every = [n for full, aliases in known.items() for n in (full, *aliases)]
        raise InputError(f"no {what} preset is named '{name}'; {did_you_mean(name, every)}")
    return plain[_plain(name)]


def _plain(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())
