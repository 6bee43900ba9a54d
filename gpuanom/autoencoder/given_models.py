"""The models that a user gives to a run: an autoencoder, a classifier that learnt from labels, or both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gpuanom.autoencoder import classifier, model, require
from gpuanom.autoencoder.model import Model
from gpuanom.errors import InputError
from gpuanom.settings import Settings
from gpuanom.tables.classified import Classifier


@dataclass(frozen=True, eq=False)
class GivenModels:
    """The models that a run uses.

    Attributes
    ----------
    autoencoder : Model or None
    file : Path or None
        The file of the autoencoder.
    classifier : Classifier or None
    classifier_file : Path or None
    """

    autoencoder: Model | None = None
    file: Path | None = None
    classifier: Classifier | None = None
    classifier_file: Path | None = None

    def require_stamps(self, settings: Settings, say: Callable[[str], None]) -> None:
        """Check that the autoencoder can reconstruct the stamps of a run; without an autoencoder, nothing is to check.

        Parameters
        ----------
        settings : Settings
            The settings of the run.
        say : callable
            Takes a line that tells how settings of the stamps differ where the stamps can be used nevertheless.

        Raises
        ------
        InputError
            When the stamps have another size.
        """
        if self.autoencoder is None:
            return
        self.autoencoder.require_stamps(settings, str(self.file))
        if differs := self.autoencoder.differs(settings):
            say(f"{self.file}: was trained on stamps of other settings: {differs}")

    def tell_of_cameras(self, cameras: Iterable[str], say: Callable[[str], None]) -> None:
        """Say which cameras of a run the autoencoder was not trained on; its errors there tell little.

        Parameters
        ----------
        cameras : iterable of str
            Cameras of the exposures of the run.
        say : callable
            Takes the line.
        """
        trained = set() if self.autoencoder is None else self.autoencoder.cameras
        if trained and (strange := sorted(set(cameras) - trained)):
            say(
                f"{self.file}: was trained on exposures of {', '.join(sorted(trained))}, and not of"
                f" {', '.join(strange)}: compare the errors with care, or train a model on nights of that camera"
            )

    def require_features(self, fingerprint: str) -> None:
        """Check that the night will hold the latent features that the classifier learnt from.

        Parameters
        ----------
        fingerprint : str
            Fingerprint of the autoencoder whose results the night holds already; empty without any.

        Raises
        ------
        InputError
            When the features would be missing, or of another autoencoder.
        """
        if self.classifier is None:
            return
        used = fingerprint if self.autoencoder is None else self.autoencoder.fingerprint
        if used == self.classifier.model:
            return
        other = "with another one" if used else "without an autoencoder"
        raise InputError(
            f"learnt from the features of autoencoder {self.classifier.model}, and this night is scored {other}",
            file=self.classifier_file,
            remedy="give both: --model AUTOENCODER --model CLASSIFIER",
        )


def read_models(paths: Sequence[Path]) -> GivenModels:
    """Read the models of a run; no code in the files is run.

    Parameters
    ----------
    paths : sequence of Path
        At most one autoencoder and one classifier.

    Raises
    ------
    InputError
        When a file is no model, or two are of one kind.
    GpuanomError
        When PyTorch is not installed.
    """
    require()
    found: dict[str, Path] = {}
    for path in paths:
        kind = "classifier" if model.read(path)[1].get("kind") == "classifier" else "autoencoder"
        if kind in found:
            raise InputError(f"a second {kind} beside {found[kind]}", file=path, remedy="give one of each kind")
        found[kind] = path
    file, labelled = found.get("autoencoder"), found.get("classifier")
    return GivenModels(
        None if file is None else model.load(file),
        file,
        None if labelled is None else classifier.load(labelled),
        labelled,
    )
