from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import types
from types import SimpleNamespace

import pytest

from jasco_pl import __version__, cli
from jasco_pl.cli import COMMANDS, CONFIGURED, main
from jasco_pl.system.errors import UserError


def test_help_and_version_import_nothing_heavy():
    program = (
        "import sys; from jasco_pl.cli import main; code = main(['--help']) or main(['--version']) or main([]); "
        "heavy = {'torch', 'numpy', 'lightning', 'transformers', 'scipy'} & set(sys.modules); sys.exit(', '.join(heavy) or code)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert f"jasco-pl {__version__}" in done.stdout


def test_the_overview_names_every_command(capsys):
    assert main([]) == 0
    overview = capsys.readouterr().out
    for name, (_, text) in {**COMMANDS, **CONFIGURED}.items():
        assert f"  {name} " in overview
        assert text in overview


@pytest.mark.parametrize("name", [*COMMANDS, *CONFIGURED])
def test_every_command_explains_itself(name, capsys):
    with pytest.raises(SystemExit) as caught:
        main([name, "--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert f"usage: jasco {name}" in out or f"usage: jasco [options] {name}" in out
    assert len(out.splitlines()) > 4


@pytest.mark.parametrize(
    ("name", "action"), [("shards", "build"), ("shards", "verify"), ("shards", "info"), ("codec", "fit"), ("codec", "report")]
)
def test_every_action_explains_itself(name, action, capsys):
    with pytest.raises(SystemExit) as caught:
        main([name, action, "--help"])
    assert caught.value.code == 0
    assert f"usage: jasco {name} {action}" in capsys.readouterr().out


def test_the_help_of_fit_shows_our_defaults_and_what_they_mean(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["fit", "--help"])
    assert caught.value.code == 0
    out = " ".join(capsys.readouterr().out.split())
    for words in (
        "--model.config.transformer.width WIDTH Embedding dimension (paper: 1024). (type: int, default: 1024)",
        "--model.config.text_encoder TEXT_ENCODER Name of the frozen text encoder.",
        "--model.lr LR peak learning rate. (type: float, default: 0.0001)",
        "--model.fused {true,false,null} Adam as one kernel; null: on CUDA.",
        "--data.batch_size BATCH_SIZE samples an optimiser step, over all devices, nodes",
    ):
        assert words in out
    assert "--optimizer" not in out  # the module has its own: the option would do nothing good


def test_an_unknown_command_is_one_sentence_that_names_the_known_ones(capsys):
    assert main(["trian"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("jasco trian: there is no command 'trian'; there are: generate, ")
    assert len(error.splitlines()) == 1


def test_a_missing_argument_exits_with_2(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["shards", "build"])
    assert caught.value.code == 2
    assert "--pieces" in capsys.readouterr().err


def command_that_raises(error: BaseException) -> SimpleNamespace:
    def run(args: object) -> int:
        raise error

    return SimpleNamespace(__doc__="A test.", add_arguments=lambda parser: None, run=run)


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (UserError("the sky is green."), 2, "jasco doctor: the sky is green.\n"),
        (KeyboardInterrupt(), 130, "jasco doctor: interrupted.\n"),
        (PermissionError(13, "Permission denied", "/somewhere"), 2, "jasco doctor: Permission denied: '/somewhere'.\n"),
        (
            pickle.UnpicklingError("Re-running with `weights_only` set to `False` will likely succeed"),
            2,
            "jasco doctor: a checkpoint holds more than plain data and was not read; nothing in it was executed.\n",
        ),
        (ValueError("embedded null byte"), 2, "jasco doctor: a name of a file holds a NUL, which no file system takes.\n"),
        (MemoryError(), 2, "jasco doctor: there is not enough memory for that: none left.\n"),
        (RuntimeError("out of memory: 9\nat"), 2, "jasco doctor: there is not enough memory for that: out of memory: 9.\n"),
        (OSError(28, "No space left on device"), 2, "jasco doctor: No space left on device.\n"),
    ],
)
def test_what_goes_wrong_is_one_sentence_and_an_exit_code(monkeypatch, capsys, error, code, words):
    monkeypatch.setattr(cli.importlib, "import_module", lambda name: command_that_raises(error))
    assert main(["doctor"]) == code
    assert capsys.readouterr().err == words


@pytest.mark.parametrize("error", [RuntimeError("a bug"), ValueError("a bug"), ConnectionResetError(104, "reset"), KeyError("x")])
def test_a_bug_keeps_its_traceback(monkeypatch, error):
    monkeypatch.setattr(cli.importlib, "import_module", lambda name: command_that_raises(error))
    with pytest.raises(type(error)):
        main(["doctor"])


def test_the_package_is_the_command():
    done = subprocess.run([sys.executable, "-m", "jasco_pl", "--version"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, f"jasco-pl {__version__}\n")


INTERRUPTED = """
import sys, time, types
from jasco_pl import cli
command = types.ModuleType("slow")
command.add_arguments = lambda parser: None
def run(args):
    try:
        print("at work", flush=True)
        time.sleep(60)
    finally:
        print("putting things away", flush=True)
        time.sleep({seconds})
        print("done", flush=True)
command.run = run
sys.modules["slow"] = command
cli.COMMANDS["slow"] = ("slow", "")
sys.exit(cli.main(["slow"]))
"""


@pytest.mark.parametrize(("seconds", "interrupts", "code", "last"), [(0, 1, 130, "done"), (60, 2, -signal.SIGINT, "putting things away")])
def test_ctrl_c_ends_a_command_in_order_and_a_second_one_at_once(seconds, interrupts, code, last):
    command = [sys.executable, "-c", INTERRUPTED.replace("{seconds}", str(seconds))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        for expected in ("at work", "putting things away")[:interrupts]:
            assert process.stdout.readline().strip() == expected
            process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in error
    assert error.strip() == ("jasco slow: interrupted." if interrupts == 1 else "")
    assert interrupts == 2 or out.strip().splitlines()[-1] == last


def test_names_that_are_no_utf8_can_be_printed(monkeypatch, capfd):
    command = types.ModuleType("named")
    command.add_arguments = lambda parser: None
    command.run = lambda args: print("wrote", os.fsdecode(b"caf\xe9.wav"))
    monkeypatch.setitem(sys.modules, "named", command)
    monkeypatch.setitem(cli.COMMANDS, "named", ("named", ""))
    assert main(["named"]) == 0
    assert capfd.readouterr().out == "wrote caf\\udce9.wav\n"
