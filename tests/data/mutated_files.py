"""Contents that replace a whole file: (file, content). Each of them must be told by its file."""

BOMB = "".join(
    f"  {i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" if i else "  0: &a0 [RBC, RBC]\n"
    for i in range(12)
)
CLASSES = "classes: {RBC: Cells, WBC: Cells, Bacteria: Microorganisms}\n"

META = [
    b"[]", b'"text"', b"3", b"null", b"", b"{", b'{"um_per_px": ' + b"9" * 400 + b"}",
    b'{"um_per_px": ' + b"9" * 5000 + b"}", b'{"um_per_px": [1]}', b'{"um_per_px": true}',
    b'{"um_per_px": NaN}', b'{"name": "caf\xe9"}', b"[" * 30_000 + b"]" * 30_000,
    b'{"synthetic": "no"}', b'{"um_per_px": 1, "um_per_px": 2}',
]  # fmt: skip
TAXONOMY = [
    "[]", "3", "", "name: mine", "name: [mine]\n" + CLASSES, "name: mine\nclasses: [RBC, WBC]",
    "name: mine\nclasses: {RBC: [Cells], WBC: Cells}", "name: mine\nclasses: {}",
    "name: mine\nclasses: 3", f"name: mine\n{CLASSES}aliases: [a]",
    f"name: mine\n{CLASSES}aliases: 3", f"name: mine\n{CLASSES}aliases: {{a: [RBC]}}",
    f"name: mine\n{CLASSES}components: {{A: 3}}", f"name: mine\n{CLASSES}components: [A]",
    f"name: mine\n{CLASSES}components: {{A: RBC}}",
    f"name: mine\n{CLASSES}components: {{A: [[B]]}}",
    f"name: mine\n{CLASSES}openurine: {{RBC: 5}}", f"name: mine\n{CLASSES}openurine: {{RBC: RBC}}",
    "name: mine\nclasses: {RBC: Cells, RBC: Casts, WBC: Cells, Bacteria: Cells}",
    "name: mine\nclasses: {no: Cells, RBC: Cells, WBC: Cells, Bacteria: Cells}",
    f"name: caf\xe9\n{CLASSES}".encode("latin-1"), f"name: mine\nclasses:\n{BOMB}",
    f"name: &x mine\n{CLASSES}aliases: {{a: *x}}", "[" * 3_000, "name: !!timestamp noon",
    "\0", "name: mine\n\tclasses: 3",
]  # fmt: skip
DATA = [
    f"names:\n{BOMB}", "names: " + "[" * 3_000, "", "[]", "names", b"names: [caf\xe9]",
    "names: {0: RBC, 1: WBC, 2: Bacteria, 3: *x}", "names: &x [RBC, WBC, Bacteria, *x]",
    "\0", "names: " + "1:" * 200_000, "names: !!int x", "a: {b: [c", "names: [!!binary =]",
]  # fmt: skip

REPLACED = [
    (name, content if isinstance(content, bytes) else content.encode())
    for name, contents in (("meta.json", META), ("taxonomy.yaml", TAXONOMY), ("data.yaml", DATA))
    for content in contents
]
