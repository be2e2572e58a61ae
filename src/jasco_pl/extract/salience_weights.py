"""The weights of deep salience: found, fetched from the authors' repository by checksum, converted to safetensors once.

They are under MIT (Rachel Bittner, github.com/rabitt/ismir2017-deepsalience), stored by Keras 2.0.6 as HDF5, and not part of this package.
"""

from __future__ import annotations

import os
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from jasco_pl.extract.salience_network import LAYERS, SalienceNetwork
from jasco_pl.system.errors import UserError
from jasco_pl.system.files import atomic_path, user_cache
from jasco_pl.system.weights import FetchError, fetch, named_file

URL = "https://raw.githubusercontent.com/rabitt/ismir2017-deepsalience/d317a1409140f748da1b033347fd3d3219889cbb/predict/weights/multif0.h5"
SHA256 = "a426f89d098478249df02db401f812c33de82a5bd7006f22912a8f9146d4f19f"
VARIABLE = "JASCO_SALIENCE"
_NAMES = ("bendy1", "bendy2", "smoothy1", "smoothy2", "distribute", "squishy")  # the authors', in the order of LAYERS
_NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}


def cached() -> Path:
    """Where converted weights are kept for this user."""
    return user_cache("salience") / "multif0.safetensors"


def find_weights(path: str | os.PathLike[str] | None = None, fetch: bool = True) -> Path | None:
    """The weights' file, `.safetensors` or the authors' `.h5`.

    Looked for in this order: `path`, the environment variable JASCO_SALIENCE, the user's cache; last it is fetched from the authors'
    repository, converted and kept in the cache.

    Returns:
        The file; None when it is nowhere and was not to be fetched.

    Raises:
        UserError: a named file does not exist, or nothing was found and nothing could be fetched.
    """
    if named := named_file("deep salience", path, VARIABLE, "a .safetensors or .h5 is accepted"):
        return named
    for place in (cached(), cached().with_suffix(".h5")):
        if place.is_file():
            return place
    return _fetch() if fetch else None


def load_network(path: str | os.PathLike[str] | None = None) -> SalienceNetwork:
    """The network with its weights, found by `find_weights`.

    Raises:
        UserError: as `find_weights`, or the file is damaged or holds something else.
    """
    found = find_weights(path)
    assert found is not None
    network = SalienceNetwork()
    try:
        tensors = load_file(found) if found.suffix == ".safetensors" else read_keras(found)
        network.load_state_dict(tensors)
    except Exception as error:  # safetensors, HDF5 and torch each raise their own for damaged or other content
        reason = " ".join(str(error).split()).rstrip(".")[:200]
        raise UserError(f"{str(found)!r} does not hold the weights of deep salience: {reason}.") from error
    return network


def read_keras(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The authors' HDF5 file as the state of `SalienceNetwork`.

    Layers are groups named after them; batch normalisations are numbered in the order of the network. Kernels are [frequency, time, in,
    out].

    Raises:
        OSError, KeyError, ValueError: no HDF5 file, or layers are missing.
    """
    import h5py  # here: needed once, and half a second is saved at every other start

    layers: dict[str, dict[str, Tensor]] = {}

    def collect(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            first, *_, last = name.split("/")
            layers.setdefault(first, {})[last.partition(":")[0]] = torch.from_numpy(item[()]).float()

    with h5py.File(path) as file:
        file.visititems(collect)
    norms = sorted((name for name in layers if name.startswith("batch_normalization_")), key=lambda name: int(name.rpartition("_")[2]))
    if len(norms) != len(LAYERS):
        raise ValueError(f"it has {len(norms)} batch normalisations instead of {len(LAYERS)}")
    state = {}
    for number, (norm, convolution) in enumerate(zip(norms, _NAMES, strict=True)):
        state.update({f"norms.{number}.{ours}": layers[norm][theirs] for ours, theirs in _NORM.items()})
        state[f"norms.{number}.num_batches_tracked"] = torch.tensor(0)
        state[f"convolutions.{number}.weight"] = layers[convolution]["kernel"].permute(3, 2, 0, 1).contiguous()
        state[f"convolutions.{number}.bias"] = layers[convolution]["bias"]
    return state


def convert(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Write the authors' HDF5 file as safetensors, whole or not at all."""
    state = read_keras(source)
    with atomic_path(target) as temporary:
        save_file(state, temporary)


def _fetch() -> Path:
    target = cached()
    try:
        original = fetch(URL, target.with_suffix(".h5"), SHA256)
    except FetchError as error:
        raise UserError(
            f"the weights of deep salience are not here and cannot be fetched ({error}): download {URL} and "
            f"save it as {str(target.with_suffix('.h5'))!r}, or name the file by {VARIABLE} or --weights."
        ) from None
    convert(original, target)
    original.unlink()
    return target
