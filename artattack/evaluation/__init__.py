"""From a plan to records: perturbing images, and scoring them with classifiers."""
