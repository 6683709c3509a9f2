"""Full trainings under Ray Tune."""
