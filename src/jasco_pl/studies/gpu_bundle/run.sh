#!/bin/sh
# run.sh JOB OUT [MINUTES]: run train, decoder or bench for at most so many minutes (12), and leave results and logs in OUT.
# PYTHON names the interpreter. HOURS, VALID_HOURS, WORKERS, BATCH, TURNS, STEPS and ARGS set sizes: see `run.sh --help`.
here=$(cd "$(dirname "$0")" && pwd) || exit 2
export PYTHONPATH="$here/site:$here/stand-ins:$here/src${PYTHONPATH:+:$PYTHONPATH}"
if [ "$1" = --help ] || [ $# -lt 2 ]; then
  exec "${PYTHON:-python3}" -m jasco_pl gpu-bundle run --help
fi
exec "${PYTHON:-python3}" -m jasco_pl gpu-bundle run "$1" "$2" --minutes "${3:-12}"
