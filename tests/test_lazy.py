"""What is imported when: names and commands that are not used cost nothing."""

import ast
import importlib
import json
import operator
import subprocess
import sys
from pathlib import Path

import pytest

import jssm
from jssm import __main__ as command

PROGRAM = """
import json, sys
{}
print(json.dumps([name for name in ("jax", "flax", "pandas", "matplotlib") if name in sys.modules]))
"""


def imported_by(statements):
    """What of the slow packages a new interpreter holds after these."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(statements)], check=True, capture_output=True
    )
    return json.loads(done.stdout.decode().splitlines()[-1])


@pytest.mark.parametrize(
    ("statements", "slow"),
    [
        ("import jssm, jssm.__main__; assert 'predict' in dir(jssm)", []),
        ("from jssm.cines import command", []),
        ("from jssm.cines import outputs; outputs.np", []),
        ("from jssm import load", ["jax", "flax"]),
    ],
)
def test_nothing_slow_is_imported_before_it_is_needed(statements, slow):
    assert imported_by(statements) == slow


def test_type_checkers_see_every_public_name():
    tree = ast.parse(Path(jssm.__file__).read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {
        alias.asname or alias.name: (node.module, alias.name)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert set(seen) == set(jssm.__all__)
    for name, (module, there) in seen.items():
        assert getattr(jssm, name) is getattr(importlib.import_module(module), there)


def test_another_name_is_no_attribute():
    with pytest.raises(AttributeError, match="no attribute 'segment'"):
        operator.attrgetter("segment")(jssm)


@pytest.mark.parametrize(("home", "helps"), command.COMMANDS.items())
def test_every_command_is_where_the_table_says(home, helps, capsys):
    for name in helps:
        with pytest.raises(SystemExit) as ended:
            command.main([name, "--help"])
        assert ended.value.code == 0
        assert f"usage: jssm {name}" in capsys.readouterr().out


def test_the_list_of_commands_says_what_each_does(capsys):
    with pytest.raises(SystemExit):
        command.main(["--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert all(text in told for helps in command.COMMANDS.values() for text in helps.values())
