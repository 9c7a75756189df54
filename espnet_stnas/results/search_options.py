"""Names of options that only a search has, not an ESPnet training. No imports."""

SEARCH_OPTIONS = (
    "warmup_epochs",
    "estimator",
    "estimator_conf",
    "cost_conf",
    "arch_data",
    "arch_fraction",
    "path_draws",
    "max_skipped_steps",
    "elastic",
    "distill_weight",
    "optim2",
    "optim2_conf",
    "scheduler2",
    "scheduler2_conf",
)
