from __future__ import annotations

import copy
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from jasco_pl.cli import main
from jasco_pl.codec import BandCodec
from jasco_pl.controls import CONTROLS
from jasco_pl.interop import hub
from jasco_pl.metrics.report import Figure
from jasco_pl.network.model import JascoModel, ModelConfig, read_config
from jasco_pl.studies import model_card
from jasco_pl.studies.model_card import evaluate_command, figures_block, parameters

CARD = """---
license: mit
---
# A model
Prose before.
<!-- figures: -->
<!-- end -->
Prose between.
<!-- training: jasco card old -->
| old | 1 |
<!-- end -->
Prose after.
"""


def figure(mean: float | None, count: int = 3, missing: str | None = None) -> dict[str, Any]:
    """As `jasco evaluate` writes it."""
    low, high = (None, None) if mean is None else (mean - 0.01, mean + 0.01)
    return {"mean": mean, "low": low, "high": high, "count": count, "missing": missing}


@pytest.fixture
def results() -> dict[str, Any]:
    """Three rows and all controls; no network heard them but one."""
    exact = {"codec ceiling": 0.9, "no control": 0.1, "chords": 0.5, "all controls": 0.3}
    rows = [
        {
            "name": name,
            "checkpoint": "checkpoints/jasco-mini",
            "figures": {"chord_iou": figure(mean), "melody_similarity": figure(None, 0, "no weights"), "onset_f1": figure(0.5, 2)},
        }
        for name, mean in exact.items()
    ]
    columns = [
        {"key": key, "title": key.replace("_", " "), "digits": 3, "higher_is_better": True}
        for key in ("onset_f1", "chord_iou", "melody_similarity", "real_time_factor")
    ]
    solver = {"method": "midpoint", "steps": 10, "tolerance": 1e-5}
    own = read_config(Path(__file__).parents[2] / "checkpoints" / "jasco-mini").guidance
    matrix = [{"checkpoint": "checkpoints/jasco-mini", "guidance": own, "solver": solver, "seconds": 10.0, "seed": 0}]
    settings = {"source": "data/pieces/test", "about": "composed pieces", "clips": 3, "matrix": matrix, "machine": "2 cores"}
    return {"settings": settings, "columns": columns, "rows": rows}


def written(folder: Path, data: Any) -> str:
    """A folder as `jasco evaluate` leaves it."""
    folder.mkdir(exist_ok=True)
    (folder / "results.json").write_text(json.dumps(data))
    return str(folder)


def test_only_what_lies_between_the_comments_changes(results: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    card = tmp_path / "model" / "README.md"
    card.parent.mkdir()
    card.write_text(CARD)
    folder = written(tmp_path / "eval", results)
    assert main(["card", str(card.parent), "--eval", folder]) == 0
    text = card.read_text()
    before, rest = text.split("<!-- figures: ")
    body, after = rest.split("<!-- end -->", 1)
    assert before == CARD.split("<!-- figures")[0]
    assert after == CARD.split("<!-- end -->", 1)[1]
    assert body.startswith(f"jasco card {card.parent} --eval {folder} -->\n")
    assert "| chords        | 0.500 ± 0.010 |" in body
    assert f"wrote figures into {card}" in capsys.readouterr().out

    assert main(["card", str(card), "--eval", folder]) == 0  # the file itself; and the same again
    assert card.read_text().replace(str(card), str(card.parent), 1) == text


def test_shares_are_of_the_way_from_no_control_to_the_ceiling(results: dict[str, Any]) -> None:
    text = figures_block(results)
    cells = [cell.strip() for cell in next(line for line in text.splitlines() if line.startswith("| chord iou")).split("|")]
    assert cells[1:-1] == ["chord iou", "chords", "3", "50 %", "25 %", "56 %"]
    header = next(line for line in text.splitlines() if line.startswith("| conditions"))
    assert header.index("chord iou") < header.index("onset f1")  # in the card's order
    assert "melody" not in header  # no row has it
    assert "real" not in header
    assert "2 cores" in text
    assert "SoundFont" not in text
    other = copy.deepcopy(results)
    other["settings"]["source"] = "data/font"
    assert "--pieces data/font" in figures_block(results, other).split("SoundFont")[1]
    for row in results["rows"]:
        row["figures"]["chord_iou"] = figure(0.2)
    cells = next(line for line in figures_block(results).splitlines() if line.startswith("| chord iou")).split("|")
    assert [cell.strip() for cell in cells[4:6]] == ["–", "–"]  # a ceiling that is no higher than nothing has no way to it
    del results["settings"]["machine"]
    assert "machine not recorded" in " ".join(figures_block(results).split())


def test_finished_audio_is_named_in_the_command_and_compared_with(results: dict[str, Any]) -> None:
    theirs = {"name": "theirs", "checkpoint": "clips/theirs", "finished": True, "figures": {"chord_iou": figure(0.6)}}
    results["rows"].insert(0, theirs)
    assert evaluate_command(results) == "jasco evaluate --pieces data/pieces/test --limit 3 --times uniform --audio theirs=clips/theirs"
    lines = figures_block(results).splitlines()
    assert next(line for line in lines if line.startswith("| figure")).endswith("| with all, of theirs |")
    cells = [cell.strip() for cell in next(line for line in lines if line.startswith("| chord iou")).split("|")]
    assert cells[1:-1] == ["chord iou", "chords", "3", "50 %", "25 %", "56 %", "50 %"]


def test_rows_of_finished_audio_alone_have_a_command(results: dict[str, Any]) -> None:
    results["rows"] = [results["rows"][-1] | {"name": "theirs", "finished": True, "checkpoint": "clips/theirs"}]
    assert evaluate_command(results).endswith("--limit 3 --times uniform --audio theirs=clips/theirs")


def test_the_command_names_what_is_not_the_default(results: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    assert evaluate_command(results) == "jasco evaluate --pieces data/pieces/test --limit 3 --times uniform"
    results["settings"]["rows"] = ["ceiling", "none", "all"]
    assert evaluate_command(results) == "jasco evaluate --pieces data/pieces/test --limit 3 --rows ceiling none all --times uniform"
    del results["settings"]["rows"]
    setting = results["settings"]["matrix"][0]
    setting |= {"guidance": "all=2 text=1", "seed": 4, "seconds": 5.0, "solver": {"method": "euler", "steps": 7, "tolerance": 1e-5}}
    setting["precision"] = "bf16"
    results["rows"][0]["checkpoint"] = "runs/other"
    results["settings"]["about"] = "a prepared set; references are reconstructions"
    command = evaluate_command(results)
    expected = (
        "--shards data/pieces/test --limit 3 --checkpoint runs/other --guidance all=2 text=1 --solver euler --steps 7 --seconds 5 --seed 4"
        " --precision bf16"
    )
    assert command == f"jasco evaluate {expected}"

    seen: list[Any] = []
    from jasco_pl.commands import evaluate  # the command really takes it, and means the same by it

    monkeypatch.setattr(evaluate, "evaluate", lambda source, matrix, out, **options: seen.append((matrix, options["limit"])) or 1 / 0)
    monkeypatch.setattr(evaluate, "read_config", lambda folder: ModelConfig())
    monkeypatch.setattr(evaluate, "ComposedPieces", lambda folder: folder)  # nothing composed lies in a fresh checkout
    with pytest.raises(ZeroDivisionError):
        main(command.replace("--shards data/pieces/test", "--pieces data/pieces/test").split()[1:])
    ((matrix, limit),) = seen
    assert limit == 3
    assert [(found.guidance, found.seconds, found.seed, found.solver.method, found.solver.steps, found.precision) for found in matrix] == [
        ("all=2 text=1", 5.0, 4, "euler", 7, "bf16")
    ]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda data: data["settings"].pop("clips"), "is not what `jasco evaluate` writes: it lacks 'clips'"),
        (lambda data: data.pop("rows"), "it lacks 'rows'"),
        (lambda data: data["settings"]["matrix"].append(data["settings"]["matrix"][0]), "holds 2 settings; a card describes one"),
    ],
)
def test_wrong_results_are_one_sentence(results: dict[str, Any], damage: Any, said: str, tmp_path: Path, capsys: Any) -> None:
    card = tmp_path / "README.md"
    card.write_text(CARD)
    damage(results)
    assert main(["card", str(card), "--eval", written(tmp_path / "eval", results)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1
    assert card.read_text() == CARD


def test_wrong_files_are_one_sentence_and_the_card_stays(results: dict[str, Any], tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    folder = written(tmp_path / "eval", results)

    def said(*arguments: str) -> str:
        assert main(["card", *arguments]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line

    card = tmp_path / "card.md"
    assert "cannot read the card" in said(str(card), "--eval", folder)
    for text, found in (("# none", "it has none"), (CARD + CARD, "it has several"), (CARD.replace("<!-- end -->", "", 1), "does not end")):
        card.write_text(text)
        line = said(str(card), "--eval", folder)
        assert "between a line `<!-- figures: -->` and a line `<!-- end -->`" in line
        assert found in line
        assert card.read_text() == text
    card.write_text(CARD)
    assert "there is nothing to write" in said(str(card))
    assert "there is nothing to write" in said(str(card), "--font-eval", folder, "--training", folder)
    assert "is no folder of a training" in said(str(card), "--eval", folder, "--training", folder)
    (tmp_path / "eval" / "results.json").write_text("[]")
    assert "is not what `jasco evaluate` writes" in said(str(card), "--eval", folder)
    (tmp_path / "eval" / "results.json").unlink()
    assert "`jasco evaluate -o" in said(str(card), "--eval", folder)
    written(tmp_path / "eval", results)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    assert "the disk is full" in said(str(card), "--eval", folder)
    assert card.read_text() == CARD
    assert {path.name for path in tmp_path.iterdir()} == {"card.md", "eval"}


def test_reads_what_an_evaluation_wrote(tmp_path: Path) -> None:
    """The writer's own code makes the figures: a change of its format fails here."""
    from jasco_pl.evaluation.report import figure_as_json

    for found in (Figure(0.5, 0.4, 0.6, 7), Figure.absent("no weights"), Figure(3.0, float("nan"), float("nan"), 9)):
        again = model_card._figure(json.loads(json.dumps(figure_as_json(found))))
        assert repr(again) == repr(found)


def test_parameters_are_counted_without_being_made(tiny_model_config: ModelConfig) -> None:
    assert parameters(tiny_model_config) == sum(parameter.numel() for parameter in JascoModel(tiny_model_config).parameters())


def test_the_shipped_cards_have_their_places() -> None:
    root = Path(__file__).parents[2]
    for name, parts in (("docs/figures.md", ["figures"]), ("checkpoints/jasco-mini/README.md", ["figures", "training"])):
        text = (root / name).read_text()
        for part in parts:
            assert model_card.replaced(text, part, "jasco card", "new", name) != text


def test_a_folder_without_a_card_gets_one(
    results: dict[str, Any], tmp_path: Path, tiny_model_config: ModelConfig, tiny_codec_folder: Path
) -> None:
    model = tmp_path / "model"
    JascoModel(tiny_model_config).save_pretrained(model)
    assert main(["card", str(model), "--eval", written(tmp_path / "eval", results)]) == 0
    text = (model / "README.md").read_text()
    assert text.startswith("---\n")
    assert "2 layers, width 32" in text
    assert "| chords        | 0.500 ± 0.010 |" in text
    report = {"codec": "x/mine", "clips": 1, "seconds": 10.0, "threads": 1, "figures": {"onset_f1": None}}
    codec = tmp_path / "codec"
    BandCodec.from_pretrained(tiny_codec_folder).save_pretrained(codec)
    (tmp_path / "codec.json").write_text(json.dumps([report]))
    assert main(["card", str(codec), "--codec-report", str(tmp_path / "codec.json")]) == 0
    assert "| mine" in (codec / "README.md").read_text()
    empty = tmp_path / "empty"
    empty.mkdir()
    assert main(["card", str(empty), "--eval", str(tmp_path / "eval")]) == 2
    assert list(empty.iterdir()) == []


@pytest.mark.slow
def test_the_configuration_for_a_gpu_goes_on_from_the_model_that_ships() -> None:
    """27 million parameters, under 60 MiB in half precision; the configurations are read by the command line's own parser.

    It may have more controls than what ships, and more channels of them; times are fitted to trained weights.
    """
    found = subprocess.run(
        [sys.executable, "-m", "jasco_pl.cli", "fit", "-c", "conf/mini.yaml", "-c", "conf/mini_gpu.yaml", "--print_config"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    config = yaml.safe_load(found.stdout)
    assert config["trainer"]["max_steps"] == config["model"]["decay_steps"]
    trained = ModelConfig.from_dict({**config["model"]["config"], "seconds": config["data"]["seconds"]})
    shipped = read_config(Path(__file__).parents[2] / "checkpoints" / "jasco-mini")
    assert replace(trained, controls=shipped.controls, times=shipped.times) == shipped
    for name, options in shipped.controls.items():
        assert options.items() <= trained.controls[name].items()
        assert trained.controls[name].keys() - options.keys() <= CONTROLS[name].grows
    with torch.device("meta"):
        model = JascoModel(trained)
    assert 27e6 < parameters(model.config) < 28e6
    assert 2 * sum(tensor.numel() for tensor in model.state_dict().values()) < 60 * 2**20


def test_what_is_pushed_carries_the_figures_and_the_folder_stays(
    results: dict[str, Any], tiny_model_config: ModelConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []

    def publish(folder: Path, repository: str, private: bool | None) -> str:
        sent.append((folder / "README.md").read_text())
        return f"https://huggingface.co/{repository}"

    monkeypatch.setattr(hub, "publish", publish)
    folder = tmp_path / "mine"
    JascoModel(tiny_model_config).save_pretrained(folder)
    (folder / "README.md").write_text(CARD)
    assert main(["push", str(folder), "someone/model", "--eval", written(tmp_path / "eval", results)]) == 0
    assert "| chords        | 0.500 ± 0.010 |" in sent[0]
    assert sent[0].startswith("---\nlicense: mit\n---\n")
    assert (folder / "README.md").read_text() == CARD
    assert main(["push", str(folder), "someone/model", "--eval", str(tmp_path / "nowhere")]) == 2
    assert len(sent) == 1
