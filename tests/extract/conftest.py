from __future__ import annotations

from pathlib import Path

import pytest
import torch

from jasco_pl.extract.salience_network import SalienceNetwork


@pytest.fixture(scope="session")
def random_salience_network() -> SalienceNetwork:
    """Random weights that hear nothing in silence and much in sound, with statistics far from those of a fresh normalisation."""
    draw = torch.Generator().manual_seed(3)
    network = SalienceNetwork()
    state = network.state_dict()
    for name, tensor in state.items():
        if name.endswith("running_var"):
            state[name] = torch.rand(tensor.shape, generator=draw) + 0.5
        elif tensor.is_floating_point():
            fan = tensor[0].numel() if tensor.ndim == 4 else 10
            state[name] = torch.randn(tensor.shape, generator=draw) * (2 / fan) ** 0.5
    network.load_state_dict(state)
    last = network.convolutions[-1]
    with torch.no_grad():
        spread = torch.logit(network(torch.rand(1, 6, 200, 30, generator=draw) ** 3)).std()
        silence = torch.logit(network(torch.zeros(1, 6, 200, 30))[0, 100, 15])
        last.bias.sub_(silence).div_(spread).sub_(0.3)
        last.weight.div_(spread)
    return network


@pytest.fixture(scope="session")
def authors_file(random_salience_network: SalienceNetwork, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Those weights in the layout of the authors' HDF5 files (Keras 2.0.6)."""
    import h5py

    state = random_salience_network.state_dict()
    path = tmp_path_factory.mktemp("salience") / "multif0.h5"
    names = ("bendy1", "bendy2", "smoothy1", "smoothy2", "distribute", "squishy")
    norm = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
    with h5py.File(path, "w") as file:
        for number, name in enumerate(names):
            inner = f"batch_normalization_{97 + number}"  # so that 100 sorts before 97 as text
            for theirs, ours in norm.items():
                file[f"{inner}/{inner}/{theirs}:0"] = state[f"norms.{number}.{ours}"].numpy()
            kernel = state[f"convolutions.{number}.weight"].permute(2, 3, 1, 0)
            file[f"{name}/{name}_14/kernel:0"] = kernel.numpy()
            file[f"{name}/{name}_14/bias:0"] = state[f"convolutions.{number}.bias"].numpy()
        file.create_group("input_14")
    return path
