#!/usr/bin/env python3
"""Ten thousand rows from the rows of a run: many-rows.py RESULTS.CSV > MANY.CSV. Window and values are varied, so that
there are that many trials of points that differ."""
import csv
import sys

ROWS = 10_000

with open(sys.argv[1], newline="") as file:
    rows = [row for row in csv.DictReader(file) if row["trial"] != "0" and row["experiment"] in ("multicast", "write")]
writer = csv.DictWriter(sys.stdout, rows[0].keys(), lineterminator="\n")
writer.writeheader()
for at in range(ROWS):
    row = dict(rows[at % len(rows)])
    row["window"] = 1 + at // len(rows)
    row["note"] = ""
    writer.writerow(row)
