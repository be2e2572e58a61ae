"""The page that raters see: one file with its script and style inside, beside a folder `audio`."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from jasco_pl.listen.study import QUESTIONS
from jasco_pl.pages.base import data_element, escape, page

_SHARE_OF_TIME = 1.6  # listening again and rating, over hearing everything once


def script() -> str:
    """The page's JavaScript."""
    return files("jasco_pl.listen").joinpath("listen.js").read_text(encoding="utf-8")


def write_page(study: dict[str, Any]) -> str:
    """The page as HTML.

    Args:
        study: what `listen.js` reads: version, seed, title, questions, clips, per_rater, finished, post.
    """
    body = (
        f'<div id="stage"><noscript><h1>{escape(study["title"])}</h1><p>This page needs JavaScript.</p></noscript></div>\n'
        f'<template id="instructions">{_instructions(study)}</template>\n{data_element("study", study)}'
    )
    style = files("jasco_pl.listen").joinpath("listen.css").read_text(encoding="utf-8")
    return page(study["title"], body, script(), style)


def _instructions(study: dict[str, Any]) -> str:
    clips = study["clips"]
    heard = study["per_rater"] or len(clips)
    versions = len(clips[0]["stimuli"])
    minutes = max(1, round(_SHARE_OF_TIME * heard * versions * clips[0]["seconds"] / 60))
    asked = [QUESTIONS[question["key"]] for question in study["questions"]]
    beside = any(question.beside for question in asked)
    lines = [
        "Use headphones in a quiet room. Set the volume below, then leave it as it is.",
        "Hear every version to its end at least once; its scales open then. You may hear it again as often as you like.",
        "The scales go from 0 to 100, the best being 100. Use all of them, and compare the versions with each other: what matters is which "
        "is better and by how much.",
        "Among the versions of every piece is the <b>original recording</b>. It sets the top of the scale: give what you take for it, and "
        "whatever is just as good, 90 or more.",
    ]
    if beside:
        lines.append("The reference recording above the versions is there to compare with. It is not rated itself.")
    if any(question.key == "text" for question in asked):
        lines.append("How well the music fits its description has nothing to do with how good it sounds: judge one apart from the other.")
    keys = "<kbd>1</kbd> to <kbd>9</kbd> play a version" + (", <kbd>0</kbd> the reference" if beside else "")
    return (
        f"<p>You will hear {heard} short {'piece' if heard == 1 else 'pieces'} of music, in {versions} versions each. "
        f"It takes about {minutes} {'minute' if minutes == 1 else 'minutes'}.</p>"
        f"<ul>{''.join(f'<li>{line}</li>' for line in lines)}</ul>"
        f'<p class="note"><span class="keys">Keys: {keys}; <kbd>Tab</kbd> goes to the next control, the arrows move a slider. </span>'
        "Your answers are kept in this browser, so you can close the page and go on later. What is recorded: your scores, how much of each "
        "recording was played, and the time it took. No name is asked for.</p>"
    )
