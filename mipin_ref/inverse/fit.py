"""Fit the inverses, tensor by tensor from the logits down (paper, Algorithm 1): the public function and its checks."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import wraps
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, ParamSpec, TypedDict, TypeVar, Unpack, overload

import numpy as np
import numpy.typing as npt

from mipin_ref.backend import Backend, get_backend
from mipin_ref.data import Preprocessing, Samples, as_samples, open_labels
from mipin_ref.data.calibration import checked_preprocessing
from mipin_ref.errors import InvalidData, MipinError, PrecisionWarning, shown
from mipin_ref.graph.explained import AUTO
from mipin_ref.graph.forward import check_batch
from mipin_ref.graph.load import Model, as_network
from mipin_ref.graph.network import Network
from mipin_ref.graph.rewrites.facing import facing
from mipin_ref.inverse.cluster.data import ClusterData
from mipin_ref.inverse.cluster.runner import ClusterRunner
from mipin_ref.inverse.common.auto import fit_in_common_where_they_agree
from mipin_ref.inverse.common.fitted import InCommon, fit_in_common
from mipin_ref.inverse.family import Family, family_of
from mipin_ref.inverse.inverse import Inverse, inverses_of
from mipin_ref.inverse.options import HELD_OUT, FitOn, NormBack, Options, Ridge, with_preset
from mipin_ref.inverse.passes.checkpoint import Checkpoint, NotKept, checked_directory, identity_of, opened
from mipin_ref.inverse.passes.fitter import Fitter, RoundedTooMuch
from mipin_ref.inverse.passes.held_out import check_samples
from mipin_ref.inverse.passes.reach import within_memory
from mipin_ref.inverse.passes.task import FitTask
from mipin_ref.inverse.plan import living, network_for, plan_for
from mipin_ref.inverse.targets import asked_targets, check_room, is_all, weight_bytes
from mipin_ref.memory import checked_batch_size, memory_bytes
from mipin_ref.options import check_size
from mipin_ref.progress import progress_bar
from mipin_ref.reading import reason


class FitOptions(TypedDict, total=False):
    """The keyword arguments of `fit`."""

    preset: str | None
    labels: Any
    ridge: Ridge
    conv_bias: bool
    at: str | None
    input_mask: bool | None
    local: bool
    fit_on: FitOn
    norm: NormBack
    common: str | None
    share_locations: bool
    backend: str | Backend | ModuleType
    dtype: str
    batch_size: int | None
    memory: str | int
    checkpoint: str | os.PathLike[str] | None
    progress: bool
    client: Any
    preprocess: Preprocessing | None


Indices = tuple[int, ...]
"""A target of an output of several axes."""

Given = ParamSpec("Given")
Returned = TypeVar("Returned")


def _taking_presets(function: Callable[Given, Returned]) -> Callable[Given, Returned]:
    """Let a function of options take the name of a preset, and see its options as if they were given.

    Behind its own signature it could not tell an option that is given as the default is from one that is not given.
    """

    @wraps(function)
    def called(*args: Given.args, **options: Given.kwargs) -> Returned:
        preset = options.pop("preset", None)
        return function(*args, **with_preset(preset, options))

    return called


@overload
def fit(net: Network | Model, x: Any, target: int | tuple[int, ...], **options: Unpack[FitOptions]) -> Inverse: ...
@overload
def fit(
    net: Network | Model, x: Any, target: Literal["all"], **options: Unpack[FitOptions]
) -> Mapping[Any, Inverse]: ...
@overload
def fit(
    net: Network | Model, x: Any, target: Sequence[int], **options: Unpack[FitOptions]
) -> Mapping[int, Inverse]: ...
@overload
def fit(
    net: Network | Model, x: Any, target: Sequence[int | tuple[int, ...]], **options: Unpack[FitOptions]
) -> Mapping[int | tuple[int, ...], Inverse]: ...
@_taking_presets
def fit(
    net: Network | Model,
    x: Any,
    target: int | tuple[int, ...] | Literal["all"] | Sequence[int] | Sequence[int | tuple[int, ...]],
    *,
    preset: str | None = None,
    labels: Any = None,
    ridge: Ridge = 1e-3,
    conv_bias: bool = False,
    at: str | None = None,
    input_mask: bool | None = None,
    local: bool = True,
    fit_on: FitOn = "all",
    norm: NormBack = "affine",
    common: str | None = None,
    share_locations: bool = False,
    backend: str | Backend | ModuleType = "numpy",
    dtype: str = "float64",
    batch_size: int | None = None,
    memory: str | int = "2GB",
    checkpoint: str | os.PathLike[str] | None = None,
    progress: bool = False,
    client: Any = None,
    preprocess: Preprocessing | None = None,
) -> Inverse | Mapping[Any, Inverse]:
    """Fit MIP-IN for one target, or for several in the same passes over the data.

    net: a Network, or what `load` takes, which is then the `net` of the inverse; x: calibration samples
    [N, *input_shape], N >= 2: an array, a .npy/.npz path, or anything with len() and slicing, read batch by batch;
    target: class index, a tuple of indices where the output has more axes, a list of several, or "all" (the result is
    then a dict by target);
    preset: options by one name, "localise"; what is given besides holds in place of its own;
    labels: [N] integers or a path, used by fit_on="target_class" (predictions where absent, the class of the highest
    logit, which in a network of one output is always its one class 0); options: see `Options`;
    backend: "numpy", "cupy" or an array-API namespace; batch_size: samples a batch, by default what `memory` allows;
    memory: what the passes may hold beyond interpreter and network; the fitted weights come on top, and for a moment
    the solution of a system, up to 2.4 times its sums; checkpoint: a folder, made where it is missing, that takes what
    each finished pass found; progress: show a bar on a terminal; client: a Dask Client on whose workers the passes are
    made (see `mipin_ref.inverse.cluster`): x may then be a Dask array too, a path is one that every worker sees, and
    `memory` is for each thread of a worker; preprocess: what is done to x, and to paths that the inverse explains; by
    default a path is taken as stored (bytes divided by 255) and an array as the network's input. It is saved with the
    inverse, as are range and mean of what the network saw.

    Costs one pass over the data for every set of tensors whose regressors are known together (per group of targets
    whose sums fit into SUMS_SHARE of `memory`, see schedule.py): the network forward up to those tensors, the signals
    down the few steps from the last pass's tensors to these, and the normal equations. The signals that the next passes
    start from are kept, and so are the activations that they will need, in SIGNALS_SHARE and RECORDINGS_SHARE of
    `memory` and beyond that in temporary files, where writing them is estimated to cost less than computing them again.

    With `common`, what is below that tensor is fitted once for all targets, on the mean over classes of their source
    signals (method, section 4); several targets then come as a `Family`, which saves them in one file. "auto" looks for
    the tensor (see `mipin_ref.inverse.common.auto`); where none is good enough, SharingWarning says what is done.

    With `checkpoint`, a fit that was interrupted in whatever way and is called again with the same arguments goes on
    behind the last finished pass, to the same result bit for bit (on the same machine, with as many threads); one that
    was finished returns what it found. Costs one reading of the data more, to tell whether they are the same, and while
    a pass is written its weights twice. Each fit has a folder of its own in there, which stays until it is deleted;
    whatever differs, an option, a sample, a version of a package, makes another fit.

    With dtype="float32", signals and products are rounded to single precision. How far that may move source signals and
    attributions is estimated for every tensor once its sums are there (see `mipin_ref.solve.rounding`); where it may be
    more than 1e-3 of the largest entry, PrecisionWarning says so in one line and the whole fit is made in float64
    instead, and so is all that the inverse computes.

    Where the ridge outweighs what the logit differs by over the samples, signals that come back are all but constant
    and attributions all but zero: the report says so in a line.

    Raises InvalidData (shape, dtype, NaN, Inf, N < 2, target, all targets where their weights alone are more than
    `memory`, a dead layer, a constant logit, memory too small, or
    another process at the same fit in the same checkpoint), CorruptFile for a damaged checkpoint, BackendUnavailable,
    ClusterError; OSError where the disk refuses.

    >>> import mipin_ref as mr
    >>> digits = mr.data.builtin("mnist_cnn")
    >>> net = mr.load(digits.model)
    >>> x = mr.data.open_data(digits.calibration)[:50]
    >>> inverse = mr.fit(net, x, target=3, at="auto")
    >>> inverse.attribute(x[:4])
    Attribution('mip-in', target 3, '/pool1/MaxPool_output_0' float64[4, 64, 11, 11], with source signal)
    >>> sorted(mr.fit(digits.model, x, target="all", at="/relu3/Relu_output_0"))
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    device = get_backend(backend, dtype)
    options = Options(
        ridge=ridge,
        conv_bias=conv_bias,
        at=at,
        input_mask=input_mask,
        local=local,
        fit_on=fit_on,
        norm=norm,
        common=common,
        share_locations=share_locations,
        dtype=device.dtype,
    )
    net = as_network(net)
    targets, several = asked_targets(net, target)
    parts: dict[tuple[Network, Any], dict[int, int]] = {}
    for one in targets:
        part, index = facing(net, one)
        part = network_for(part, options)
        parts.setdefault((part, living(part).signature(index)), {})[index] = one
    if options.common == AUTO and len(parts) > 1:
        options = replace(options, common=None)
    if options.common is not None:
        _check_common(net, parts, fit_on=options.fit_on, on_cluster=client is not None)
    limit, size = memory_bytes(memory), checked_batch_size(batch_size)
    plans = {key: plan_for(key[0], options, next(iter(indices))) for key, indices in parts.items()}
    preprocessing = checked_preprocessing(x, preprocess, net.input_shape)
    shared = None if client is None else ClusterData(client, x, preprocessing)
    data = as_samples(x, preprocessing, whole=net.whole, inputs=net.inputs) if shared is None else shared.samples
    _check_data(net, data)
    if options.ridge == HELD_OUT:
        check_samples(np.ones(len(data), bool))
    known = checked_labels(labels, len(data), net)
    directory = checked_directory(checkpoint)
    if isinstance(at, str) and at == AUTO:
        plans = {
            key: within_memory(key[0], options, plan, device, len(data), limit, next(iter(parts[key])))
            for key, plan in plans.items()
        }
    if is_all(target) and options.common is None:
        check_room(sum(weight_bytes(plans[key], len(indices)) for key, indices in parts.items()), net, limit)

    inverses: dict[int, Inverse] = {}
    for key, indices in parts.items():
        part, plan = key[0], plans[key]
        there = _labels_of_part(known, indices)
        task = FitTask(part, plan, replace(options, at=plan.asked), device, data, there, limit, size)
        try:
            made = _fitted(task, [*indices], shared, directory, progress)
        except RoundedTooMuch as told:
            warnings.warn(f"dtype='float32' is not enough and the fit is made in float64: {told}", PrecisionWarning, 3)
            made = _fitted(task.in_double(), [*indices], shared, directory, progress)
        if isinstance(made, InCommon):
            family = family_of(net, indices, made)
            return family if several else family[net.target(targets[0])]
        inverses.update({indices[i]: replace(one, net=net, target=indices[i]) for i, one in made.items()})
    if not several:
        return inverses[targets[0]]
    by_target = {net.target(one): inverses[one] for one in targets}
    return by_target if options.common is None else Family(net, [*by_target], by_target.__getitem__)


def _check_common(net: Network, parts: Mapping[Any, Mapping[int, int]], *, fit_on: FitOn, on_cluster: bool) -> None:
    """Raises InvalidData where one inverse cannot serve all targets. parts: targets of each part of the output."""
    if len(parts) > 1:
        one, other = (next(iter(indices.values())) for indices in list(parts.values())[:2])
        raise InvalidData(
            f"targets {net.target(one)} and {net.target(other)} depend on different tensors or locations, so no "
            "inverse serves both: leave option 'common' out"
        )
    if fit_on != "all":
        raise InvalidData("option 'common' fits on samples of all classes: leave option 'fit_on' at 'all'")
    if on_cluster:
        raise InvalidData("option 'common' is fitted in one process: leave out the cluster, or option 'common'")


def _labels_of_part(labels: npt.NDArray[np.int64] | None, indices: Mapping[int, int]) -> npt.NDArray[np.int64] | None:
    """Labels as targets of the part that a fit is of; -1 for other classes. indices: target of the part -> of all."""
    if labels is None or all(index == whole for index, whole in indices.items()):
        return labels
    there = np.full_like(labels, -1)
    for index, whole in indices.items():
        there[labels == whole] = index
    return there


def _fitted(
    task: FitTask, targets: Sequence[int], shared: ClusterData | None, directory: Path | None, progress: bool
) -> dict[int, Inverse] | InCommon:
    """The inverses by target; shared: data of a cluster that makes the passes; directory: of checkpoints."""
    with progress_bar(progress) as start, ExitStack() as stack:
        held: dict[str, Checkpoint] = {}

        def checkpoint(part: FitTask, classes: Sequence[int]) -> Checkpoint | None:
            """That of a part of the fit, None where none is asked for."""
            if directory is None:
                return None
            advance = start("reading the data for the checkpoint", len(part.data))
            identity = identity_of(part, classes, advance)
            if shared is not None:
                # Sums of shards differ from those of one process in their rounding.
                identity["shards"] = True
            # A part may be fitted twice, and its folder is locked from the first time on.
            key = json.dumps(identity, sort_keys=True)
            try:
                if key not in held:
                    held[key] = stack.enter_context(opened(directory, identity, part.plan))
                return held[key]
            except OSError as error:
                raise NotKept(
                    f"checkpoint {shown(str(directory))} cannot be written: {error.strerror or error}"
                ) from error

        if task.options.common == AUTO:
            return fit_in_common_where_they_agree(task, targets, start, checkpoint)
        if task.plan.common is not None:
            return fit_in_common(task, targets, start, checkpoint)
        fitter = Fitter(task, None if shared is None else ClusterRunner(shared, task))
        return inverses_of(task, fitter.run(targets, start, checkpoint(task, targets)))


def _check_data(net: Network, data: Samples) -> None:
    if len(data) < 2:
        raise InvalidData(f"a fit needs at least 2 calibration samples; there are {len(data)}")
    check_size("x", len(data))
    check_batch(net, data[0:1])


def checked_labels(labels: Any, samples: int, net: Network) -> npt.NDArray[np.int64] | None:
    """Labels [N] int64, of integers or a path; None for None. Raises InvalidData where they do not fit the samples."""
    if labels is None:
        return None
    try:
        given = open_labels(labels) if isinstance(labels, str | os.PathLike) else np.asarray(labels)
    except MipinError:
        raise
    except Exception as error:  # whatever an object of the user's raises
        raise InvalidData(f"labels must be integers [N]: {reason(error)}") from error
    if given.ndim != 1 or not np.issubdtype(given.dtype, np.integer):
        raise InvalidData(f"labels must be integers [N], not {given.dtype} of shape {given.shape}")
    if len(given) != samples:
        raise InvalidData(f"there are {len(given)} labels for {samples} samples")
    if given.min() < 0 or given.max() >= net.classes:
        raise InvalidData(
            f"labels run from {given.min()} to {given.max()}; the network has classes 0..{net.classes - 1}"
        )
    return given.astype(np.int64)
