"""The command line ``parplan``; each command's module is imported when it is called."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Sequence

import click

from parplan import __version__
from parplan.cli.common import Settings, add_plugins
from parplan.cli.failures import report_failure
from parplan.cli.output import finish

COMMANDS = {
    "plan": "parplan.cli.planning:plan_command",
    "compare": "parplan.cli.comparing:compare_command",
    "show": "parplan.cli.viewing:show_command",
    "check": "parplan.cli.viewing:check_command",
    "explain": "parplan.cli.explaining:explain_command",
    "simulate": "parplan.cli.simulating:simulate_command",
    "export": "parplan.cli.exporting:export_command",
    "run": "parplan.cli.running:run_command",
    "recording": "parplan.cli.recording:recording_command",
    "calibrate": "parplan.cli.calibrating:calibrate_command",
    "diff": "parplan.cli.differing:diff_command",
    "costs": "parplan.cli.inputs:costs_command",
    "import": "parplan.cli.inputs:import_command",
    "cluster": "parplan.cli.detecting:cluster_group",
    "solvers": "parplan.cli.listing:solvers_command",
    "plugins": "parplan.cli.listing:plugins_command",
    "schema": "parplan.cli.inputs:schema_command",
    "init": "parplan.cli.inputs:init_command",
    "new-plugin": "parplan.cli.inputs:new_plugin_command",
}
"""Every command with the place of its code."""

EPILOG = """\b
Exit codes:
  0    done; for 'plan', a checked plan was written
  1    'check' found violations, or 'run' wrong gradients
  2    bad input or usage, or a file that cannot be read or written
  3    infeasible: no plan exists
  4    no plan within the time limit
  5    a solver failed and nothing else could serve
  6    the run of a plan failed
  70   a fault of parplan itself
  130  interrupted; 'plan' has saved its best plan
  141  the reader of standard output has gone
"""


class _Commands(click.Group):
    """A group that imports a command's module only when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the work."""
        return list(COMMANDS)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that is meant; an unknown one gets a did-you-mean."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            close = difflib.get_close_matches(name, COMMANDS, n=1)
            hint = f"; did you mean '{close[0]}'?" if close else ""
            raise click.UsageError(f"there is no command '{name}'{hint}", ctx)
        return super().resolve_command(ctx, args)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command; None if there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command


@click.group(
    cls=_Commands,
    epilog=EPILOG,
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--plugin",
    "plugins",
    multiple=True,
    metavar="MODULE",
    help="Load a plugin from a module by its dotted name, in the working directory too.",
)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(__version__, "--version", prog_name="parplan")
@click.pass_context
def root(context: click.Context, plugins: tuple[str, ...], debug: bool) -> None:
    """Plan how the operators of a large model run on a cluster of unequal devices.

    Every plan is checked by independent code and comes with a proven bound.
    """
    context.obj = add_plugins(Settings(), plugins)


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; one clear message for every error."""
    given = list(sys.argv[1:] if args is None else args)
    context: click.Context | None = None
    try:
        context = root.make_context("parplan", given.copy())
        with context:
            root.invoke(context)
        finish()
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except BaseException as error:  # noqa: BLE001  # the last place that can tell the user
        debug = context is not None and context.params["debug"]
        return report_failure(error, debug=debug, as_json="--json" in given)
    return 0
