"""Training: a job (network, fields, settings, seed) becomes a ``weights.pt`` and a ``log.csv``.

``engines/`` holds the trainers. Beside it: what they share, the self-supervised pretraining
(Fig. 3A), training on slices, and the trials of the hyperparameter search.
"""
