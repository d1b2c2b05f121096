"""Holds the constraints that the .td files number against invalid.mlir: each must
be broken there, and none that does not exist. Prints what is missing."""
import re
import sys
from pathlib import Path

source = Path(sys.argv[1])


def documented():
    """{"lm.linear": {1, 2, ...}, "#lm.rope": ..., "!lm.kv_cache": ...}"""
    found = {}
    kinds = {"LmOps.td": "lm.", "LmAttrs.td": "#lm.", "LmTypes.td": "!lm."}
    for name, prefix in kinds.items():
        text = (source / "dialects/Lm" / name).read_text()
        for block in re.split(r"^def ", text, flags=re.MULTILINE)[1:]:
            mnemonic = re.search(r'<"(?:\w+", ")?(\w+)"', block)
            rules = {int(n) for n in re.findall(r"^ *\* \(C(\d+)\)", block,
                                                re.MULTILINE)}
            span = re.search(r"\* \(C(\d+)\) to \(C(\d+)\) of `lm.attention`", block)
            if span:
                rules |= set(range(int(span[1]), int(span[2]) + 1))
            gap = re.search(r"but for \(C(\d+)\)", block)
            if gap:
                rules.discard(int(gap[1]))
            if rules:
                found[prefix + mnemonic[1]] = rules
    return found


def broken():
    found = {}
    text = (source / "test/lit/dialects/Lm/invalid.mlir").read_text()
    for case in text.split("// -----"):
        rules = re.findall(r"expected-error@\+1 \{\{.*\(C(\d+)\)\}\}", case)
        culprit = re.search(r"expected-error.*\n.*?((?:= |@f\()[#!]lm\.\w+|lm\.\w+)", case)
        if rules:
            name = re.search(r"[#!]?lm\.\w+", culprit[1])[0]
            found.setdefault(name, set()).update(map(int, rules))
    return found


wanted, tested = documented(), broken()
for name in sorted(wanted.keys() | tested.keys()):
    missing = wanted.get(name, set()) - tested.get(name, set())
    unknown = tested.get(name, set()) - wanted.get(name, set())
    for rule in sorted(missing):
        print(f"{name}: C{rule} is not tested")
    for rule in sorted(unknown):
        print(f"{name}: C{rule} is not documented")
print(f"{sum(map(len, wanted.values()))} constraints")
