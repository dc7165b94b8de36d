"""Column names of a comparison in csv and json, in order, and which columns hold numbers."""

STEP = ("step_seconds", "step_seconds_ratio", "step_memory_bytes", "step_memory_ratio")
COSTS = (
    "useful_device_hours",
    "lost_device_hours",
    "idle_device_hours",
    "attempts",
    "energy_joules",
    "price",
)
HEAD = (
    "task",
    "method",
    "objective",
    "student_scale_percent",
    "seeds",
    "encoder_parameters",
    "total_parameters",
    "macs_at_128",
    "metric_name",
    "metric_mean",
    "metric_std",
)
TAIL = (
    "device_hours",
    "device_unit",
    "training_flops",
    "evaluation_flops",
    "device_hours_ratio",
    "flops_ratio",
    "training_flops_ratio",
    "ratio_seeds",
    *STEP,
    "closed_form_training_flops",
    "closed_form_evaluation_flops",
    "teacher_device_hours",
    "startup_device_hours",
    *COSTS,
    "currency",
    "assistant",
    "validation_rows",
    "majority_of",
    "teacher_warning",
    "selection_split",
    "protocol",
    "teacher_may_have_seen_selection",
    "runs",
)
WHOLE = ("student_scale_percent", "seeds", "validation_rows")
SIZES = ("encoder_parameters", "total_parameters", "macs_at_128")
NUMBERS = (
    *SIZES,
    "metric_mean",
    "metric_std",
    "device_hours",
    "training_flops",
    "evaluation_flops",
    "device_hours_ratio",
    "flops_ratio",
    "training_flops_ratio",
    *STEP,
    "closed_form_training_flops",
    "closed_form_evaluation_flops",
    "teacher_device_hours",
    "startup_device_hours",
    *COSTS,
)
