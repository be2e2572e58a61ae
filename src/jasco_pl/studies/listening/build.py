"""Build a blind test: a folder to hand out (`site/`) and the key that stays at home (`key.json`).

The page that raters see is one file with its script and style inside, beside a folder `audio`. Its recordings are found by file stem and
brought to one format, length and loudness, so that only the music differs.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import random
import secrets
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import torch
from scipy.signal import fftconvolve, firwin
from torch import Tensor
from tqdm import tqdm

from jasco_pl.audio.files import SAMPLE_RATE, loudness_normalize, read_audio, write_audio
from jasco_pl.pages.base import packaged, render
from jasco_pl.studies.listening.folders import find_clips, find_references
from jasco_pl.studies.listening.study import ANCHOR, FINISHED, QUESTIONS, REFERENCE, Clip, Key, Stimulus
from jasco_pl.system.errors import UserError
from jasco_pl.system.files import explain_os_error, loads, write_text
from jasco_pl.system.seeding import stable_hash

TITLE = "Listening test"
TARGET = -14.0  # LUFS; paper, section 4.1
SHORTEST = 1.0  # seconds
_TOLERANCE = 0.5  # LU that one version of a piece may be quieter than the others
_SLACK = 1.0  # seconds that versions of one piece may differ in length before one suspects that they are not the same stretch
_FADE = 0.02
_SHARE_OF_TIME = 1.6  # listening again and rating, over hearing everything once


def build(
    systems: Mapping[str, str | Path],
    reference: str | Path,
    out: str | Path,
    *,
    questions: Sequence[str] = ("quality",),
    captions: Mapping[str, str] | None = None,
    clips: int | None = None,
    per_rater: int | None = None,
    anchor: bool = False,
    seconds: float | None = None,
    post: str | None = None,
    title: str = TITLE,
    seed: int | None = None,
    mp3: bool = False,
) -> tuple[Key, list[str]]:
    """Write the test into the new folder `out`: `site/index.html`, `site/audio/*.wav` (or mp3), and `key.json` beside `site`.

    Names in `site` are drawn at random and tell nothing, nor do sizes and dates. Clips are those whose file stem all folders hold.

    Args:
        systems: folder of recordings by system name.
        reference: folder of the original recordings, or results.json of an evaluation, which names its own; they are hidden among the
            systems, and played openly for melody and rhythm.
        out: a folder that does not exist yet, or is empty.
        questions: keys of `QUESTIONS`, at most one of melody and rhythm.
        captions: caption by clip; without them they are read from the JSON beside the recordings.
        clips: how many pieces, drawn at random; None takes all.
        per_rater: how many of them one rater hears; None: all.
        anchor: add the reference without what lies above 3.5 kHz.
        seconds: cut every recording there.
        post: web address that the page sends the results to.
        title: heading of the page.
        seed: of names, choice and order; drawn when None.
        mp3: a third of the size.

    Returns:
        The key, and what the builder of the test should know (clips left out, loudness not reached).

    Raises:
        UserError: bad names, questions, numbers or folders; no common clips; no caption; unreadable or differing audio.
    """
    _check(systems, questions, {"--clips": clips, "--per-rater": per_rater, "--seconds": seconds}, post)
    target = Path(out)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"{str(out)!r} holds something already: a test is built into a new folder, so that no key is lost.")
    seed = secrets.randbits(48) if seed is None else seed
    draw = random.Random(stable_hash("listening test", seed))
    folders = {REFERENCE: find_references(reference), **{name: find_clips(folder) for name, folder in systems.items()}}
    names, notes = _common(folders, clips, draw)
    texts = _captions(names, folders, captions) if "text" in questions else {}
    suffix = ".mp3" if mp3 else ".wav"  # not flac or ogg: their sizes would tell how rich a recording is
    work = _work_folder(target)
    try:
        chosen, shown = {}, []
        for name in tqdm(names, desc="listening test", unit="clip"):
            paths = {system: found[name] for system, found in folders.items()}
            clip, open_reference = _write_clip(work / "site/audio", name, texts.get(name), paths, anchor, seconds, questions, draw, suffix)
            number = _random_name(draw)
            chosen[number] = clip
            shown.append(_shown(number, clip, open_reference))
        order = f"{stable_hash('order of a listening test', seed):x}"
        study = _study(shown, questions, title, per_rater, post, order, suffix)
        key = Key(study["version"], seed, tuple(questions), (*systems,), chosen)
        write_text(work / "site/index.html", write_page(study))
        key.save(work / "key.json")
        moment = time.time()
        for path in (work / "site").rglob("*"):
            os.utime(path, (moment, moment))  # the order of writing would tell the systems apart
        os.replace(work, target)
    except OSError as error:
        raise explain_os_error(error, target) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return key, notes + _loudness_notes(key)


def _check(systems: Mapping[str, str | Path], questions: Sequence[str], numbers: Mapping[str, float | None], post: str | None) -> None:
    if not systems:
        raise UserError("a listening test needs at least one system, given as NAME=FOLDER.")
    for name in systems:
        if name in (REFERENCE, ANCHOR):
            raise UserError(f"a system cannot be called {name!r}: that is the name of the hidden {name} in the results.")
    unknown = [name for name in questions if name not in QUESTIONS]
    if unknown or not questions:
        raise UserError(f"there is no question {', '.join(map(repr, unknown)) or 'at all'}; there are {', '.join(QUESTIONS)}.")
    if len(set(questions)) != len(questions) or {"melody", "rhythm"} <= set(questions):
        raise UserError(f"questions {','.join(questions)!r}: each may be asked once, and only one of melody and rhythm.")
    for option, value in numbers.items():
        if value is not None and value < 1:
            raise UserError(f"{option} must be at least 1, not {value:g}.")
    if post is not None and (urlsplit(post).scheme not in ("http", "https") or not urlsplit(post).netloc):
        raise UserError(f"--post {post!r} is no web address; it must begin with http:// or https://.")


def _common(folders: Mapping[str, dict[str, Path]], count: int | None, draw: random.Random) -> tuple[list[str], list[str]]:
    """Names that all folders hold, or `count` of them; and what was left out."""
    common = sorted(set.intersection(*(set(found) for found in folders.values())))
    if not common:
        held = ", ".join(f"{system} holds {len(found)} ({next(iter(found))} ...)" for system, found in folders.items())
        raise UserError(f"no clip is in all folders by the stem of its file name: {held}.")
    if count is not None and count > len(common):
        raise UserError(f"--clips {count} is more than the {len(common)} clips that all folders hold.")
    notes = [
        f"{system}: {len(found) - len(common)} recordings left out, which other folders lack"
        for system, found in folders.items()
        if len(found) > len(common)
    ]
    return (common if count is None else draw.sample(common, count)), notes


def _captions(names: Sequence[str], folders: Mapping[str, dict[str, Path]], given: Mapping[str, str] | None) -> dict[str, str]:
    texts = {}
    for name in names:
        text = (
            given.get(name) if given is not None else next(filter(None, (caption_beside(found[name]) for found in folders.values())), None)
        )
        if not text:
            where = "in the captions" if given is not None else "in a JSON beside its recordings (or give --captions)"
            raise UserError(f"the clip {name!r} has no caption {where}, which the question about the text needs.")
        texts[name] = text
    return texts


def _work_folder(target: Path) -> Path:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part.d"))
        work.chmod(0o755)
    except OSError as error:
        raise explain_os_error(error, target) from error
    return work


def _random_name(draw: random.Random) -> str:
    return f"{draw.getrandbits(40):010x}"


def _write_clip(
    folder: Path,
    name: str,
    caption: str | None,
    paths: Mapping[str, Path],
    anchor: bool,
    seconds: float | None,
    questions: Sequence[str],
    draw: random.Random,
    suffix: str,
) -> tuple[Clip, str | None]:
    """Write one piece's recordings; return what the key keeps, and the name of the open reference where a question wants one."""
    versions = matched(paths, REFERENCE if anchor else None, seconds)
    stimuli = {}
    for system, (wav, loudness) in versions.items():
        stimulus = _random_name(draw)
        write_audio(folder / f"{stimulus}{suffix}", wav, SAMPLE_RATE)
        stimuli[stimulus] = Stimulus(system, str(paths.get(system, paths[REFERENCE])), None if loudness is None else round(loudness, 2))
    reference = None
    if any(QUESTIONS[question].beside for question in questions):
        reference = _random_name(draw)  # a copy, or its name would be found among the versions
        write_audio(folder / f"{reference}{suffix}", versions[REFERENCE][0], SAMPLE_RATE)
    length = versions[REFERENCE][0].shape[-1] / SAMPLE_RATE
    return Clip(name, caption, round(length, 3), dict(sorted(stimuli.items()))), reference


def _shown(number: str, clip: Clip, reference: str | None) -> dict[str, Any]:
    """What the page may know of a clip: nothing of systems and files."""
    return {"id": number, "caption": clip.caption, "seconds": clip.seconds, "reference": reference, "stimuli": sorted(clip.stimuli)}


def _study(
    shown: list[dict[str, Any]], questions: Sequence[str], title: str, per_rater: int | None, post: str | None, order: str, suffix: str
) -> dict[str, Any]:
    asked = [{name: getattr(QUESTIONS[key], name) for name in ("key", "title", "ask", "labels")} for key in questions]
    study = {
        "seed": order,
        "title": title,
        "questions": asked,
        "clips": sorted(shown, key=lambda clip: clip["id"]),
        "per_rater": None if per_rater is None or per_rater >= len(shown) else per_rater,
        "finished": FINISHED,
        "suffix": suffix,
        "post": post,
    }
    digest = hashlib.blake2b(json.dumps(study, sort_keys=True).encode() + script().encode(), digest_size=5)
    return {"version": digest.hexdigest(), **study}


def _loudness_notes(key: Key) -> list[str]:
    notes, quiet = [], []
    for clip in key.clips.values():
        known = [stimulus.loudness for stimulus in clip.stimuli.values() if stimulus.loudness is not None]
        if len(known) < len(clip.stimuli):
            notes.append(f"{clip.name}: a version is silent; it is in the test as it is")
        if known and min(known) < TARGET - 1:
            quiet.append(min(known))
    if quiet:
        notes.append(
            f"{len(quiet)} of {len(key.clips)} pieces are as loud as the most peaky of their versions can be without clipping, "
            f"{min(quiet):.1f} to {max(quiet):.1f} LUFS instead of {TARGET:g}; within every piece all versions are equally loud"
        )
    return notes


def script() -> str:
    """The page's JavaScript."""
    return packaged("listen.js", __package__)


def write_page(study: dict[str, Any]) -> str:
    """The page as HTML.

    Args:
        study: what `listen.js` reads: version, seed, title, questions, clips, per_rater, finished, suffix, post.
    """
    clips = study["clips"]
    heard = study["per_rater"] or len(clips)
    versions = len(clips[0]["stimuli"])
    asked = [QUESTIONS[question["key"]] for question in study["questions"]]
    return render(
        "studies/listening/page.html",
        script(),
        packaged("listen.css", __package__),
        title=study["title"],
        study=study,
        heard=heard,
        versions=versions,
        minutes=max(1, round(_SHARE_OF_TIME * heard * versions * clips[0]["seconds"] / 60)),
        beside=any(question.beside for question in asked),
        text=any(question.key == "text" for question in asked),
    )


def read_captions(path: str | Path) -> dict[str, str]:
    """Captions by clip from a JSON object, or from a CSV with the columns `clip` and `caption`."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"captions {str(path)!r} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise UserError(f"captions {str(path)!r} are not UTF-8 text.") from None
    try:
        if Path(path).suffix.lower() == ".csv":
            return {row["clip"]: row["caption"] for row in csv.DictReader(text.splitlines())}
        return {str(name): _text(caption) for name, caption in loads(text).items()}
    except (ValueError, KeyError, TypeError, AttributeError, csv.Error):
        wanted = "a JSON object {clip: caption} or a CSV with the columns clip and caption"
        raise UserError(f"captions {str(path)!r} cannot be understood: {wanted} is accepted.") from None


def caption_beside(path: Path) -> str | None:
    """The caption from the JSON of the same stem, as `jasco evaluate` and `jasco compose` write it; None if there is none."""
    try:
        data = loads(path.with_suffix(".json").read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(data, dict):
        return None
    captions = data.get("captions") or [None]
    caption = data.get("caption") or captions[0] or data.get("text")
    return caption if isinstance(caption, str) and caption.strip() else None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def low_anchor(wav: Tensor, sample_rate: int = SAMPLE_RATE) -> Tensor:
    """The recording [1, S] without what lies above 3.5 kHz (ITU-R BS.1534-3, section 5.1: 25 dB down at 4 kHz, 50 dB at 4.5 kHz)."""
    taps = firwin(2 * round(0.004 * sample_rate) + 1, 3750, fs=sample_rate, window=("kaiser", 6.0))
    return torch.from_numpy(fftconvolve(wav.numpy()[0].astype(np.float64), taps, mode="same").astype(np.float32))[None]


def matched(paths: Mapping[str, Path], anchor_of: str | None, seconds: float | None) -> dict[str, tuple[Tensor, float | None]]:
    """All versions of one piece, mono at 32 kHz, equally long, equally loud, with the same short fades.

    The loudness is -14 LUFS. A version that is too peaky for that stays quieter (`loudness_normalize` limits by 6 dB at most); then all
    others are brought down to it, because of two equal recordings the louder sounds better.

    Args:
        paths: file by system.
        anchor_of: the system that a low anchor is made of; None for no anchor.
        seconds: cut everything there; None cuts at the shortest version, if they differ by no more than a second.

    Returns:
        By system ([1, S], loudness in LUFS or None where it cannot be measured).

    Raises:
        UserError: unreadable audio, versions of different length, a version shorter than `seconds` or than a second.
    """
    versions = {system: read_audio(path, SAMPLE_RATE) for system, path in paths.items()}
    lengths = {system: wav.shape[-1] / SAMPLE_RATE for system, wav in versions.items()}
    short, long = min(lengths, key=lengths.__getitem__), max(lengths, key=lengths.__getitem__)
    if seconds is None and lengths[long] - lengths[short] > _SLACK:
        raise UserError(
            f"{str(paths[long])!r} lasts {lengths[long]:.1f} s and {str(paths[short])!r} {lengths[short]:.1f} s: versions of one piece "
            "must be the same stretch of it, or --seconds must say how much of their beginnings is to be heard."
        )
    wanted = lengths[short] if seconds is None else seconds
    if lengths[short] < max(wanted, SHORTEST):
        raise UserError(f"{str(paths[short])!r} lasts only {lengths[short]:.2f} s, where {max(wanted, SHORTEST):g} s are wanted.")
    versions = {system: _faded(wav[:, : round(wanted * SAMPLE_RATE)]) for system, wav in versions.items()}
    if anchor_of is not None:
        versions[ANCHOR] = low_anchor(versions[anchor_of])
    levelled = {system: loudness_normalize(wav, SAMPLE_RATE, TARGET) for system, wav in versions.items()}
    quietest = min((loudness for _, loudness in levelled.values() if loudness is not None), default=TARGET)
    if quietest < TARGET - _TOLERANCE:
        levelled = {system: loudness_normalize(wav, SAMPLE_RATE, quietest) for system, wav in versions.items()}
    return levelled


def _faded(wav: Tensor) -> Tensor:
    ramp = torch.linspace(0, 1, round(_FADE * SAMPLE_RATE))
    wav = wav.clone()
    wav[:, : len(ramp)] *= ramp
    wav[:, -len(ramp) :] *= ramp.flip(0)
    return wav
