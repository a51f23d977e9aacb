"""The experiments: methods and profiles, the steps of a run, Tables 3-6 with provenance.

- what is run: ``methods``, ``run``, ``steps`` (trainings, predictions, scores), ``search``;
- what counts as a change of it: ``fingerprints``;
- tables and figures: ``comparison`` (Tables 4-6) with ``against_paper``, ``intervals``,
  ``significance``, ``sizes`` and ``latency``; ``training_curves``;
- how they are written: ``formatting``, ``provenance``.
"""
