"""How checkpoints follow their conditions and how near to the reference they sound (paper, sections 4.1 and 5).

Every row generates a clip a piece from the reference's own conditions and listens to it by real extractors: chords as Chordino hears them
in the reference, the melody, the drums, the mix. The ceiling is the reference itself through the codec; "no control" gets the caption
alone; the row "crossed" takes chords, drums and melody from three pieces. As in the paper, the distances between sets of rows that give
audio are measured with the audio of another piece.

    settings.py    what is varied, and the rows            clips.py   generate, write down, hear
    references.py  composed pieces, prepared sets          table.py   from clips to figures
    pretrained.py  pretrained networks, where they are     engine.py  the whole matrix, in several processes
    measure.py     one clip against its reference          report.py  Markdown, CSV, JSON, a page
    crossed.py     conditions from three pieces            finished.py  audio of other systems
    codec_report.py  what survives a codec
"""

from jasco_pl.evaluation.engine import FOLLOWING, ResultRow, Results, best_of, evaluate, grid_of
from jasco_pl.evaluation.pretrained import Listeners, find_listeners
from jasco_pl.evaluation.references import ComposedPieces, PreparedSet, Reference, Source
from jasco_pl.evaluation.report import write_results
from jasco_pl.evaluation.settings import Finished, Settings, chosen_rows, guidance_grid, rows_of

__all__ = [
    "FOLLOWING",
    "ComposedPieces",
    "Finished",
    "Listeners",
    "PreparedSet",
    "Reference",
    "ResultRow",
    "Results",
    "Settings",
    "Source",
    "best_of",
    "chosen_rows",
    "evaluate",
    "find_listeners",
    "grid_of",
    "guidance_grid",
    "rows_of",
    "write_results",
]
