"""Search a space of your own with a function of your own, in this process: python docs/examples/own_evaluator.py"""

from itertools import pairwise

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

from hybrid_nas import api
from nas.records import JSON, Costs, Gene
from search_spaces.plain import PlainSpace

IMAGES, LABELS = load_digits(return_X_y=True)
TRAIN, TEST, TRAIN_LABELS, TEST_LABELS = train_test_split(IMAGES / 16, LABELS, random_state=0)


def sizes(spec: JSON) -> list[int]:
    """Neurons of each layer: 64 pixels, the hidden layers, 10 digits."""
    return [64, *[spec["width"]] * spec["depth"], 10]


def count(spec: JSON) -> Costs:
    """Parameters and multiply-adds of a perceptron."""
    layers = sizes(spec)
    macs = sum(inputs * outputs for inputs, outputs in pairwise(layers))
    return Costs(param_count=macs + sum(layers[1:]), macs=macs)


def evaluate(spec: JSON) -> float:
    """Validation top1 after 15 epochs."""
    model = MLPClassifier(sizes(spec)[1:-1], activation=spec["activation"], random_state=0)
    for _ in range(15):
        model.partial_fit(TRAIN, TRAIN_LABELS, classes=np.arange(10))
    return float(model.score(TEST, TEST_LABELS))


SPACE = PlainSpace(
    "perceptron",
    (
        Gene("depth", (1, 2, 3), ordered=True, meaning="hidden layers"),
        Gene("width", (4, 8, 16, 32, 64, 128), ordered=True, meaning="neurons of a hidden layer"),
        Gene("activation", ("relu", "tanh", "logistic"), ordered=False, meaning="after every hidden layer"),
    ),
    count,
)

if __name__ == "__main__":
    study = api.search(space=SPACE, evaluate=evaluate, budget=20, objectives="top1,macs")
    print(study.explain().text())
