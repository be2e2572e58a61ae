from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from untrained import stir

from jasco_pl.controls.conditions import Conditions
from jasco_pl.network.flow.guidance import Term, parse_guidance
from jasco_pl.network.model import CONFIG_NAME, WEIGHTS_NAME, JascoModel, ModelConfig, start_from
from jasco_pl.network.student import StudentConfig, is_student_weight, single_weight
from jasco_pl.network.student_file import copy_student, load_student, read_student, save_student
from jasco_pl.system.errors import UserError

CONFIG = StudentConfig(times=[0.0, 0.3, 1.0], rank=4)


@pytest.fixture
def teacher(tiny_model_config: ModelConfig, tmp_path: Path) -> JascoModel:
    """A model that has been moved away from its start, saved in the folder `teacher`."""
    torch.manual_seed(0)
    model = JascoModel(tiny_model_config)
    stir(model)
    model.eval().save_pretrained(tmp_path / "teacher")
    return model


def student_of(teacher: JascoModel, folder: Path, moved: bool) -> JascoModel:
    model = JascoModel(replace(teacher.config, student=CONFIG))
    start_from(model, folder)
    if moved:
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if is_student_weight(name):
                    parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def say(model: JascoModel, conditions: Conditions, weight: float | None) -> Tensor:
    z, t = torch.randn(2, 50, model.config.latent_dim, generator=torch.Generator().manual_seed(1)), torch.tensor([0.0, 0.3])
    rows = [Term(frozenset({"text", *model.controls.names}), 1.0)]
    told = None if weight is None else torch.full((2,), weight)
    with torch.inference_mode():
        return model.velocity(z, t, model.context(conditions, rows, 50, weight=told))


def test_an_untaught_student_says_what_its_teacher_says_without_guidance(teacher: JascoModel, tmp_path: Path) -> None:
    student = student_of(teacher, tmp_path / "teacher", moved=False)
    conditions = teacher.null_conditions(2, 50)
    expected = say(teacher, conditions, None)
    assert expected.abs().max() > 0.1
    assert torch.equal(say(student, conditions, 2.5), expected)
    learns = {name for name, parameter in student.named_parameters() if parameter.requires_grad}
    assert learns == {name for name in student.state_dict() if is_student_weight(name)}


def test_a_student_comes_back_from_its_teachers_folder(teacher: JascoModel, tmp_path: Path) -> None:
    folder = tmp_path / "taught"
    student = student_of(teacher, tmp_path / "teacher", moved=True)
    student.save_pretrained(folder)
    save_student(student, folder)
    assert (folder / CONFIG_NAME).read_bytes() == (tmp_path / "teacher" / CONFIG_NAME).read_bytes()
    assert (folder / WEIGHTS_NAME).read_bytes() == (tmp_path / "teacher" / WEIGHTS_NAME).read_bytes()
    assert read_student(folder) == CONFIG
    conditions = teacher.null_conditions(2, 50)
    found = load_student(folder)
    assert type(found.transformer.layers[0].feed_in) is torch.nn.Linear
    said = say(student, conditions, 2.5)
    torch.testing.assert_close(say(found, conditions, 2.5), said, atol=2e-3, rtol=2e-3)  # its additions are kept in float16
    assert (said - say(student, conditions, 1.5)).abs().max() > 0.01
    assert (said - say(teacher, conditions, None)).abs().max() > 0.1
    assert torch.equal(say(JascoModel.from_pretrained(folder), conditions, None), say(teacher, conditions, None))

    copy_student(folder, tmp_path / "teacher")
    assert torch.equal(say(load_student(tmp_path / "teacher"), conditions, 2.5), say(found, conditions, 2.5))
    teacher.save_pretrained(folder)
    with pytest.raises(UserError, match="there is no student in"):
        load_student(folder)


def test_a_student_that_is_damaged_or_of_another_model_is_one_sentence(teacher: JascoModel, tmp_path: Path) -> None:
    folder = tmp_path / "taught"
    student = student_of(teacher, tmp_path / "teacher", moved=True)
    student.save_pretrained(folder)
    save_student(student, folder)
    weights, told = folder / "student.safetensors", folder / "student.json"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(UserError, match=r"student.safetensors': it fails its checksum\.$"):
        load_student(folder)
    weights.unlink()
    with pytest.raises(UserError, match=r"cannot read the weights '.*student.safetensors'"):
        load_student(folder)
    weights.write_bytes(whole)
    data = json.loads(told.read_text())
    told.write_text(json.dumps({**data, "rank": 5}))
    with pytest.raises(UserError, match=r"belong to another configuration"):
        load_student(folder)
    told.write_text(json.dumps({**data, "times": [0, 0.5]}))
    with pytest.raises(UserError, match=r"times of a student must ascend from 0 to 1"):
        load_student(folder)
    told.write_text("{")
    with pytest.raises(UserError, match=r"student.json' is not the config of a student"):
        load_student(folder)


@pytest.mark.parametrize(
    ("guidance", "weight"), [("all=2.5", 2.5), ("all=1", 1.0), ("text+chords+drums=3", 3.0), ("all=2 text=1", None), ("text=2", None)]
)
def test_the_one_weight_of_a_guidance(guidance: str, weight: float | None) -> None:
    controls = ["chords", "drums"]
    assert single_weight(parse_guidance(guidance, controls), controls) == weight


def test_numbers_that_make_no_student_are_refused() -> None:
    for wrong in ({"rank": 0}, {"weights": (2.0, 1.0)}, {"weights": (0.0, 1.0)}, {"times": [0.0]}, {"target": "noise"}):
        with pytest.raises(UserError):
            replace(CONFIG, **wrong)
