"""The commands about training: ``python -m core train | cross-validate | evaluate | curves | unpack-medmnist``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from core.console import DataOption, JsonOption, messages, usage


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(train)
    app.command()(evaluate)
    app.command()(curves)
    app.command("cross-validate")(cross_validate)
    app.command("unpack-medmnist")(unpack_medmnist)


def train(
    configuration: Annotated[Path, typer.Argument(help="Training configuration (TOML).")],
    data: DataOption = None,
    out: Annotated[Path, typer.Option("--out", help="Folder that gets <model id>/.")] = Path("runs"),
    measure_only: Annotated[
        bool, typer.Option("--measure-only", help="Keep the weights, measure the card again.")
    ] = False,
) -> None:
    """Train a model and publish it with a card of measured figures."""
    from core.training.configuration import data_folder, read_configuration
    from core.training.fitting import EpochRecord
    from core.training.publishing import Callbacks, measure_again
    from core.training.publishing import train as run
    from core.training.segmentation import OutlineRecord

    wanted = usage(lambda: read_configuration(configuration))
    folder = usage(lambda: data_folder(data, wanted.data.folder))
    if measure_only:
        measured = usage(lambda: measure_again(wanted, folder, out))
        messages.print(f"Measured {measured.id} {measured.version}, weights {measured.weights_sha256[:12]}")
        return
    with Progress(console=messages) as progress:
        task = progress.add_task("epochs", total=wanted.fit.epochs)

        def on_epoch(record: EpochRecord | OutlineRecord) -> None:
            progress.console.print(record.said(wanted.model.headline))
            progress.advance(task)

        card = usage(lambda: run(wanted, folder, out, Callbacks(progress.console.print, on_epoch)))
    messages.print(f"Published {card.id} {card.version}, weights {card.weights_sha256[:12]}")


def cross_validate(
    configuration: Annotated[Path, typer.Argument(help="Training configuration (TOML) of a published model.")],
    data: DataOption = None,
    out: Annotated[Path, typer.Option("--out", help="Folder that holds <model id>/.")] = Path("runs"),
    folds: Annotated[int, typer.Option("--folds", min=2, help="Networks to train; each patient is held out once.")] = 5,
) -> None:
    """Development figures: repeat the training with other patients held out, and write them into the model's card."""
    from core.training.configuration import data_folder, read_configuration
    from core.training.cross_validation import cross_validate as run
    from core.training.fitting import EpochRecord
    from core.training.publishing import Callbacks
    from core.training.segmentation import OutlineRecord

    wanted = usage(lambda: read_configuration(configuration))
    folder = usage(lambda: data_folder(data, wanted.data.folder))

    def on_epoch(record: EpochRecord | OutlineRecord) -> None:
        messages.print(record.said(wanted.model.headline))

    card = usage(lambda: run(wanted, folder, out, folds, Callbacks(messages.print, on_epoch)))
    messages.print(f"Development figures of {folds} folds are on the card of {card.id} {card.version}")


def evaluate(
    model: Annotated[str, typer.Option("--model", help="Model id.")],
    data: DataOption = None,
    split: Annotated[str, typer.Option("--split", help="Value of the column split.")] = "val",
    column: Annotated[str, typer.Option("--column", help="The column of index.csv that names the class.")] = "label",
    name: Annotated[str, typer.Option("--name", help="What the data is called; else the folder's name.")] = "",
    simulated: Annotated[
        int, typer.Option("--simulated", min=0, help="Measure on so many simulated films instead.")
    ] = 0,
    probes: Annotated[
        bool, typer.Option("--probes", help="Ask also whether labels can be told without the place of findings.")
    ] = False,
    card: Annotated[
        bool, typer.Option("--card", help="Write the figures into the model's card and README as well.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """The figures of a model on any folder with an index.csv, or on simulated films."""
    from core.models.card_text import evaluation_text
    from core.models.catalogue import read_catalogue
    from core.models.loading import load_model
    from core.training.configuration import data_folder
    from core.training.evaluation import figures, written_into
    from core.training.measuring import measure, measure_simulated
    from core.training.outline_figures import measure_outlines, outline_evaluation
    from core.training.publishing import EVALUATION_SEED, write_card

    loaded = usage(lambda: load_model(model))
    with Progress(console=messages, transient=True) as progress:
        task = progress.add_task("pictures", total=None)

        def tell(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        if simulated:
            measured = usage(lambda: measure_simulated(loaded, simulated, EVALUATION_SEED, progress=tell))
            evaluation = figures(measured, loaded.card)
        elif loaded.card.task == "segmentation":
            folder = usage(lambda: data_folder(data, loaded.card.id))
            outlines = usage(lambda: measure_outlines(loaded, folder, split, data=name, column=column, progress=tell))
            evaluation = usage(lambda: outline_evaluation(outlines, loaded.card))
        else:
            folder = usage(lambda: data_folder(data, loaded.card.id))
            measured = usage(
                lambda: measure(loaded, folder, split, data=name, column=column, probes=probes, progress=tell)
            )
            evaluation = figures(measured, loaded.card)
    if card:
        write_card(written_into(loaded.card, evaluation), read_catalogue().folders[loaded.card.id])
    typer.echo(evaluation.model_dump_json() if as_json else evaluation_text(evaluation))


def curves(
    folder: Annotated[Path, typer.Argument(help="A model's folder, or any with a training.jsonl.")],
    out: Annotated[Path | None, typer.Option("--out", help="The PNG; else training.png in the folder.")] = None,
) -> None:
    """Draw loss and AUROC by epoch from a training's log, and the free-response ROC of a card that has one beside it."""
    from core.models.catalogue import CARD_FILE, read_card
    from core.training.curves import (
        CURVES_FILE,
        FREE_RESPONSE_FILE,
        LOG_FILE,
        draw_free_response_png,
        draw_png,
        read_curves,
    )

    found = usage(lambda: read_curves(folder / LOG_FILE))
    picture = out or folder / CURVES_FILE
    draw_png(found, picture)
    messages.print(f"{found.epochs[-1] + 1} epochs drawn: {picture}", markup=False, highlight=False)
    if not (folder / CARD_FILE).is_file():
        return
    beside = picture.with_name(FREE_RESPONSE_FILE)
    evaluations = usage(lambda: read_card(folder / CARD_FILE)).evaluations
    if evaluations and draw_free_response_png(evaluations[0], beside):
        messages.print(f"free-response ROC drawn: {beside}", markup=False, highlight=False)


def unpack_medmnist(
    archive: Annotated[Path, typer.Argument(help="A MedMNIST .npz file.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the pictures and index.csv.")],
    names: Annotated[list[str], typer.Option("--name", help="A class, in the file's order; once for each.")],
) -> None:
    """Turn a MedMNIST file into a folder that train and evaluate read."""
    from core.training.medmnist import unpack

    out.mkdir(parents=True, exist_ok=True)
    typer.echo(f"{usage(lambda: unpack(archive, out, names))} pictures")
