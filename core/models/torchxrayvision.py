"""TorchXRayVision's published chest models: fetched when somebody asks, their tensors taken out, converted once.

Cohen et al. 2022, "TorchXRayVision: a library of chest X-ray datasets and models", MIDL, arXiv 2111.00595. Its DenseNets are
published as pickled whole modules, its ResNet as a state dict. Nothing is fetched by itself, and no code of a file runs.
"""

import hashlib
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from core.errors import ModelRejected
from core.models.card import Label, ModelCard, Scope
from core.models.catalogue import own_folder
from core.models.checking import CompatibilityReport, Wishes, check_tensors
from core.models.legacy import Form, ReadWeights, read_in_worker
from core.models.registering import publish

# The one address that RadLens ever asks.
RELEASE = "https://github.com/mlmed/torchxrayvision/releases/download/v1/"
_MAX_BYTES = 256 << 20
_CHUNK = 1 << 18
_TIMEOUT_SECONDS = 30.0
_HEADS = ("classifier", "fc")
# Buffers of its own that take no part in the logits.
_ASIDE = ("op_threshs",)

Progress = Callable[[int, int | None], None]


@dataclass(frozen=True, slots=True)
class PublishedModel:
    """A file of the release.

    ``points``: for each output in order its name and its operating point on the sigmoid; outputs without one were not trained
    and are left out. ``sha256``: of the file, None where nobody has published it: then the first download is recorded.
    """

    id: str
    title: str
    file: str
    form: Form
    architecture: str
    size: int
    megabytes: int
    data: str
    sha256: str | None
    points: tuple[tuple[str, float | None], ...] = field(repr=False)


def _points(names: str, numbers: str) -> tuple[tuple[str, float | None], ...]:
    values = (None if number == "-" else float(number) for number in numbers.split())
    return tuple(zip(names.split(), values, strict=True))


_NAMES = (
    "Atelectasis Consolidation Infiltration Pneumothorax Edema Emphysema Fibrosis Effusion Pneumonia Pleural_Thickening "
    "Cardiomegaly Nodule Mass Hernia Lung_Lesion Fracture Lung_Opacity Enlarged_Cardiomediastinum"
)
_WORDS = {
    "Atelectasis": "Atelectasis (collapsed lung tissue)",
    "Consolidation": "Consolidation (lung filled with fluid or cells)",
    "Infiltration": "Infiltration (vague opacity)",
    "Pneumothorax": "Pneumothorax (air around the lung)",
    "Edema": "Oedema (water in the lung)",
    "Emphysema": "Emphysema (overinflated lung)",
    "Fibrosis": "Fibrosis (scarred lung)",
    "Effusion": "Pleural effusion (fluid around the lung)",
    "Pneumonia": "Pneumonia (infected lung)",
    "Pleural_Thickening": "Pleural thickening (thick lining of the lung)",
    "Cardiomegaly": "Cardiomegaly (enlarged heart)",
    "Nodule": "Nodule (smaller than 3 cm)",
    "Mass": "Mass (3 cm or larger)",
    "Hernia": "Hernia (bowel or stomach in the chest)",
    "Lung_Lesion": "Lung lesion (any spot)",
    "Fracture": "Fracture (broken bone)",
    "Lung_Opacity": "Lung opacity (any whitening)",
    "Enlarged_Cardiomediastinum": "Enlarged cardiomediastinum (wide middle of the chest)",
}
# Operating points: ``model_urls`` of torchxrayvision/models.py, version 1.3. Hashes: that of "all" is stated alike by several
# public projects that pin the file, that of CheXpert by one; of the ResNet none was found.
PUBLISHED = (
    PublishedModel(
        id="xrv-densenet121-all", title="TorchXRayVision DenseNet, all data sets", form="module",
        file="nih-pc-chex-mimic_ch-google-openi-kaggle-densenet121-d121-tw-lr001-rot45-tr15-sc15-seed0-best.pt",
        architecture="xrv-densenet121", size=224, megabytes=28,
        data="NIH, PadChest, CheXpert, MIMIC-CXR, Google, OpenI and RSNA films",
        sha256="56524913dd16a906422e8d8b66a7a5c46be1d82eb7ac012d8103776f1aa68899",
        points=_points(
            _NAMES,
            "0.07422872 0.038290843 0.09814756 0.0098118475 0.023601074 0.0022490358 0.010060724 0.103246614 0.056810737 "
            "0.026791653 0.050318155 0.023985857 0.01939503 0.042889766 0.053369623 0.035975814 0.20204692 0.05015312",
        ),
    ),
    PublishedModel(
        id="xrv-densenet121-chexpert", title="TorchXRayVision DenseNet, CheXpert", form="module",
        file="chex-densenet121-d121-tw-lr001-rot45-tr15-sc15-seed0-best.pt",
        architecture="xrv-densenet121", size=224, megabytes=28, data="CheXpert films",
        sha256="1a914ae802170187a4852e594708206c12468eeeefd66aa4e8e26141649d61a4",
        points=_points(
            _NAMES,
            "0.1988969 0.05710573 - 0.0531293 0.1435217 - - 0.27212676 0.07749717 - 0.19712369 - - - 0.09932402 0.09273402 "
            "0.3270967 0.10888247",
        ),
    ),
    PublishedModel(
        id="xrv-resnet50-all", title="TorchXRayVision ResNet, all data sets", form="state",
        file="pc-nih-rsna-siim-vin-resnet50-test512-e400-state.pt",
        architecture="xrv-resnet50", size=512, megabytes=94, data="PadChest, NIH, RSNA, SIIM and VinDr films",
        sha256=None,
        points=_points(
            _NAMES,
            "0.51570356 0.50444704 0.53787947 0.50723547 0.5025118 0.5035252 0.5038076 0.51862943 0.5078151 0.50724894 "
            "0.5056339 0.510706 0.5053923 0.5020846 - 0.5080557 0.5138526 -",
        ),
    ),
)  # fmt: skip


def download(model: PublishedModel, progress: Progress | None = None) -> bytes:
    """The published file, kept in memory only; an exception of ``progress`` ends it.

    ``progress`` gets the bytes so far and those to come in all, None where the server does not say.
    Raises ModelRejected when it cannot be fetched, is too large or is not the file with the published hash.
    """
    data = bytearray()
    try:
        with urllib.request.urlopen(RELEASE + model.file, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310 - one constant
            stated = answer.headers.get("Content-Length", "")
            total = int(stated) if stated.isdecimal() else None
            while len(data) <= _MAX_BYTES and (part := answer.read(_CHUNK)):
                data += part
                if progress:
                    progress(len(data), total)
    except (urllib.error.URLError, OSError, ValueError) as exc:
        raise ModelRejected(
            "The model cannot be downloaded; check the connection to github.com and try again, or read it here as a file."
        ) from exc
    if len(data) > _MAX_BYTES or (total is not None and len(data) != total):
        raise ModelRejected(f"The download is not whole: {len(data)} bytes came, {total or 'fewer'} were announced.")
    return bytes(data)


def add_published(model: PublishedModel, data: bytes) -> ModelCard:
    """Convert a downloaded file and put it into the catalogue.

    Raises ModelRejected when its hash is another, when it holds no such network, or when that fails its self-test.
    """
    digest = hashlib.sha256(data).hexdigest()
    if model.sha256 not in (None, digest):
        raise ModelRejected(
            f"The file is not the published one (hash {digest[:12]}, expected {str(model.sha256)[:12]}); download it again."
        )
    report = check_tensors(_trained_part(model, read_in_worker(data, model.form)), _wishes(model))
    if report.problem:
        raise ModelRejected(report.problem)
    card = _card(model, report, digest)
    publish(card, report.weights, own_folder() / card.id)
    return card


def _wishes(model: PublishedModel) -> Wishes:
    return Wishes(architecture=model.architecture, head="sigmoid", size=model.size)


def _trained_part(model: PublishedModel, read: ReadWeights) -> ReadWeights:
    """The weights with those outputs only that were trained, in their order.

    Raises ModelRejected when the file itself names other labels.
    """
    names = tuple(name for name, _ in model.points)
    for found in read.words.values():
        told = tuple(word.replace(" ", "_") for word in found)
        if any(word and word != name for word, name in zip(told, names, strict=False)) or len(told) != len(names):
            raise ModelRejected("The file names other labels than the published model has; download it again.")
    kept = [index for index, (_, point) in enumerate(model.points) if point is not None]
    tensors = {name: value for name, value in read.tensors.items() if name not in _ASIDE}
    for name, value in tensors.items():
        if name.partition(".")[0] in _HEADS and value.ndim and len(value) == len(names):
            tensors[name] = value[torch.tensor(kept)].contiguous()
    return ReadWeights(tensors, read.notes, read.words)


def _card(model: PublishedModel, report: CompatibilityReport, digest: str) -> ModelCard:
    points = {_code(name): point for name, point in model.points if point is not None}
    labels = tuple(Label(code=_code(name), words=_WORDS[name]) for name, point in model.points if point is not None)
    return ModelCard(
        id=model.id,
        version="1.0.0",
        title=model.title,
        task="classification",
        architecture=report.architecture,
        head="sigmoid",
        labels=labels,
        headline=labels[0].code,
        input=report.input,
        scope=Scope(modalities=("DX", "CR"), body_parts=("CHEST",), views=("PA", "AP"), by_hand_only=True),
        target_layer=report.layer,
        evidence_limit=report.evidence_limit,
        published_points=points,
        weights_sha256=report.sha256,
        reference_logits=report.reference_logits,
        intended_use=f"Comparing with a widely used network, trained by its authors on {model.data}. Not for patients.",
        limits=(
            "No figures: nobody has measured this model with RadLens; its authors' figures are in their papers.",
            "A score of 0.5 is the operating point that the authors state for the label, not a probability.",
            "The colour scale was set on five synthetic pictures; evidence on real ones may be stronger or weaker.",
        ),
        licence="Apache-2.0, TorchXRayVision; the films behind it have terms of their own.",
        citations=(
            "Cohen et al. 2022, TorchXRayVision: a library of chest X-ray datasets and models, arXiv 2111.00595",
            "Cohen et al. 2020, On the limits of cross-domain generalization in automated X-ray prediction, arXiv 2002.02497",
            f"{RELEASE}{model.file}, SHA-256 {digest}" + ("" if model.sha256 else " (recorded at the first download)"),
        ),
    )


def _code(name: str) -> str:
    return name.lower().replace("_", "-")
