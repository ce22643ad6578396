import pytest

from prep.dataset import split
from prep.errors import Refused


def test_the_split_is_by_patient_seeded_and_of_the_asked_size():
    patients = [f"p{i // 3}" for i in range(60)]
    parts = split.assign(patients, 0.2, seed=4)
    assert sum(part == "val" for part in parts.values()) == 4
    assert parts == split.assign(patients[::-1], 0.2, seed=4)
    assert parts != split.assign(patients, 0.2, seed=5)


def test_each_side_has_at_least_one_patient():
    assert sorted(split.assign(["a", "b"], 0.01, 0).values()) == ["train", "val"]
    assert sorted(split.assign(["a", "b"], 0.99, 0).values()) == ["train", "val"]
    with pytest.raises(Refused, match="at least 2"):
        split.assign(["a", "a"], 0.2, 0)


def test_a_given_split_decides(tmp_path):
    path = tmp_path / "split.csv"
    path.write_text("patient,split\na,val\nb,train\na,val\n")
    wanted = split.read(path)
    assert split.assign(["a", "b"], 0.2, 0, wanted) == {"a": "val", "b": "train"}
    with pytest.raises(Refused, match="no row for the patient c"):
        split.assign(["a", "c"], 0.2, 0, wanted)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("patient,split\na,val\na,train\n", "the patient a is in both train and val"),
        ("patient,split\na,test\n", "line 2 has the split 'test'"),
        ("who,split\na,val\n", "the columns patient are missing; found are who, split"),
        ("patient,split\n", "columns patient and split"),
    ],
)
def test_a_bad_table_is_refused(tmp_path, text, message):
    path = tmp_path / "split.csv"
    path.write_text(text)
    with pytest.raises(Refused, match=rf"split\.csv: .*{message}"):
        split.read(path)


def test_a_leak_is_named():
    with pytest.raises(Refused, match="patient b is in both"):
        split.assert_disjoint(["a", "b", "b"], ["train", "train", "val"])
