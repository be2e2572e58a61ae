"""Chords as people write them: one module a kind of line or file, all of which end in bars or times of symbols."""
