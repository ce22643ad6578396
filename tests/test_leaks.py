"""The search for names finds them wherever they hide."""

import gzip

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.leaks import leaks

WORD = "Doe^Jane"


def _picture(path):
    text = PngInfo()
    text.add_text("patient", WORD, zip=True)
    Image.new("L", (2, 2)).save(path, pnginfo=text)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        (f"{WORD}.txt", lambda p: p.write_text("")),
        ("a.txt", lambda p: p.write_text(f"x{WORD}x")),
        ("a.utf16", lambda p: p.write_text(WORD, encoding="utf-16")),
        ("a.nii.gz", lambda p: p.write_bytes(gzip.compress(WORD.encode()))),
        ("a.npz", lambda p: np.savez_compressed(p, a=np.array(WORD))),
        ("a.npz", lambda p: np.savez(p, a=np.frombuffer(WORD.encode(), np.uint8))),
        ("a.png", _picture),
    ],
)
def test_a_name_is_found(tmp_path, name, write):
    assert leaks(tmp_path, [WORD]) == []
    (tmp_path / "deep").mkdir()
    write(tmp_path / "deep" / name)
    ((place, word), *_) = leaks(tmp_path, [WORD])
    assert place.startswith(f"deep/{name}")
    assert word == WORD
    assert leaks(tmp_path, ["Roe^Jim"]) == []
