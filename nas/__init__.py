"""The search itself: the loop, the Optuna study, fronts, reports. Imports none of the sibling packages."""
