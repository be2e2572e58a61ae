"""The `jasco` command. Only the module of the subcommand that is asked for gets imported, so that `--help` is quick."""

from __future__ import annotations

import argparse
import importlib
import io
import os
import pickle
import re
import signal
import sys
import threading
from collections.abc import Sequence
from types import FrameType
from typing import Any

from jasco_pl.system.errors import UserError
from jasco_pl.system.files import REASONS

COMMANDS: dict[str, tuple[str, str]] = {
    "generate": ("jasco_pl.commands.generate", "make music from a prompt, chords, a melody, drums"),
    "edit": ("jasco_pl.commands.edit", "make a stretch of a song anew, and leave the rest as it is"),
    "serve": ("jasco_pl.commands.serve", "open a web page to make music with, and its HTTP API"),
    "read": ("jasco_pl.commands.read", "print how chords, a melody, drums are read, without making anything"),
    "demo": ("jasco_pl.commands.demo", "make the three prepared requests and show asked against heard"),
    "compose": ("jasco_pl.commands.compose", "compose and render the embedded set: music with exact annotations"),
    "shards": ("jasco_pl.commands.shards", "build, verify and describe prepared data"),
    "extract": ("jasco_pl.commands.extract", "write down what is heard in one file: chords, melody, latents"),
    "codec": ("jasco_pl.commands.codec", "fit the embedded codec and measure what survives it"),
    "evaluate": ("jasco_pl.commands.evaluate", "measure how a checkpoint follows its conditions"),
    "reproduce": ("jasco_pl.commands.reproduce", "repeat the paper's experiments at a small budget, beside its figures"),
    "metrics": ("jasco_pl.commands.metrics", "examine the metrics: their ceiling, what they notice"),
    "listen": ("jasco_pl.commands.listen", "let people listen: build a blind test, analyse its results"),
    "bench": ("jasco_pl.commands.bench", "measure the speed of this machine: how fast samples arrive, what a step costs"),
    "gpu-bundle": ("jasco_pl.commands.gpu_bundle", "train on a GPU machine that has no network: what goes there and comes back"),
    "import": ("jasco_pl.commands.import_", "bring Meta's released checkpoints into this project's layout"),
    "export": ("jasco_pl.commands.export", "turn a training checkpoint into a folder for generation"),
    "push": ("jasco_pl.commands.push", "publish a checkpoint on the Hub, with its codec and card"),
    "card": ("jasco_pl.commands.card", "write the figures of a model card"),
    "doctor": ("jasco_pl.commands.doctor", "report the state of the environment, with remedies"),
}
CONFIGURED: dict[str, tuple[str, str]] = {  # these read their options from YAML, too
    "prepare": ("jasco_pl.commands.prepare", "turn recordings into training shards"),
    "fit": ("jasco_pl.commands.fit", "train a model from a configuration"),
    "validate": ("jasco_pl.commands.fit", "run the validation of a configuration"),
    "test": ("jasco_pl.commands.fit", "run the test of a configuration"),
    "fit-codec": ("jasco_pl.commands.fit", "train the embedded codec's vocoder"),
}


def overview() -> str:
    """What `jasco --help` prints."""
    lines = [
        "usage: jasco COMMAND [options]",
        "",
        "Text to music that follows chords, a melody, drums and reference audio in time.",
        "",
        "commands:",
        *(f"  {name:<10} {text}" for name, (_, text) in {**COMMANDS, **CONFIGURED}.items()),
        "",
        "`jasco COMMAND --help` explains one. A first try:",
        '  jasco generate --text "calm piano ballad" --chords "C G Am F" --bpm 90 -o out/',
    ]
    return "\n".join(lines)


def _let_a_second_interrupt_kill() -> Any:
    """The first Ctrl-C ends a command in order, a second one while it does so ends it at once and without a word; what was there before."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return None

    def interrupt(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        raise KeyboardInterrupt

    return signal.signal(signal.SIGINT, interrupt)


_NO_MEMORY = re.compile("can't allocate memory|out of memory|not enough memory", re.IGNORECASE)  # as PyTorch says it


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand. Returns 0, 1 (the command found something wrong, as `shards verify` may) or 2 (bad input)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    name, rest = (arguments or ["--help"])[0], arguments[1:]
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files may be no UTF-8
    heard = _let_a_second_interrupt_kill()
    try:
        if name in ("-h", "--help"):
            print(overview(), flush=True)
            return 0
        if name == "--version":
            from jasco_pl import __version__

            print(f"jasco-pl {__version__}", flush=True)
            return 0
        if name in CONFIGURED:
            module = importlib.import_module(CONFIGURED[name][0])
            return int(module.main(name, rest) or 0)
        if name not in COMMANDS:
            raise UserError(f"there is no command {name!r}; there are: {', '.join([*COMMANDS, *CONFIGURED])}.")
        module = importlib.import_module(COMMANDS[name][0])
        parser = argparse.ArgumentParser(
            prog=f"jasco {name}",
            description=(module.__doc__ or "").strip(),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(parser)
        return int(module.run(parser.parse_args(rest)) or 0)
    except UserError as error:
        print(f"jasco {name}: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of our output went away, as in `jasco ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:  # surroundings that no module looked at itself; anything else is a bug and keeps its traceback
        if error.errno not in REASONS:
            raise
        where = f": {os.fspath(error.filename)!r}" if error.filename else ""
        print(f"jasco {name}: {error.strerror}{where}.", file=sys.stderr)
        return 2
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not _NO_MEMORY.search(str(error)):
            raise
        why = (str(error) or "none left").splitlines()[0]
        print(f"jasco {name}: there is not enough memory for that: {why[:200]}.", file=sys.stderr)
        return 2
    except pickle.UnpicklingError:
        print(f"jasco {name}: a checkpoint holds more than plain data and was not read; nothing in it was executed.", file=sys.stderr)
        return 2
    except ValueError as error:
        if str(error) != "embedded null byte":
            raise
        print(f"jasco {name}: a name of a file holds a NUL, which no file system takes.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        if sys.stderr.isatty():
            print(file=sys.stderr)  # a progress bar may stand in the line
        print(f"jasco {name}: interrupted.", file=sys.stderr)
        return 130
    finally:
        if heard is not None and signal.getsignal(signal.SIGINT) is not signal.SIG_DFL:
            signal.signal(signal.SIGINT, heard)


if __name__ == "__main__":
    sys.exit(main())
