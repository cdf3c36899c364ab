"""Python imports this first in every process that has this folder on PYTHONPATH. See bench.inside."""

import os

if os.environ.get("OBJSTORE_BENCH_INSIDE") == "sampler":
    from bench.inside import sampler

    sampler.start()
elif os.environ.get("OBJSTORE_BENCH_INSIDE") == "counter":
    from bench.inside import counter

    counter.start()
