"""Errors that are no mistake of the user's."""

from __future__ import annotations

from ssvh_model.errors import UserError


class ServiceAway(UserError):
    """A service does not answer, or does not do what it was asked to: the same work may succeed later."""
