"""The words of the doctor: what each sign means to the reader, and what to do about it."""

from collections.abc import Mapping
from typing import Literal

Severity = Literal["block", "warn", "note"]
# Severity, name, what was found, what to do.
Words = tuple[Severity, str, str, str]

_ANOTHER_MODEL = "Choose a model that was made for this scan, or check the file's tags at the source."
_EXPORT_ORIGINAL = "Ask for the original image from the archive and use that instead."
_ASK_SIDE = "Check the side against the request and the marker on the film."
_MEASURE_NOT = "Do not measure lengths on this picture without a known reference in it."
_CHECK_SERIES = "Export the whole series again and compare the number of slices."

# By code or code:detail. A bracket with {detail} goes where there is none.
WORDS: Mapping[str, Words] = {
    "not-intensities": (
        "block", "Not an image of intensities",
        "The pixels are labels, computed values or a dose, not what a scanner measured ({detail}).",
        "Upload the scan that this object was made from.",
    ),
    "constant": (
        "block", "Picture without content",
        "All pixels of the picture have the same value.",
        "Export the scan again; the picture was probably lost on the way.",
    ),
    "lossy": (
        "warn", "Compressed with loss",
        "The picture was compressed with loss (ratio {detail} to 1); fine detail may be gone or invented.",
        "Use the uncompressed original where fine lines or small nodules matter.",
    ),
    "derived": (
        "note", "Computed from another image",
        "The picture was computed from another one; its values may not be those that were measured.",
        "Prefer the original series if it is at hand.",
    ),
    "secondary-capture": (
        "warn", "Copy of an image",
        "The file is a secondary capture: a copy that may have lost depth, scale and orientation.",
        _EXPORT_ORIGINAL,
    ),
    "secondary-capture:DF": (
        "warn", "A digitised film", "The picture is a film that was digitised; its grey values are those of a scanner.",
        "Look for dust, scratches and labels, and trust fine detail less.",
    ),
    "secondary-capture:DRW": (
        "warn", "Drawing, not a scan", "The file says that it is a drawing.", "Upload the scan itself.",
    ),
    "secondary-capture:SD": (
        "warn", "A scanned document", "The file says that it is a scanned document.", "Upload the scan itself.",
    ),
    "screen-save": (
        "warn", "A saved screen", "The picture is a saved screen; its grey values are those of a display.", _EXPORT_ORIGINAL,
    ),
    "localizer": (
        "warn", "Localizer, not a scan",
        "The picture is a localizer, made to plan the scan and not to be read.", "Use the series that was planned on it.",
    ),
    "reformatted": (
        "note", "Slices reformatted from others",
        "The slices were computed from another series; sharpness may differ by direction.",
        "Prefer the original slices for measuring and for models.",
    ),
    "projection": (
        "warn", "Projection of a volume",
        "The picture is computed from a whole volume, such as a maximum projection; overlying structures merge.",
        "Use the slices that it was computed from.",
    ),
    "for-processing": (
        "warn", "Raw detector image",
        "The picture is marked FOR PROCESSING: it is not yet prepared for reading.",
        "Export the version marked FOR PRESENTATION.",
    ),
    "burned-in": (
        "warn", "Text in the pixels",
        "The file says that text is burned into the pixels; it may name the patient, and a model may read it.",
        "Do not share pictures of this scan; use a version without text.",
    ),
    "burned-in-unknown": (
        "note", "Text in pixels possible",
        "Pictures of this kind often hold burned-in text, and the file does not say whether this one does.",
        "Look for names and dates in the picture before sharing it.",
    ),
    "recognizable-face": (
        "note", "Patient may be recognisable",
        "The file says that the picture, or a surface made from it, could show who the patient is.",
        "Do not share pictures of this scan.",
    ),
    "quality-control": (
        "warn", "Quality control image", "The file says that it shows a phantom or a test, not a patient.",
        "Do not read a prediction from it.",
    ),
    "animal": (
        "warn", "Not a human patient", "The file says that the patient is an animal.",
        "Use models and references that were made for this species.",
    ),
    "child": (
        "note", "Patient under 18 years", "The patient is under 18 years old by the file's age or dates ({detail} years).",
        "Do not rely on models or reference values made for adults.",
    ),
    "age-unknown": (
        "note", "Age not given", "The model was made for adults, and the file does not give the patient's age.",
        "Make sure that the patient is an adult.",
    ),
    "contrast": (
        "note", "Contrast agent given", "The file says that a contrast agent was given.",
        "Mind that vessels, organs and bowel may look denser than without it.",
    ),
    "laterality-missing": (
        "warn", "Side not given", "The file shows a paired body part and does not say which side.", _ASK_SIDE,
    ),
    "laterality-conflict": (
        "warn", "Left contradicts right", "Some parts of the file say left and others right.", _ASK_SIDE,
    ),
    "orientation-missing": (
        "note", "Orientation not given", "The file does not say which edge of the picture is the patient's left or head.",
        "Check the side marker in the picture.",
    ),
    "orientation-unknown": (
        "note", "Orientation not known", "The directions of the patient in this picture are not known.",
        "Check the side marker in the picture.",
    ),
    "orientation-conflict": (
        "warn", "Orientation contradicts itself", "The file contradicts itself about the patient's directions in the picture.",
        "Check the side marker and the anatomy before naming a side.",
    ),
    "orientation-conflict:mirrored": (
        "warn", "Chest film mirrored",
        "By its tags this frontal chest film is mirrored: the patient's left is at the left edge of the picture.",
        "Check the heart and the side marker; flip the film at its source if it is mirrored.",
    ),
    "orientation-conflict:turned": (
        "warn", "Chest film turned", "By its tags this frontal chest film is not upright.",
        "Turn the film upright at its source; models expect the head at the top.",
    ),
    "orientation-conflict:cosines": (
        "warn", "Impossible image orientation",
        "The directions of rows and columns in the file are not at right angles or not of length one.",
        "Do not trust left, right or oblique cuts; export the scan again.",
    ),
    "view-missing": (
        "note", "View not given", "The file does not say from which direction the chest film was taken.",
        "Find out whether it is PA, AP or lateral before reading it.",
    ),
    "view-unknown": (
        "warn", "View not known", "The model was made for certain views, and the file does not say which this is.",
        "Make sure that the view is one that the model was made for.",
    ),
    "spacing-missing": (
        "note", "Pixel size not given", "The file does not say how large its pixels are in the patient.", _MEASURE_NOT,
    ),
    "spacing-missing:detector": (
        "note", "Pixel size at detector", "The file gives the pixel size at the detector only, not in the patient.",
        "Lengths are too long by the magnification; measure only against a known reference.",
    ),
    "spacing-at-detector": (
        "note", "Lengths not corrected", "The pixel size is that of the detector, not corrected for magnification.",
        "Expect lengths to read too long, more so for parts far from the detector.",
    ),
    "spacing-conflict": (
        "warn", "Contradicting pixel sizes", "The file gives pixel sizes that contradict each other.", _MEASURE_NOT,
    ),
    "spacing-conflict:calibration": (
        "note", "Calibration not explained",
        "The pixel size differs from the detector's, and the file does not say how it was calibrated.",
        "Measure only if you know how the calibration was done.",
    ),
    "spacing-conflict:larger": (
        "warn", "Impossible pixel size",
        "The pixel size in the patient is larger than at the detector, which no X-ray can give.", _MEASURE_NOT,
    ),
    "spacing-conflict:aspect": (
        "warn", "Contradicting pixel shape", "The pixel size and the pixel's aspect ratio contradict each other.",
        "Check that round things look round; export the scan again if they do not.",
    ),
    "pixels-not-square": (
        "note", "Pixels not square", "The pixels are not square (height to width {detail}).",
        "Check that the picture is not stretched where it is shown.",
    ),
    "date-order": (
        "note", "Dates out of order", "The dates in the file contradict each other.",
        "Expected after de-identification; else check that this is the right study.",
    ),
    "date-order:birth": (
        "warn", "Born after the study", "By the file's dates the patient was born after the study.",
        "Check that file and patient belong together.",
    ),
    "date-order:age": (
        "warn", "Age contradicts birth date", "The patient's age and birth date in the file differ by more than a year.",
        "Check that file and patient belong together.",
    ),
    "date-order:future": (
        "note", "Date in the future", "A date in the file lies in the future.",
        "Expected after de-identification; else check the clock of the device.",
    ),
    "date-order:study": (
        "note", "Study after its images", "The study is dated more than a day after its images.",
        "Expected after de-identification; else check that this is the right study.",
    ),
    "no-tags": (
        "warn", "Content not stated", "The file does not say what it shows (it has no DICOM modality tag).",
        "Use the DICOM original, or make sure yourself that the scan fits the model.",
    ),
    "wrong-modality": ("warn", "Not the model's modality", "The model was made for another modality.", _ANOTHER_MODEL),
    "wrong-body-part": ("warn", "Not the model's body part", "The model was made for another body part.", _ANOTHER_MODEL),
    "body-part-unknown": (
        "warn", "Body part not given", "The file does not say which body part it shows.", _ANOTHER_MODEL,
    ),
    "wrong-view": ("warn", "Not the model's view", "The model was made for another view.", _ANOTHER_MODEL),
    "wrong-age": (
        "warn", "Not the model's age", "The model was made for patients of another age.", _ANOTHER_MODEL,
    ),
    "teaching-model": (
        "warn", "A model for teaching", "The model is for teaching.",
        "Use its answer to learn how a network works, for nothing else.",
    ),
    "small-picture": (
        "warn", "Smaller than model's input",
        "The picture has less than half the pixels per side that the model takes ({detail}).",
        "Use the scan in full size, not a thumbnail.",
    ),
    "gap": (
        "warn", "Slices are missing", "There are gaps between the slices; by their positions some are missing ({detail}).",
        _CHECK_SERIES,
    ),
    "uneven-spacing": (
        "warn", "Uneven slice distances", "The distance between slices is not the same throughout ({detail}).",
        "Do not measure across slices; cuts in other planes are distorted.",
    ),
    "incomplete": (
        "warn", "Series not complete", "Fewer images came than the numbering of the series tells ({detail}).", _CHECK_SERIES,
    ),
    "no-geometry": (
        "warn", "Slices without position", "The slices do not say where they lie; they are in the order of their numbers.",
        "Do not measure across slices, and check the order by the anatomy.",
    ),
    "mixed-orientation": (
        "note", "Series with several planes", "The series held slices in several planes and was split by plane ({detail}).",
        "Look at the other parts of the series as well.",
    ),
    "duplicate": (
        "note", "Images sent twice", "Some images came more than once; the copies were left out ({detail}).",
        "Nothing, unless you expected different images.",
    ),
    "left-out": (
        "warn", "Files left out", "Some files of the upload could not be read and were left out ({detail}).",
        "Copy or export these files again if they belong to the scan.",
    ),
    "time-point": (
        "note", "One of several volumes", "This is one volume of a series that holds several ({detail}).",
        "Look at the other volumes as well.",
    ),
    "oblique": (
        "note", "Slices are tilted", "The slices are tilted against the body's axes ({detail} degrees).",
        "Mind that the edges of the picture do not point straight left, right, front or back.",
    ),
    "two-studies": (
        "warn", "Several studies uploaded", "The upload held more than one study ({detail}).",
        "Make sure that the study you see is the one you mean.",
    ),
    "mixed-scale": (
        "note", "Slices scaled one by one", "The slices do not share one scale; each was converted by its own.",
        "Expected in PET; else compare values between slices with care.",
    ),
}  # fmt: skip
UNKNOWN: Words = (
    "note",
    "Something else was found",
    "Reading the file reported: {code} ({detail}).",
    "Check the file at its source.",
)
