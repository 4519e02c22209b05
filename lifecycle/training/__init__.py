"""Trainings from files: fine-tuning, compression, teachers."""
