"""What a model answers to altered copies of one frame: every label's logit and score, a batch at a time."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from core.analysis import prediction_of
from core.errors import BOXES_ONLY, AnalysisError, ConfigurationError, NoHeatmap
from core.explaining.body import body_of
from core.explaining.erase import Fill, content_of, filled
from core.explaining.perturbation import BATCH, NOBODY, Watch
from core.explaining.targets import targets_of
from core.masks import PRESENCE_EPS, scores_of
from core.models.loading import Model
from core.preprocessing import Letterbox, to_model_input
from core.scan import Scan

Region = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """``logits`` and ``scores`` (pictures, labels) float64, in the card's order of labels.

    The logits are what the evidence maps explain: for softmax a class's logit less the mean of all. A network that outlines
    answers with its score for the whole picture, in log-odds.
    """

    logits: FloatArray = field(repr=False)
    scores: FloatArray = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class Alterable:
    """One frame as a model sees it, to be altered: ``picture`` (1, channels, size, size), ``content`` (size, size)."""

    model: Model
    picture: torch.Tensor = field(repr=False)
    content: torch.Tensor = field(repr=False)
    letterbox: Letterbox

    @property
    def unit(self) -> str:
        """What the logits count."""
        return "logit above the labels' mean" if self.model.card.head == "softmax" else "log-odds"

    @property
    def shown(self) -> Region:
        """The pixels of the square that show the picture, (size, size)."""
        return self.content.numpy()

    @property
    def body(self) -> Region | None:
        """The body on the square, (size, size), None where none stands out."""
        # Ultrasound fills its picture, and a cyst is the darkest place of it.
        return body_of(self.picture, self.content, fills=set(self.model.card.scope.modalities) == {"US"})

    def on_square(self, region: Region) -> Region:
        """A region over the whole scan, (h, w) bool at any resolution, on the model's square, (size, size).

        Raises ConfigurationError where nothing of it is seen by the network.
        """
        box = self.letterbox
        grid = torch.from_numpy(np.ascontiguousarray(region, np.float32))[None, None]
        # As the picture itself is resized; a pixel belongs to the region where most of it does.
        content = functional.interpolate(grid, (box.height, box.width), mode="bilinear", antialias=True)
        bars = (box.left, box.size - box.width - box.left, box.top, box.size - box.height - box.top)
        found = np.asarray(functional.pad(content, bars)[0, 0].numpy() >= 0.5)
        if not found.any():
            raise ConfigurationError(
                "Nothing of the region is seen by the network: it is empty, cut away, or smaller than one of the pixels "
                "that the network gets; mark a larger one."
            )
        return found

    def without(self, regions: Sequence[Region], fill: Fill) -> list[torch.Tensor]:
        """The picture with each of the regions of the square filled, one at a time, (1, channels, size, size) each.

        Raises ConfigurationError for a fill that does not exist.
        """
        places = [torch.from_numpy(region) for region in regions]
        if fill == "neighbour":
            return [filled(self.picture, self.content, place, fill) for place in places]
        # The same for every place: a wide blur takes as long as the network itself.
        base = filled(self.picture, self.content, self.content, fill)
        return [torch.where(place, base, self.picture) for place in places]

    def logits(self, pictures: torch.Tensor) -> torch.Tensor:
        """The logits of ``Answers``, (pictures, labels) float32, as ``core.explaining.perturbation`` wants them."""
        outputs = self._outputs(pictures)
        return targets_of(self.model.card.head, outputs.shape[1]).of(outputs)

    def answers(self, pictures: Sequence[torch.Tensor], watch: Watch = NOBODY) -> Answers:
        """The answers to pictures (1, channels, size, size), in batches; the watch is told after each.

        Raises AnalysisError when one is not a finite number, Stopped.
        """
        outputs = []
        watch.step(0, len(pictures))
        for start in range(0, len(pictures), BATCH):
            outputs.append(self._outputs(torch.cat(list(pictures[start : start + BATCH]))))
            watch.step(min(start + BATCH, len(pictures)), len(pictures))
        return self._answers(torch.cat(outputs))

    def _answers(self, outputs: torch.Tensor) -> Answers:
        if not bool(torch.isfinite(outputs).all()):
            raise AnalysisError("The network's answer is not a finite number, so nothing can be compared.")
        logits = targets_of(self.model.card.head, outputs.shape[1]).of(outputs)
        scores = [list(prediction_of(self.model, one).scores.values()) for one in outputs]
        return Answers(logits.double().numpy(), np.array(scores, np.float64))

    def _outputs(self, pictures: torch.Tensor) -> torch.Tensor:
        """What ``core.analysis`` makes a prediction of, (pictures, outputs)."""
        found = self.model.fast.answer(pictures.contiguous(memory_format=torch.channels_last))
        if self.model.card.task != "segmentation":
            return found
        return torch.logit(scores_of(torch.sigmoid(found) * self.content), eps=PRESENCE_EPS)


def alterable(model: Model, scan: Scan, frame: int) -> Alterable:
    """One frame as the model's card says that it sees it. Raises NoHeatmap for a detector."""
    if model.card.task == "detection":
        raise NoHeatmap(BOXES_ONLY)
    entry = to_model_input(scan, frame, model.card.input)
    return Alterable(model, entry.tensor, content_of(entry.letterbox), entry.letterbox)
