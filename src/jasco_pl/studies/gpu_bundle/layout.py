"""Where things lie in a bundle, for what makes it and what runs from it."""

from __future__ import annotations

from pathlib import Path

MARK = "bundle.json"
ABOUT = "run.sh JOB OUT [MINUTES] runs train, decoder or bench here; `jasco gpu-bundle join OUT` reads what it leaves"
CODEC = Path("checkpoints/codec-mini")
SOUNDFONT = "soundfont"  # with the suffix that it had
STAND_INS = Path("stand-ins")  # on the path: what is installed elsewhere as packages that would be too large or refuse that Python
WHEELS = Path("wheels")
SITE = Path("site")  # on the path: made of the wheels
