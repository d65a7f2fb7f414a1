"""The doctor: what a file says wrongly, or not at all, is found; a complete film gives no warning; no name comes through."""

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, config, dcmread
from pydicom._dicom_dict import DicomDictionary
from pydicom.datadict import keyword_dict
from pydicom.dataelem import RawDataElement
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import JPEG2000, UID, JPEG2000Lossless, JPEGBaseline8Bit

from core.errors import NoFittingModel
from core.models.card import ModelCard, Scope
from core.models.scope import choose_model, mismatch
from core.reading import doctor
from core.reading import header_signs as checks
from core.reading.dicom import scan_of
from core.reading.doctor import Verdict, blocking, examine
from core.reading.header_sides import view_of
from core.reading.header_signs import header_signs
from core.reading.patients import same_patient
from core.reading.verdict_words import WORDS
from core.scan import Geometry, Scan
from tests.files import SECONDARY_CAPTURE, TEST_FILES, bundled_names, dicom_dataset
from tests.networks import card

GREY = (np.arange(200 * 160) % 251).astype(np.uint8).reshape(1, 200, 160)
HOSTILE_TEXT = ("", " ", "\0", "\x1b[31m", ":red[loud]", "<script>", "$x$", "NaN", "1e999", "-1", "\\", "É" * 5000)
HOSTILE: tuple[object, ...] = (None, *HOSTILE_TEXT, [], ["", ""], ["L", "F", "P"], [1.5, 2], ["1", "x"], b"\xff\xfe", 7)
SERIES_SIGNS = {
    "gap": "2",
    "uneven-spacing": "4.9 to 5.1 mm",
    "incomplete": "28 of 30",
    "no-geometry": "",
    "mixed-orientation": "",
    "duplicate": "3",
    "left-out": "1",
    "time-point": "1 of 12",
    "oblique": "12",
    "orientation-unknown": "",
    "two-studies": "2",
    "mixed-scale": "",
}


def film(**tags: Any) -> Dataset:
    """A complete frontal chest film, changed where said; None leaves an element out."""
    complete: dict[str, Any] = {
        "Modality": "DX",
        "BodyPartExamined": "CHEST",
        "ViewPosition": "PA",
        "ImageType": ["DERIVED", "PRIMARY"],
        "PresentationIntentType": "FOR PRESENTATION",
        "BurnedInAnnotation": "NO",
        "LossyImageCompression": "00",
        "ImageLaterality": "U",
        "PatientOrientation": ["L", "F"],
        "ImagerPixelSpacing": [0.14, 0.14],
        "PixelSpacing": [0.13, 0.13],
        "PixelSpacingCalibrationType": "GEOMETRY",
        "StudyDate": "20200310",
        "AcquisitionDate": "20200310",
        "ContentDate": "20200311",
        "PatientBirthDate": "19610509",
        "PatientAge": "058Y",
    }
    with config.disable_value_validation():
        return dicom_dataset(GREY[0], **{**complete, **tags})


def slices(**tags: Any) -> Dataset:
    """One axial slice of CT with what belongs to it."""
    plane = {
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "ImagePositionPatient": [0, 0, 0],
        "PixelSpacing": [0.7, 0.7],
    }
    ct = {"Modality": "CT", "SOPClassUID": UID("1.2.840.10008.5.1.4.1.1.2"), "BodyPartExamined": "CHEST"}
    kind = {"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"], "PatientAge": "058Y"}
    with config.disable_value_validation():
        return dicom_dataset(GREY[0], **{**plane, **ct, **kind, **tags})


def hand(**tags: Any) -> Dataset:
    """A film of a hand, its side given once."""
    return film(**{"BodyPartExamined": "HAND", "ImageLaterality": "L", **tags})


def bundled_signs(name: str) -> dict[str, str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return header_signs(dcmread(TEST_FILES / name, force=True))


def scan_with(signs: dict[str, str] | None = None, **changes: Any) -> Scan:
    stated: dict[str, Any] = {
        "stored": GREY.copy(),
        "digest": "0" * 64,
        "source_format": "DICOM",
        "modality": "DX",
        "body_part": "CHEST",
        "view": "PA",
        "geometry": Geometry((0.1, 0.1), ("L", "F")),
        "signs": signs or {},
    }
    return Scan(**{**stated, **changes})


def found(scan: Scan, model: ModelCard | None = None) -> dict[str, Verdict]:
    return {verdict.code: verdict for verdict in examine(scan, model)}


def loud(signs: dict[str, str]) -> set[str]:
    """The codes that are more than a note."""
    return {verdict.code for verdict in examine(scan_with(signs)) if verdict.severity != "note"}


def item(**tags: Any) -> Dataset:
    dataset = Dataset()
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    return dataset


def adult_card() -> ModelCard:
    return card(title="Adult chest X-ray", scope=Scope(modalities=("DX", "CR"), body_parts=("CHEST",), ages=(18, 130)))


# --- Silence where all is well. ---


def test_a_complete_chest_film_gives_no_sign_and_no_verdict_for_its_model() -> None:
    signs = header_signs(film())
    assert signs == {}
    assert examine(scan_with(signs), adult_card()) == ()


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small.dcm", "J2K_pixelrep_mismatch.dcm", "examples_overlay.dcm"])
def test_an_ordinary_slice_gives_notes_at_most(name: str) -> None:
    assert loud(bundled_signs(name)) == set()


def test_a_film_that_the_detectors_spacing_is_said_of_gives_only_a_note() -> None:
    signs = header_signs(film(PixelSpacing=[0.14, 0.14], PixelSpacingCalibrationType=None))
    assert signs == {"spacing-at-detector": ""}
    assert loud(signs) == set()


def test_a_film_with_a_view_code_instead_of_a_view_position_misses_no_view() -> None:
    assert header_signs(film(ViewPosition=None, ViewCodeSequence=[item(CodeValue="272479007")])) == {}


@pytest.mark.parametrize(
    ("position", "code", "view"),
    [
        ("PA", None, "PA"),
        (" pa ", None, "PA"),
        ("AP", "272479007", "AP"),
        (None, "272479007", "PA"),
        ("", "R-10206", "AP"),
        (None, "399173006", "LL"),
        (None, "R-10232", "RL"),
        ("Zaphod!", "399348003", "AP"),
        (None, "399067008", ""),
        (None, "ZAPHOD", ""),
        ("Zaphod!", None, ""),
        (None, None, ""),
    ],
)
def test_the_view_is_taken_from_its_code_where_the_position_does_not_say(
    position: str | None, code: str | None, view: str
) -> None:
    with config.disable_value_validation():
        dataset = film(ViewPosition=position, ViewCodeSequence=[item(CodeValue=code)] if code else None)
        assert view_of(dataset) == view
        assert scan_of(dataset, GREY, "0" * 64).view == (view or None)


def test_a_view_code_without_a_word_of_its_own_is_still_a_view_that_was_given() -> None:
    assert header_signs(film(ViewPosition=None, ViewCodeSequence=[item(CodeValue="399067008")])) == {}


def test_an_enhanced_slice_says_its_plane_and_spacing_in_functional_groups() -> None:
    shared = item(
        PlaneOrientationSequence=[item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
        PixelMeasuresSequence=[item(PixelSpacing=[0.7, 0.7])],
    )
    bare = slices(ImageOrientationPatient=None, PixelSpacing=None)
    assert {"orientation-missing", "spacing-missing"} <= set(header_signs(bare))
    bare.SharedFunctionalGroupsSequence = [shared]
    assert header_signs(bare) == {}


# --- Truths. ---

TRUTHS: list[tuple[Dataset, dict[str, str]]] = [
    (film(ImageType=["DERIVED", "SECONDARY"]), {"derived": ""}),
    (slices(ImageType=["DERIVED", "PRIMARY", "AXIAL"]), {"derived": ""}),
    (slices(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), {"localizer": ""}),
    (slices(ImageType=["ORIGINAL", "PRIMARY", "SCREEN SAVE"]), {"screen-save": ""}),
    (slices(ImageType=["DERIVED", "SECONDARY", "REFORMATTED"]), {"derived": "", "reformatted": ""}),
    (slices(ImageType=["DERIVED", "SECONDARY", "PROJECTION IMAGE"]), {"derived": "", "projection": ""}),
    (film(LossyImageCompression="01"), {"lossy": ""}),
    (film(LossyImageCompression="01", LossyImageCompressionRatio="12.5"), {"lossy": "12.5"}),
    (film(LossyImageCompression="01", LossyImageCompressionRatio=["2", "8"]), {"lossy": "8"}),
    (film(LossyImageCompression="01", LossyImageCompressionRatio="0.08"), {"lossy": ""}),
    (film(LossyImageCompression=None, syntax=JPEGBaseline8Bit), {"lossy": ""}),
    (film(LossyImageCompression=None, syntax=JPEG2000), {"lossy": ""}),
    (film(LossyImageCompression="00", syntax=JPEG2000), {}),
    (film(LossyImageCompression=None, syntax=JPEG2000Lossless), {}),
    (film(SOPClassUID=SECONDARY_CAPTURE), {"secondary-capture": ""}),
    (film(ConversionType="DF"), {"secondary-capture": "DF"}),
    (film(ConversionType="WSD"), {}),
    (film(SOPClassUID=UID("1.2.840.10008.5.1.4.1.1.77.1.4")), {}),
    (film(PresentationIntentType="FOR PROCESSING"), {"for-processing": ""}),
    (film(BurnedInAnnotation="YES"), {"burned-in": ""}),
    (film(Modality="US", ImageType=None, BurnedInAnnotation=None), {"burned-in-unknown": ""}),
    (film(BurnedInAnnotation=None), {}),
    (film(RecognizableVisualFeatures="YES"), {"recognizable-face": ""}),
    (film(QualityControlImage="YES"), {"quality-control": ""}),
    (film(PatientSpeciesDescription="Canis"), {"animal": ""}),
    (film(PatientSpeciesDescription="Homo sapiens"), {}),
    (slices(ContrastBolusAgent="Agent 300"), {"contrast": ""}),
    (slices(ContrastBolusAgent="None"), {}),
    (hand(), {}),
    (hand(ImageLaterality=None), {"laterality-missing": ""}),
    (hand(ImageLaterality=None, BodyPartExamined="LEFT HAND"), {}),
    (hand(ImageLaterality=None, BodyPartExamined="HANDS"), {}),
    (hand(ImageLaterality="B"), {}),
    (hand(Laterality="R"), {"laterality-conflict": ""}),
    (hand(BodyPartExamined="RIGHT HAND"), {"laterality-conflict": ""}),
    (hand(SeriesDescription="Hand_right 2 views"), {"laterality-conflict": ""}),
    (hand(SeriesDescription="Hand right lateral"), {}),
    (hand(SeriesDescription="left and right hands"), {}),
    (hand(SeriesDescription="R/O fracture"), {}),
    (film(ImageLaterality="R", SeriesDescription="Chest left"), {}),
    (film(Modality="MG", ViewPosition="LMLO", BodyPartExamined=None, ImageLaterality="R"), {"laterality-conflict": ""}),
    (slices(BodyPartExamined="KNEE"), {}),
    (film(PatientOrientation=None), {"orientation-missing": ""}),
    (film(PatientOrientation=["R", "F"]), {"orientation-conflict": "mirrored"}),
    (film(PatientOrientation=["L", "H"]), {"orientation-conflict": "turned"}),
    (film(PatientOrientation=["F", "R"]), {"orientation-conflict": "turned"}),
    (film(PatientOrientation=["P", "F"], ViewPosition="LL"), {}),
    (slices(PatientOrientation=["L", "P"]), {}),
    (slices(PatientOrientation=["R", "P"]), {"orientation-conflict": "planes"}),
    (slices(PatientOrientation=["L", "PF"], ImageOrientationPatient=[1, 0, 0, 0, 0.9272, -0.3746]), {}),
    (slices(ImageOrientationPatient=[1, 0, 0, 1, 0, 0]), {"orientation-conflict": "cosines"}),
    (slices(ImageOrientationPatient=[2, 0, 0, 0, 1, 0]), {"orientation-conflict": "cosines"}),
    (slices(ImageOrientationPatient=[1, 0, 0]), {"orientation-conflict": "cosines"}),
    (film(ViewPosition=None), {"view-missing": ""}),
    (film(PixelSpacing=None), {"spacing-missing": "detector"}),
    (film(PixelSpacing=None, ImagerPixelSpacing=None), {"spacing-missing": ""}),
    (film(PixelSpacingCalibrationType=None), {"spacing-conflict": "calibration"}),
    (film(PixelSpacingCalibrationType=None, EstimatedRadiographicMagnificationFactor="1.077"), {}),
    (film(PixelSpacingCalibrationType=None, PixelSpacing=[0.28, 0.28]), {"spacing-conflict": "larger"}),
    (film(PixelAspectRatio=[2, 1]), {"spacing-conflict": "aspect"}),
    (film(PixelAspectRatio=[1, 1]), {}),
    (slices(PixelSpacing=[1.4, 0.7]), {"pixels-not-square": "2 to 1"}),
    (film(PatientBirthDate="20200401", PatientAge="000Y"), {"date-order": "birth", "age-unknown": ""}),
    (film(PatientAge="028Y"), {"date-order": "age"}),
    (film(PatientAge="059Y"), {}),
    (film(StudyDate="29990101", AcquisitionDate=None, ContentDate=None, PatientAge=None), {"date-order": "future"}),
    (film(AcquisitionDate="20200308"), {"date-order": "study"}),
    (film(AcquisitionDate="20200309"), {}),
    (film(StudyDate="2020.03.10"), {}),
    (film(PatientBirthDate="19000101"), {}),
    (film(PatientBirthDate="20101224", PatientAge=None), {"child": "9"}),
    (film(PatientBirthDate=None, PatientAge="017Y"), {"child": "17"}),
    (film(PatientBirthDate=None, PatientAge="215M"), {"child": "17"}),
    (film(PatientBirthDate=None, PatientAge="018Y"), {}),
    (film(PatientBirthDate=None, PatientAge=None), {"age-unknown": ""}),
]


@pytest.mark.parametrize(("dataset", "signs"), TRUTHS, ids=[" ".join(signs) or "nothing" for _, signs in TRUTHS])
def test_what_is_odd_about_a_header_is_found_and_nothing_else(dataset: Dataset, signs: dict[str, str]) -> None:
    assert header_signs(dataset) == signs


@pytest.mark.parametrize(
    ("name", "code", "detail"),
    [
        ("JPEG-lossy.dcm", "lossy", "76"),
        ("JPEG2000.dcm", "lossy", ""),
        ("JPEGLSNearLossless_08.dcm", "lossy", ""),
        ("SC_rgb_jpeg_dcmtk.dcm", "secondary-capture", ""),
        ("rtdose.dcm", "not-intensities", "RTDOSE"),
        ("liver_1frame.dcm", "not-intensities", "SEG"),
        ("CT_small.dcm", "contrast", ""),
        ("CT_small.dcm", "date-order", "study"),
    ],
)
def test_what_is_known_of_real_files_is_found(name: str, code: str, detail: str) -> None:
    assert bundled_signs(name)[code] == detail


@pytest.mark.parametrize(
    "name", ["JPEG2000-embedded-sequence-delimiter.dcm", "JPGExtended.dcm", "examples_ybr_color.dcm"]
)
def test_lossless_files_are_not_called_lossy_and_lossy_ones_are(name: str) -> None:
    assert "lossy" in bundled_signs(name)
    assert "lossy" not in bundled_signs("MR_small_jp2klossless.dcm") | bundled_signs("MR_small_jpeg_ls_lossless.dcm")


@pytest.mark.parametrize(("frame", "conflict"), [("R", True), ("L", False)])
def test_the_side_in_frames_and_in_anatomic_modifiers_is_heard(frame: str, *, conflict: bool) -> None:
    framed = hand(SharedFunctionalGroupsSequence=[item(FrameAnatomySequence=[item(FrameLaterality=frame)])])
    code = {"R": "24028007", "L": "7771000"}[frame]
    modified = hand(AnatomicRegionSequence=[item(AnatomicRegionModifierSequence=[item(CodeValue=code)])])
    assert [("laterality-conflict" in header_signs(dataset)) for dataset in (framed, modified)] == [conflict, conflict]


# --- Hostile values. ---


def read_keywords() -> list[str]:
    """Every element that the doctor reads, seen by listening to it."""
    asked: set[str] = set()

    class Listening(Dataset):
        def get(self, key: Any, default: Any = None) -> Any:
            asked.add(key)
            return super().get(key, default)

    for dataset in (film(), hand(), slices(), film(Modality="MG", ViewPosition=None)):
        listening = Listening(dataset)
        header_signs(listening)
        same_patient(listening, listening)
    return sorted(asked)


def hostile_datasets() -> Iterator[tuple[str, Dataset]]:
    with config.disable_value_validation():
        for keyword in read_keywords():
            for value in HOSTILE:
                for make in (film, hand, slices):
                    dataset = make()
                    try:
                        setattr(dataset, keyword, value)
                    except (TypeError, ValueError, AttributeError, OverflowError):
                        continue
                    yield keyword, dataset


def test_the_doctor_reads_many_elements_and_all_are_in_the_dictionary() -> None:
    asked = read_keywords()
    assert len(asked) > 40
    assert set(asked) <= set(keyword_dict)


def test_no_check_raises_whatever_an_element_holds() -> None:
    count = 0
    for _, dataset in hostile_datasets():
        for check in checks._CHECKS:
            check(dataset)
        examine(scan_with(header_signs(dataset)), adult_card())
        assert isinstance(same_patient(dataset, film()), bool)
        count += 1
    assert count > 500


def test_details_hold_only_words_of_our_own_and_numbers() -> None:
    known = {detail for _, signs in TRUTHS for detail in signs.values()}
    for keyword, dataset in hostile_datasets():
        for detail in header_signs(dataset).values():
            assert detail in known or detail.replace(" to 1", "").replace(".", "").isdecimal(), (keyword, detail)


def test_elements_of_the_wrong_kind_as_read_from_a_file_are_survived() -> None:
    for keyword in read_keywords():
        for vr, raw in (
            ("SQ", b"\xff\xff\xff\xff\xff"),
            ("US", b"\1"),
            ("DS", b"a\\b"),
            ("PN", b"\xff\xfe"),
            ("UN", b"\0"),
        ):
            dataset = film()
            tag = Tag(keyword)
            dataset._dict[tag] = RawDataElement(tag, vr, len(raw), raw, 0, is_implicit_VR=False, is_little_endian=True)
            assert isinstance(header_signs(dataset), dict)
            assert isinstance(same_patient(dataset, film()), bool)


def test_an_empty_dataset_gives_signs_of_nothing() -> None:
    assert header_signs(Dataset()) == {"age-unknown": ""}


def test_one_check_that_breaks_does_not_silence_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(dataset: Dataset) -> dict[str, str]:
        raise RecursionError

    monkeypatch.setattr(checks, "_CHECKS", (broken, *checks._CHECKS))
    assert header_signs(film(BurnedInAnnotation="YES")) == {"burned-in": ""}


# --- Nothing of the patient. ---


def marked(dataset: Dataset) -> Dataset:
    """The dataset with a marker in every person, text and identifier element of the dictionary, and telling dates."""
    markers: dict[str, Any] = dict.fromkeys(("LO", "LT", "PN", "SH", "ST", "UT", "UC"), "Zaphod")
    markers |= {"AE": "ZAPHOD", "DA": "19770525", "DT": "19770525115500", "TM": "115500", "UI": "1.2.77.525"}
    kept = {"SOPClassUID", "PatientAge"}
    for tag, (vr, *_, keyword) in DicomDictionary.items():
        if vr in markers and keyword and keyword not in kept and tag >> 16 not in (0, 2):
            with config.disable_value_validation():
                setattr(dataset, keyword, markers[vr])
    return dataset


@pytest.mark.parametrize("make", [film, hand, slices])
def test_no_name_no_date_and_no_text_of_the_file_reaches_signs_or_verdicts(make: Callable[..., Dataset]) -> None:
    signs = header_signs(marked(make(LossyImageCompression="01", ConversionType="ZAPHOD", ViewPosition=None)))
    assert signs
    spoken = repr(signs) + repr(examine(scan_with(signs), adult_card()))
    for secret in ("zaphod", "1977", "0525", "1155", "1.2.77"):
        assert secret not in spoken.casefold()


def test_details_that_are_markup_are_not_said() -> None:
    for code in (*SERIES_SIGNS, "lossy", "never-heard-of"):
        for text in (":red[x]", "<b>", "a\nb", "x" * 99, "{code}", "É"):
            verdict = found(scan_with({code: text}))[code]
            assert text not in repr(verdict)
            assert "(" not in verdict.sentence


# --- Verdicts. ---


def every_verdict() -> list[Verdict]:
    said = [doctor._verdict(*key.partition(":")[::2]) for key in WORDS]
    return said + [doctor._verdict(code, detail) for code, detail in SERIES_SIGNS.items()]


@pytest.mark.parametrize("verdict", every_verdict(), ids=lambda verdict: verdict.name)
def test_every_verdict_is_short_plain_and_complete(verdict: Verdict) -> None:
    assert 2 <= len(verdict.name.split()) <= 5
    assert len(verdict.sentence) < 160
    assert len(verdict.advice) < 160
    for sentence in (verdict.sentence, verdict.advice):
        assert sentence.endswith(".")
        assert sentence.isascii()
        assert not set(sentence) & set("!{}[]*_<>`$")


def test_every_sign_that_the_header_can_give_has_words_of_its_own() -> None:
    for code in {code for _, signs in TRUTHS for code in signs}:
        assert code in WORDS


@pytest.mark.parametrize(("code", "detail"), SERIES_SIGNS.items())
def test_what_series_building_found_is_said_with_its_count(code: str, detail: str) -> None:
    verdict = found(scan_with({code: detail}))[code]
    assert detail in verdict.sentence
    assert verdict.severity in ("warn", "note")


def test_an_unknown_sign_is_not_lost() -> None:
    verdict = found(scan_with({"strange-table": "3"}))["strange-table"]
    assert (verdict.severity, verdict.sentence) == ("note", "Reading the file reported: strange-table (3).")
    assert found(scan_with({"Zaphod!": ""}))["other"].severity == "note"


def test_the_gravest_come_first_then_in_the_order_of_their_codes() -> None:
    signs = {"not-intensities": "SEG", "lossy": "", "burned-in": "", "contrast": "", "derived": "", "time-point": ""}
    codes = [verdict.code for verdict in examine(scan_with(signs))]
    assert codes == ["not-intensities", "burned-in", "lossy", "contrast", "time-point"]


def test_labels_and_doses_block_and_name_what_they_are() -> None:
    verdict = blocking(examine(scan_with({"not-intensities": "SEG"})))
    assert verdict is not None
    assert verdict.code == "not-intensities"
    assert "SEG" in verdict.sentence


def test_nothing_blocks_an_ordinary_scan() -> None:
    assert blocking(examine(scan_with({"lossy": "", "gap": "2"}))) is None
    assert blocking(()) is None


@pytest.mark.parametrize("shape", [(1, 20, 30), (3, 20, 30), (1, 20, 30, 3), (0, 20, 30)])
def test_a_picture_of_one_value_blocks(shape: tuple[int, ...]) -> None:
    photometric = "RGB" if len(shape) == 4 else "MONOCHROME2"
    empty = scan_with(stored=np.full(shape, 7, np.uint8), photometric=photometric)
    verdict = blocking(examine(empty))
    assert verdict is not None
    assert verdict.code == "constant"


def test_one_other_pixel_in_the_last_frame_is_content() -> None:
    stored = np.zeros((3, 20, 30), np.uint16)
    stored[2, 19, 29] = 1
    assert blocking(examine(scan_with(stored=stored))) is None


def test_a_colour_of_its_own_in_all_pixels_is_no_content_either() -> None:
    stored = np.broadcast_to(np.array([1, 2, 3], np.uint8), (1, 20, 30, 3)).copy()
    assert "constant" in found(scan_with(stored=stored, photometric="RGB"))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"modality": None}, "no-tags"),
        ({"modality": "CT"}, "wrong-modality"),
        ({"body_part": None}, "body-part-unknown"),
        ({"body_part": "KNEE"}, "wrong-body-part"),
        ({"view": "LL"}, "wrong-view"),
        ({"view": None}, "view-unknown"),
    ],
)
def test_a_scan_that_the_model_was_not_made_for_is_told_as_the_scope_tells_it(
    changes: dict[str, Any], code: str
) -> None:
    scan, model = scan_with({"view-missing": ""} if changes == {"view": None} else {}, **changes), card()
    verdicts = found(scan, model)
    assert set(verdicts) == {code}
    assert verdicts[code].severity == "warn"
    assert mismatch(model, scan) in (verdicts[code].sentence, None)


def test_a_model_for_any_view_does_not_ask_for_one() -> None:
    model = card(scope=Scope(modalities=("DX",), body_parts=("CHEST",)))
    assert examine(scan_with(view=None), model) == ()


def test_a_missing_view_is_noted_where_no_model_asks() -> None:
    assert [v.severity for v in examine(scan_with({"view-missing": ""}, view=None))] == ["note"]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "NIfTI"])
def test_a_picture_file_says_neither_what_it_shows_nor_which_way(kind: str) -> None:
    scan = scan_with(source_format=kind, modality=None, body_part=None, view=None, geometry=Geometry())
    assert {v.code: v.severity for v in examine(scan)} == {"no-tags": "note", "orientation-unknown": "note"}
    assert found(scan, card())["no-tags"].severity == "warn"


def test_a_file_with_known_directions_is_not_called_unknown() -> None:
    scan = scan_with(source_format="NIfTI", modality=None, geometry=Geometry((1.0, 2.0), ("L", "P")))
    assert set(found(scan)) == {"no-tags", "pixels-not-square"}


def test_a_child_is_held_back_from_a_model_for_adults_and_the_reverse() -> None:
    child, adult, unknown = (scan_with(signs) for signs in ({"child": "9"}, {}, {"age-unknown": ""}))
    young = card(title="Children's films", scope=Scope(modalities=("DX",), body_parts=("CHEST",), ages=(1, 9)))
    assert [found(child, model)["child"].severity for model in (None, card())] == ["note", "note"]
    assert "9 years" in found(child)["child"].sentence
    wrong = found(child, adult_card())
    assert "child" not in wrong
    assert wrong["wrong-age"].severity == "warn"
    assert "9 years old" in wrong["wrong-age"].sentence
    assert "wrong-age" not in found(child, young) | found(adult, adult_card()) | found(unknown, adult_card())
    assert "is an adult" in found(adult, young)["wrong-age"].sentence
    assert "does not give the patient's age" in found(unknown, young)["wrong-age"].sentence
    assert "wrong-age" in found(scan_with({"child": "10"}), young)


def test_the_age_decides_which_model_reads_a_film() -> None:
    young = card(id="young", scope=Scope(modalities=("DX",), body_parts=("CHEST",), ages=(1, 9)))
    cards = (adult_card(), young)
    chosen = [choose_model(cards, scan_with(signs)).id for signs in ({}, {"age-unknown": ""}, {"child": "9"})]
    assert chosen == [adult_card().id, adult_card().id, "young"]
    with pytest.raises(NoFittingModel, match="patient of 12 years"):
        choose_model(cards, scan_with({"child": "12"}))


def test_an_unknown_age_is_said_only_where_the_model_is_for_adults() -> None:
    scan = scan_with({"age-unknown": ""})
    assert ["age-unknown" in found(scan, model) for model in (None, card(), adult_card())] == [False, False, True]


def test_a_thumbnail_is_too_small_for_the_model() -> None:
    thumbnail = scan_with(stored=GREY[:, :31, :40].copy())
    assert "31" in found(thumbnail, card())["small-picture"].sentence
    assert "small-picture" not in found(scan_with(stored=GREY[:, :32, :40].copy()), card())


def test_every_bundled_file_is_examined() -> None:
    for name in bundled_names():
        for verdict in examine(scan_with(bundled_signs(name)), adult_card()):
            assert verdict.code in WORDS


# --- One patient or two. ---


def person(**tags: str) -> Dataset:
    return item(**tags)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({}, {}, True),
        ({"PatientID": "A1"}, {"PatientID": "a1 "}, True),
        ({"PatientID": "A1"}, {"PatientID": "A2"}, False),
        ({"PatientID": "A1"}, {}, True),
        ({"PatientID": "A1", "PatientName": "Dent^A"}, {"PatientID": "A1", "PatientName": "Prefect^F"}, True),
        ({"PatientID": "A1", "IssuerOfPatientID": "X"}, {"PatientID": "A1", "IssuerOfPatientID": "Y"}, False),
        ({"PatientID": "A1", "IssuerOfPatientID": "X"}, {"PatientID": "A1", "IssuerOfPatientID": "x"}, True),
        ({"PatientID": "A1", "IssuerOfPatientID": "X"}, {"PatientID": "A1"}, True),
        ({"PatientName": "Dent^Arthur"}, {"PatientName": "DENT^ARTHUR^^"}, True),
        ({"PatientName": "Dent^Arthur"}, {"PatientName": "Dent Arthur"}, True),
        ({"PatientName": "Dent^Arthur"}, {"PatientName": "Arthur^Dent"}, False),
        ({"PatientName": "Dent^Arthur"}, {"PatientName": "Dent^Arnold"}, False),
        ({"PatientName": "Dent^Arthur"}, {"PatientName": "Dent^Arthur=DENT"}, True),
        ({"PatientName": "Dent^Arthur=A"}, {"PatientName": "Dent^Arthur=B"}, False),
        ({"PatientName": "Dent^Arthur"}, {}, True),
        ({"PatientID": "A1", "PatientName": "Dent^A"}, {"PatientName": "Prefect^F"}, False),
        ({"PatientBirthDate": "19770525"}, {"PatientBirthDate": "19770526"}, False),
        ({"PatientBirthDate": "19770525"}, {"PatientBirthDate": "1977.05.25"}, True),
        ({"PatientBirthDate": "19770525"}, {"PatientBirthDate": "11111111"}, True),
        (
            {"PatientID": "A1", "PatientBirthDate": "19770525"},
            {"PatientID": "A1", "PatientBirthDate": "19770526"},
            False,
        ),
    ],
)
def test_two_files_are_of_one_patient_unless_something_says_otherwise(
    one: dict[str, str], other: dict[str, str], *, same: bool
) -> None:
    with config.disable_value_validation():
        assert same_patient(person(**one), person(**other)) is same
        assert same_patient(person(**other), person(**one)) is same


def test_a_sequence_in_the_place_of_a_name_decides_nothing() -> None:
    odd = Dataset()
    odd.add_new(0x00100010, "SQ", Sequence([item(PatientID="A1")]))
    assert same_patient(odd, person(PatientName="Dent^Arthur")) is True
