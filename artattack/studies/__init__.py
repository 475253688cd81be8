"""Lessons of a 2020 study of style transfer with binarized networks, each repeatable by one command.

A study is a small module that builds a benchmark, and derives a table, a figure and a sentence from its records. Plan,
run and report are those of any benchmark. A new study is a module with a `STUDY` and its name in `all_studies.py`.
"""

from artattack.studies.all_studies import find_study, studies
from artattack.studies.running import run_study
from artattack.studies.study import Settings, Study, study_benchmark
from artattack.studies.writing import write_study

__all__ = [
    "Settings",
    "Study",
    "find_study",
    "run_study",
    "studies",
    "study_benchmark",
    "write_study",
]
