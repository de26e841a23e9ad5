"""What a method must be fitted with on calibration samples before it explains anything."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from mipin_ref.errors import InvalidData
from mipin_ref.graph.network import Network


class Fitting:
    """What is fitted of one network for the methods that state this class, and kept for what is asked next.

    samples: [N, *input_shape] to fit on, None where there are none; given: arguments of the fit.
    """

    option: ClassVar[str]
    """The option of these methods that takes what was fitted."""
    whose: ClassVar[str]
    """Which methods they are, in messages."""
    made: ClassVar[str]
    """What is fitted, in messages: several of them."""
    by_class: ClassVar[bool] = False
    """Whether an inverse is fitted for each class, which a user may give, and `explain` keep, by class."""
    options: ClassVar[tuple[str, ...]] = ()
    """Options of the fit that are a user's choice; none of a fit that is the same for all."""

    def __init__(self, net: Network, samples: Any, given: Mapping[str, Any]) -> None:
        self.net, self.given = net, given
        self._samples = samples

    @property
    def samples(self) -> Any:
        """What is fitted on. Raises InvalidData where there is nothing."""
        if self._samples is None:
            raise InvalidData(f"{self.whose} must be fitted, and there are no calibration samples")
        return self._samples

    def of(self, classes: Iterable[int]) -> Any:
        """What `option` takes to explain these classes, fitted where it is not yet."""
        raise NotImplementedError
