"""Build a blind test: a folder to hand out (`site/`) and the key that stays at home (`key.json`).

The page that raters see: one file with its script and style inside, beside a folder `audio`.
"""

from __future__ import annotations

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

from tqdm import tqdm

from jasco_pl.audio.files import SAMPLE_RATE, write_audio
from jasco_pl.pages.base import packaged, render, write_html
from jasco_pl.studies.listening.stimuli import TARGET, caption_beside, find_clips, find_references, matched
from jasco_pl.studies.listening.study import ANCHOR, FINISHED, QUESTIONS, REFERENCE, Clip, Key, Stimulus
from jasco_pl.system.errors import UserError
from jasco_pl.system.files import explain_os_error
from jasco_pl.system.seeding import stable_hash

TITLE = "Listening test"


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
) -> tuple[Key, list[str]]:
    """Write the test into the new folder `out`: `site/index.html`, `site/audio/*.wav`, and `key.json` beside `site`.

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
    work = _work_folder(target)
    try:
        chosen, shown = {}, []
        for name in tqdm(names, desc="listening test", unit="clip"):
            paths = {system: found[name] for system, found in folders.items()}
            clip, open_reference = _write_clip(work / "site/audio", name, texts.get(name), paths, anchor, seconds, questions, draw)
            number = _random_name(draw)
            chosen[number] = clip
            shown.append(_shown(number, clip, open_reference))
        order = f"{stable_hash('order of a listening test', seed):x}"
        study = _study(shown, questions, title, per_rater, post, order)
        key = Key(study["version"], seed, tuple(questions), (*systems,), chosen)
        write_html(work / "site/index.html", write_page(study))
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
        work = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part"))
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
) -> tuple[Clip, str | None]:
    """Write one piece's recordings; return what the key keeps, and the name of the open reference where a question wants one."""
    versions = matched(paths, REFERENCE if anchor else None, seconds)
    stimuli = {}
    for system, (wav, loudness) in versions.items():
        stimulus = _random_name(draw)
        write_audio(folder / f"{stimulus}.wav", wav, SAMPLE_RATE)  # not flac: its size would tell how rich a recording is
        stimuli[stimulus] = Stimulus(system, str(paths.get(system, paths[REFERENCE])), None if loudness is None else round(loudness, 2))
    reference = None
    if any(QUESTIONS[question].beside for question in questions):
        reference = _random_name(draw)  # a copy, or its name would be found among the versions
        write_audio(folder / f"{reference}.wav", versions[REFERENCE][0], SAMPLE_RATE)
    length = versions[REFERENCE][0].shape[-1] / SAMPLE_RATE
    return Clip(name, caption, round(length, 3), dict(sorted(stimuli.items()))), reference


def _shown(number: str, clip: Clip, reference: str | None) -> dict[str, Any]:
    """What the page may know of a clip: nothing of systems and files."""
    return {"id": number, "caption": clip.caption, "seconds": clip.seconds, "reference": reference, "stimuli": sorted(clip.stimuli)}


def _study(
    shown: list[dict[str, Any]], questions: Sequence[str], title: str, per_rater: int | None, post: str | None, order: str
) -> dict[str, Any]:
    asked = [{name: getattr(QUESTIONS[key], name) for name in ("key", "title", "ask", "labels")} for key in questions]
    study = {
        "seed": order,
        "title": title,
        "questions": asked,
        "clips": sorted(shown, key=lambda clip: clip["id"]),
        "per_rater": None if per_rater is None or per_rater >= len(shown) else per_rater,
        "finished": FINISHED,
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


_SHARE_OF_TIME = 1.6  # listening again and rating, over hearing everything once


def script() -> str:
    """The page's JavaScript."""
    return packaged("listen.js", __package__)


def write_page(study: dict[str, Any]) -> str:
    """The page as HTML.

    Args:
        study: what `listen.js` reads: version, seed, title, questions, clips, per_rater, finished, post.
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
