"""Which preprocessing samples get: the inverse's, the one asked for, one that a file tells, or a guess."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mipin_ref.data import PRESETS, Preprocessing, Samples, none_readable, read_readable
from mipin_ref.data.presets import preset_of
from mipin_ref.errors import CorruptFile, InvalidData
from mipin_ref.explain.cache import Cache, digest_of, key_of
from mipin_ref.explain.guess import IMAGES, LARGE, Guess, Tried, guess
from mipin_ref.explain.inputs import Inputs
from mipin_ref.explain.known import known_preprocessing
from mipin_ref.explain.predict import Net
from mipin_ref.progress import Advance

Begin = Callable[[str, int], Advance]


@dataclass(frozen=True)
class Fitted:
    """Something that was fitted on data of a known preprocessing; told: that it was, as "the inverse was fitted"."""

    told: str
    preprocessing: Preprocessing


@dataclass(frozen=True, eq=False)
class Chosen:
    """A preprocessing, None where samples are taken as they are; line: which and why; guessed: where it is a guess."""

    preprocessing: Preprocessing | None
    line: str
    guessed: Guess | None = None

    @property
    def named(self) -> str:
        """The preprocessing in words; "" where there is none."""
        return "" if self.preprocessing is None else _named(self.preprocessing)


def choose(
    net: Net,
    inputs: Inputs,
    asked: Preprocessing | None,
    fitted: Fitted | None,
    model: Path | None,
    cache: Cache,
    begin: Begin,
    *,
    whole: bool = True,
) -> Chosen:
    """The preprocessing of samples, in this order: that of what was fitted; what is asked for; what the model's
    metadata or a file beside it tell, or the model itself, where it divides pixels; the preset under which the network
    is clearly surest; bytes divided by 255.

    whole: what is asked for is all of the preprocessing, as a preset is; else numbers of it that may be others' too.
    Numbers in memory are what the network reads, unless something is asked for.
    Raises InvalidData where what is asked for is not what was fitted, or the samples come preprocessed already.
    """
    if inputs.prepared:
        if asked is not None:
            raise InvalidData("the images are preprocessed already; leave option 'preprocess' out")
        return Chosen(None, "")
    if not inputs.stored and asked is None:
        return Chosen(None, "")
    if inputs.whole and inputs.kind == "image":
        return _whole(inputs, asked)
    if fitted is not None:
        _check_asked(asked, fitted, whole)
        exif = "" if inputs.exif or not fitted.preprocessing.exif else ", but for EXIF"
        return _as(inputs, fitted.preprocessing, f"as {fitted.told}{exif}")
    if asked is not None:
        return _as(inputs, asked, "as asked for")
    if not inputs.pixels:
        return Chosen(None, "")
    if (known := known_preprocessing(net, model)) is not None:
        return _as(inputs, known.preprocessing, f"as {known.origin} says")
    made = guess_of(net, inputs, cache, begin)
    if made is None:
        line = f"preprocessing not known, and without a probability it cannot be guessed: {_named(PRESETS['unit'])}"
        return replace(_as(inputs, PRESETS["unit"], ""), line=line)
    return replace(_as(inputs, made.preprocessing, ""), line=made.line(), guessed=made)


def _whole(inputs: Inputs, asked: Preprocessing | None) -> Chosen:
    """Pixels as they are, for a network that reads integers. Raises InvalidData where something else is asked for."""
    if asked is not None and asked.changes_values and not asked.does_as(PRESETS["raw"]):
        raise InvalidData(
            f"preprocessing {_named(asked)} is asked for, and the network reads pixels as integers: leave it out, or "
            "ask for 'raw'"
        )
    return _as(inputs, PRESETS["raw"], "as the network reads integers")


def _check_asked(asked: Preprocessing | None, fitted: Fitted, whole: bool) -> None:
    """Raises InvalidData, with both, where a preprocessing that is asked for is not that of what was fitted."""
    differs = None if asked is None else fitted.preprocessing.difference(asked)
    if differs is not None:
        name, there, here = differs
        raise InvalidData(
            f"{name} {there} is asked for, and {fitted.told} with {name} {here}; leave it out, or fit again"
        )
    if whole and asked is not None and not asked.does_as(fitted.preprocessing):
        raise InvalidData(
            f"preprocessing {_named(asked)} is asked for, and {fitted.told} with {_named(fitted.preprocessing)}; leave "
            "it out, or fit again"
        )


def guess_of(net: Net, inputs: Inputs, cache: Cache, begin: Begin, *, every: bool = False) -> Guess | None:
    """The guess, made once for the same model and images; every: of all presets, where fewer decide.

    Raises InvalidData where no image can be read.
    """
    if net.probability is None:
        return None
    rows = _some(inputs.open(PRESETS["raw"]))
    key = key_of(net, "preprocessing", {"data": digest_of(inputs.open(PRESETS["raw"]), rows), "exif": inputs.exif})
    if (kept := _read(cache.text(key))) is not None:
        return kept
    advance = begin("trying preprocessings", len(rows) * len(PRESETS if every else PRESETS.keys() - LARGE))
    made = guess(net, inputs.open, rows, advance, every=every)
    if made is not None:
        cache.keep_text(key, json.dumps([made.preset, made.clear, [vars(one) for one in made.tried]]))
    return made


def _some(data: Samples) -> Sequence[int]:
    """Up to IMAGES rows that can be read, evenly spread. Raises what is wrong with the first where none can be."""
    step = max(1, len(data) // IMAGES)
    rows: list[int] = []
    reason: Exception | None = None
    for start in range(0, len(data), step):
        try:
            if len(read_readable(data, start, start + 1).positions):
                rows.append(start)
            else:
                data[start : start + 1]
        except (InvalidData, CorruptFile) as error:
            reason = reason or error
        if len(rows) == IMAGES:
            break
    if not rows and reason is not None:
        raise CorruptFile(none_readable(reason, len(data)))
    return rows


def _as(inputs: Inputs, preprocessing: Preprocessing, why: str) -> Chosen:
    known = replace(preprocessing, shape=inputs.shape, exif=preprocessing.exif and inputs.exif)
    grey = ", image files read in grey: the network has one channel" if inputs.turned_grey else ""
    return Chosen(known, f"preprocessing {_named(known)}" + (f", {why}" if why else "") + grey)


def _named(preprocessing: Preprocessing) -> str:
    plain = replace(preprocessing, shape=None)
    name, turned = preset_of(plain), "" if preprocessing.exif else ", not turned by EXIF"
    return (plain.describe() if name is None else f"{name} ({plain.describe()})") + turned


def _read(text: str | None) -> Guess | None:
    if text is None:
        return None
    try:
        preset, clear, tried = json.loads(text)
        kept = [Tried(**{**one, "classes": tuple(one["classes"])}) for one in tried]
        return Guess(preset, bool(clear), tuple(kept)) if preset in PRESETS else None
    except (ValueError, TypeError, KeyError):
        return None
