from __future__ import annotations

from pathlib import Path

import pytest
import torch

from jasco_pl.compose.captions import captions, section_captions
from jasco_pl.compose.composer import compose
from jasco_pl.compose.song import generator
from jasco_pl.network.text import TextEncoder, resolve
from jasco_pl.studies.gpu_bundle.encoder import needed_texts, reduce_encoder
from jasco_pl.system.errors import UserError

CONF = Path(__file__).parents[3] / "conf"


@pytest.fixture(scope="module")
def reduced(tmp_path_factory: pytest.TempPathFactory) -> TextEncoder:
    folder = tmp_path_factory.mktemp("encoder") / "reduced"
    assert 400 < reduce_encoder(resolve("all-MiniLM-L6-v2"), folder, needed_texts(CONF)) < 1500
    return TextEncoder(str(folder))


def some_captions(number: int) -> list[str]:
    """Of pieces of either edition, and of the sections of the second."""
    texts: list[str] = []
    for index in range(number):
        song, draw = compose(7, "test", index, edition=1 + index % 2), generator(7, "test", index, "captions")
        texts += captions(song, draw)
        texts += [text for passage in song.sections for text in section_captions(song, passage, draw)]
    return texts


def test_captions_keep_their_states_within_half_precision(reduced: TextEncoder, offline_encoder: TextEncoder) -> None:
    texts = some_captions(12)
    (small, small_mask), (whole, mask) = reduced(texts), offline_encoder(texts)
    assert torch.equal(small_mask, mask)
    assert small.dtype == torch.float32
    error = (small - whole).norm(dim=-1)[mask] / whole.norm(dim=-1)[mask]
    assert 0 < error.max() < 2e-3
    assert (whole[0, 1] - whole[0, 2]).norm() / whole[0, 1].norm() > 0.3  # what another row would do


def test_every_caption_is_accepted(reduced: TextEncoder) -> None:
    for text in some_captions(400):
        (ids,) = reduced.network.tokens([text])
        assert len(reduced._kept(text, ids)) == len(ids)


def test_the_prompts_of_the_configurations_are_accepted(reduced: TextEncoder) -> None:
    prompts = ["calm pop ballad with piano and strings", "driving rock with distorted guitar and drums"]
    assert all(f"text: {prompt}\n" in (CONF / "mini.yaml").read_text() for prompt in prompts)
    reduced(prompts)


@pytest.mark.parametrize(("text", "missing"), [("slow piano with a didgeridoo", "'did', '##ger', '##ido'"), ("calm 琴", "'[UNK]'")])
def test_another_word_is_told(reduced: TextEncoder, text: str, missing: str) -> None:
    with pytest.raises(UserError, match="reduced to other tokens than") as refusal:
        reduced([text])
    assert missing in str(refusal.value)
    assert text in str(refusal.value)


def test_a_known_beginning_does_not_hide_an_unknown_word(tmp_path: Path) -> None:
    reduce_encoder(resolve("all-MiniLM-L6-v2"), tmp_path, ["piano", "list"])
    with pytest.raises(UserError, match="'pianist'"):
        TextEncoder(str(tmp_path))(["pianist"])
