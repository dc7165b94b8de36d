"""What ending a sweep's trials early saved and risked, as one line."""

from minidisc_ray.reports.run.candidates import selection_title
from minidisc_ray.reports.words import percent_text
from minidisc_ray.run_files.result import RunResult


def early_end_line(result: RunResult) -> str:
    """A sentence on the FLOPs saved and the scores of ended and kept probes; empty if no trial ended early."""
    found = result.early_end
    if found is None:
        return ""
    more, share = ("fewer", found.saved_share) if found.saved_share >= 0 else ("more", -found.saved_share)
    error = "" if found.standard_error is None else f"; one standard error is {percent_text(found.standard_error)}"
    return (
        f"{found.num_ended} of {found.num_trials} trials ended with their probes: {share:.0%} {more} FLOPs than with "
        f"all in full, in closed form with every epoch trained. Of the probes' students, the best that ended has "
        f"{selection_title(result)} {percent_text(found.best_ended_probe)} and the worst that went on "
        f"{percent_text(found.worst_kept_probe)}{error}"
    )
