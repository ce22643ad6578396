"""The codes of what is measured in a heart, as DICOM objects name it (PS3.16).

Schemes: SCT is SNOMED CT, LN LOINC, UCUM the units, DCM DICOM's own; 99JSSM is private, for what
none of them has.
"""

from typing import NamedTuple


class Code(NamedTuple):
    """A value in a coding scheme, and what it means."""

    value: str
    scheme: str
    meaning: str


PERCENT = Code("%", "UCUM", "%")
MILLILITER = Code("ml", "UCUM", "ml")

LEFT_VENTRICLE = Code("87878005", "SCT", "Left ventricle")
DEVICE = Code("121007", "DCM", "Device")
ENGLISH = Code("en", "RFC5646", "English")

# By what made the images, "" for anything else.
PROCEDURE = {
    "MR": Code("241620005", "SCT", "Cardiac MRI"),
    "US": Code("40701008", "SCT", "Echocardiography"),
    "": Code("363679005", "SCT", "Imaging procedure"),
}
EF = {
    "MR": Code("8811-2", "LN", "Left ventricular ejection fraction by MR"),
    "US": Code("18043-0", "LN", "Left Ventricular Ejection Fraction by US"),
    "": Code("10230-1", "LN", "Left ventricular Ejection fraction"),
}
ED_VOLUME = {
    "US": Code("18026-5", "LN", "Left Ventricular End Diastolic Volume"),
    "": Code("8821-1", "LN", "Left Ventricular ED Volume"),
}
ES_VOLUME = {
    "US": Code("18148-7", "LN", "Left Ventricular End Systolic Volume"),
    "": Code("8823-7", "LN", "Left Ventricular ES Volume"),
}
BIPLANE_EF = Code("79991-6", "LN", "Left ventricular ejection fraction biplane (MOD)")
BIPLANE_ED_VOLUME = Code("79996-5", "LN", "Left ventricular end diastolic volume biplane (MOD)")
BIPLANE_ES_VOLUME = Code("80001-1", "LN", "Left ventricular end systolic volume biplane (MOD)")

AREA_LENGTH = Code("125205", "DCM", "Area-Length Single Plane")
BIPLANE_DISCS = Code("125207", "DCM", "Method of Disks, Biplane")
LINE_METHOD = {
    "endo": Code("130683", "DCM", "Endocardial Method"),
    "mid": Code("130685", "DCM", "Myocardial Midlayer Method"),
    "epi": Code("130684", "DCM", "Epicardial Method"),
}

PEAK_STRAIN = Code("130671", "DCM", "Peak Longitudinal Lagrangian Strain")
# The endocardium's over the whole view has a code for each view.
PEAK_GLS = {
    "2ch": Code("130696", "DCM", "LV Peak GLS 2CH (Endocardial)"),
    "3ch": Code("130697", "DCM", "LV Peak GLS ALAX (Endocardial)"),
    "4ch": Code("130695", "DCM", "LV Peak GLS 4CH (Endocardial)"),
}
_SEGMENTS = {
    "basal anterior": ("264850008", "SCT"),
    "basal anteroseptal": ("396482007", "SCT"),
    "basal inferoseptal": ("396646008", "SCT"),
    "basal inferior": ("264846001", "SCT"),
    "basal inferolateral": ("396652009", "SCT"),
    "basal anterolateral": ("396654005", "SCT"),
    "mid anterior": ("264848000", "SCT"),
    "mid anteroseptal": ("396647004", "SCT"),
    "mid inferoseptal": ("396649001", "SCT"),
    "mid inferior": ("264847005", "SCT"),
    "mid inferolateral": ("396655006", "SCT"),
    "mid anterolateral": ("396656007", "SCT"),
    "apical anterior": ("264844003", "SCT"),
    "apical anteroseptal": ("130620", "DCM"),
    "apical inferoseptal": ("130621", "DCM"),
    "apical inferior": ("264849008", "SCT"),
    "apical inferolateral": ("130622", "DCM"),
    "apical anterolateral": ("130623", "DCM"),
}


def segment(name: str) -> Code:
    """The code of a segment of the 18-segment model (CID 3781), by its name here.

    A segment whose name is not known ("segment 3" of a view that is none) has a private code.
    """
    if name in _SEGMENTS:
        return Code(*_SEGMENTS[name], f"left ventricle {name} segment")
    return Code(name.replace(" ", "").upper(), "99JSSM", f"{name} of 6, in the order of the points")


def by_modality(table: dict[str, Code], modality: str) -> Code:
    """The code for what made the images."""
    return table.get(modality, table[""])
