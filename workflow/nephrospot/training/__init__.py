"""Training from partially labelled patches: `patches` → `augment` → `loss` → `train`."""
