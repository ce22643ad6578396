"""NIfTI, MetaImage and pictures: where their pixels lie, and masks drawn upon them."""

import imageio.v3 as iio
import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from jssm import files
from jssm.files import images
from tests.dicom_files import write_cine

FRAMES = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4)  # 2 frames, 3 rows, 4 columns
# Columns 0.7 mm to the left, rows 1.1 mm to the feet and a little back; RAS.
AFFINE = np.array([[-0.7, 0, 0, 9.0], [0, -0.66, 8, 8], [0, -0.88, 0, 7], [0, 0, 0, 1]])


def nifti(path, array, affine=AFFINE, step=None):
    file = nib.Nifti1Image(array, affine)
    file.header.set_xyzt_units("mm", "sec")
    if step:
        file.header.set_zooms((*file.header.get_zooms()[:3], step))
    nib.save(file, path)
    return path


def test_nifti_pixels_have_their_place_in_the_patient(tmp_path):
    path = nifti(tmp_path / "a.nii", FRAMES.transpose(2, 1, 0)[:, :, None], step=0.04)
    cine = files.read(path)
    np.testing.assert_allclose(cine.spacing_mm, (1.1, 0.7), rtol=1e-6)
    np.testing.assert_allclose(cine.time_s, [0, 0.04])
    at = AFFINE @ [3, 2, 0, 1]
    np.testing.assert_allclose(
        files.patient_mm(cine, np.array([3, 2])), [-at[0], -at[1], at[2]], rtol=1e-6
    )


LAYOUTS = {
    "(x, y)": lambda a: a[:, :, 0],
    "(x, y, 1)": lambda a: a[:, :, :1],
    "(x, y, frames)": lambda a: a,
    "(x, y, 1, frames)": lambda a: a[:, :, None],
    "(1, x, y)": lambda a: a[None, :, :, 0],
    "(x, 1, y, frames)": lambda a: a[:, None],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_result_is_written_back_in_the_layout_and_place_of_its_image(tmp_path, layout):
    array = LAYOUTS[layout](FRAMES.transpose(2, 1, 0))
    order = {"(1, x, y)": [2, 0, 1, 3], "(x, 1, y, frames)": [0, 2, 1, 3]}.get(layout, range(4))
    path = nifti(tmp_path / "a.nii", array, AFFINE[:, list(order)])
    cine = files.read(path)
    np.testing.assert_array_equal(cine.frames, FRAMES[: len(cine.frames)])
    np.testing.assert_allclose(cine.spacing_mm, (1.1, 0.7), rtol=1e-6)
    files.write_nifti(tmp_path / "b.nii.gz", cine.frames > 5, cine)
    before, after = nib.load(path), nib.load(tmp_path / "b.nii.gz")
    np.testing.assert_allclose(after.affine, before.affine, atol=1e-5)
    np.testing.assert_array_equal(np.asarray(after.dataobj), array > 5)
    np.testing.assert_allclose(after.header.get_zooms()[:3], before.header.get_zooms()[:3], 1e-5)


def test_dicom_becomes_nifti_with_the_same_pixels_and_place(tmp_path):
    write_cine(tmp_path / "scan")
    cine = files.open_cines(tmp_path / "scan")[0][0].load()
    files.write_nifti(tmp_path / "a.nii", cine.frames, cine)
    again = files.read(tmp_path / "a.nii")
    np.testing.assert_array_equal(again.frames, cine.frames)
    np.testing.assert_allclose(again.to_patient_mm, cine.to_patient_mm, atol=1e-5)
    np.testing.assert_allclose(again.time_s, cine.time_s, atol=1e-6)
    np.testing.assert_allclose(again.spacing_mm, cine.spacing_mm, rtol=1e-6)
    assert files.read(tmp_path / "a.nii").nifti_shape == (32, 24, 1, 3)
    with pytest.raises(ValueError, match="expected"):
        files.write_nifti(tmp_path / "b.nii", cine.frames[:1], cine)


def test_a_nifti_file_without_a_place_says_so(tmp_path):
    file = nib.Nifti1Image(FRAMES.transpose(2, 1, 0), None)
    file.header.set_zooms((0.7, 1.1, 1))
    nib.save(file, tmp_path / "a.nii")
    cine = files.read(tmp_path / "a.nii")
    assert cine.to_patient_mm is None
    np.testing.assert_allclose(cine.spacing_mm, (1.1, 0.7), rtol=1e-6)
    with pytest.raises(ValueError, match="does not say where it lies"):
        files.patient_mm(cine, np.zeros(2))
    files.write_nifti(tmp_path / "b.nii", cine.frames, cine)
    np.testing.assert_allclose(files.read(tmp_path / "b.nii").spacing_mm, (1.1, 0.7), rtol=1e-6)


def test_metaimage_place_and_time(tmp_path):
    file = sitk.GetImageFromArray(FRAMES[:, None], isVector=False)
    file.SetSpacing((0.7, 1.1, 8, 0.05))
    file.SetOrigin((1, 2, 3, 0))
    sitk.WriteImage(file, str(tmp_path / "a.mhd"))
    cine = files.read(tmp_path / "a.mhd")
    np.testing.assert_array_equal(cine.frames, FRAMES)
    np.testing.assert_allclose(cine.time_s, [0, 0.05])
    np.testing.assert_allclose(files.patient_mm(cine, np.array([3, 2])), [1 + 2.1, 2 + 2.2, 3])


def test_jpeg_and_names_in_folders(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        iio.imwrite(tmp_path / folder / "c.jpg", np.full((8, 8), 90, np.uint8))
    found, problems = files.open_cines(tmp_path)
    assert problems == []
    assert [f.name for f in found] == ["a_c", "b_c"]
    assert [f.load().name for f in found] == ["a_c", "b_c"]
    assert abs(int(found[0].load().frames[0, 0, 0]) - 90) <= 1


def test_a_header_that_claims_too_much_is_refused_before_memory_is_taken(tmp_path):
    path = nifti(tmp_path / "a.nii", FRAMES.transpose(2, 1, 0))
    data = bytearray(path.read_bytes())
    data[42:48] = np.array([30000, 30000, 30000], np.int16).tobytes()
    path.write_bytes(bytes(data))
    with pytest.raises(files.BadInput, match="GiB of pixels"):
        files.read(path)


def test_a_missing_file_is_told():
    with pytest.raises(files.BadInput, match="no such file or folder"):
        files.open_cines(images.Path("nowhere"))


TURNS = [(flip_x, flip_y, swap) for flip_x in (0, 1) for flip_y in (0, 1) for swap in (False, True)]


@pytest.mark.parametrize(("flip_x", "flip_y", "swap"), TURNS)
def test_masks_with_turned_axes_come_onto_the_images_pixels(tmp_path, flip_x, flip_y, swap):
    array = FRAMES.transpose(2, 1, 0)[:, :, None]
    image = files.read(nifti(tmp_path / "image.nii", array))
    affine = AFFINE.copy()
    turned = array
    for axis, flip in enumerate((flip_x, flip_y)):
        if flip:
            turned = np.flip(turned, axis)
            affine[:, 3] += affine[:, axis] * (array.shape[axis] - 1)
            affine[:, axis] *= -1
    if swap:
        turned, affine = turned.swapaxes(0, 1), affine[:, [1, 0, 2, 3]]
    mask = files.read(nifti(tmp_path / "mask.nii", np.ascontiguousarray(turned), affine))
    np.testing.assert_array_equal(files.on_grid_of(mask, image, "mask.nii"), FRAMES)


def moved(affine, *shift):
    return affine + np.outer([*shift, 0], [0, 0, 0, 1])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda a: a @ np.diag([2, 2, 1, 1]), "another grid"),
        (lambda a: moved(a, 0.7, 0, 0), "places it -1.0 px right"),
        (lambda a: moved(a, 0, 24, -18), "30.0 mm off the plane"),
        (lambda a: np.array([[0.8, -0.6, 0, 0], [0.6, 0.8, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]) @ a,
         "another grid"),
    ],
)  # fmt: skip
def test_masks_of_another_grid_or_place_are_refused(tmp_path, change, sentence):
    array = FRAMES.transpose(2, 1, 0)[:, :, None]
    image = files.read(nifti(tmp_path / "image.nii", array))
    mask = files.read(nifti(tmp_path / "mask.nii", array, change(AFFINE)))
    with pytest.raises(files.BadInput, match=f"mask.nii: .*{sentence}"):
        files.on_grid_of(mask, image, "mask.nii")


def test_masks_without_a_place_need_the_same_size(tmp_path):
    image = files.read(nifti(tmp_path / "image.nii", FRAMES.transpose(2, 1, 0)))
    iio.imwrite(tmp_path / "m.png", np.zeros((3, 4), np.uint8))
    iio.imwrite(tmp_path / "n.png", np.zeros((4, 3), np.uint8))
    with pytest.raises(files.BadInput, match=r"m\.png: 1 frames, but its image has 2"):
        files.on_grid_of(files.read(tmp_path / "m.png"), image, "m.png")
    with pytest.raises(files.BadInput, match=r"n\.png: the mask is 3×4 px, but its image 4×3"):
        files.on_grid_of(files.read(tmp_path / "n.png"), image, "n.png")
