"""How well detectors find particles, and why they fail.

``metrics`` scores every method (Eqs. 8-10) and ``bootstrap`` gives intervals over patients.
``classwise`` (Table 7), ``confusion``, ``errors``, ``conditions`` and ``failures`` look closer at
one method; ``gradcam`` (Fig. 5) and ``attention`` look into its network. Nothing here trains.
"""
