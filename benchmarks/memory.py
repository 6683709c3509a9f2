"""Whether a worker grows: resident memory of one process over many trials, without Ray.

    python -m benchmarks.memory --trials 200

Each trial is timed and trained as in a search, an architecture of its own each time; memory is read after the clean-up
that ends it.
"""

import argparse

import numpy as np
import psutil

from nas.protocols import Failed, Job
from search_spaces.registry import make_space
from workers.data.registry import open_data
from workers.evaluate import EvaluationContext, evaluate
from workers.evaluation import EvaluationConfig
from workers.training.recipes import default_recipe

SETTLED = 20
"""Trials until allocator and libraries hold what they keep."""


def main() -> None:
    """Print memory now and then, and its growth since the first SETTLED trials."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--scale", default="nano")
    parser.add_argument("--latency-target", default="cpu:threads=1,batch=1")
    options = parser.parse_args()
    if options.trials < 2 * SETTLED:
        parser.error(
            f"--trials is {options.trials}; expected at least {2 * SETTLED}, as the first {SETTLED} do not count"
        )
    source = open_data(options.data)
    space = make_space("hybrid_layout", options.scale, source.image_size, source.in_chans, source.num_classes)
    context = EvaluationContext(
        EvaluationConfig(data=source.text, recipe=default_recipe(source), latency_target=options.latency_target)
    )
    rng = np.random.default_rng(0)
    process = psutil.Process()
    resident = []
    for number in range(options.trials):
        job = Job(number, space.architecture(space.sample(rng)).to_spec(), seed=0)
        events = evaluate(job, context)
        event = next(events)
        while True:
            if isinstance(event, Failed):
                print(f"trial {number} failed: {event.reason}")
            try:
                event = events.send(True)
            except StopIteration:
                break
        del event, events
        resident.append(process.memory_info().rss / 1e6)
        if (number + 1) % SETTLED == 0:
            print(f"after {number + 1} trials {resident[-1]:.0f} MB", flush=True)
    settled = np.median(resident[SETTLED // 2 : SETTLED])
    last = np.median(resident[-SETTLED // 2 :])
    growth = f"{last / settled - 1:+.1%} since trials {SETTLED // 2} to {SETTLED}"
    print(f"{growth} (medians of {SETTLED // 2}); peak {max(resident):.0f} MB")


if __name__ == "__main__":
    main()
