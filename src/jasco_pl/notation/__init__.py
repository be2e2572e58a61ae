"""What musicians write, and frames: chord vocabulary, symbols and lines, `.lab`, melody bins, MIDI."""
