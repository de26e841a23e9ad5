"""Sentences with planted evidence: what is said of their tokens is so, and networks that read them."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch

from training.planted import EVIDENCE, NEGATORS, START, TOKENS, VOCABULARY, Sentences, sentences
from training.planted_networks import NETWORKS, exported, trained


def words(data: Sentences, row: int) -> list[str]:
    return [VOCABULARY[number] for number in data.ids[row]]


def test_what_is_said_of_tokens_is_so() -> None:
    data = sentences(200, 3)
    assert {*data.classes.tolist()} == {0, 1, 2}
    places = set()
    for row in range(len(data.ids)):
        said, own = words(data, row), EVIDENCE[data.classes[row]]
        assert len(said) == TOKENS
        assert said[0] == START
        behind = [place for place in range(1, TOKENS) if said[place - 1] in NEGATORS]
        assert len(behind) == 2
        hidden = {*behind, *(place - 1 for place in behind)}
        assert {*np.flatnonzero(data.negated[row]).tolist()} == hidden
        evidence = [place for place in range(TOKENS) if said[place] in own]
        assert evidence == np.flatnonzero(data.evidence[row]).tolist()
        assert len(evidence) == 2
        assert not hidden.intersection(evidence)
        # One word of another class counts, and one of the same class is taken away by what stands in front of it.
        (contrary,) = np.flatnonzero(data.contrary[row]).tolist()
        (other,) = (some for some in EVIDENCE if said[contrary] in some)
        assert [place for place in behind if said[place] in other] != []
        assert sum(word in some for word in said for some in EVIDENCE) == 4
        places.update(evidence)
    assert places == {*range(1, TOKENS)}


def test_the_same_seed_makes_the_same_sentences() -> None:
    for one, other in zip(sentences(20, 5), sentences(20, 5), strict=True):
        np.testing.assert_array_equal(one, other)
    assert np.any(sentences(20, 5).ids != sentences(20, 6).ids)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.filterwarnings("ignore:You are using the legacy:DeprecationWarning")
def test_a_network_is_what_its_file_computes_and_training_repeats_itself(name: str) -> None:
    data = sentences(64, 1)
    first, again = (trained(name, 0, data, steps=2) for _ in range(2))
    ids = torch.from_numpy(data.ids)
    with torch.no_grad():
        expected = first(ids).numpy()
        np.testing.assert_array_equal(again(ids).numpy(), expected)
    (logits,) = onnxruntime.InferenceSession(exported(first)).run(None, {"ids": data.ids})
    # Two engines in single precision.
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
