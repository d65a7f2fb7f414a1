"""The errors that RadLens raises, each with a message that a clinician can read.

* RadLensError
  * ScanError: this file cannot be used
    * NotAnImage: a readable file of a kind that holds no picture (report, PDF, text, archive)
    * DamagedScan: cut short, contradicting itself, or not decodable
    * ScanTooLarge: larger than the limits in ``core.reading.limits``
    * DecodingStopped: the decoder broke down, or needed more time or memory than it may have
    * TwoPatients: the files of one upload belong to different patients
  * ModelError: this model cannot be used
    * UnknownModel: no model of that name
    * ModelRejected: the card, the weights' hash or the self-test does not hold
      * NotFollowed: the network's course depends on its input, so there is no graph of it
    * NoFittingModel: no model was made for this scan
    * EngineRefused: the fast engine cannot be used for this model, so torch answers
  * AnalysisError: the network gave no usable answer
  * NoHeatmap: the model shows boxes and has no heatmap
  * UnknownLabel: the model has no such label
  * UnknownLayer: the network has no such layer
  * UnknownMethod: there is no such method of making a heatmap
  * Stopped: the reader stopped the work
  * StoreError: reviews cannot be read or saved
    * StoreBusy: another writer holds the database
    * ReviewRejected: this step of a review cannot be taken now
  * ConfigurationError: a setting or training configuration that cannot be used

A message says what was expected, what came and what to do, in one sentence, without a path, a traceback or anything that
identifies a patient. Foreign errors are turned into one of these once, at the seam, with ``raise ... from exc``.
"""

NOT_FOLLOWED = (
    "The network's course depends on its input, so its layers can be seen one by one, but cannot be followed from one to the "
    "next."
)
BOXES_ONLY = "A detector shows boxes with scores; it has no heatmap, so none is shown and none can be questioned."


class RadLensError(Exception):
    """Root of the tree. ``str(error)`` is the sentence to show."""


class ScanError(RadLensError):
    """The file cannot be used as a scan."""


class NotAnImage(ScanError):
    """The file is of a kind that holds no picture."""


class DamagedScan(ScanError):
    """The file is cut short, contradicts itself or cannot be decoded."""


class ScanTooLarge(ScanError):
    """The picture is larger than RadLens decodes."""


class DecodingStopped(ScanError):
    """The decoder broke down, or needed more time or memory than it may have."""


class TwoPatients(ScanError):
    """The files of one upload belong to different patients."""


class ModelError(RadLensError):
    """The model cannot be used."""


class UnknownModel(ModelError):
    """No model of that name is in the catalogue."""


class ModelRejected(ModelError):
    """The card, the weights' hash or the self-test does not hold."""


class NotFollowed(ModelRejected):
    """The network's course depends on its input, so there is no graph of it and what needs one cannot be had."""


class NoFittingModel(ModelError):
    """No model in the catalogue was made for this scan."""


class EngineRefused(ModelError):
    """The fast engine cannot be used for this model; the sentence says why, and that torch answers."""


class AnalysisError(RadLensError):
    """The network gave no usable answer for this scan."""


class NoHeatmap(RadLensError):
    """The model shows boxes and has no heatmap, so what is asked of one cannot be asked."""


class UnknownLabel(RadLensError):
    """The model has no such label."""


class UnknownLayer(RadLensError):
    """The network has no such layer."""


class UnknownMethod(RadLensError):
    """There is no such method of making a heatmap."""


class Stopped(RadLensError):
    """The reader stopped the work, or left the case that it was for."""


class StoreError(RadLensError):
    """Reviews cannot be read or saved."""


class StoreBusy(StoreError):
    """Another writer holds the database; nothing was saved yet."""


class ReviewRejected(StoreError):
    """This step of a review cannot be taken now: out of order, or on a case that is gone."""


class ConfigurationError(RadLensError):
    """A setting or training configuration cannot be used."""
