"""A student as two files in its teacher's folder: what it is, and what it adds to the weights there."""

from __future__ import annotations

import shutil
from dataclasses import asdict, replace
from pathlib import Path

import torch

from jasco_pl.network.model import WEIGHTS_NAME, JascoModel, read_config
from jasco_pl.network.student import CONFIG_FILE, STUDENT_FILES, WEIGHTS_FILE, StudentConfig, is_student_weight, merge_student
from jasco_pl.system.checksums import load_tensors, save_tensors
from jasco_pl.system.errors import UserError
from jasco_pl.system.files import atomic_path, loads, write_json
from jasco_pl.system.typed import typed

FORMAT = "jasco-pl/student-1"


def save_student(model: JascoModel, folder: str | Path) -> None:
    """Write what a student adds, in float16, beside the teacher that `JascoModel.save_pretrained` wrote; each file whole or not at all."""
    assert model.config.student is not None
    added = {name: tensor.to(torch.float16) for name, tensor in model.state_dict().items() if is_student_weight(name)}
    save_tensors(Path(folder) / WEIGHTS_FILE, added)
    write_json(Path(folder) / CONFIG_FILE, {"format": FORMAT, **asdict(model.config.student)})


def has_student(folder: str | Path) -> bool:
    """Whether a checkpoint's folder has a student, whole or not."""
    return (Path(folder) / CONFIG_FILE).is_file()


def read_student(folder: str | Path) -> StudentConfig:
    """What the student in a checkpoint's folder is.

    Raises:
        UserError: there is none, or it cannot be read.
    """
    path = Path(folder) / CONFIG_FILE
    try:
        data = loads(path.read_bytes())
        if not isinstance(data, dict) or data.pop("format", None) != FORMAT:
            raise ValueError(f'it lacks "format": "{FORMAT}"')
        return typed(data, StudentConfig)
    except OSError as error:
        raise UserError(f"there is no student in {str(folder)!r}: {path.name} cannot be read ({error.strerror}).") from error
    except ValueError as error:
        raise UserError(f"{str(path)!r} is not the config of a student: {str(error).rstrip('.')}.") from error


def copy_student(source: str | Path, target: str | Path) -> None:
    """Take the student of one folder, if it has one, to another that holds the same teacher."""
    if has_student(source) and Path(source).resolve() != Path(target).resolve():
        for name in STUDENT_FILES[::-1]:
            with atomic_path(Path(target) / name) as temporary:
                shutil.copyfile(Path(source) / name, temporary)


def load_student(folder: str | Path) -> JascoModel:
    """The student in a checkpoint's folder, its additions merged into the weights; the teacher's own model is another.

    Raises:
        UserError: a file is missing, damaged, or belongs to another model.
    """
    folder = Path(folder)
    config, path = replace(read_config(folder), student=read_student(folder)), folder / WEIGHTS_FILE
    tensors: dict[str, torch.Tensor] = {}
    for part in (folder / WEIGHTS_NAME, path):
        try:
            tensors |= load_tensors(part)
        except Exception as error:
            raise UserError(f"cannot read the weights {str(part)!r}: {error}.") from error
    model = JascoModel.from_state(config, tensors, path)
    merge_student(model.transformer)
    return model
