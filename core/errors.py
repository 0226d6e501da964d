"""Every error parplan raises on purpose.

::

    ParplanError
    |-- InputError           bad input or usage            exit code 2
    |   `-- UnitError        a quantity without, or with the wrong, unit
    |-- PluginError          a plugin failed               exit code 2
    |-- InfeasibleError      proven: no plan exists        exit code 3
    |-- LimitError           no plan within the limit      exit code 4
    |-- SolverError          a solver failed               exit code 5
    `-- RunError             the run of a plan failed      exit code 6

Each carries the thing at fault as attributes, so callers never parse text.
"""

from __future__ import annotations

from parplan.clashes import Clash, Repair


class ParplanError(Exception):
    """Base of all errors raised on purpose; ``exit_code`` is what the command line returns."""

    exit_code = 2


class InputError(ParplanError):
    """Input that cannot be used, with where it stands and what to do.

    Attributes
    ----------
    file, line, key
        Where the fault is, as far as known; ``key`` is a dotted path into the file.
    """

    def __init__(
        self,
        message: str,
        *,
        file: str | None = None,
        line: int | None = None,
        key: str | None = None,
    ) -> None:
        self.message = message
        self.file = file
        self.line = line
        self.key = key
        super().__init__(message)

    def __str__(self) -> str:
        where = self.file or ""
        if self.line is not None:
            where += f":{self.line}"
        parts = [part for part in (where, self.key) if part]
        return ": ".join([*parts, self.message])

    def located(
        self, *, file: str | None = None, line: int | None = None, key: str | None = None
    ) -> InputError:
        """Return the same error with the missing parts of its location filled in."""
        return type(self)(
            self.message,
            file=self.file or file,
            line=self.line if self.line is not None else line,
            key=self.key or key,
        )


class UnitError(InputError):
    """A quantity whose unit is missing, unknown or of the wrong kind."""


class PluginError(ParplanError):
    """A plugin failed to load, or raised.

    Attributes
    ----------
    plugin, hook, distribution
        Which plugin, in which hook or method, from which installed distribution.
    """

    def __init__(
        self,
        message: str,
        *,
        plugin: str,
        hook: str | None = None,
        distribution: str | None = None,
    ) -> None:
        self.plugin = plugin
        self.hook = hook
        self.distribution = distribution
        where = f"plugin '{plugin}'"
        if distribution:
            where += f" (from {distribution})"
        if hook:
            where += f", in {hook}"
        super().__init__(f"{where}: {message}")


class InfeasibleError(ParplanError):
    """No plan exists.

    Attributes
    ----------
    message
        What cannot be, without the repair.
    conflict, repair
        Names of the constraints that clash, and the way out in words.
    clashes, repairs
        The requirements that clash, none of which can be left out, and the changes that help;
        empty where only ``message`` and ``repair`` say it.
    """

    exit_code = 3

    def __init__(
        self,
        message: str,
        *,
        conflict: tuple[str, ...] = (),
        repair: str | None = None,
        clashes: tuple[Clash, ...] = (),
        repairs: tuple[Repair, ...] = (),
    ) -> None:
        self.message = message
        self.conflict = conflict
        self.repair = repair
        self.clashes = clashes
        self.repairs = repairs
        super().__init__(message if repair is None else f"{message}; {repair}")


class LimitError(ParplanError):
    """The time limit ended the search before any plan was found."""

    exit_code = 4


class SolverError(ParplanError):
    """A solver is missing, refused the model, crashed or lied, and nothing else could serve."""

    exit_code = 5

    def __init__(self, message: str, *, solver: str) -> None:
        self.solver = solver
        super().__init__(f"solver '{solver}': {message}")


class RunError(ParplanError):
    """The run of a plan failed: a process crashed, hung or lost the others.

    Attributes
    ----------
    device
        The device whose process failed first; None if it was no device's.
    details
        A traceback or the last output of the process, if there is any.
    """

    exit_code = 6

    def __init__(self, message: str, *, device: str | None = None, details: str = "") -> None:
        self.device = device
        self.details = details
        super().__init__(message)
        if details:
            self.add_note(details)  # shown with the traceback
