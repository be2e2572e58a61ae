"""The instruments of General MIDI (level 1): names by program number from 0, and what kind of part they are."""

from __future__ import annotations

_TABLE = """
    acoustic grand piano, bright acoustic piano, electric grand piano, honky-tonk piano, electric piano 1, electric piano 2,
    harpsichord, clavinet,
    celesta, glockenspiel, music box, vibraphone, marimba, xylophone, tubular bells, dulcimer,
    drawbar organ, percussive organ, rock organ, church organ, reed organ, accordion, harmonica, tango accordion,
    nylon guitar, steel guitar, jazz guitar, clean guitar, muted guitar, overdriven guitar, distortion guitar, guitar harmonics,
    acoustic bass, fingered bass, picked bass, fretless bass, slap bass 1, slap bass 2, synth bass 1, synth bass 2,
    violin, viola, cello, contrabass, tremolo strings, pizzicato strings, orchestral harp, timpani,
    string ensemble 1, string ensemble 2, synth strings 1, synth strings 2, choir aahs, voice oohs, synth voice, orchestra hit,
    trumpet, trombone, tuba, muted trumpet, French horn, brass section, synth brass 1, synth brass 2,
    soprano sax, alto sax, tenor sax, baritone sax, oboe, English horn, bassoon, clarinet,
    piccolo, flute, recorder, pan flute, blown bottle, shakuhachi, whistle, ocarina,
    square lead, sawtooth lead, calliope lead, chiff lead, charang lead, voice lead, fifths lead, bass and lead,
    new age pad, warm pad, polysynth pad, choir pad, bowed pad, metallic pad, halo pad, sweep pad,
    rain, soundtrack, crystal, atmosphere, brightness, goblins, echoes, sci-fi,
    sitar, banjo, shamisen, koto, kalimba, bagpipe, fiddle, shanai,
    tinkle bell, agogo, steel drums, woodblock, taiko drum, melodic tom, synth drum, reverse cymbal,
    guitar fret noise, breath noise, seashore, bird tweet, telephone ring, helicopter, applause, gunshot
"""
NAMES = tuple(name.strip() for name in _TABLE.split(","))
BASS = frozenset([*range(32, 40), 43, 58])  # basses, contrabass, tuba
PERCUSSION = frozenset([47, 55, 113, *range(115, 128)])  # without the pitch of a tune: timpani, drums, noises
PADS = frozenset([*range(44, 47), *range(48, 53), *range(88, 104)])  # what mostly lies under a tune: sections, harps, pads
DRUM_CHANNEL = 9  # from 0: the tenth
DRUM_BANKS = frozenset([120, 126, 127])  # of General MIDI 2 and XG: their programs are drum kits on any channel
