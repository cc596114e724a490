"""Training from partially labelled patches: `patches` → `splits` → `pools` → `augment` → `train`, by a `recipe`."""
