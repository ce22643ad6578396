"""Tables of people: what spreadsheets make of a CSV is read as it is meant."""

import numpy as np
import pytest

from prep import tables
from prep.dataset import split
from prep.errors import Refused
from prep.shapes import landmarks

NAMES = ["NA", "None", "001", "1e5", "null", "nan", "Müller"]
TABLE = "patient,split\n" + "".join(f"{name},train\n" for name in NAMES)


@pytest.mark.parametrize(
    ("change", "encoding"),
    [
        (lambda text: text, "utf-8"),
        (lambda text: text, "utf-8-sig"),
        (lambda text: text, "utf-16"),
        (lambda text: text, "cp1252"),
        (lambda text: text.replace("\n", "\r\n"), "utf-8-sig"),
        (lambda text: text.replace("\n", "\r"), "utf-8"),
        (lambda text: text.replace(",", ";"), "cp1252"),
        (lambda text: "sep=;\n" + text.replace(",", ";"), "utf-8-sig"),
        (lambda text: text.replace(",", "\t"), "utf-16"),
        (lambda text: text.replace("patient,split", '"Patient" , "SPLIT"'), "utf-8"),
        (lambda text: text.replace("train\n", " Train \n"), "utf-8"),
        (lambda text: text.replace("\n", ",,\n") + ",,,\n\n", "utf-8"),
        (lambda text: "age;" + text[:-1].replace(",", ";").replace("\n", "\n7;"), "utf-8"),
    ],
)
def test_a_table_of_the_split_is_read_whatever_the_spreadsheet_did(tmp_path, change, encoding):
    (tmp_path / "s.csv").write_bytes(change(TABLE).encode(encoding))
    assert split.read(tmp_path / "s.csv") == dict.fromkeys(NAMES, "train")


def test_landmarks_with_decimal_commas(tmp_path):
    head = "Case;" + ";".join(name.upper() for name in landmarks.COLUMNS)
    (tmp_path / "l.csv").write_text(f"{head}\n007;5,5;0;0;10;10,25;10\n", encoding="utf-8-sig")
    found = landmarks.from_file(tmp_path / "l.csv")
    np.testing.assert_array_equal(found["007"], [[5.5, 0], [0, 10], [10.25, 10]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the columns patient, split are missing; found are none"),
        ("split;sex\nval;f\n", "the columns patient are missing; found are split, sex"),
        ("patient,split\na,val,1\n", "line 2 has more values than the header has names"),
    ],
)
def test_what_is_wrong_with_a_table_is_told(tmp_path, text, message):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(Refused, match=rf"t\.csv: {message}"):
        tables.read(tmp_path / "t.csv", ("patient", "split"))
