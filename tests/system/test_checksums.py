from __future__ import annotations

import io
import json
import re
import time
import zipfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from jasco_pl.system.checksums import DamagedError, check_seal, check_zip, has_checksum, load_tensors, save_tensors, sealed_json

SAMPLE = {
    "weight": torch.arange(6.0).reshape(2, 3),
    "half": torch.ones(4, dtype=torch.bfloat16),
    "number": torch.tensor(7),
    "none": torch.zeros(0, 5),
    "turned": torch.arange(12).reshape(3, 4).t(),
}
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)


@settings(max_examples=50, deadline=None)
@given(
    data=st.dictionaries(st.text().filter(lambda key: key != "crc32"), values),
    place=st.floats(0, 1, exclude_max=True),
    bit=st.integers(0, 7),
)
def test_a_seal_holds_and_any_flipped_bit_breaks_it(data, place, bit):
    text = sealed_json(data)
    assert check_seal(text, "here")
    assert {key: value for key, value in json.loads(text).items() if key != "crc32"} == data
    flipped = bytearray(text)
    flipped[int(place * len(text))] ^= 1 << bit
    if not re.match(rb'\{\s*"crc32":\s*"', flipped):
        assert check_seal(bytes(flipped), "here") is False  # JSON has an entry that nobody knows, or is none
    else:
        with pytest.raises(DamagedError, match=r"^'here' fails its checksum"):
            check_seal(bytes(flipped), "here")


def test_names_that_are_no_utf8_are_sealed_too():
    name = b"caf\xe9".decode(errors="surrogateescape")
    text = sealed_json({"name": name})
    assert check_seal(text, "here")
    assert json.loads(text)["name"] == name


@pytest.mark.parametrize("mark", [b'""', b'"0"', b'"xxxxxxxx"', b'"00000000"'])
def test_an_emptied_seal_is_damage(mark):
    text = sealed_json({"a": 1})
    with pytest.raises(DamagedError):
        check_seal(text.replace(text[11:21], mark), "here")
    assert check_seal(b'{"a": 1}', "here") is False


def test_tensors_come_back_and_other_readers_read_them(tmp_path):
    path = tmp_path / "new" / "some.safetensors"
    save_tensors(path, SAMPLE)
    assert has_checksum(path)
    for found in (load_tensors(path), load_file(path)):
        assert found.keys() == SAMPLE.keys()
        assert all(torch.equal(found[name], tensor) and found[name].dtype == tensor.dtype for name, tensor in SAMPLE.items())
    save_file({name: tensor.contiguous() for name, tensor in SAMPLE.items()}, tmp_path / "other.safetensors")
    assert not has_checksum(tmp_path / "other.safetensors")
    assert torch.equal(load_tensors(tmp_path / "other.safetensors")["turned"], SAMPLE["turned"])


def test_any_flipped_bit_of_tensors_is_noticed(tmp_path):
    """In header and data; what happens to names, types and shapes counts, and so does the place of the data."""
    path = tmp_path / "some.safetensors"
    save_tensors(path, SAMPLE)
    whole = path.read_bytes()
    missed = []
    for place in range(len(whole)):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << place % 8
        path.write_bytes(flipped)
        try:
            found = load_tensors(path)
        except ValueError:
            continue
        assert all(torch.equal(found[name], tensor) for name, tensor in SAMPLE.items())  # spaces that pad the header, the name of the entry
        missed.append(bytes(flipped[place : place + 1]))
    assert len(missed) < 20


@pytest.mark.parametrize("mark", ["", "0", "xxxxxxxx"])
def test_an_emptied_checksum_of_tensors_is_damage(tmp_path, mark):
    save_file({"a": torch.zeros(3)}, tmp_path / "some.safetensors", {"crc32": mark})
    with pytest.raises(ValueError, match="it fails its checksum"):
        load_tensors(tmp_path / "some.safetensors")


def test_a_truncated_file_is_an_error(tmp_path):
    path = tmp_path / "some.safetensors"
    save_tensors(path, SAMPLE)
    for content in (b"", b"text", path.read_bytes()[:-1]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r".+"):
            load_tensors(path)


def saved(path: Path) -> bytes:
    torch.save({"weight": torch.arange(1000.0), "other": [1, "two"]}, path)
    return path.read_bytes()


def test_what_torch_saved_has_checksums_that_are_compared(tmp_path):
    """PyTorch writes them and reads past them: flipped bits of weights come out as other numbers."""
    path = tmp_path / "some.pt"
    whole = saved(path)
    with open(path, "rb") as file:
        check_zip(file)
        assert torch.equal(torch.load(file, weights_only=True)["weight"], torch.arange(1000.0))
    with zipfile.ZipFile(path) as archive:
        (data,) = (entry for entry in archive.infolist() if entry.filename.endswith("data/0"))
    flipped = bytearray(whole)
    flipped[data.header_offset + 2000] ^= 1
    assert not torch.equal(torch.load(io.BytesIO(flipped), weights_only=True)["weight"], torch.arange(1000.0))
    with pytest.raises(ValueError, match="Bad CRC-32"):
        check_zip(io.BytesIO(flipped))
    for content in (b"", b"text", whole[:-50], whole[100:]):
        with pytest.raises(ValueError, match=r".+"):
            check_zip(io.BytesIO(content))


def test_fifty_megabytes_are_checked_in_a_moment(tmp_path):
    path = tmp_path / "some.safetensors"
    save_tensors(path, {str(number): torch.randn(2**20, dtype=torch.float16) for number in range(26)})
    tensors = load_file(path)
    spent = []
    for _ in range(3):
        began = time.process_time()
        load_tensors(path)
        spent.append(time.process_time() - began)
    assert sum(tensor.nbytes for tensor in tensors.values()) > 54e6
    assert min(spent) < 1
