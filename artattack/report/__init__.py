"""The report of a run: one HTML file that opens without a network, tables for papers, figures."""

from artattack.report.drawings import save_figures
from artattack.report.formats import FORMATS, summary_table, write_tables
from artattack.report.page import write_report

__all__ = ["FORMATS", "save_figures", "summary_table", "write_report", "write_tables"]
