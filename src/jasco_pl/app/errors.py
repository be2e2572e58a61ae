"""Refusals that are no fault of what was asked, as the API answers them."""

from __future__ import annotations

from jasco_pl.system.errors import UserError


class RefusedError(UserError):
    """With the HTTP status that says what kind of refusal it is."""

    status = 400


class MissingError(RefusedError):
    """There is nothing of that name, or it belongs to somebody else."""

    status = 404


class TooLargeError(RefusedError):
    """More bytes or seconds than are taken."""

    status = 413


class BusyError(RefusedError):
    """No more can wait now."""

    status = 503


class FullError(RefusedError):
    """A visitor has as much as is kept."""

    status = 507
