"""Base of the package's own attacks with many parameters: all given ones change or, if one is invalid, none."""

from __future__ import annotations

from typing import Any

from art.attacks import EvasionAttack

from artattack.errors import ArtattackError


class SettableAttack(EvasionAttack):  # type: ignore[misc]
    """An evasion attack in ART's sense whose failed `set_params` leaves it unchanged."""

    def set_params(self, **kwargs: Any) -> None:
        """Change all given parameters or, if one is invalid, none.

        Raises:
            ArtattackError: a parameter does not exist or is invalid.
        """
        for name in kwargs:
            if name not in self.attack_params:
                raise self._no_parameter(name)
        before = self.__dict__.copy()
        try:
            super().set_params(**kwargs)
        except Exception:
            self.__dict__.update(before)
            raise

    def _no_parameter(self, name: str) -> ArtattackError:
        """Return the error for a parameter that the attack does not have."""
        raise NotImplementedError
