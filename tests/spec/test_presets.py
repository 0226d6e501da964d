import math

import pytest

from parplan.errors import InputError
from parplan.spec.presets import device_preset, link_preset, presets

DEVICES = [
    "h100-sxm-80gb",
    "h200-sxm-141gb",
    "b200-sxm-180gb",
    "a100-sxm-40gb",
    "a100-sxm-80gb",
    "v100-sxm2-16gb",
    "v100-sxm2-32gb",
    "l40s",
    "rtx-4090",
    "mi300x",
    "tpu-v5p",
]
LINKS = [
    "nvlink2",
    "nvlink3",
    "nvlink4",
    "nvlink5",
    "pcie3-x16",
    "pcie4-x16",
    "pcie5-x16",
    "infiniband-hdr",
    "infiniband-ndr",
    "infiniband-xdr",
    "ethernet-10g",
    "ethernet-25g",
    "ethernet-100g",
    "ethernet-400g",
]


def test_every_preset_is_there_and_nothing_else():
    assert list(presets().devices) == DEVICES
    assert list(presets().links) == LINKS


@pytest.mark.parametrize("name", DEVICES)
def test_devices_have_memory_peaks_and_sources(name):
    preset = presets().devices[name]
    device = device_preset(name)
    assert device.name == name
    assert device.memory_bytes >= 16 * 10**9
    assert device.memory_bandwidth > 1e11
    assert max(device.peak_flops.values()) > 1e14
    assert 0 < device.flops_efficiency <= 1
    assert 0 < device.bandwidth_efficiency <= 1
    assert preset.source
    assert preset.efficiency_source.startswith(("assumed", "measured"))
    assert preset.source in device.source


@pytest.mark.parametrize("name", LINKS)
def test_links_have_bandwidth_latency_and_source(name):
    link = link_preset(name)
    assert 1e9 < link.bandwidth < math.inf
    assert 0 < link.latency_s < 1e-3
    assert presets().links[name].source


def test_published_figures_of_an_a100_80_gb():
    device = device_preset("a100")
    assert device.kind == "a100-80gb"
    assert (device.peak_flops["bf16"], device.memory_bandwidth) == (312e12, 2.039e12)
    assert device.memory_bytes == 80 * 10**9
    assert link_preset("nvlink3").bandwidth == 3e11
    assert link_preset("infiniband-ndr").bandwidth == 5e10


def test_names_ignore_case_and_hyphens_and_know_aliases():
    assert device_preset("H100-SXM 80GB") == device_preset("h100")
    assert device_preset("rtx4090").name == "rtx-4090"
    assert link_preset("PCIe5").name == "pcie5-x16"


def test_an_unknown_preset_gets_a_suggestion():
    with pytest.raises(InputError, match=r"'h10'; did you mean 'h100'\? known: h100-sxm-80gb"):
        device_preset("h10")
    with pytest.raises(InputError, match=r"no link preset is named 'nvlink'; did you mean"):
        link_preset("nvlink")
