"""`gpuanom completion`: tab completion for the shell."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

EPILOG = """\b
Put one line into the shell's own settings file:

\b
bash:  eval "$(gpuanom completion bash)"     in ~/.bashrc
zsh:   eval "$(gpuanom completion zsh)"      in ~/.zshrc
fish:  gpuanom completion fish | source      in ~/.config/fish/config.fish
"""


@click.command(epilog=EPILOG)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script for tab completion in your shell.

    The shell then completes commands, options and file names of gpuanom with the tab key.
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise click.ClickException(f"no completion for {shell}")
    click.echo(kind(context.find_root().command, {}, "gpuanom", "_GPUANOM_COMPLETE").source())
