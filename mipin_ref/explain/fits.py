"""The inverses that samples are explained by: given, kept from an earlier run, or fitted now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from glob import glob, has_magic
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from mipin_ref.backend import get_backend
from mipin_ref.data import Samples
from mipin_ref.errors import CorruptFile, InvalidData, shown
from mipin_ref.explain.cache import Cache, digest_of, key_of
from mipin_ref.explain.calibration import Made
from mipin_ref.explain.chosen import Fitted
from mipin_ref.graph.explained import AUTO
from mipin_ref.graph.network import Network
from mipin_ref.graph.rewrites.facing import facing
from mipin_ref.inverse.family import Family
from mipin_ref.inverse.fit import fit
from mipin_ref.inverse.inverse import Inverse
from mipin_ref.inverse.load import load_inverse
from mipin_ref.inverse.options import Options
from mipin_ref.inverse.passes.checkpoint import NotKept, discard
from mipin_ref.inverse.plan import Plan, plan_for
from mipin_ref.panel.many import common_of_many

FORWARDS = 3
"""What a fit takes a fitted tensor, sample and class, in runs of the network forward: measured 2.4 to 3.7 of VGG16 and
EfficientNet-Lite0 fitted down to the pixels."""
SHARED_FITS = 7
"""What looking for a tensor that classes share takes, in fits of a class (`mipin_ref.panel.many`)."""


class Inverses(Mapping[int, Inverse]):
    """Inverses of one network by class, as option `inverse` takes them; prints as one line.

    Those of a family, which share a part, are read or fitted when they are asked for.
    """

    def __init__(self, by_class: Mapping[int, Inverse], families: Sequence[Family] = ()) -> None:
        """Raises InvalidData where two are of one class."""
        self._by_class = dict(by_class)
        self._families: dict[int, Family] = {}
        for family in families:
            for target in map(family.net.check_target, family):
                if target in self:
                    raise _two(family.net, target)
                self._families[target] = family

    def __getitem__(self, target: int) -> Inverse:
        if target not in self._by_class and target in self._families:
            family = self._families[target]
            self._by_class[target] = family[family.net.target(target)]
        return self._by_class[target]

    def __iter__(self) -> Iterator[int]:
        return iter({**self._by_class, **self._families})

    def __contains__(self, target: object) -> bool:
        return target in self._by_class or target in self._families

    def __len__(self) -> int:
        return len({**self._by_class, **self._families})

    def alike(self) -> list[Inverse]:
        """One of each of those that were fitted together, which have options, tensors and data in common."""
        firsts = {id(family): target for target, family in reversed(self._families.items())}
        alone = [one for target, one in self._by_class.items() if target not in self._families]
        return [*alone, *(self[target] for target in firsts.values())]

    def some(self, classes: Iterable[int]) -> dict[int, Inverse]:
        """Those of some of the classes."""
        return {c: self[c] for c in classes}

    def __repr__(self) -> str:
        return f"Inverses(of {len(self)} class{'es' if len(self) != 1 else ''})"

    def save(self, path: str | PathLike[str]) -> list[Path]:
        """Write them: one at `path` itself; of several each at the path with -CLASS behind its stem, or, where the
        path holds {target}, with the class there. Returns the paths. Raises InvalidData where one cannot be written.
        """
        text = fspath(path)
        if len(self) > 1 and "{target}" not in text:
            whole = Path(text)
            text = str(whole.with_name(f"{whole.stem}-{{target}}{whole.suffix}"))
        paths = []
        for inverse in self.values():
            told = inverse.net.target(inverse.target)
            name = "-".join(map(str, told)) if isinstance(told, tuple) else str(told)
            paths.append(Path(text.replace("{target}", name)))
            inverse.save(paths[-1])
        return paths


def given_inverses(net: Network, given: Any, backend: Any) -> Inverses:
    """The inverses that a user gives: one, several by class, a file, a pattern of files, or a list of files.

    Raises InvalidData for anything else, and where no file fits or two are of one class; CorruptFile for a file of
    another network.
    """
    if isinstance(given, Inverse):
        return Inverses({given.target: given})
    if isinstance(given, Family | Inverses):
        return given if isinstance(given, Inverses) else Inverses({}, [given])
    if isinstance(given, Mapping):
        if not given or not all(isinstance(one, Inverse) for one in given.values()):
            raise InvalidData(f"inverse must be an Inverse, or several by class, not {shown(given)}")
        return Inverses({one.target: one for one in given.values()})
    made: dict[int, Inverse] = {}
    families: list[Family] = []
    for path in _paths(given):
        loaded: Inverse | Family = load_inverse(path, net, backend=backend)
        if isinstance(loaded, Family):
            families.append(loaded)
        elif loaded.target in made:
            raise _two(net, loaded.target, path)
        else:
            made[loaded.target] = loaded
    return Inverses(made, families)


def _two(net: Network, target: int, path: str | None = None) -> InvalidData:
    which = "" if path is None else f", one of them {path!r}"
    return InvalidData(f"two of the inverses are of class {net.target(target)}{which}")


def _paths(given: Any) -> list[str]:
    if isinstance(given, str | PathLike):
        text = fspath(given)
        if not has_magic(text) or Path(text).is_file():
            return [text]
        paths = sorted(glob(text))
        if not paths:
            raise InvalidData(f"no file fits the pattern {text!r}")
        return paths
    if isinstance(given, Sequence) and given and all(isinstance(one, str | PathLike) for one in given):
        return [fspath(one) for one in given]
    raise InvalidData(f"inverse must be an Inverse, several by class, or their files, not {shown(given)}")


def fitted_as(inverses: Inverses | None) -> Fitted | None:
    """The preprocessing of the samples that inverses were fitted on; None where it is not known.

    Raises InvalidData where they were fitted with several.
    """
    known = [
        one.preprocessing for one in ([] if inverses is None else inverses.alike()) if one.preprocessing is not None
    ]
    if not known:
        return None
    if any(not one.does_as(known[0]) for one in known):
        raise InvalidData("the inverses were fitted with different preprocessings: give those of one")
    return Fitted("the inverse was fitted", known[0])


@dataclass(frozen=True, eq=False)
class Fits:
    """Inverses of a network down to one tensor, fitted on demand.

    made: calibration samples; data, rows: what they are made of, which tells one set from another; given: options of
    the fit; run: backend, dtype, memory, progress and batch_size, as `fit` takes them.
    """

    net: Network
    tensor: str
    made: Made
    data: Samples
    rows: Sequence[int] | None
    given: Mapping[str, Any]
    run: Mapping[str, Any]
    cache: Cache

    def of(self, classes: Iterable[int], *, long: bool = False) -> tuple[Inverses, int]:
        """The inverses of classes, in the same passes over the data for all that are not kept; and how many were kept.

        Many classes share a part where that is cheaper and they agree (`common`). long: whether finished passes are
        kept too, so that a fit that is interrupted goes on from them when it is asked for again.
        """
        wanted = sorted({*classes})
        common = self.common(wanted)
        digest = digest_of(self.data, self.rows) if self.cache.folder else None
        keys = {} if digest is None else {c: self._key(self.net.target(c), common, digest) for c in wanted}
        family = None if digest is None or common is None else self._key("shared", common, digest)
        made: dict[int, Inverse] = {}
        shared: frozenset[int] = frozenset()
        if family is not None:
            kept_together, shared = self.cache.load_some(family, self.net, wanted, self.run["backend"])
            made |= {c: kept_together[c] for c in wanted if c in kept_together}
        for c, key in keys.items():
            if c not in made and (kept := self.cache.load(key, self.net, self.net.target(c), self.run["backend"])):
                made[c] = kept
        count = len(made)
        missing = [c for c in wanted if c not in made]
        if missing:
            # What shares a part is fitted together: those that were kept too, so that all are in one file again.
            together = missing if common is None else sorted({*wanted, *shared})
            passes = self.cache.passes(self._key(together, common, digest)) if long and digest is not None else None
            fitted = self._resumed(together, common, passes)
            made |= {c: fitted[self.net.target(c)] for c in (missing if common is None else wanted)}
            count = count if common is None else 0
            if isinstance(fitted, Family) and family is not None:
                self.cache.keep(family, fitted)
            for c in missing if keys and not isinstance(fitted, Family) else []:
                self.cache.keep(keys[c], made[c])
            if passes is not None:
                discard(passes)
                with suppress(OSError):
                    passes.parent.rmdir()  # which stays where other fits left passes
        return Inverses({c: made[c] for c in wanted}), count

    def common(self, classes: Sequence[int]) -> str | None:
        """The option `common` of the fit of these classes: what the user says, else what is cheaper."""
        return common_of_many(self.net, classes, {**self.given, "at": self._end, "dtype": self.run["dtype"]})

    def _resumed(self, classes: Sequence[int], common: str | None, passes: Path | None) -> Mapping[Any, Inverse]:
        if passes is not None:
            # Another process is at it, the disk refuses, or a file is damaged: only the passes cannot be kept then.
            with suppress(NotKept, CorruptFile):
                return self._fitted(classes, common, passes)
        return self._fitted(classes, common, None)

    def _fitted(self, classes: Sequence[int], common: str | None, passes: Path | None) -> Mapping[Any, Inverse]:
        backend = get_backend(self.run["backend"], self.run["dtype"])
        arguments = {**self.given, **self.run, "backend": backend, "dtype": backend.dtype, "at": self._end}
        targets = [self.net.target(c) for c in classes]
        return fit(self.net, self.made.build(), targets, **{**arguments, "common": common, "checkpoint": passes})

    @property
    def _end(self) -> str | None:
        return None if self.tensor == self.net.input else self.tensor

    def plan(self, target: int) -> Plan:
        """What is fitted of a class."""
        known = {name: value for name, value in self.given.items() if name in Options.__dataclass_fields__}
        part, index = facing(self.net, target)
        options = Options(**{**known, "at": self._end, "common": None, "dtype": self.run["dtype"]})
        return plan_for(part, options, index)

    def seconds(self, classes: Sequence[int], forward: float) -> float:
        """About how long the fit takes, where one run of the network forward takes `forward` seconds a sample."""
        common = self.common(classes)
        fits = len(classes) if common is None else SHARED_FITS if common == AUTO else 1
        return FORWARDS * len(self.plan(classes[0]).fitted) * self.made.count * fits * forward

    def _key(self, target: object, common: str | None, digest: str) -> str:
        known = None if self.made.preprocessing is None else self.made.preprocessing.as_record()
        options = {**asdict(Options()), **self.given, "common": common, "dtype": self.run["dtype"]}
        made_from = {"tensor": self.tensor, "data": digest, "recipe": self.made.recipe, "preprocessing": known}
        backend = get_backend(self.run["backend"], self.run["dtype"]).name
        return key_of(self.net, target, {**made_from, "options": options, "backend": backend})
