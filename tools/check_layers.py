#!/usr/bin/python3
"""Hold the tree's includes against tools/layers.txt.

Fails (exit 1) on an include that the table does not allow, on an include that is not rooted at src/, on a ring of headers,
on another folder's *_internal.h, and on a file longer than the limit. Prints one line per finding.
"""
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SRC = os.path.join(ROOT, "src")
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)
FILE_LINES_MAX = 900


def read_layers():
    allowed = {}
    with open(os.path.join(ROOT, "tools", "layers.txt"), encoding="utf-8") as table:
        for line in table:
            line = line.split("#")[0].strip()
            if line:
                layer, _, below = line.partition(":")
                allowed[layer.strip()] = set(below.split())
    return allowed


def sources():
    for folder, _, names in os.walk(SRC):
        for name in sorted(names):
            if name.endswith((".c", ".h")):
                yield os.path.relpath(os.path.join(folder, name), SRC)


def check_edge(path, target, allowed):
    layer, below = path.split("/")[0], target.split("/")[0]
    if not os.path.exists(os.path.join(SRC, target)):
        return f'{path}: "{target}" is not rooted at src/'
    if below != layer and below not in allowed.get(layer, set()):
        return f"{path}: {layer}/ may not include {below}/ ({target})"
    if target.endswith("_internal.h") and below != layer:
        return f"{path}: {target} is private to {below}/"
    return None


def find_ring(graph):
    state, trail = {}, []

    def visit(node):
        state[node] = "open"
        trail.append(node)
        for other in sorted(graph.get(node, ())):
            if state.get(other) == "open":
                return trail[trail.index(other):] + [other]
            if other not in state:
                ring = visit(other)
                if ring:
                    return ring
        trail.pop()
        state[node] = "done"
        return None

    for node in sorted(graph):
        if node not in state:
            ring = visit(node)
            if ring:
                return ring
    return None


def main():
    allowed, findings, graph, count = read_layers(), [], {}, 0
    for layer, below in allowed.items():
        for other in below:
            if layer in allowed.get(other, set()):
                findings.append(f"tools/layers.txt: {layer} and {other} name each other")
    for path in sources():
        with open(os.path.join(SRC, path), encoding="utf-8") as file:
            text = file.read()
        if text.count("\n") > FILE_LINES_MAX:
            findings.append(f"{path}: longer than {FILE_LINES_MAX} lines")
        for target in INCLUDE.findall(text):
            count += 1
            finding = check_edge(path, target, allowed)
            if finding:
                findings.append(finding)
            if path.endswith(".h"):
                graph.setdefault(path, set()).add(target)
    ring = find_ring(graph)
    if ring:
        findings.append("headers include each other: " + " -> ".join(ring))
    for finding in findings:
        print(finding)
    print(f"layers: {count} includes checked, {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
