"""Every method that makes a heatmap, by name: one list for the command line, the pages and the documentation.

Nothing here imports torch, so that a list of methods costs nothing.
"""

from dataclasses import dataclass
from typing import Literal

from core.errors import UnknownMethod

# "pass": from one forward pass, all labels at once; "forwards": by many forward passes, with progress;
# "package": by the grad-cam package on a copy of the network.
Kind = Literal["pass", "forwards", "package"]

DEFAULT_METHOD = "evidence"
_PACKAGE = "by the grad-cam package (Gildenblat et al.)"


@dataclass(frozen=True, slots=True)
class Method:
    """A method: what it is called, how it works in one sentence, where it comes from.

    ``signed``: the map tells evidence against a label from none; else it shows positive places only. ``by_label``: whether
    the map depends on the label at all. ``unit`` says what a cell counts; None for the unit of the evidence itself, on
    the model's own colour scale wherever the two can be compared.
    """

    name: str
    title: str
    about: str
    source: str
    kind: Kind = "pass"
    signed: bool = False
    by_label: bool = True
    unit: str | None = None


METHODS = (
    Method(
        "evidence",
        "Evidence map",
        "Grad-CAM before its negative part is cut off: what speaks for the label and what against it.",
        "Selvaraju et al. 2017 (arXiv 1610.02391), Zhou et al. 2016 (arXiv 1512.04150)",
        signed=True,
    ),
    Method(
        "gradcam",
        "Grad-CAM",
        "Feature maps weighted by the mean gradient of the answer; positive part.",
        "Selvaraju et al. 2017 (arXiv 1610.02391)",
    ),
    Method(
        "hirescam",
        "HiResCAM",
        "Gradient times activation, cell by cell: no gradient is averaged over the picture.",
        "Draelos and Carin 2020 (arXiv 2011.08891)",
        signed=True,
    ),
    Method(
        "gradcam++",
        "Grad-CAM++",
        "Positive gradients only, weighted so that several findings of unequal size count alike.",
        "Chattopadhay et al. 2018 (arXiv 1710.11063)",
        unit="Grad-CAM++ weight times activation",
    ),
    Method(
        "xgradcam",
        "XGrad-CAM",
        "The gradient's mean, weighted by where each feature map is active.",
        "Fu et al. 2020 (arXiv 2008.02312)",
        signed=True,
    ),
    Method(
        "layercam",
        "LayerCAM",
        "Positive gradients times activations, cell by cell; made for shallow layers.",
        "Jiang et al. 2021 (10.1109/TIP.2021.3089943)",
        unit="positive gradient times activation",
    ),
    Method(
        "eigencam",
        "Eigen-CAM",
        "The pattern that most feature maps share, without any gradient.",
        "Muhammad and Yeasin 2020 (arXiv 2008.00299)",
        signed=True,
        by_label=False,
        unit="first principal component of the activations",
    ),
    Method(
        "ablationcam",
        "Ablation-CAM",
        "Feature maps weighted by how far the answer falls when each of them is switched off.",
        "Desai and Ramaswamy 2020 (10.1109/WACV45572.2020.9093360)",
        kind="forwards",
        signed=True,
        unit="change of the logit times activation",
    ),
    Method(
        "scorecam",
        "Score-CAM",
        "Feature maps weighted by the answer to the picture seen through each of them.",
        "Wang et al. 2020 (arXiv 1910.01279)",
        kind="forwards",
        unit="softmax weight times activation",
    ),
    Method(
        "occlusion",
        "Occlusion",
        "How far the answer falls when a square around each place is greyed out.",
        "Zeiler and Fergus 2014 (arXiv 1311.2901)",
        kind="forwards",
        signed=True,
        unit="fall of the logit",
    ),
    Method(
        "rise",
        "RISE",
        "How much higher the answer is on average when a place is left in a picture covered at random.",
        "Petsiuk et al. 2018 (arXiv 1806.07421)",
        kind="forwards",
        signed=True,
        unit="change of the logit while the place is seen",
    ),
    Method(
        "eigengradcam",
        "Eigen-Grad-CAM",
        "The pattern that the products of activation and gradient share.",
        _PACKAGE,
        kind="package",
        unit="first principal component of gradient times activation",
    ),
    Method(
        "gradcam-elementwise",
        "Grad-CAM, cell by cell",
        "Gradient times activation, its positive part taken in every channel before the sum.",
        _PACKAGE,
        kind="package",
        unit="positive gradient times activation",
    ),
    Method(
        "shapleycam",
        "Shapley-CAM",
        "Grad-CAM's weights with a second-order term: the features' shares as in a game.",
        f"Cai 2025 (arXiv 2501.06261), {_PACKAGE}",
        kind="package",
        unit="Shapley weight times activation",
    ),
    Method(
        "segeigencam",
        "Seg-Eigen-CAM",
        "Eigen-CAM of gradient times activation with its sign put right.",
        f"Chung and Ying 2025 (10.3390/app15137562), {_PACKAGE}",
        kind="package",
        unit="first principal component of gradient times activation",
    ),
    Method(
        "kpcacam",
        "KPCA-CAM",
        "Eigen-CAM with a curved (sigmoid) kernel.",
        f"Karmani et al. 2024 (arXiv 2410.00267), {_PACKAGE}",
        kind="package",
        by_label=False,
        unit="first kernel principal component of the activations",
    ),
    Method(
        "fem",
        "FEM",
        "Feature maps weighted by how much of each lies far above its own mean.",
        f"Fuad et al. 2020 (hal-02963298), {_PACKAGE}",
        kind="package",
        by_label=False,
        unit="share of rare values times activation",
    ),
)  # fmt: skip


def find_method(name: str) -> Method:
    """The method of that name, matched without case.

    Raises UnknownMethod naming those there are.
    """
    for method in METHODS:
        if method.name == name.lower():
            return method
    raise UnknownMethod(f"There is no method {name!r}; choose one of: {', '.join(m.name for m in METHODS)}.")
