"""The wall as VTK PolyData (.vtp, one file a frame) with a .pvd file that lists them in time.

Plain text of the VTK XML format ("VTK File Formats", The VTK User's Guide), which ParaView,
3D Slicer, PyVista and VTK read; it is small enough to do without those libraries.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np


def write_polydata(
    path: Path,
    points: np.ndarray,
    *,
    lines: Sequence[np.ndarray] = (),
    triangles: np.ndarray | None = None,
    point_data: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Write points (N, 3) with polylines, triangles (M, 3) and fields (N,) or (N, 3) on the points.

    ``lines`` and ``triangles`` hold numbers of points. A field keeps its name and whether it is
    whole-numbered.
    """
    faces = np.zeros((0, 3), np.int32) if triangles is None else triangles
    root = ET.Element("VTKFile", type="PolyData", version="0.1", byte_order="LittleEndian")
    piece = ET.SubElement(
        ET.SubElement(root, "PolyData"),
        "Piece",
        NumberOfPoints=str(len(points)),
        NumberOfVerts="0",
        NumberOfLines=str(len(lines)),
        NumberOfStrips="0",
        NumberOfPolys=str(len(faces)),
    )
    fields = ET.SubElement(piece, "PointData")
    for name, values in (point_data or {}).items():
        _array(fields, name, values)
    _array(ET.SubElement(piece, "Points"), "Points", points)
    for tag, cells in (("Lines", lines), ("Polys", faces)):
        parent = ET.SubElement(piece, tag)
        joined = np.concatenate([np.zeros(0, np.int32), *cells]).astype(np.int32)
        _array(parent, "connectivity", joined)
        _array(parent, "offsets", np.cumsum([len(cell) for cell in cells], dtype=np.int32))
    ET.ElementTree(root).write(path, xml_declaration=True)


def write_collection(path: Path, files: Sequence[str], times: np.ndarray) -> None:
    """Write a .pvd file that lists ``files``, relative to it, with the time of each."""
    root = ET.Element("VTKFile", type="Collection", version="0.1", byte_order="LittleEndian")
    collection = ET.SubElement(root, "Collection")
    for file, time in zip(files, times, strict=True):
        ET.SubElement(collection, "DataSet", timestep=f"{time:.6g}", part="0", file=file)
    ET.ElementTree(root).write(path, xml_declaration=True)


def _array(parent: ET.Element, name: str, values: np.ndarray) -> None:
    whole = np.issubdtype(values.dtype, np.integer)
    attributes = {"type": "Int32" if whole else "Float32", "Name": name, "format": "ascii"}
    if values.ndim == 2:
        attributes["NumberOfComponents"] = str(values.shape[1])
    text = map("{:d}".format if whole else "{:.6g}".format, values.ravel().tolist())
    ET.SubElement(parent, "DataArray", attributes).text = " ".join(text)
