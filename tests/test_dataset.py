import numpy as np
import pandas as pd
import pytest

from jssm import dataset
from tests.conftest import write_dataset


def test_load_gives_the_arrays_and_the_splits(small_data):
    data = dataset.load(small_data)
    assert data.size == 32
    np.testing.assert_array_equal(data.rows("train"), range(16))
    np.testing.assert_array_equal(data.rows("val"), range(16, 20))
    np.testing.assert_allclose(data.mean_theta(), data.thetas[:16].mean(0))
    assert isinstance(data.images, np.memmap)


def test_load_names_the_missing_files(tmp_path):
    directory = write_dataset(tmp_path / "data")
    (directory / "masks.npy").unlink()
    (directory / "cases.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"missing masks\.npy, cases\.csv; make one with"):
        dataset.load(directory)


def test_patients_keep_their_names(tmp_path):
    names = ["NA", "None", "001", "1e5", "null", "nan", "True", "1_000", "1.0", "-"] * 2
    directory = write_dataset(tmp_path / "data")
    table = pd.read_csv(directory / "cases.csv").assign(patient=names, case=names, reason="")
    table.loc[3, ["split", "row"]] = "excluded", np.nan
    table.to_csv(directory / "cases.csv", index=False)
    cases = dataset.load(directory).cases
    expected = names[:3] + names[4:]
    assert cases["patient"].tolist() == cases["case"].tolist() == expected
    cases.to_csv(tmp_path / "copy.csv", index=False)  # as evaluation writes them
    assert dataset.read_table(tmp_path / "copy.csv")["patient"].tolist() == expected


def test_unknown_and_empty_splits(small_data, tmp_path):
    with pytest.raises(ValueError, match="expected one of train, val"):
        dataset.load(small_data).rows("test")
    directory = write_dataset(tmp_path / "data")
    table = (directory / "cases.csv").read_text().replace(",val,", ",train,")
    (directory / "cases.csv").write_text(table)
    with pytest.raises(ValueError, match="no case in the split 'val'"):
        dataset.load(directory).rows("val")


def test_an_epoch_shows_each_case_once_in_another_order():
    rows = np.arange(100, 150)
    first, again, second = (
        dataset.epoch_order(rows, 10, seed=3, epoch=epoch) for epoch in (0, 0, 1)
    )
    np.testing.assert_array_equal(np.sort(first.ravel()), rows)
    np.testing.assert_array_equal(first, again)
    assert (first != second).any()


def test_batches_are_full_always():
    assert dataset.epoch_order(np.arange(25), 10, seed=0, epoch=0).shape == (2, 10)
    short = dataset.epoch_order(np.arange(3), 10, seed=0, epoch=0)
    assert short.shape == (1, 10)
    assert set(short.ravel()) == {0, 1, 2}


def test_batches_hold_the_rows_that_were_asked_for(small_data):
    data = dataset.load(small_data)
    (batch,) = dataset.batches(data, np.array([[5, 2]]))
    np.testing.assert_array_equal(batch["image"], data.images[[5, 2]])
    np.testing.assert_array_equal(batch["mask"], data.masks[[5, 2]])
    np.testing.assert_array_equal(batch["points"], data.points[[5, 2]])
