"""The new exposures of a run, measured by threads, processes or workers, and kept in the store; with models, too."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpuanom.backends.protocol import Backend
from gpuanom.cluster.choice import ClusterChoice
from gpuanom.measuring.processes import Processes
from gpuanom.measuring.threads import Threads
from gpuanom.nights.events import Events, Say
from gpuanom.nights.storing import fill
from gpuanom.paths import path_text
from gpuanom.records import Exposure, ExposureKey, Failure
from gpuanom.settings import Settings
from gpuanom.store.store import Store
from gpuanom.tables.import_ahead import import_tables

if TYPE_CHECKING:
    from gpuanom.autoencoder.given_models import GivenModels
    from gpuanom.autoencoder.model import Model
    from gpuanom.autoencoder.scoring import Scorer
    from gpuanom.cluster.run import Cluster


@dataclass(frozen=True, eq=False)
class NewExposures:
    """What measures the new exposures of a run.

    Attributes
    ----------
    settings : Settings
    backends : sequence of Backend
        One for each device; with workers, the CPU alone.
    device : str
        The devices of each worker.
    threads : int or None
    cluster : ClusterChoice
        The workers, if there are any.
    models : GivenModels or None
        The autoencoder whose errors are added, and a classifier.
    events : Events
        What to call as the run goes on.
    """

    settings: Settings
    backends: Sequence[Backend]
    device: str
    threads: int | None
    cluster: ClusterChoice
    models: GivenModels | None
    events: Events

    def measure(self, store: Store, todo: Sequence[Exposure], named: set[ExposureKey] | None) -> list[Failure]:
        """Measure exposures and keep them.

        Parameters
        ----------
        store : Store
        todo : sequence of Exposure
            Those that are not measured yet.
        named : set of ExposureKey or None
            The exposures that the user named: the stamps of these alone are read again where a model is new to them.
            None for all that the store holds.

        Returns
        -------
        list of Failure
            Exposures whose stamps could not be read again; their measurements stay.
        """
        unread: list[Failure] = []
        if self.models is not None and self.models.autoencoder is not None:
            unread = self._with_model(store, todo, named, self.models.autoencoder)
        elif todo:
            fill(store, todo, self._measurers(), self.events)
        if self.models is not None:
            _keep_classifier(store, self.models, self.events.say)
        return unread

    def _measurers(self, scorer: Scorer | None = None) -> Processes | Threads | Cluster:
        if self.cluster:
            return self._cluster(scorer)
        if scorer is None:
            return Processes(self.settings, self.backends, self.threads, self.events.debug, meanwhile=import_tables)
        return Threads(self.settings, self.backends, self.threads, self.events.debug, scorer, import_tables)

    def _cluster(self, scorer: Scorer | None) -> Cluster:
        """The workers of the run; Dask is imported only here."""
        from gpuanom.cluster.job import Job, ModelFile
        from gpuanom.cluster.run import Cluster

        file = None if self.models is None else self.models.file
        known = None if scorer is None or file is None else ModelFile.of(file, scorer.fingerprint, scorer.stamps_only)
        job = Job(self.settings, self.device, self.threads, known)
        verbose = logging.getLogger("gpuanom").isEnabledFor(logging.INFO)
        return Cluster(job, self.cluster, self.events.say, self.events.debug, verbose)

    def _with_model(
        self, store: Store, todo: Sequence[Exposure], named: set[ExposureKey] | None, model: Model
    ) -> list[Failure]:
        """Measure new exposures with a model, and read the stamps of exposures that were measured without the model."""
        from gpuanom.autoencoder.scoring import Scorer
        from gpuanom.autoencoder.tensors import require_shared

        for backend in self.backends:
            require_shared(backend)
        _, dropped = store.without_model(model.fingerprint)
        if dropped:
            self.events.say(f"autoencoder_mse of {dropped} exposures was another model's: dropped")
        unread: list[Failure] = []
        with Scorer(model) as scorer:
            if todo:
                fill(store, todo, self._measurers(scorer), self.events)
            lacking, _ = store.without_model(model.fingerprint)
            lacking = [e for e in lacking if named is None or e.key in named]
            if not lacking:
                return unread
            self.events.stamps(len(lacking))
            with self._measurers(Scorer(model, stamps_only=True)) as running:
                for exposure, result, seconds in running.measured(lacking):
                    if not isinstance(result, Failure) and (differs := store.add_reconstruction(result)):
                        reason = f"no autoencoder_mse: {differs}"
                        file = path_text(exposure.files[0])
                        result = Failure(file, exposure.camera, exposure.band, exposure.exposure, "changed", reason)
                    if isinstance(result, Failure):
                        unread.append(result)
                    self.events.done(exposure, result, seconds)
        return unread


def _keep_classifier(store: Store, given: GivenModels, say: Say) -> None:
    """Keep a classifier with the night; one that learnt with another autoencoder than the night's is dropped."""
    if given.classifier is not None:
        store.keep_classifier(given.classifier.text)
        return
    from gpuanom.tables.classified import Classifier

    if (text := store.classifier()) and Classifier.from_text(text, str(store.path)).model != store.model():
        store.keep_classifier("")
        say("the classifier that this night was scored with learnt with another autoencoder: dropped")
