"""What routes are given."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from jasco_pl.app.serving import Serving
from jasco_pl.app.store import Visitor


def _serving(request: Request) -> Serving:
    serving: Serving = request.app.state.serving
    return serving


def _visitor(request: Request) -> Visitor:
    return _serving(request).store.visitor(request.state.token)


VisitorNow = Annotated[Visitor, Depends(_visitor)]
"""Who asks."""
ServingNow = Annotated[Serving, Depends(_serving)]
"""The server's parts."""
