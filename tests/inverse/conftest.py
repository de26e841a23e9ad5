"""What tests of how passes are made share."""

from collections.abc import Iterator

import pytest

from mipin_ref.inverse import fitter


@pytest.fixture(scope="module")
def stays_single() -> Iterator[None]:
    """float32 fits stay float32 whatever rounding does: for tests of how passes are made, not of what comes out."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitter, "too_far", lambda amplification: False)
        yield
