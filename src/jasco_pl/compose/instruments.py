"""General MIDI programs and drum kits, with the words people use for them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Instrument:
    """A GM program (0-based), the words a caption may use, and its comfortable melody range in MIDI numbers."""

    program: int
    words: tuple[str, ...]
    low: int = 57
    high: int = 84


INSTRUMENTS: dict[str, Instrument] = {
    "piano": Instrument(0, ("piano", "acoustic piano", "grand piano"), 58, 86),
    "bright piano": Instrument(1, ("bright piano", "piano", "pop piano"), 58, 86),
    "electric grand": Instrument(2, ("electric grand piano", "electric grand"), 58, 84),
    "honky-tonk piano": Instrument(3, ("honky-tonk piano", "barroom piano"), 58, 84),
    "electric piano": Instrument(4, ("electric piano", "Rhodes-like electric piano", "Rhodes"), 55, 82),
    "FM electric piano": Instrument(5, ("FM electric piano", "electric piano", "eighties electric piano"), 55, 84),
    "harpsichord": Instrument(6, ("harpsichord",), 57, 84),
    "clavinet": Instrument(7, ("clavinet", "funky clavinet"), 55, 79),
    "celesta": Instrument(8, ("celesta", "bell-like celesta"), 67, 91),
    "glockenspiel": Instrument(9, ("glockenspiel", "small bells"), 72, 94),
    "music box": Instrument(10, ("music box",), 67, 91),
    "vibraphone": Instrument(11, ("vibraphone", "vibes"), 60, 86),
    "marimba": Instrument(12, ("marimba",), 57, 86),
    "xylophone": Instrument(13, ("xylophone",), 67, 92),
    "dulcimer": Instrument(15, ("dulcimer", "hammered dulcimer"), 60, 84),
    "hammond organ": Instrument(16, ("organ", "Hammond organ", "drawbar organ"), 55, 82),
    "percussive organ": Instrument(17, ("percussive organ", "jazz organ"), 55, 82),
    "rock organ": Instrument(18, ("rock organ", "organ"), 55, 82),
    "church organ": Instrument(19, ("church organ", "pipe organ"), 57, 84),
    "accordion": Instrument(21, ("accordion",), 57, 84),
    "harmonica": Instrument(22, ("harmonica",), 60, 84),
    "nylon guitar": Instrument(24, ("nylon guitar", "classical guitar", "nylon-string guitar"), 52, 79),
    "steel guitar": Instrument(25, ("acoustic guitar", "steel-string guitar", "steel guitar"), 52, 80),
    "jazz guitar": Instrument(26, ("jazz guitar", "warm electric guitar", "hollow-body guitar"), 52, 80),
    "clean guitar": Instrument(27, ("clean electric guitar", "clean guitar", "electric guitar"), 52, 80),
    "muted guitar": Instrument(28, ("muted guitar", "palm-muted guitar"), 48, 72),
    "overdriven guitar": Instrument(29, ("overdriven guitar", "crunchy electric guitar", "electric guitar"), 52, 82),
    "distorted guitar": Instrument(30, ("distorted guitar", "heavy electric guitar"), 52, 82),
    "upright bass": Instrument(32, ("upright bass", "double bass", "acoustic bass")),
    "fingered bass": Instrument(33, ("electric bass", "bass guitar", "fingered bass")),
    "picked bass": Instrument(34, ("picked bass", "bass guitar", "electric bass")),
    "fretless bass": Instrument(35, ("fretless bass",)),
    "slap bass": Instrument(36, ("slap bass", "funky slap bass")),
    "synth bass": Instrument(38, ("synth bass", "synthesizer bass")),
    "deep synth bass": Instrument(39, ("synth bass", "deep synth bass", "sub bass")),
    "violin": Instrument(40, ("violin", "solo violin"), 57, 90),
    "viola": Instrument(41, ("viola",), 52, 79),
    "cello": Instrument(42, ("cello", "solo cello"), 45, 72),
    "pizzicato strings": Instrument(45, ("pizzicato strings", "plucked strings"), 55, 84),
    "harp": Instrument(46, ("harp",), 55, 88),
    "strings": Instrument(48, ("strings", "string ensemble", "string section"), 55, 86),
    "slow strings": Instrument(49, ("slow strings", "soft strings", "lush strings"), 55, 84),
    "synth strings": Instrument(50, ("synth strings", "synthesized strings"), 55, 84),
    "choir": Instrument(52, ("choir", "choir aahs", "voices"), 57, 79),
    "voice": Instrument(53, ("wordless voices", "oohs", "vocal oohs"), 57, 79),
    "trumpet": Instrument(56, ("trumpet",), 58, 82),
    "trombone": Instrument(57, ("trombone",), 46, 70),
    "muted trumpet": Instrument(59, ("muted trumpet",), 58, 82),
    "french horn": Instrument(60, ("French horn", "horn"), 50, 74),
    "brass section": Instrument(61, ("brass section", "horn section", "brass"), 53, 79),
    "synth brass": Instrument(62, ("synth brass", "brassy synth"), 55, 82),
    "soprano sax": Instrument(64, ("soprano saxophone", "soprano sax"), 58, 84),
    "alto sax": Instrument(65, ("alto saxophone", "alto sax", "saxophone"), 52, 79),
    "tenor sax": Instrument(66, ("tenor saxophone", "tenor sax", "sax"), 47, 74),
    "oboe": Instrument(68, ("oboe",), 60, 86),
    "bassoon": Instrument(70, ("bassoon",), 44, 67),
    "clarinet": Instrument(71, ("clarinet",), 53, 86),
    "flute": Instrument(73, ("flute",), 62, 92),
    "recorder": Instrument(74, ("recorder",), 65, 90),
    "pan flute": Instrument(75, ("pan flute", "pan pipes"), 62, 88),
    "whistle": Instrument(78, ("whistle", "whistling"), 67, 91),
    "ocarina": Instrument(79, ("ocarina",), 64, 88),
    "square lead": Instrument(80, ("square-wave synth", "chiptune synth", "retro square synth"), 57, 86),
    "saw lead": Instrument(81, ("sawtooth synth", "bright synth", "lead synthesizer"), 57, 86),
    "calliope lead": Instrument(82, ("airy synth", "soft synth"), 60, 86),
    "new age pad": Instrument(88, ("new age pad", "glassy synth pad", "synth pad")),
    "warm pad": Instrument(89, ("warm pad", "warm synth pad", "analog pad")),
    "polysynth": Instrument(90, ("polysynth", "synthesizer chords", "synth"), 57, 82),
    "choir pad": Instrument(91, ("choir pad", "vocal synth pad")),
    "halo pad": Instrument(94, ("halo pad", "airy pad", "synth pad")),
    "sitar": Instrument(104, ("sitar",), 52, 79),
    "banjo": Instrument(105, ("banjo",), 55, 82),
    "koto": Instrument(107, ("koto",), 57, 84),
    "kalimba": Instrument(108, ("kalimba", "thumb piano"), 60, 86),
    "fiddle": Instrument(110, ("fiddle",), 57, 88),
}

# Drum kit: GM preset of bank 128 -> caption words.
KITS: dict[int, tuple[str, ...]] = {
    0: ("drums", "drum kit", "acoustic drums"),
    8: ("drums", "roomy drums", "live drums"),
    16: ("powerful drums", "rock drums", "big drums"),
    24: ("electronic drums", "drum machine"),
    25: ("808 drum machine", "drum machine", "808 beat"),
    32: ("jazz drums", "soft drums", "drums"),
    40: ("brushed drums", "brushes"),
    48: ("orchestral percussion", "timpani and percussion"),
}

DRUM_KEYS: dict[str, int] = {
    "kick": 36,
    "rim": 37,
    "snare": 38,
    "clap": 39,
    "hat": 42,
    "pedal hat": 44,
    "open hat": 46,
    "low tom": 45,
    "mid tom": 47,
    "high tom": 50,
    "crash": 49,
    "ride": 51,
    "ride bell": 53,
    "tambourine": 54,
    "cowbell": 56,
    "high conga": 63,
    "low conga": 64,
    "cabasa": 69,
    "maracas": 70,
    "claves": 75,
    "shaker": 82,
}
