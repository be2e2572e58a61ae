"""What a prompt names: a style, instruments.

Prompts of the composed set's wording and others with the same words; the longest words count, so that "jazz guitar" names no jazz.

What the probes learn from and are asked about: composed pieces through the codec, and the clips of an evaluation's folder.

Is what a prompt names heard in the clip? Linear probes of style and instruments, trained on composed pieces; agreement against chance.

Alain and Bengio 2017 for the probes. Chance is what the same clips get with each other's prompts, so that a probe, or a generator, that
always gives the commonest answer is at chance however common it is.

The table of what prompts name and what is heard.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, KFold, cross_val_predict
from tqdm import tqdm

from jasco_pl.codec import load_codec
from jasco_pl.compose.edition import EDITIONS
from jasco_pl.compose.pieces import place, read_note, read_stretch
from jasco_pl.compose.tables import INSTRUMENTS, KITS
from jasco_pl.evaluation.references import ComposedPieces
from jasco_pl.metrics.embedders import Embedder
from jasco_pl.metrics.report import aligned_table
from jasco_pl.notation.harmony import first_frame
from jasco_pl.notation.timed_text import covering, spans_of
from jasco_pl.system.errors import UserError
from jasco_pl.system.files import atomic_path, loads

DRUMS = "drums"
FAMILIES = (
    *("piano", "mallets and bells", "organ", "guitar", "bass", "solo strings", "ensemble", "brass"),
    *("reed", "pipe", "synth lead", "synth pad", "effects", "world", "percussive"),
)
"""General MIDI's families of eight programs each."""
_STYLE, _FAMILY, _NOT = "style", "family", r"(?:no|without)\s+(?:\w+ or )?"


@dataclass(frozen=True)
class Named:
    """What a prompt names; `style` is None where it names none or several."""

    style: str | None
    families: frozenset[str]


def family(instrument: str) -> str:
    """The family of an instrument as it stands in a piece's description; `DRUMS` for the words of a kit."""
    return FAMILIES[INSTRUMENTS[instrument].program // 8] if instrument in INSTRUMENTS else DRUMS


def sounding(note: Mapping[str, Any], start: float, seconds: float) -> frozenset[str]:
    """The families in a stretch of a composed piece: what captions of the sections that it touches name, or all of a piece without."""
    parts = [(first_frame(part["start"]), " ; ".join(part["captions"])) for part in note.get("sections", [])]
    if not parts:
        return frozenset(map(family, note["instruments"]))
    whole = [(at, texts[0]) for at, texts in covering([(at, [text]) for at, text in parts])]
    touched = spans_of(whole, first_frame(start), first_frame(seconds))
    return frozenset().union(*(named(span.text).families for span in touched))


def named(prompt: str) -> Named:
    """The style and the families of instruments that a prompt names; what it says is absent ("no drums") is not named."""
    pattern, meaning = _vocabulary()
    found = {meaning[match[2].lower()] for match in pattern.finditer(prompt) if not match[1]}
    styles = {value for kind, value in found if kind == _STYLE}
    return Named(styles.pop() if len(styles) == 1 else None, frozenset(value for kind, value in found if kind == _FAMILY))


@cache
def _vocabulary() -> tuple[re.Pattern[str], dict[str, tuple[str, str]]]:
    styles = [pair for edition in EDITIONS.values() for pair in edition.styles.items()]
    meaning = {word.lower(): (_STYLE, name) for name, style in styles for word in style.words}
    for words in KITS.values():
        meaning |= {word.lower(): (_FAMILY, DRUMS) for word in words}
    for name, instrument in INSTRUMENTS.items():
        meaning |= {word.lower(): (_FAMILY, family(name)) for word in instrument.words}
    longest = sorted(meaning, key=len, reverse=True)
    return re.compile(rf"(?<![\w-])({_NOT})?({'|'.join(map(re.escape, longest))})(?![\w-])", re.IGNORECASE), meaning


EMBEDDER = "musicnn"
SECONDS = 10.0
PURPOSE = "probe"  # of the hash that places a stretch


@dataclass
class Clips:
    """A row of an evaluation: prompts and one embedding [D] a clip."""

    name: str
    prompts: list[str]
    features: NDArray[np.float64]


def piece_features(paths: Sequence[Path], codec: str, embedder: Embedder, cache: Path) -> tuple[NDArray[np.float64], list[frozenset[str]]]:
    """Mean embeddings [N, D] of ten seconds of each piece after the codec, which all generated audio has gone through; kept in `cache`.
    And the families of instruments in those seconds.
    """
    loaded, rows, families, pieces = load_codec(codec), [], [], ComposedPieces(paths[0].parent)
    frames = round(SECONDS * loaded.frame_rate)
    made_with = hashlib.blake2b(digest_size=8)
    for file in sorted(Path(codec).glob("*")):
        if file.suffix in (".json", ".safetensors"):
            made_with.update(file.read_bytes())
    for path in tqdm(paths, desc="probe", unit="piece"):
        digest = hashlib.blake2b(path.with_suffix(".mix.flac").read_bytes() + made_with.digest(), digest_size=8).hexdigest()
        kept = cache / f"{path.stem}-{digest}.npy"
        if not kept.exists():
            stretch = read_stretch(path, SECONDS, loaded.sample_rate, loaded.frame_rate, PURPOSE)
            with torch.inference_mode():
                wav = loaded.decode(loaded.encode(stretch.mix[None]))
            with atomic_path(kept) as temporary, temporary.open("wb") as stored:
                np.save(stored, embedder(wav, loaded.sample_rate)[0].mean(dim=0).cpu().numpy())
        rows.append(np.load(kept, allow_pickle=False).astype(np.float64))
        first = place(path.stem, pieces.length(path.stem, loaded.frame_rate), frames, SECONDS, PURPOSE)
        families.append(sounding(read_note(path), first / loaded.frame_rate, SECONDS))
    return np.stack(rows), families


def evaluated_clips(folder: Path) -> Iterator[Clips]:
    """The rows of a folder that `jasco evaluate` wrote, whole clips that musicnn has heard; those of crossed pieces and painting are not.

    Raises:
        UserError: there is no such row.
    """
    try:
        rows = loads((folder / "results.json").read_bytes())["rows"]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{str(folder)!r} holds no results.json of `jasco evaluate`.") from error
    found = 0
    for row in rows:
        features = []
        for clip in row["clips"] if "painting" not in row["given"] and not row.get("remade") else ():
            heard = (folder / clip["audio"]).with_suffix(".npz")
            with np.load(heard, allow_pickle=False) as stored:
                features += [stored[EMBEDDER].mean(axis=0)] if EMBEDDER in stored else []
        if features and len(features) == len(row["clips"]):
            found += 1
            yield Clips(row["name"], [clip["caption"] for clip in row["clips"]], np.stack(features).astype(np.float64))
    if not found:
        raise UserError(f"musicnn has heard no clip in {str(folder)!r}: `jasco evaluate -o {folder}` hears with it where it is installed.")


STRENGTHS = (0.003, 0.01, 0.03, 0.1)  # inverse, of regularisation
FEWEST = 10  # pieces with and without a family for it to be learnt
COMMONEST = 1 / 3  # share of the pieces; what more of them have cannot be three times as frequent as by chance
_PERMUTATIONS = _RESAMPLES = 2000


def standardised(features: NDArray[np.float64], like: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """Features [N, D] by mean and spread of `like`, or their own: then clips are told apart by how they differ from each other."""
    by = features if like is None else like
    return (features - by.mean(axis=0)) / (by.std(axis=0) + 1e-6)


class Probe:
    """Logistic regressions from embeddings to a style and to the families of instruments that some of the pieces have and some have not.

    Args:
        features: [N, D], one a piece.
        styles: N names.
        families: of each piece.
        most: share of the pieces that may have a family for it to be learnt.

    Raises:
        UserError: too few pieces.
    """

    def __init__(
        self, features: NDArray[np.float64], styles: Sequence[str], families: Sequence[frozenset[str]], most: float = COMMONEST
    ) -> None:
        if len(features) < 5 * FEWEST:
            raise UserError(f"the probe was given {len(features)} pieces to learn from, and needs at least {5 * FEWEST}.")
        self.features, self.styles = features, sorted(set(styles))
        counts = {name: sum(name in of for of in families) for name in sorted(frozenset().union(*families))}
        self.families = [name for name, count in counts.items() if FEWEST <= count <= most * len(features)]
        self.common = [name for name, count in counts.items() if count > most * len(features)]
        rows, folds = standardised(features), KFold(5, shuffle=True, random_state=0)
        self._style = _search(folds).fit(rows, list(styles)).best_estimator_
        self.cross_validated_styles = _one_hot(cross_val_predict(self._style, rows, list(styles), cv=folds), self.styles)
        self._family, self._least, found = [], [], []
        for name in self.families:
            has = np.array([name in of for of in families])
            model = _search(folds).fit(rows, has).best_estimator_
            likely = cross_val_predict(model, rows, has, cv=folds, method="predict_proba")[:, 1]
            self._family.append(model)
            self._least.append(np.quantile(likely, 1 - has.mean()))  # heard as often as it is there
            found.append(likely > self._least[-1])
        self.cross_validated_families = np.stack(found, axis=1) if found else np.zeros((len(features), 0), dtype=bool)

    def hear(self, features: NDArray[np.float64], among_each_other: bool) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Styles [N, S], one a clip, and families [N, F] heard in clips [N, D]; `among_each_other` as `standardised` without `like`."""
        rows = standardised(features, None if among_each_other else self.features)
        families = [model.predict_proba(rows)[:, 1] > least for model, least in zip(self._family, self._least, strict=True)]
        found = np.stack(families, axis=1) if families else np.zeros((len(rows), 0), dtype=bool)
        return _one_hot(self._style.predict(rows), self.styles), found

    def wanted(self, prompts: Sequence[Named]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """What prompts name of that, in the same shapes."""
        styles = np.array([[prompt.style == name for name in self.styles] for prompt in prompts])
        families = np.array([[name in prompt.families for name in self.families] for prompt in prompts])
        return styles, families.reshape(len(prompts), len(self.families))


def _search(folds: KFold) -> GridSearchCV:
    return GridSearchCV(LogisticRegression(max_iter=500), {"C": STRENGTHS}, cv=folds)


def _one_hot(names: Sequence[str], known: Sequence[str]) -> NDArray[np.bool_]:
    return np.array([[name == one for one in known] for name in names])


@dataclass(frozen=True)
class Agreement:
    """How much of what is named is heard.

    Attributes:
        share: of all that prompts name, with a 95 % bootstrap interval over clips.
        chance: the share that shuffled prompts get on average.
        p: share of the shuffles that get as much.
        clips: those whose prompt names something.
    """

    share: float
    low: float
    high: float
    chance: float
    p: float
    clips: int

    @property
    def times(self) -> float:
        """The share in chances; NaN where there is no chance."""
        return self.share / self.chance if self.chance else float("nan")


def agreement(wanted: NDArray[np.bool_], heard: NDArray[np.bool_], seed: int = 0) -> Agreement | None:
    """Of what is wanted [N, K], the share that is heard [N, K]; None where nothing is wanted. Clips that want nothing are left out."""
    kept = wanted.any(axis=1)
    wanted, heard = wanted[kept], heard[kept]
    if not len(wanted):
        return None
    draw = np.random.default_rng(seed)
    right, of = (wanted & heard).sum(axis=1), wanted.sum(axis=1)
    share = right.sum() / of.sum()
    chance = float((wanted.sum(axis=0) * heard.mean(axis=0)).sum() / of.sum())
    shuffled = [(wanted & heard[draw.permutation(len(heard))]).sum() / of.sum() for _ in range(_PERMUTATIONS)]
    p = (1 + sum(bool(found >= share - 1e-12) for found in shuffled)) / (1 + _PERMUTATIONS)
    picks = draw.integers(len(of), size=(_RESAMPLES, len(of)))
    low, high = np.quantile(right[picks].sum(axis=1) / of[picks].sum(axis=1), [0.025, 0.975])
    return Agreement(float(share), float(low), float(high), chance, p, len(of))


LEARNT = "what the probe learnt from, cross-validated"


def table(probe: Probe, learnt: Sequence[str], rows: Iterable[Clips]) -> tuple[str, list[dict[str, Any]]]:
    """Markdown and JSON: style and instruments in the pieces that the probe learnt from (their prompts), then in every row, in two ways."""
    lines = [["clips", "style heard", "chance", "x chance", "p", "instruments heard", "chance", "x chance", "p"]]
    found: list[dict[str, Any]] = []

    def add(name: str, prompts: Sequence[str], heard: tuple[NDArray[np.bool_], NDArray[np.bool_]]) -> None:
        wanted = probe.wanted([named(prompt) for prompt in prompts])
        style, families = (agreement(*pair) for pair in zip(wanted, heard, strict=True))
        lines.append([name, *_cells(style), *_cells(families)])
        labels = (probe.styles, probe.families)
        words = {
            label: {"named": int(of[:, k].sum()), "heard": int(it[:, k].sum()), "both": int((of & it)[:, k].sum())}
            for known, of, it in zip(labels, wanted, heard, strict=True)
            for k, label in enumerate(known)
        }
        found.append({"name": name, "style": _plain(style), "instruments": _plain(families), "words": words})

    add(LEARNT, learnt, (probe.cross_validated_styles, probe.cross_validated_families))
    for clips in rows:
        add(clips.name, clips.prompts, probe.hear(clips.features, among_each_other=False))
        add(f"{clips.name}, among each other", clips.prompts, probe.hear(clips.features, among_each_other=True))
    return aligned_table(lines), found


def _cells(found: Agreement | None) -> list[str]:
    if found is None:
        return ["–"] * 4
    half = (found.high - found.low) / 2
    return [f"{found.share:.3f} ± {half:.3f} ({found.clips})", f"{found.chance:.3f}", f"{found.times:.1f}", f"{found.p:.4f}"]


def _plain(found: Agreement | None) -> dict[str, Any] | None:
    return None if found is None else {**asdict(found), "times": found.times if found.chance else None}
