"""`jasco prepare`: a folder of music in, training shards out."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jsonargparse

from jasco_pl.system.configurations import check_arguments

DESCRIPTION = """Turn recordings into training shards: find them, refuse what is broken, cut, encode, listen, write.

  jasco prepare ~/music --out data/shards/mine
  jasco prepare ~/music --out data/shards/mine --stages melody        adds a field to a set that is there
  jasco prepare songs.csv --out data/shards/mine -c data_prep/folder.yaml --workers 8
  jasco prepare /mnt/music --out /mnt/shards --ray auto --ray-gpus 0.25 --device cuda

SOURCE is a folder (wav, flac, ogg, mp3, opus, aiff; any depth, rate and number of channels), a manifest of audiocraft (.jsonl, .jsonl.gz),
or a table with paths and captions (.csv, .tsv, .jsonl). The same command again goes on where it was interrupted, and takes what is new.
DIR/rejected.jsonl names every file that was not taken, with the reason; DIR/report.html shows the whole.
"""


def main(command: str, arguments: Sequence[str]) -> int:
    """Prepare a set; returns 0.

    Raises:
        UserError: the options, the source or DIR cannot be used.
    """
    from jasco_pl.prepare.config import PrepareConfig

    jsonargparse.set_parsing_settings(docstring_parse_attribute_docstrings=True)
    parser = jsonargparse.ArgumentParser(prog=f"jasco {command}", description=DESCRIPTION, formatter_class=_Help)
    parser.add_argument("-c", "--config", action="config", help="YAML with any of the options, such as data_prep/folder.yaml")
    parser.add_argument("source", metavar="SOURCE", help="folder of audio, or a list of files")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the set; one that is there grows")
    parser.add_argument("--audio_dir", type=str | None, default=None, metavar="DIR", help="what the paths of a list are relative to")
    parser.add_class_arguments(PrepareConfig, None)
    check_arguments(arguments)
    given = parser.parse_args([_underscored(argument) for argument in arguments])
    made = parser.instantiate_classes(given)
    config = PrepareConfig(**{name: getattr(made, name) for name in PrepareConfig.__dataclass_fields__})

    from jasco_pl.prepare.engine import Preparation  # here: torch and all that, which --help need not wait for

    report = Preparation(given.source, given.out, config, given.audio_dir).run()
    print(summary(report, given.out), file=sys.stderr)
    return 0


def _underscored(argument: str) -> str:
    """--demucs-repo=DIR as --demucs_repo=DIR: our other commands have dashes, options of configurations cannot."""
    name, equals, value = argument.partition("=")
    return name.replace("-", "_").replace("__", "--", 1) + equals + value if name.startswith("--") else argument


class _Help(jsonargparse.DefaultHelpFormatter):
    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text


def summary(report: Mapping[str, Any], out: str) -> str:
    """What became of the source, in a few lines."""
    from jasco_pl.prepare.engine import REJECTED
    from jasco_pl.prepare.report import PAGE

    totals = report["totals"]
    lines = [f"{totals['hours_kept']:.2f} h of music from {totals['tracks']} recordings, in {totals['shards']} shards: {out}"]
    if totals["rejected"]:
        reasons = ", ".join(f"{count} {reason}" for reason, count in report["rejections"]["by_reason"].items())
        lines.append(f"{totals['rejected']} files were not taken ({reasons}): {Path(out) / REJECTED}")
    if untold := totals["tracks_without_captions"]:
        who = "no recording has" if untold == totals["tracks"] else f"{untold} of {totals['tracks']} recordings have not"
        lines.append(
            f"{who} a caption, and of texts nothing is learned from them: a .txt of the same name beside a file holds one a line; or the "
            "same command with --captions.measured true says the tempo and the key that are heard (by programs, which are wrong at times)"
        )
    return "\n".join([*lines, f"report: {Path(out) / PAGE}"])
