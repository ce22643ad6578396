"""What ``python -m benchmarks study`` starts: ``jssm predict``, which tells at the end where its
time went. By itself, since it is to import what the command imports, no more."""

import json
import resource
import sys
import time
from pathlib import Path


def main() -> None:
    """``study_child STUDY OUT MODEL JOBS OUTPUTS``; the last line printed is JSON."""
    began = time.perf_counter()
    from jssm import runtime

    runtime.prepare()
    from jssm.cines.batch import predict_all
    from jssm.cines.options import Options

    study, out, model, jobs, outputs = sys.argv[1:]
    options = Options(
        inputs=[Path(study)], out=Path(out), source=model, jobs=int(jobs),
        outputs=outputs.split(","),
    )  # fmt: skip
    outcome = predict_all(options, began=began)
    found = {
        name: value
        for name, value in vars(outcome).items()
        if name.endswith("_s") or name in ("frames", "damaged")
    }
    for name, who in (("own", resource.RUSAGE_SELF), ("writers", resource.RUSAGE_CHILDREN)):
        usage = resource.getrusage(who)
        found[f"{name}_mb"] = usage.ru_maxrss / 1024
        found[f"{name}_cpu_s"] = usage.ru_utime + usage.ru_stime
    print(json.dumps(found))


if __name__ == "__main__":
    main()
