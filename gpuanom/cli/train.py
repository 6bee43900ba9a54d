"""`gpuanom train`: an autoencoder for the stamps of measured nights, or a classifier from labels."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from astropy.table import Table

from gpuanom.autoencoder import require
from gpuanom.backends.choice import choose, select
from gpuanom.cli.figures import figure_class, save, write_table
from gpuanom.cli.given_path import GivenPath, NightFolder
from gpuanom.cli.screen import Screen
from gpuanom.display import counted
from gpuanom.errors import GpuanomError, printable
from gpuanom.files import MODEL, require_writable
from gpuanom.records import Doubles, Exposure, Failure, Integers, Measurement
from gpuanom.review import analysts, labels

if TYPE_CHECKING:
    from gpuanom.autoencoder.classifier import Sample
    from gpuanom.autoencoder.fitting import Fit, FitCallbacks
    from gpuanom.autoencoder.training import Trained
    from gpuanom.tables.classified import Classifier

EPILOG = """\b
Examples:
  gpuanom score /data/2026-11-23 -o scored                       first measure a night; keep its FITS files
  gpuanom train scored -o model.pt                               then train with 10,000 stamps, 500 epochs
  gpuanom score -o scored --model model.pt                       then add autoencoder_mse to the night's tables
  gpuanom train monday tuesday -o model.pt --epochs 100          stamps of two nights
  gpuanom train scored -o classifier.pt --supervised --labels labels.csv

\b
Written beside model.pt:
  model.losses.ecsv, model.losses.png    the losses of every epoch
  model.reconstructions.png              validation stamps, from the best reconstructed to the worst
  model.pt.checkpoint                    while it trains: a training that was killed goes on from this file
With --supervised, beside classifier.pt:
  classifier.exposures.ecsv              the probability of each exposure to be anomalous
  classifier.roc.ecsv, classifier.roc.png   how well the classifier and the scores tell anomalous from normal ones

\b
Ctrl-C, or SIGTERM as batch systems send it, ends the training and keeps the best model so far. A file that is there
already is replaced with --overwrite only, since nights that were scored with a model need that very model again.
On one machine, equal --seed and --threads give equal weights.
For --supervised the nights must have been scored with --model first; see docs/autoencoder.md.
"""


@click.command(epilog=EPILOG)
@click.argument("nights", nargs=-1, required=True, metavar="SCORED...", type=NightFolder())
@click.option("--output", "-o", required=True, type=GivenPath(dir_okay=False), help="File to write.")
@click.option(
    "--stamps", type=click.IntRange(100, 1_000_000), default=10_000, show_default=True, help="Number of stamps."
)
@click.option("--epochs", type=click.IntRange(1), default=500, show_default=True, help="Passes over all stamps.")
@click.option(
    "--validation",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.2,
    show_default=True,
    help="Share of the exposures whose stamps validate the model and do not train it.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**63 - 1),
    default=1,
    show_default=True,
    help="Seed of the choice of stamps and of the first weights.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, or the number of a GPU.")
@click.option(
    "--threads",
    type=click.IntRange(1, 256),
    help="Threads that read and, on a CPU, train (default for training: 2).",
)
@click.option("--supervised", is_flag=True, help="Train a classifier of exposures with labels instead.")
@click.option(
    "--labels",
    "files",
    multiple=True,
    type=GivenPath(dir_okay=False),
    help="With --supervised: CSV file of labels; may be repeated (default: the labels kept in each SCORED).",
)
@click.option("--overwrite", is_flag=True, help="Replace the output file where it is there already.")
@click.option("--verbose", "-v", is_flag=True, help="Show how memory is planned, and tracebacks.")
@click.option("--quiet", "-q", is_flag=True, help="Show failures only.")
def train(
    nights: tuple[Path, ...],
    output: Path,
    device: str,
    supervised: bool,
    files: tuple[Path, ...],
    overwrite: bool,
    verbose: bool,
    quiet: bool,
    **options: Any,
) -> int:
    """Train the autoencoder, the second method of the paper.

    SCORED is a folder that `gpuanom score` made; the nights of several are used together. The autoencoder learns to
    reconstruct stamps, small images of single sources; sources that it reconstructs badly are unusual. The stamps are
    chosen evenly from all cameras, bands and exposures, and read again from the FITS files of the nights.
    """
    if files and not supervised:
        raise click.UsageError("--labels is for --supervised: the autoencoder itself needs no labels")
    require()
    require_writable(output, same=MODEL)
    if not overwrite and output.is_file() and output.stat().st_size:
        raise GpuanomError(f"{output}: is there already (--overwrite replaces it, another --output keeps it)")
    if supervised:
        with Screen(quiet=quiet, verbose=verbose) as screen:
            _supervised(nights, output, files, options["seed"], screen)
        return 0
    from gpuanom.autoencoder.checkpoint import checkpoint_of
    from gpuanom.autoencoder.fitting import fit
    from gpuanom.autoencoder.model import save as save_model

    with Screen(quiet=quiet, verbose=verbose) as screen:
        backends, about = choose(device)
        screen.device(about)
        failed: list[str] = []
        kept = checkpoint_of(output)
        try:
            callbacks = _fit_callbacks(screen, options["epochs"], failed)
            result = fit(nights, backends[:1], callbacks=callbacks, checkpoint=kept, **options)
        except KeyboardInterrupt:
            screen.line("interrupted before the first epoch was done: no model was made")
            return 130
        save_model(result.model, output)
        goes_on = result.trained.interrupted and kept is not None and kept.is_file()
        if kept is not None and not goes_on:
            kept.unlink(missing_ok=True)
        table = _beside(output, "losses.ecsv")
        _write_losses(result.trained, table)
        written = [output, table]
        try:
            written += _draw(result, output)
        except GpuanomError as error:
            screen.line(f"no pictures: {error}")
        trained = result.trained
        done = f"interrupted after {len(trained.validation)} epochs, " if trained.interrupted else ""
        loss = trained.validation[trained.best - 1]
        screen.say(f"{done}kept epoch {trained.best}: validation loss {loss:.4g}, model {result.model.fingerprint}")
        screen.say(f"written: {', '.join(str(path) for path in written)}")
        if goes_on:
            screen.say(f"the same command with --overwrite goes on from {kept}; remove that file to begin anew")
    return 1 if failed else 0


def _supervised(nights: tuple[Path, ...], output: Path, files: tuple[Path, ...], seed: int, screen: Screen) -> None:
    """Train a classifier with labels; show its ROC beside the scores'."""
    from gpuanom.autoencoder import classifier, validation

    sample = classifier.sample(nights, select("cpu"))
    kept = [label for night in nights for label in labels.kept(night)]
    given_labels = [label for file in files for label in labels.read(file)] if files else kept
    truth, strangers = classifier.grades(given_labels, sample.keys)
    if strangers:
        screen.say(f"{len(strangers)} labels belong to no exposure of these nights")
    if not given_labels:
        raise GpuanomError("no labels (give --labels, or import them: gpuanom label)")
    _tell_contradictions(classifier.matching(given_labels, sample.keys)[0], screen)
    probability = validation.cross_validated(sample, truth, seed)
    fitted = classifier.fit(sample, truth)
    scores = {"classifier": probability, **sample.scores}
    curves = {name: validation.roc(score, truth) for name, score in scores.items()}
    areas = {name: round(area, 6) for name, (_, _, area) in curves.items()}
    counts = {"prominent": int((truth == 1).sum()), "normal": int((truth == 0).sum())}
    classifier.save(fitted, output, {"seed": seed, "labelled": counts, "roc_area": areas})
    written = [output, _beside(output, "exposures.ecsv"), _beside(output, "roc.ecsv")]
    _write_probabilities(sample, truth, fitted, probability, written[1])
    ranked = sorted(areas, key=lambda name: -areas[name])
    write_table(Table({"score": ranked, "roc_area": [areas[name] for name in ranked]}), written[2])
    screen.say(f"labelled: {counts['prominent']} prominent, {counts['normal']} normal; {classifier.FOLDS} folds")
    for name in ranked:
        screen.say(f"ROC area {areas[name]:.3f}  {name}{' (cross-validated)' if name == 'classifier' else ''}")
    try:
        best = [name for name in ranked if name != "classifier"][:5]
        written.append(_draw_roc({name: curves[name] for name in ("classifier", *best)}, _beside(output, "roc.png")))
    except GpuanomError as error:
        screen.line(f"no picture: {error}")
    screen.say(f"written: {', '.join(str(path) for path in written)}")


def _write_probabilities(
    sample: Sample, truth: Integers, fitted: Classifier, cross_validated: Doubles, path: Path
) -> None:
    """Write the probability of each exposure, where it has no label that of the classifier from all labels."""
    unlabelled = np.isnan(cross_validated)
    probability = cross_validated.copy()
    probability[unlabelled] = fitted.probabilities(sample.features[unlabelled])
    word = np.array(["", "normal", "prominent"])[truth + 1]
    order = np.argsort(-probability.round(6), kind="stable")  # by the digits that the table holds
    columns = {
        "camera": [key[0] for key in sample.keys],
        "band": sample.bands,
        "exposure": [key[1] for key in sample.keys],
        "label": word,
        "probability": probability.round(6),
        "cross_validated": ~unlabelled,
    }
    write_table(Table({name: np.array(values)[order] for name, values in columns.items()}), path)


def _draw_roc(curves: dict[str, tuple[Doubles, Doubles, float]], path: Path) -> Path:
    """Draw ROC curves; return the path of the picture."""
    Figure = figure_class()
    from gpuanom.review import plots

    figure = Figure(figsize=(5.6, 5.0), layout="constrained")
    plots.roc_curves(figure.subplots(), curves)
    save(figure, path)
    return path


def _tell_contradictions(given_labels: list[labels.Label], screen: Screen) -> None:
    """Tell where the analysts contradict each other, and what is trained with then."""
    contradictions = analysts.contradictions(given_labels)
    if not contradictions:
        return
    n, agreed = len(contradictions), analysts.consensus(given_labels)
    screen.line(
        f"analysts contradict each other on {counted(n, 'label')}: the grade that more than half of"
        " them give, or exceed, is trained with (normal where two say prominent and normal)"
    )
    for key, given in itertools.islice(contradictions.items(), 5):
        grades = ", ".join(f"{one.analyst} {one.label}" for one in given)
        screen.line(printable(f"exposure {key[1]} {key[0]}, {key[2]}: {grades}; trained as {agreed[key]}"))
    if n > 5:
        screen.line(f"and {n - 5} more")


def _fit_callbacks(screen: Screen, epochs: int, failed: list[str]) -> FitCallbacks:
    """The callbacks that show a fit on the screen: the exposures that are read, then the losses."""
    from gpuanom.autoencoder.fitting import FitCallbacks

    reading = screen.count("reading stamps")
    n_read, planned = itertools.count(1), [0]

    def plan(n: int) -> None:
        planned[0] = n
        screen.say(f"reading stamps of {n} exposures")

    def done(exposure: Exposure, outcome: Measurement | Failure) -> None:
        reading(next(n_read), planned[0])
        if isinstance(outcome, Failure):
            failed.append(outcome.exposure)
            about = f"exposure {exposure.exposure} {exposure.camera} {exposure.band}".rstrip()
            screen.line(f"failed {about}: {outcome.reason}")

    return FitCallbacks(say=screen.say, plan=plan, done=done, epoch=screen.losses(epochs), debug=screen.debug)


def _beside(output: Path, name: str) -> Path:
    """The path of a file beside the model's file, named after it."""
    return output.with_name(f"{output.stem}.{name}")


def _write_losses(trained: Trained, path: Path) -> None:
    """Write the losses of every epoch."""
    epochs = list(range(1, len(trained.validation) + 1))
    table = Table(
        {"epoch": epochs, "training_loss": trained.training, "validation_loss": trained.validation},
        meta={"best_epoch": trained.best},
    )
    write_table(table, path)


def _draw(result: Fit, output: Path) -> list[Path]:
    """Draw the losses, and validation stamps with their reconstructions."""
    Figure = figure_class()
    from gpuanom.review import plots

    trained = result.trained
    losses, examples = _beside(output, "losses.png"), _beside(output, "reconstructions.png")
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    plots.loss_curves(figure.subplots(), trained.training, trained.validation, best=trained.best)
    save(figure, losses)
    n = len(result.errors)
    figure = Figure(figsize=(1.3 * n + 0.4, 4.2), layout="constrained")
    plots.reconstructions(figure.subplots(3, n, squeeze=False), result.stamps, result.reconstructions, result.errors)
    figure.suptitle(
        "validation stamps, from the best reconstructed to the worst (mean squared error)", fontsize="small"
    )
    save(figure, examples)
    return [losses, examples]
