"""Other systems whose way of making a clip can be asked for."""

from typing import Literal

Compat = Literal["audiocraft"]
