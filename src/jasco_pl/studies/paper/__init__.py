"""The paper's experiments at one small budget, and what of its findings shows there (`jasco reproduce`, `make paper-tables`).

plan.py     the experiments, and which of the paper's rows each stands for    claims.py   what the paper found, as comparisons
paper.py    the paper's figures                                               verdict.py  whether ours say the same
job.py      one training: fit, export, measure, resumably                     report.py   the page, CSV, JSON
engine.py   all of them, several at a time                                    picture.py  bars of ours beside the paper's
scores.py   what was measured of an experiment, clip by clip
"""
