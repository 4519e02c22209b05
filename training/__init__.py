"""What trainings of both models share: the loop, checkpoints, export, quantisation, compression."""
