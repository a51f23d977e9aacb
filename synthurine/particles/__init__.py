"""The 39 classes of particles, drawn in micrometres as thickness and absorption.

``canvas`` is the sheet that a particle is drawn on, ``shapes`` makes outlines, ``solids`` the
thickness of crystals, ``mould`` the shape of casts. ``classes`` lists the classes; all the other
modules draw them.
"""
