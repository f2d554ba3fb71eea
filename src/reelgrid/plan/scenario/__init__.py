"""One file for `plan demand`, `plan offers` and `simulate`: who wants which clips, on which GPUs."""
