#!/usr/bin/python3
"""Hold docs/security.md against tests/e2e: every row names a test, and every test named is there.

Fails (exit 1) with one line per finding. A test with a CVE in its name that no row has is a finding, too.
"""
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TESTS = os.path.join(ROOT, "tests", "e2e")


def defined():
    """{(file, function)}"""
    found = set()
    for name in sorted(os.listdir(TESTS)):
        if name.startswith("test_") and name.endswith(".py"):
            with open(os.path.join(TESTS, name), encoding="utf-8") as file:
                found |= {(name, function) for function in re.findall(r"^\s*def (test_\w+)\(", file.read(), re.M)}
    return found


def findings():
    tests, named = defined(), set()
    with open(os.path.join(ROOT, "docs", "security.md"), encoding="utf-8") as table:
        for number, line in enumerate(table, 1):
            if not re.match(r"\| .*\d{4}-\d{4,}", line):
                continue
            here = set(re.findall(r"`(test_\w+\.py)::(test_\w+)`", line))
            named |= here
            if not here:
                yield f"docs/security.md:{number}: no test is named"
            for file, function in sorted(here - tests):
                yield f"docs/security.md:{number}: tests/e2e/{file} has no {function}"
    for file, function in sorted(tests - named):
        if function.startswith("test_cve_"):
            yield f"tests/e2e/{file}: {function} is not in docs/security.md"


def main():
    found = list(findings())
    print("\n".join(found) if found else "security: every flaw listed has its test")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
