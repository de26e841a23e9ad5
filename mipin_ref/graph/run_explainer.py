"""Runs an exported explainer in onnxruntime, as others will."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnxruntime

from mipin_ref.errors import UnsupportedModel
from mipin_ref.graph.runtime import runtime_reason, session
from mipin_ref.layers import HostArray


class RunExplainer:
    """One session. optimised: with all of onnxruntime's optimisations, as it is opened by default."""

    def __init__(self, model: bytes, *, optimised: bool) -> None:
        if not optimised:
            self._session = session(model)
            return
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as failure:  # as in `session`
            raise UnsupportedModel(f"onnxruntime cannot open the explainer: {runtime_reason(failure)}") from failure

    def __call__(self, feed: Mapping[str, Any]) -> dict[str, HostArray]:
        """The outputs by name."""
        names = [one.name for one in self._session.get_outputs()]
        try:
            return dict(zip(names, self._session.run(names, dict(feed)), strict=True))
        except Exception as failure:  # as in `session`
            raise UnsupportedModel(f"onnxruntime cannot run the explainer: {runtime_reason(failure)}") from failure
