"""The report of a run: one HTML file that needs no network, tables for papers, figures, notebook displays."""

from artattack.report.matplotlib_figures import save_figures
from artattack.report.notebook import run_in_notebook
from artattack.report.page import write_report
from artattack.report.text_tables import FORMATS, summary_table, write_tables

__all__ = ["FORMATS", "run_in_notebook", "save_figures", "summary_table", "write_report", "write_tables"]
