"""Several methods of ``ta2n train-head`` side by side."""

from ta2n.cache_schema.disk import naming
from ta2n.pipeline.commands.reporting import OnNote, tell
from ta2n.pipeline.commands.train_head import TrainPlan
from ta2n.pipeline.report.table.runs import Row, TestEpisodes, compare
from ta2n.pipeline.training.settings import Settings


def compare_planned(plan: TrainPlan, *, on_note: OnNote | None = None) -> list[Row]:
    """Trains and tests the runs of a plan one by one, on the same test episodes, and sets them side by side."""
    runs = list(plan.runs)

    def show(settings: Settings) -> None:
        number = 1 + runs.index(settings)
        which = f"{settings.method}, {settings.shot}-shot ({number} of {len(runs)})"
        tell([f"{plan.cache.manifest.dataset}: {which}"], on_note)

    test = TestEpisodes(episodes=plan.test.episodes, queries=plan.test.queries, seed=plan.test.seed)
    with naming(plan.folder):
        return compare(plan.cache, runs, plan.folder, test, device=plan.device, on_run=show)
