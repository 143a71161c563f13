"""Completion scripts for bash, zsh and fish, made from the parser itself."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["SHELLS", "completion"]

SHELLS = ("bash", "zsh", "fish")


@dataclass(frozen=True, slots=True)
class Node:
    """A command: the words that lead to it, what may follow, and in words what it does."""

    words: tuple[str, ...]
    commands: tuple[tuple[str, str], ...]
    options: tuple[tuple[str, str], ...]
    choices: tuple[str, ...]


def _nodes(parser: argparse.ArgumentParser, words: tuple[str, ...] = ()) -> Iterator[Node]:
    commands: list[tuple[str, str]] = []
    options: list[tuple[str, str]] = []
    choices: list[str] = []
    below: list[tuple[str, argparse.ArgumentParser]] = []
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way to read a parser
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            said = {choice.dest: choice.help or "" for choice in action._choices_actions}  # noqa: SLF001
            commands += [(name, said.get(name, "")) for name in action.choices]
            below += list(action.choices.items())
        elif action.option_strings:
            options += [(option, action.help or "") for option in action.option_strings if option.startswith("--")]
        elif action.choices:
            choices += [str(choice) for choice in action.choices]
    yield Node(words, tuple(commands), tuple(options), tuple(choices))
    for name, child in below:
        yield from _nodes(child, (*words, name))


def completion(parser: argparse.ArgumentParser, shell: str) -> str:
    """The script that teaches `shell` the words of `parser`."""
    nodes = list(_nodes(parser))
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](parser.prog, nodes)


def _cases(nodes: list[Node]) -> str:
    lines = []
    for node in nodes:
        follow = [name for name, _ in node.commands] + list(node.choices) + [name for name, _ in node.options]
        lines.append(f'    "{" ".join(node.words)}") words="{" ".join(follow)}" ;;')
    return "\n".join(lines)


def _paths(nodes: list[Node]) -> str:
    return "|".join(f'"{" ".join(node.words)}"' for node in nodes if node.words)


def _bash(prog: str, nodes: list[Node]) -> str:
    return f"""# bash completion for {prog}. Put it where bash-completion looks, or: source <({prog} completion bash)
_{prog}() {{
  local current="${{COMP_WORDS[COMP_CWORD]}}" path="" words="" word
  for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
    case "${{path:+$path }}$word" in
    {_paths(nodes)}) path="${{path:+$path }}$word" ;;
    esac
  done
  case "$path" in
{_cases(nodes)}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  if [[ ${{#COMPREPLY[@]}} -eq 0 && "$current" != -* ]]; then COMPREPLY=($(compgen -f -- "$current")); fi
}}
complete -o filenames -F _{prog} {prog}
"""


def _zsh(prog: str, nodes: list[Node]) -> str:
    return f"""#compdef {prog}
# zsh completion for {prog}. Put it on $fpath as _{prog}, or: source <({prog} completion zsh)
_{prog}() {{
  local path_="" known="" word
  for word in "${{words[@]:1:$((CURRENT - 2))}}"; do
    case "${{path_:+$path_ }}$word" in
    {_paths(nodes)}) path_="${{path_:+$path_ }}$word" ;;
    esac
  done
  case "$path_" in
{_cases(nodes).replace(" words=", " known=")}
  esac
  compadd -- ${{=known}}
  [[ "${{words[CURRENT]}}" == -* ]] || _files
}}
if [ "$funcstack[1]" = "_{prog}" ]; then _{prog} "$@"; else compdef _{prog} {prog}; fi
"""


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("%%", "%") + "'"


def _fish(prog: str, nodes: list[Node]) -> str:
    lines = [f"# fish completion for {prog}. Put it in ~/.config/fish/completions, or: {prog} completion fish | source"]
    for node in nodes:
        below = " ".join(name for name, _ in node.commands)
        conditions = [f"__fish_seen_subcommand_from {word}" for word in node.words]
        if below:
            conditions.append(f"not __fish_seen_subcommand_from {below}")
        when = f" -n {_quoted('; and '.join(conditions))}" if conditions else ""
        for name, said in node.commands:
            lines.append(f"complete -c {prog} -f{when} -a {name} -d {_quoted(said)}")
        lines += [f"complete -c {prog} -f{when} -a {name}" for name in node.choices]
        lines += [f"complete -c {prog}{when} -l {name[2:]} -d {_quoted(said)}" for name, said in node.options]
    return "\n".join(lines) + "\n"
