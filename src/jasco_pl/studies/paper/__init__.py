"""The paper's experiments at one small budget, and what of its findings shows there (`jasco reproduce`, `make paper-tables`).

paper.yaml  experiments, the paper's figures and findings    plan.py     reads it, and the configuration files of an experiment
engine.py   trainings: fit, export, measure, resumably       results.py  what was measured, and what it says of the findings
report.py   the page (page.md) and its bars
"""
