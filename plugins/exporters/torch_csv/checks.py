"""Checks of PyTorch's schedule files that share nothing with the code that writes them.

PyTorch itself (2.13) runs three mistakes without a word and with wrong gradients: last stages that
take microbatches out of turn, receives in another order than the sends of the same two ranks, and a
stage without ``REDUCE_GRAD``. Here each is an error.
"""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence

from attrs import frozen

from parplan.errors import InputError
from parplan.stages.program import StageProgram

_NUMBER = "(0|[1-9][0-9]*)"
_CELL = re.compile(
    f"{_NUMBER}(?:(F|B|I|W|SEND_F|RECV_F|SEND_B|RECV_B){_NUMBER}|(REDUCE_GRAD|UNSHARD|RESHARD))",
    re.ASCII,
)
_OVERLAP = re.compile(r"\(([^()]*)\)OVERLAP_F_B", re.ASCII)
COMPUTE = frozenset("FBIW")
REDUCE = "REDUCE_GRAD"
UNSHARD, RESHARD = "UNSHARD", "RESHARD"
ALONE = frozenset({REDUCE, UNSHARD, RESHARD})
"""What a stage does for no microbatch."""


@frozen
class Cell:
    """One action of a file: a stage, what it does, and the microbatch (-1 of those in ALONE)."""

    stage: int
    kind: str
    microbatch: int

    def __str__(self) -> str:
        return f"{self.stage}{self.kind}{self.microbatch if self.microbatch >= 0 else ''}"


Rows = tuple[tuple[Cell, ...], ...]
Unit = tuple[Cell, ...]
"""Cells that begin together: one, or those of an ``OVERLAP_F_B``."""

Units = tuple[tuple[Unit, ...], ...]


@frozen
class Wiring:
    """What a file must agree with: where stages are and who hands tensors to whom.

    Attributes
    ----------
    rank_of
        Rank of each stage.
    forward
        Pairs (source, target) of stages with tensors of the forward pass between them.
    backward
        Pairs (source, target) with gradients between them: the target comes first in the model.
    trained
        Stages with a backward pass.
    """

    ranks: int
    microbatches: int
    rank_of: tuple[int, ...]
    forward: frozenset[tuple[int, int]]
    backward: frozenset[tuple[int, int]]
    trained: frozenset[int]

    @classmethod
    def of(cls, program: StageProgram) -> Wiring:
        """Return the wiring of a stage program."""
        return cls(
            len(program.ranks),
            program.microbatches,
            tuple(stage.rank for stage in program.stages),
            frozenset((edge.source, edge.target) for edge in program.edges),
            frozenset((edge.target, edge.source) for edge in program.edges if edge.gradients),
            frozenset(stage.index for stage in program.stages if stage.backward or stage.weight),
        )

    def pairs(self, direction: str) -> frozenset[tuple[int, int]]:
        """Return the pairs of stages with messages in a direction, F or B."""
        return self.forward if direction == "F" else self.backward

    def apart(self, one: int, other: int) -> bool:
        """Return whether two stages are on different ranks."""
        return self.rank_of[one] != self.rank_of[other]

    @property
    def firsts(self) -> set[int]:
        """Stages that read from no other."""
        return set(range(len(self.rank_of))) - {target for _, target in self.forward}

    @property
    def lasts(self) -> set[int]:
        """Stages that no other reads from."""
        return set(range(len(self.rank_of))) - {source for source, _ in self.forward}


def parse(text: str) -> Rows:
    """Return the cells of a file; stricter than PyTorch, which reads ``0FULL`` as a forward pass.

    Raises
    ------
    InputError
        Naming the line, for anything that the grammar does not have: blanks, blank cells, comments.
    """
    units = parse_units(text)
    for number, row in enumerate(units, start=1):
        for unit in row:
            if len(unit) > 1:
                raise InputError(f"{_shown(unit)} stands where no passes overlap", line=number)
    return _flat(units)


def parse_units(text: str) -> Units:
    """Return the cells of a file by what begins together; as strict as `parse`."""
    rows = []
    for number, line in enumerate(text.split("\n")[:-1], start=1):
        rows.append(tuple(_unit(word, number) for word in line.split(",")))
    written = "".join(",".join(map(_shown, row)) + "\n" for row in rows)
    if written != text:
        raise InputError("is not in the form in which it would be written: no line end at its end?")
    return tuple(rows)


def _unit(word: str, line: int) -> Unit:
    overlap = _OVERLAP.fullmatch(word)
    return tuple(_cell(part, line) for part in (overlap[1].split(";") if overlap else [word]))


def _cell(word: str, line: int) -> Cell:
    match = _CELL.fullmatch(word)
    if match is None:
        raise InputError(f"'{word}' is no action", line=line)
    stage, kind, microbatch, alone = match.groups()
    return Cell(int(stage), kind or alone, int(microbatch or -1))


def _shown(unit: Unit) -> str:
    shown = ";".join(map(str, unit))
    return shown if len(unit) == 1 else f"({shown})OVERLAP_F_B"


def _flat(units: Units) -> Rows:
    return tuple(tuple(cell for unit in row for cell in unit) for row in units)


def check_compute(text: str, wiring: Wiring) -> None:
    """Raise InputError if PyTorch would refuse a ``compute_only`` file, or run it wrongly."""
    units = parse_units(text)
    rows = _flat(units)
    _check_kinds(rows, COMPUTE)
    _check_computation(rows, wiring)
    _check_overlaps(units)
    if wiring.forward != {(s, s + 1) for s in range(len(wiring.rank_of) - 1)}:
        raise InputError("its stages form no chain; PyTorch makes sends for neighbours only")
    _check_progress(units, wiring, with_messages=False)


def check_comms(text: str, wiring: Wiring, *, tagged: bool = False) -> None:
    """Raise InputError if PyTorch would refuse a ``compute_comms`` file, or run it wrongly.

    Messages that are ``tagged`` may come in any order.
    """
    rows = parse(text)
    _check_computation(rows, wiring)
    _check_messages(rows, wiring)
    if not tagged:
        _check_order_of_messages(rows, wiring)
    _check_reductions(rows, wiring)
    _check_shards(rows)
    _check_progress(
        tuple(tuple((cell,) for cell in row) for row in rows), wiring, with_messages=True
    )


def _check_kinds(rows: Rows, kinds: frozenset[str]) -> None:
    for cell in _cells(rows):
        if cell.kind not in kinds:
            raise InputError(f"action {cell} is none of {', '.join(sorted(kinds))}")


def _cells(rows: Rows) -> Iterator[Cell]:
    return (cell for row in rows for cell in row)


def _check_computation(rows: Rows, wiring: Wiring) -> None:
    """Refuse actions that are missing, doubled, on a wrong rank or in a wrong order."""
    if len(rows) != wiring.ranks:
        raise InputError(f"has {len(rows)} rows for {wiring.ranks} ranks")
    if set(wiring.rank_of) != set(range(wiring.ranks)):
        raise InputError("a rank has no stage; PyTorch needs one on each")
    place: dict[Cell, int] = {}
    for rank, row in enumerate(rows):
        for i, cell in enumerate(row):
            if cell.stage >= len(wiring.rank_of) or cell.microbatch >= wiring.microbatches:
                raise InputError(f"action {cell} is of an unknown stage or microbatch")
            if wiring.rank_of[cell.stage] != rank:
                raise InputError(
                    f"action {cell} stands in row {rank}, the stage is on another rank"
                )
            if cell in place and cell.kind not in (UNSHARD, RESHARD):
                raise InputError(f"action {cell} stands there twice")
            place[cell] = i
    for stage in range(len(wiring.rank_of)):
        for k in range(wiring.microbatches):
            _check_passes(place, stage, k, trained=stage in wiring.trained)
    for stage in wiring.firsts:
        split = next((c for c in place if c.stage == stage and c.kind in ("I", "W")), None)
        if split is not None:
            raise InputError(
                f"action {split}: a first stage has no gradient of inputs to split off"
            )
    for stage in wiring.lasts:
        row = rows[wiring.rank_of[stage]]
        taken = [c.microbatch for c in row if c.stage == stage and c.kind == "F"]
        if taken != sorted(taken):
            raise InputError(
                f"last stage {stage} takes microbatches in the order {taken}: PyTorch would "
                "silently give them each other's losses"
            )


def _check_passes(place: dict[Cell, int], stage: int, k: int, *, trained: bool) -> None:
    at = {kind: place.get(Cell(stage, kind, k)) for kind in "FBIW"}
    there = {kind for kind, i in at.items() if i is not None}
    wanted = [{"F", "B"}, {"F", "I", "W"}] if trained else [{"F"}]
    if there not in wanted:
        raise InputError(
            f"stage {stage} has {', '.join(sorted(there)) or 'nothing'} for microbatch {k}; it "
            f"needs {' or '.join('+'.join(sorted(one)) for one in wanted)}"
        )
    order = [i for kind in "FBIW" for i in (at[kind],) if i is not None]
    if order != sorted(order):
        raise InputError(f"stage {stage}, microbatch {k}: F comes first, and I before W")


def _check_overlaps(units: Units) -> None:
    """Refuse overlaps of other things than a forward and a backward pass of two microbatches."""
    for row in units:
        for unit in row:
            if len(unit) == 1:
                continue
            forward, *backward = unit
            kinds = "".join(cell.kind for cell in unit)
            whose = {(cell.stage, cell.microbatch) for cell in backward}
            if kinds not in ("FB", "FI", "FIW") or len(whose) > 1:
                raise InputError(f"{_shown(unit)} is no forward pass with a backward pass")
            if backward[0].microbatch == forward.microbatch:
                raise InputError(f"{_shown(unit)} has one microbatch, so its passes cannot overlap")


def _check_messages(rows: Rows, wiring: Wiring) -> None:
    """Refuse sends and receives that are missing, not needed, or on the wrong side of their use."""
    for row in rows:
        place = {cell: i for i, cell in enumerate(row)}
        wanted: set[Cell] = set()
        for cell in row:
            if cell.kind not in COMPUTE or cell.kind == "W":
                continue
            direction = "F" if cell.kind == "F" else "B"
            pairs = wiring.pairs(direction)
            send = Cell(cell.stage, f"SEND_{direction}", cell.microbatch)
            receive = Cell(cell.stage, f"RECV_{direction}", cell.microbatch)
            if any(a == cell.stage and wiring.apart(a, b) for a, b in pairs):
                wanted.add(send)
                if place.get(send, -1) < place[cell]:
                    raise InputError(f"{send} does not come after {cell}, whose result it sends")
            if any(b == cell.stage and wiring.apart(a, b) for a, b in pairs):
                wanted.add(receive)
                if place.get(receive, len(row)) > place[cell]:
                    raise InputError(f"{receive} does not come before {cell}, which reads it")
        for cell in row:
            if cell.kind not in COMPUTE | ALONE and cell not in wanted:
                raise InputError(f"{cell} has no other rank to exchange anything with")


def _check_order_of_messages(rows: Rows, wiring: Wiring) -> None:
    """Refuse receives in another order than the sends: messages of two ranks have no names."""
    sends: dict[tuple[int, int], list[str]] = defaultdict(list)
    receives: dict[tuple[int, int], list[str]] = defaultdict(list)
    for cell in _cells(rows):
        what, _, direction = cell.kind.partition("_")
        if what not in ("SEND", "RECV"):
            continue
        for a, b in sorted(wiring.pairs(direction)):
            if cell.stage == (a if what == "SEND" else b) and wiring.apart(a, b):
                message = f"{direction}{cell.microbatch} of stage {a} for stage {b}"
                found = sends if what == "SEND" else receives
                found[wiring.rank_of[a], wiring.rank_of[b]].append(message)
    for pair in sorted(set(sends) | set(receives)):
        for sent, received in zip(sends[pair], receives[pair], strict=False):
            if sent != received:
                raise InputError(
                    f"rank {pair[0]} sends {sent} where rank {pair[1]} receives {received}: "
                    "PyTorch would silently take one for the other"
                )
        if len(sends[pair]) != len(receives[pair]):
            raise InputError(f"ranks {pair[0]} and {pair[1]} do not exchange as many messages")


def _check_reductions(rows: Rows, wiring: Wiring) -> None:
    """Refuse stages whose gradients are not reduced once, at the end."""
    for stage in range(len(wiring.rank_of)):
        row = rows[wiring.rank_of[stage]]
        reductions = [i for i, cell in enumerate(row) if cell == Cell(stage, REDUCE, -1)]
        if stage not in wiring.trained:
            if reductions:
                raise InputError(f"stage {stage} has REDUCE_GRAD, but no backward pass")
            continue
        if len(reductions) != 1:
            raise InputError(
                f"stage {stage} has {len(reductions)} REDUCE_GRAD: PyTorch would silently leave "
                "its gradients as many times too large as there are microbatches"
            )
        last = max(i for i, c in enumerate(row) if c.stage == stage and c.kind in ("B", "W"))
        if reductions[0] < last:
            raise InputError(f"REDUCE_GRAD of stage {stage} comes before {row[last]}")


def _check_shards(rows: Rows) -> None:
    """Refuse stages that compute while they are sharded, or are whole at the end of a step.

    Files without any such cell are for stages that are not sharded.
    """
    if not any(cell.kind in (UNSHARD, RESHARD) for cell in _cells(rows)):
        return
    for row in rows:
        used: dict[int, bool] = {}
        for cell in row:
            if cell.kind == UNSHARD:
                if cell.stage in used:
                    raise InputError(f"{cell}: the stage is whole already")
                used[cell.stage] = False
            elif cell.kind == RESHARD:
                if not used.pop(cell.stage, False):
                    raise InputError(f"{cell}: the stage has not computed since it was gathered")
            elif cell.kind in COMPUTE:
                if cell.stage not in used:
                    raise InputError(f"{cell} computes while its stage is sharded")
                used[cell.stage] = True
        if used:
            raise InputError(f"stage {min(used)} is whole at the end, so no second step can begin")


def _check_progress(units: Units, wiring: Wiring, *, with_messages: bool) -> None:
    """Refuse rows that wait for each other in a circle.

    Sends and receives go on in the background, in the order of their two ranks; a computation waits
    for what it receives, and for the stages on its own rank that it reads from. What overlaps
    begins when all of it can.
    """
    left = [deque(row) for row in units]
    done: set[Cell] = set()

    def is_made(stage: int, direction: str, k: int) -> bool:
        kinds = ("F",) if direction == "F" else ("B", "I")
        return any(Cell(stage, kind, k) in done for kind in kinds)

    def is_there(source: int, target: int, direction: str, k: int) -> bool:
        if not with_messages or not wiring.apart(source, target):
            return is_made(source, direction, k)
        return Cell(source, f"SEND_{direction}", k) in done

    def can_run(cell: Cell) -> bool:
        if cell.kind not in COMPUTE or cell.kind == "W":
            return True
        direction = "F" if cell.kind == "F" else "B"
        return all(
            is_there(source, target, direction, cell.microbatch)
            for source, target in wiring.pairs(direction)
            if target == cell.stage
        )

    moved = True
    while moved:
        moved = False
        for row in left:
            while row and all(map(can_run, row[0])):
                done.update(row.popleft())
                moved = True
    stuck = next((row[0] for row in left if row), None)
    if stuck is not None:
        raise InputError(f"deadlock: {_shown(stuck)} waits for what waits for it")


def blocking_order(rows: Sequence[Sequence[Cell]], wiring: Wiring) -> bool:
    """Return whether rows end even if every send waits for its receive, and the other way round.

    Only for wirings in which a message has one receiver, such as chains.
    """
    left = [deque(cell for cell in row if cell.kind not in COMPUTE | ALONE) for row in rows]
    moved = True
    while moved:
        moved = False
        for row in left:
            while row:
                cell = row[0]
                what, _, direction = cell.kind.partition("_")
                other = "RECV" if what == "SEND" else "SEND"
                partner = next(
                    (b if what == "SEND" else a)
                    for a, b in wiring.pairs(direction)
                    if cell.stage == (a if what == "SEND" else b)
                )
                theirs = left[wiring.rank_of[partner]]
                match = Cell(partner, f"{other}_{direction}", cell.microbatch)
                if not theirs or theirs[0] != match:
                    break
                row.popleft()
                theirs.popleft()
                moved = True
    return not any(left)
