"""``parplan cluster detect``: the cluster section of a spec from what tools say of a machine."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click
from attrs import frozen

from parplan.cli.common import note
from parplan.cli.output import emit
from parplan.errors import InputError

if TYPE_CHECKING:
    from parplan.cluster_detection.bandwidths import PairBandwidth

T = TypeVar("T")

_TEXT_LIMIT = 2**24
_PATIENCE_S = 60.0


@click.group("cluster")
def cluster_group() -> None:
    """Find out what a cluster is made of."""


@cluster_group.command("detect")
@click.option("--topology", type=click.Path(path_type=Path), help="Output of nvidia-smi topo -m.")
@click.option(
    "--gpus",
    type=click.Path(path_type=Path),
    help="Output of nvidia-smi -L, or of --query-gpu=index,name,... --format=csv.",
)
@click.option(
    "--hosts",
    metavar="LIST|FILE",
    help="Hosts in the form of Slurm (node[01-04]), or a host file with or without slots.",
)
@click.option(
    "--bandwidths",
    type=click.Path(path_type=Path),
    help="Output of nccl-tests, or CSV with source,target,GB/s.",
)
@click.option(
    "--costs",
    type=click.Path(path_type=Path),
    help="What parplan calibrate wrote: the messages of recorded runs.",
)
@click.option("--gpu", default="", metavar="PRESET", help="What the devices are.")
@click.option("--intra", default="", metavar="PRESET", help="What joins the devices of a node.")
@click.option(
    "--inter", default="", metavar="PRESET", help="What joins each device to the network."
)
@click.option("--pcie", default="", metavar="PRESET", help="Which PCIe the devices have.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The file to write (YAML).")
def detect_command(
    topology: Path | None,
    gpus: Path | None,
    hosts: str | None,
    bandwidths: Path | None,
    costs: Path | None,
    gpu: str,
    intra: str,
    inter: str,
    pcie: str,
    output: Path | None,
) -> None:
    """Write the cluster section of a spec.

    Without a file, nvidia-smi is asked on this machine. What is not known is told, never guessed.
    """
    import yaml

    from parplan.cluster_detection.bandwidths import GroupBandwidth, parse_bandwidths
    from parplan.cluster_detection.gpus import QUERY, parse_gpus
    from parplan.cluster_detection.hosts import parse_hosts
    from parplan.cluster_detection.section import Findings, cluster_section
    from parplan.cluster_detection.topology import parse_topology
    from parplan.files.atomic import write_text

    table, names = _content(topology), _content(gpus)
    if bandwidths is not None and costs is not None:
        raise click.UsageError("links are told by --bandwidths, or by --costs, not both")
    if all(given is None for given in (topology, gpus, hosts, bandwidths, costs)):
        table, names = _asked("topo", "-m"), _asked(f"--query-gpu={QUERY}", "--format=csv")
    listed = None if hosts is None else _hosts(hosts)
    measured = _parsed(parse_bandwidths, _content(bandwidths))
    group = measured if isinstance(measured, GroupBandwidth) else None
    pairs = () if measured is None or isinstance(measured, GroupBandwidth) else measured
    if costs is not None:
        pairs = _messages(costs)
    detected = cluster_section(
        Findings(
            topology=_parsed(parse_topology, table),
            gpus=_parsed(parse_gpus, names) or (),
            hosts=_parsed(parse_hosts, listed) or (),
            pairs=pairs,
            group=group,
            gpu=gpu,
            intra=intra,
            inter=inter,
            pcie=pcie,
        )
    )
    text = yaml.safe_dump({"cluster": dict(detected.section)}, sort_keys=False, width=100)
    for told in detected.notes:
        note(f"note: {told}")
    if output is None:
        emit(text.rstrip("\n"))
        return
    write_text(output, text)
    emit(f"{output}: written")


def _messages(path: Path) -> tuple[PairBandwidth, ...]:
    """Return what the messages of recorded runs tell; errors are told with the file."""
    from parplan.cluster_detection.messages import pairs_measured
    from parplan.measuring.measured_costs import load_costs

    costs = load_costs(path)
    try:
        return pairs_measured(costs)
    except InputError as error:
        raise error.located(file=str(path)) from None


@frozen
class _Source:
    """A text with the name to call it by in an error."""

    name: str
    text: str


def _content(path: Path | None) -> _Source | None:
    """Return what a file holds; None without a file."""
    if path is None:
        return None
    from parplan.files.atomic import read_bytes

    return _Source(str(path), read_bytes(path, _TEXT_LIMIT).decode("utf-8", errors="replace"))


def _hosts(given: str) -> _Source:
    """Return a host file, or the list that stands on the command line itself."""
    path = Path(given)
    if path.is_file():
        return _content(path) or _Source(given, "")
    if "/" in given:
        raise InputError("no such host file", file=given)
    return _Source("--hosts", given)


def _parsed(parse: Callable[[str], T], source: _Source | None) -> T | None:
    """Return what a text says; errors are told with its name."""
    if source is None:
        return None
    try:
        return parse(source.text)
    except InputError as error:
        raise error.located(file=source.name) from None


def _asked(*arguments: str) -> _Source:
    """Return what nvidia-smi says on this machine.

    Raises
    ------
    InputError
        If it is not there, fails, or takes longer than a minute.
    """
    program = shutil.which("nvidia-smi")
    if program is None:
        raise InputError(
            "nvidia-smi is not on this machine; give files that it wrote elsewhere (--topology, "
            "--gpus), a list of hosts (--hosts with --gpu and --intra), or --bandwidths"
        )
    name = f"nvidia-smi {' '.join(arguments)}"
    try:
        done = subprocess.run(
            [program, *arguments], capture_output=True, text=True, timeout=_PATIENCE_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError(f"'{name}' did not answer: {error}") from None
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().partition("\n")[0]
        raise InputError(f"'{name}' failed: {said}")
    return _Source(name, done.stdout)
