"""Holds the constraints that a dialect's .td files number against its
invalid.mlir: each must be broken there, and none that does not exist. Prints
what is missing. Arguments: the source folder, the dialect (Lm, Plan)."""
import re
import sys
from pathlib import Path

source, dialect = Path(sys.argv[1]), sys.argv[2]
prefix = dialect.lower() + "."


def documented():
    """{"lm.linear": {1, 2, ...}, "#lm.rope": ..., "!lm.kv_cache": ...}"""
    found = {}
    for kind, sigil in (("Ops", ""), ("Attrs", "#"), ("Types", "!")):
        text = (source / "dialects" / dialect / f"{dialect}{kind}.td").read_text()
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
                found[sigil + prefix + mnemonic[1]] = rules
    return found


def broken():
    """As documented(): an error names its operation's rule, (C1), or that of
    another one, (C1 of plan.function)."""
    found = {}
    path = source / "test/lit/dialects" / dialect / "invalid.mlir"
    for case in path.read_text().split("// -----"):
        rules = re.findall(
            r"expected-error ?@\S+ \{\{.*\(C(\d+)(?: of ([\w.]+))?\)\}\}", case)
        culprit = re.search(
            rf"expected-error.*\n.*?((?:= |@f\()[#!]{prefix}\w+|{prefix}\w+)", case)
        for rule, owner in rules:
            name = owner or re.search(rf"[#!]?{prefix}\w+", culprit[1])[0]
            found.setdefault(name, set()).add(int(rule))
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
