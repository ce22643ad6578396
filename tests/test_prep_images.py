import imageio.v3 as iio
import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from jssm.files import frame_time_s
from jssm.files import images as readers
from prep.dataset import images
from prep.errors import BadInput

FRAME = np.arange(12, dtype=np.uint16).reshape(3, 4)  # 3 rows, 4 columns


def _nifti(path, array, zooms):
    file = nib.Nifti1Image(array, np.eye(4))
    file.header.set_zooms(zooms)
    file.header.set_xyzt_units("mm", "sec")
    nib.save(file, path)


def test_png_has_one_frame_and_no_spacing(tmp_path):
    iio.imwrite(tmp_path / "a.png", FRAME)
    cine = readers.read(tmp_path / "a.png")
    np.testing.assert_array_equal(cine.frames, FRAME[None])
    assert np.isnan(cine.spacing_mm).all()


def test_png_of_equal_channels_is_grey_and_colour_is_refused(tmp_path):
    iio.imwrite(tmp_path / "grey.png", np.repeat(FRAME[..., None].astype(np.uint8), 3, 2))
    np.testing.assert_array_equal(readers.read(tmp_path / "grey.png").frames[0], FRAME)
    colour = np.zeros((3, 4, 3), np.uint8)
    colour[..., 0] = 9
    iio.imwrite(tmp_path / "colour.png", colour)
    with pytest.raises(BadInput, match=r"colour\.png: a colour picture"):
        readers.read(tmp_path / "colour.png")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_nifti_slice_is_transposed_to_rows_and_columns(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    _nifti(path, FRAME.T, (0.7, 1.1))  # (x, y): columns are 0.7 mm, rows 1.1 mm
    cine = readers.read(path)
    np.testing.assert_array_equal(cine.frames, FRAME[None])
    assert cine.spacing_mm == pytest.approx((1.1, 0.7))
    assert readers.stem(path) == "a"


@pytest.mark.parametrize("flat", [True, False])
def test_nifti_cine(tmp_path, flat):
    cine = np.stack([FRAME, FRAME + 100])
    array = cine.transpose(2, 1, 0)
    zooms = (0.7, 1.1, 1.0)
    if not flat:
        array, zooms = array[:, :, None], (*zooms, 0.04)
    _nifti(tmp_path / "a.nii", array, zooms)
    found = readers.read(tmp_path / "a.nii")
    np.testing.assert_array_equal(found.frames, cine)
    assert readers.count_frames(tmp_path / "a.nii") == 2
    assert np.isnan(frame_time_s(found)) if flat else frame_time_s(found) == pytest.approx(0.04)


def test_nifti_volume_is_refused(tmp_path):
    _nifti(tmp_path / "a.nii", np.zeros((4, 3, 2, 2), np.uint8), (1, 1, 1, 1))
    with pytest.raises(BadInput, match=r"a\.nii: the array has the shape \(4, 3, 2, 2\)"):
        readers.count_frames(tmp_path / "a.nii")


@pytest.mark.parametrize("suffix", [".mha", ".mhd"])
def test_metaimage_slice_and_cine(tmp_path, suffix):
    file = sitk.GetImageFromArray(FRAME)
    file.SetSpacing((0.7, 1.1))
    sitk.WriteImage(file, str(tmp_path / f"a{suffix}"))
    cine = readers.read(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(cine.frames, FRAME[None])
    assert cine.spacing_mm == pytest.approx((1.1, 0.7))
    sitk.WriteImage(sitk.GetImageFromArray(np.stack([FRAME] * 3)), str(tmp_path / f"b{suffix}"))
    assert readers.count_frames(tmp_path / f"b{suffix}") == 3
    assert readers.read(tmp_path / f"b{suffix}").frames.shape == (3, 3, 4)


@pytest.mark.parametrize("suffix", readers.SUFFIXES)
def test_unreadable_file_gives_one_sentence(tmp_path, suffix):
    path = tmp_path / f"broken{suffix}"
    path.write_bytes(b"no image")
    with pytest.raises(BadInput, match=r"broken.*: cannot be read as an image") as caught:
        readers.read(path)
    assert "\n" not in str(caught.value)


def test_pairs_share_a_stem(tmp_path):
    for name in ("i/a.png", "i/b.nii", "i/c.png", "i/c.nii", "i/note.txt", "m/a.nii.gz", "m/d.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    pairs, problems = images.find_pairs(tmp_path / "i", tmp_path / "m")
    assert [(p.stem, p.image.name, p.mask.name) for p in pairs] == [("a", "a.png", "a.nii.gz")]
    text = "\n".join(problems)
    assert "i/b.nii: no mask" in text
    assert "m/d.png: no image" in text
    assert "i/c.png: its stem is taken by c.nii" in text


def test_grey_values_come_from_percentiles_of_the_whole_cine():
    frames = np.linspace(0, 1000, 20000).reshape(2, 100, 100)
    grey = images.to_uint8(frames)
    assert grey.dtype == np.uint8
    assert grey[0, 0, 0] == 0
    assert grey[1, -1, -1] == 255
    assert grey[0].max() < 130 < grey[1].max()
    assert not images.to_uint8(np.full((1, 4, 4), 7)).any()


def test_letterbox_keeps_a_square_image_and_centres_another():
    mask = np.zeros((20, 40), bool)
    mask[4:16, 12:28] = True
    np.testing.assert_array_equal(images.fit_mask(mask[:, :20], 20), mask[:, :20])
    small = images.fit_mask(mask, 20)
    assert small.sum() == mask.sum() / 4
    rows, columns = np.nonzero(small)
    assert (rows.mean(), columns.mean()) == (9.5, 9.5)
    picture = images.fit_image(np.full((20, 40), 200, np.uint8), 20)
    assert (picture[5:15] == 200).all()
    assert not picture[:5].any()
    assert not picture[15:].any()


def test_letterbox_enlarges_without_a_shift():
    mask = np.zeros((10, 10), bool)
    mask[2:6, 3:8] = True
    large = images.fit_mask(mask, 40)
    rows, columns = np.nonzero(large)
    assert (rows.mean(), columns.mean()) == (4 * 3.5 + 1.5, 4 * 5 + 1.5)
    assert abs(large.sum() - 16 * mask.sum()) <= 16  # only the corners are rounded


def test_a_mask_must_be_there_and_in_one_piece():
    mask = np.zeros((9, 9), bool)
    with pytest.raises(BadInput, match=r"a\.png: the mask is empty$"):
        images.check_mask(mask, "a.png")
    mask[0, 0] = mask[1, 1] = True  # touching by a corner is one piece
    images.check_mask(mask, "a.png")
    mask[5:8, 5:8] = True
    with pytest.raises(BadInput, match=r"a\.png: the mask has 2 pieces \(9, 2 px\)"):
        images.check_mask(mask, "a.png")


def test_a_label_that_is_not_there_names_those_that_are():
    labels = np.zeros((9, 9), np.uint8)
    with pytest.raises(BadInput, match=r"a\.png: the mask is empty$"):
        images.of_label(labels, 1, "a.png")
    labels[2:4, 2:4], labels[6, 6] = 255, 3
    with pytest.raises(BadInput, match=r"no pixel has the label 1; --label chooses among 3, 255$"):
        images.of_label(labels, 1, "a.png")
    np.testing.assert_array_equal(images.of_label(labels, 255, "a.png"), labels == 255)


WALL = np.pad(np.ones((10, 12)), 8)
WALL[12:22, 11:17] = 0


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16])
@pytest.mark.parametrize("others", [(), (2, 5), (3, 10)])
def test_labels_that_went_through_floats_are_those_that_were_drawn(tmp_path, dtype, others):
    drawn = WALL.copy()
    for k, other in enumerate(others):
        drawn[2 + 20 * k : 5 + 20 * k, 2:25] = other
    file = nib.Nifti1Image(drawn.T[..., None], np.diag([-1.4, -1.4, 8, 1]))
    file.set_data_dtype(dtype)  # so that it is stored with a scale
    nib.save(file, tmp_path / "m.nii")
    stored = readers.read(tmp_path / "m.nii").frames[0]
    for label in (1, *others):
        np.testing.assert_array_equal(images.of_label(stored, label, "m"), drawn == label)
    with pytest.raises(BadInput, match=r"m: a value is \d\.5, but labels are whole numbers"):
        images.of_label(drawn / 2, 1, "m")


@pytest.mark.parametrize("quality", [50, 75, 95])
def test_a_mask_that_lost_its_edge_is_refused_and_not_thinned(tmp_path, quality):
    drawn = (255 * WALL).astype(np.uint8)
    iio.imwrite(tmp_path / "m.jpg", drawn, quality=quality)
    lossy = iio.imread(tmp_path / "m.jpg")
    assert (lossy == 255).sum() < WALL.sum()
    with pytest.raises(BadInput, match="other values fringe the label 255"):
        images.of_label(lossy, 255, "m.png")
    np.testing.assert_array_equal(images.of_label(drawn, 255, "m.png"), WALL == 1)


def test_jpeg_masks_are_refused_by_name(tmp_path):
    for name in ("i/a.jpg", "m/a.JPG", "i/b.png", "m/b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    pairs, problems = images.find_pairs(tmp_path / "i", tmp_path / "m")
    assert [pair.stem for pair in pairs] == ["b"]
    assert problems == [
        "m/a.JPG: JPEG does not keep labels as they were drawn; a mask as PNG, NIfTI or MetaImage "
        "was expected"
    ]
    alone, _ = images.find_pairs(tmp_path / "i", tmp_path / "i")
    assert [pair.stem for pair in alone] == ["a", "b"]
