"""``ta2n finetune`` in Python: backbone and head trained together on frames."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ta2n.cache_schema.disk import naming
from ta2n.pipeline.commands.machine import cores
from ta2n.pipeline.commands.reporting import AnyPath, OnNote, OnProgress, Step, tell
from ta2n.pipeline.commands.tables import FINETUNE
from ta2n.pipeline.commands.tuning import FineTunePlan, plan_finetuning
from ta2n.pipeline.config.options import takes
from ta2n.pipeline.training.finetune.frames import ClipFrames, preprocessing_of
from ta2n.pipeline.training.finetune.kept import KeptClips, kept_clips
from ta2n.pipeline.training.finetune.task import FineTuneTask
from ta2n.pipeline.training.loop import Result, run_task
from ta2n.pipeline.training.settings import Progress
from ta2n.pipeline.videos.pool import DecodePool


def _kept(plan: FineTunePlan) -> tuple[KeptClips | None, list[str]]:
    """Where the clips of the splits that the run decodes are kept."""
    splits = ["train", "val"] if plan.settings.val_episodes else ["train"]
    rows = np.flatnonzero(np.any([plan.cache.labels(split) >= 0 for split in splits], axis=0))
    resize = preprocessing_of(plan.cache, flip=False).resize
    return kept_clips(plan.machine.keep_frames, plan.cache, rows, resize, plan.scratch)


@takes(*FINETUNE)
def finetune(
    cache: AnyPath = "feats",
    *,
    checkpoint: AnyPath | None = None,
    method: str | None = None,
    out: AnyPath | None = None,
    dataset: str | None = None,
    root: AnyPath | None = None,
    weights: AnyPath | None = None,
    options: Mapping[str, Any] | None = None,
    protocol: str | None = None,
    split_file: AnyPath | None = None,
    scratch: AnyPath | None = None,
    check: bool = True,
    device: str = "auto",
    on_note: OnNote | None = None,
    on_progress: OnProgress | None = None,
    **settings: Any,
) -> Result:
    """Trains backbone and head together on frames; a stopped run is continued by the same call.

    Args:
        cache: the store that the head was trained on, or a folder of stores.
        checkpoint: a run of ``ta2n train-head`` to start from.
        method: name of an untrained head to start from instead.
        out: folder of the run; None makes it from the settings.
        dataset: which store of the folder.
        root: folder of the clips; None is the one that they were extracted from.
        weights: file of the backbone's weights, or the fine-tuned run that they are from; None finds them by name.
        options: further options of the head of ``method``, by name.
        protocol: name of the protocol.
        split_file: a JSON file of classes by split.
        scratch: folder for what does not fit in memory; None is beside the run.
        check: whether each map is compared with its digest when it is first read.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        on_note: gets lines worth knowing.
        on_progress: gets how far tuning is, after each episode.
        settings: ``trainable``, ``lr_backbone`` and the other flags of ``ta2n finetune --help``, with underscores.

    Returns:
        How the run ended; the folder that it names is a checkpoint, of which ``load_checkpoint(folder).build()`` is the
        head and ``load_checkpoint(folder).backbone()`` the backbone.

    Raises:
        MissingError: there is no store, no checkpoint, or no clips.
        InputError: an option cannot be what it was given as, the checkpoint or the weights are of other features, a
            split cannot give the episodes, the folder holds another run, or training diverged.
        DecodeError: a clip cannot be read any more.
    """
    plan = plan_finetuning(
        cache,
        checkpoint=checkpoint,
        method=method,
        out=out,
        dataset=dataset,
        root=root,
        weights=weights,
        options=options,
        protocol=protocol,
        split_file=split_file,
        scratch=scratch,
        check=check,
        device=device,
        settings=settings,
        on_note=on_note,
    )
    return finetune_planned(plan, on_note=on_note, on_progress=on_progress)


def finetune_planned(
    plan: FineTunePlan, *, on_note: OnNote | None = None, on_progress: OnProgress | None = None
) -> Result:
    """Does what was planned: see :func:`finetune`."""
    settings, machine = plan.settings, plan.machine
    total = settings.epochs * settings.episodes_per_epoch

    def item(state: Progress) -> None:
        if on_progress:
            text = f"loss {state.loss:.3f}, accuracy {100 * state.accuracy:.1f} %"
            on_progress(Step("fine-tuning", state.episode, total, "episodes", text))

    def epoch(state: Progress) -> None:
        if on_note and settings.val_episodes:
            number = state.episode // settings.episodes_per_epoch
            on_note(f"epoch {number}: val {100 * state.val[-1]:.2f} %, best {100 * state.best_val:.2f} %")

    workers = machine.workers or cores()
    with naming(plan.folder), DecodePool(workers=workers, deadline_seconds=machine.deadline) as pool:
        kept, lines = _kept(plan)
        tell(lines, on_note)
        clips = ClipFrames(
            plan.cache,
            plan.root,
            frames=settings.frames,
            pool=pool,
            seed=settings.seed,
            flip=bool(settings.flip),
            kept=kept,
        )
        task = FineTuneTask(
            plan.cache,
            settings,
            plan.start,
            clips,
            device=plan.device,
            scratch=plan.scratch,
            run=plan.folder.name,
            clips_at_once=machine.clips_at_once,
        )
        return run_task(
            task, settings, plan.folder, on_item=item, on_epoch=epoch, on_note=on_note, command="ta2n finetune"
        )
