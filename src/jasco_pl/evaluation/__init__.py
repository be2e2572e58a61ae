"""How checkpoints follow their conditions and how near to the reference they sound (paper, sections 4.1 and 5).

Every row generates a clip a piece from the reference's own conditions and listens to it by real extractors: chords as Chordino hears them
in the reference, the melody, the drums, the mix. The ceiling is the reference itself through the codec; "no control" gets the caption
alone; the row "crossed" takes chords, drums and melody from three pieces. As in the paper, the distances between sets of rows that give
audio are measured with the audio of another piece.

    settings.py    what is varied; rows, finished audio    clips.py   generate, write down, hear
    references.py  composed pieces, prepared sets          table.py   from clips to figures
    pretrained.py  pretrained networks, where they are     engine.py  the whole matrix, in several processes
    measure.py     one clip against one piece, or three    report.py  Markdown, CSV, JSON
    page.py        all of it to listen to                  codec_report.py  what survives a codec
"""
